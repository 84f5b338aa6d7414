//! The definition means what the services do.

use amends_core::definition::Kind;
use amends_core::lint::{self, Known};

#[test]
fn lint_has_nothing_to_say() {
    let participants = shop::Service::ALL.iter().map(ToString::to_string).collect();
    let checked = lint::check(shop::definition(), Some(&Known { participants, queues: Vec::new() }));
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
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
