//! The definition that the design is written around.

use amends_core::definition::{Effects, Kind, Step, Work};
use amends_core::lint::{self, Known};
use amends_core::retry::RetryPolicy;

pub const ORDER_FULFILMENT: &str = r#"
saga: order-fulfilment
key: "{{ input.order_id }}"
deadline: 10m                       # past it an unfinished saga compensates (never past a pivot)
dedupe: { by: "{{ input.customer_id }}/{{ input.lines }}", within: 2s }   # the double click
retry: { attempts: 5, initial: 200ms, factor: 2, max: 10s }               # full jitter, always

steps:
  reserve-inventory:
    action:       { post: "inventory:/reservations", timeout: 30s, body: { order_id: "{{ input.order_id }}", lines: "{{ input.lines }}" } }
    compensation: { post: "inventory:/reservations/{{ input.order_id }}/release" }
  charge-payment:
    action:       { post: "payment:/charges", body: { order_id: "{{ input.order_id }}", amount: "{{ input.total }}" } }
    probe:        { get: "payment:/charges?order_id={{ input.order_id }}", happened: "{{ response.body.charges | length > 0 }}" }
    compensation: { post: "payment:/refunds", body: { order_id: "{{ input.order_id }}" } }
  create-shipment:
    action:       { post: "shipping:/shipments", body: { order_id: "{{ input.order_id }}", reservation: "{{ steps['reserve-inventory'].output.reservation_id }}" } }
    compensation: { post: "shipping:/shipments/{{ input.order_id }}/cancel" }
  confirm-order:
    kind: retriable
    action:       { post: "order:/orders/{{ input.order_id }}/confirm" }
"#;

#[test]
fn the_designs_own_example_is_clean() {
    let participants = ["inventory", "payment", "shipping", "order"].map(String::from).to_vec();
    let known = Known { participants, queues: Vec::new() };
    let checked = lint::check(ORDER_FULFILMENT, Some(&known));
    assert_eq!(lint::render(ORDER_FULFILMENT, "order.yaml", &checked.diagnostics, false), "");
    let definition = checked.definition.expect("it has no errors");
    assert_eq!(definition.name, "order-fulfilment");
    assert_eq!(definition.deadline_ms, Some(600_000));
    let shape: Vec<_> = definition.steps.iter().map(|step| (step.name.as_str(), step.kind, &*step.after)).collect();
    assert_eq!(
        shape,
        [
            ("reserve-inventory", Kind::Compensatable, &[][..]),
            ("charge-payment", Kind::Compensatable, &[0]),
            ("create-shipment", Kind::Compensatable, &[1]),
            ("confirm-order", Kind::Retriable, &[2]),
        ]
    );
    assert!(definition.steps.iter().all(|step| matches!(step.work, Work::Call(_))));
}

/// The word in the definition, and what the participant sees of it.
#[test]
fn a_method_stands_in_the_request_line_as_http_writes_it() {
    let cases = [("get", "GET"), ("post", "POST"), ("put", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")];
    for (written, sent) in cases {
        let action = format!("{{ action: {{ {written}: \"a:/x\" }}, compensation: none }}");
        let source = format!("saga: methods\nkey: \"{{{{ input.id }}}}\"\nsteps:\n  one: {action}\n");
        let definition = lint::compile(&source).expect("it has no errors");
        assert_eq!(definition.steps[0].call().expect("it calls").action.method.as_str(), sent);
    }
}

/// What a definition without the key comes to.
#[test]
fn what_is_not_written_has_a_default() {
    let source = r#"
saga: defaults
key: "{{ input.id }}"
retry: { attempts: 3, total: 1m }
steps:
  first:
    retry: { factor: 3 }
    action: { post: "a:/x" }
    probe: { get: "a:/x", happened: "{{ true }}" }
    compensation: { post: "a:/y", retry: { attempts: 2 } }
  second: { after: [], wait: 1h }
  pivot: { kind: pivot, after: [first, second], action: { post: "a:/z", timeout: 2s } }
  nap: { sleep: 5s }
  person: { wait: { timeout: 2h } }
  last: { kind: retriable, after: pivot, action: { get: "a:/q" }, retry: { max: 5m } }
"#;
    let definition = lint::compile(source).expect("it has no errors");
    let call = |name: &str| definition.steps[definition.step(name).expect("it exists")].call().expect("it calls");
    let (first, pivot, last) = (call("first"), call("pivot"), call("last"));
    let saga = RetryPolicy { attempts: 3, total_ms: 60_000, ..RetryPolicy::ACTION };
    assert_eq!(first.retry, RetryPolicy { factor: 3.0, ..saga });
    assert_eq!(pivot.retry, saga);
    assert_eq!(last.retry, RetryPolicy { max_ms: 300_000, ..RetryPolicy::RETRIABLE });
    assert_eq!((first.action.timeout_ms, pivot.action.timeout_ms), (30_000, 2_000));
    assert_eq!(first.effects, Effects::Idempotent);
    let compensation = definition.steps[0].compensation().expect("it is written");
    assert_eq!(compensation.retry, RetryPolicy { attempts: 2, ..RetryPolicy::COMPENSATION });
    assert!(!compensation.not_found_is_done);
    assert_eq!(first.probe.as_ref().expect("it is written").retry, RetryPolicy::PROBE);
    let kinds: Vec<Kind> = definition.steps.iter().map(|step| step.kind).collect();
    let (compensatable, retriable) = (Kind::Compensatable, Kind::Retriable);
    assert_eq!(kinds, [compensatable, compensatable, Kind::Pivot, retriable, retriable, retriable]);
    // What only reads leaves nothing behind, without a word about it.
    let left: Vec<bool> = definition.steps.iter().map(Step::leaves_something).collect();
    assert_eq!(left, [true, false, true, false, false, false]);
    assert_eq!(definition.steps[2].after, [0, 1]);
    assert_eq!(definition.steps[2].before, [3, 5]);
}
