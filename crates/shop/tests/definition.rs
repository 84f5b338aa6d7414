//! The definitions mean what the services do.

use amends_core::definition::Kind;
use amends_core::lint::{self, Known};

#[test]
fn lint_has_nothing_to_say() {
    let queue = shop::PAYMENT_QUEUE.to_owned();
    for (definition, queues) in [(shop::definition(), vec![]), (shop::definition_by_message(), vec![queue])] {
        let participants = shop::Service::ALL.iter().map(ToString::to_string).collect();
        let checked = lint::check(definition, Some(&Known { participants, queues }));
        assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    }
}

/// Whoever changes one of the two is told to change the other.
#[test]
fn by_message_only_the_payment_is_another() {
    let [by_call, by_message] = [shop::definition(), shop::definition_by_message()].map(|definition| {
        let (_, steps) = definition.split_once("\nsteps:\n").unwrap();
        let steps = steps.split("\n\n").filter(|step| !step.contains("  charge-payment:"));
        steps.collect::<Vec<_>>()
    });
    assert_eq!(by_call, by_message);
    let [by_call, by_message] = [shop::definition(), shop::definition_by_message()].map(|definition| {
        let mut definition = lint::compile(definition).unwrap();
        let payment = definition.step("charge-payment").unwrap();
        (definition.name, definition.steps.swap_remove(payment))
    });
    assert_eq!(by_message.0, shop::DEFINITION_BY_MESSAGE);
    assert_eq!((by_message.1.name, by_message.1.kind), (by_call.1.name, by_call.1.kind));
}

#[test]
fn whatever_may_fail_can_be_undone_and_comes_first() {
    let definition = lint::compile(shop::definition()).unwrap();
    assert_eq!(definition.name, shop::DEFINITION);
    let names = |kind: Kind| -> Vec<&str> {
        definition.steps.iter().filter(|step| step.kind == kind).map(|step| step.name.as_str()).collect()
    };
    assert_eq!(names(Kind::Compensatable), ["create-order", "reserve-inventory", "charge-payment", "create-shipment"]);
    assert_eq!(names(Kind::Retriable), ["confirm-order", "commit-reservation", "notify-customer", "record-analytics"]);
    for step in &definition.steps {
        assert_eq!(step.compensation().is_some(), step.kind == Kind::Compensatable, "{}", step.name);
    }
    let confirmed = definition.step("confirm-order").unwrap();
    assert_eq!(definition.steps[confirmed].before.len(), 3, "what follows the confirmation runs side by side");
}
