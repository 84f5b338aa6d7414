use super::*;

fn action(path: &str) -> Target {
    Target { direction: Direction::Action, path: path.into(), query: String::new(), key: "o-1-saga-step".into() }
}

fn faults(json: &str) -> Faults {
    Faults::new(read(json, Service::Payment).unwrap(), 7)
}

#[test]
fn a_fault_strikes_only_what_it_is_aimed_at() {
    let check = |aim: &str, target: &Target, expected: bool| {
        let faults = faults(&format!(r#"[{{"fault": "decline"{aim}}}]"#));
        assert_eq!(faults.strike(Point::Handler, target, 0).is_some(), expected, "{aim} at {target:?}");
    };
    let charge = action("/charges");
    let refund = Target { direction: Direction::Compensation, ..action("/refunds") };
    let probe = Target { direction: Direction::Probe, query: "order_id=o-1".into(), ..action("/charges") };
    check("", &charge, true);
    check("", &refund, true);
    check("", &probe, false);
    check(r#", "direction": "probe""#, &probe, true);
    check(r#", "direction": "action""#, &charge, true);
    check(r#", "direction": "action""#, &refund, false);
    check(r#", "direction": "compensation""#, &refund, true);
    check(r#", "path": "/charges""#, &charge, true);
    check(r#", "path": "/charges""#, &refund, false);
    check(r#", "path": "/reservations/*/release""#, &action("/reservations/o-1/release"), true);
    check(r#", "path": "/reservations/*/release""#, &action("/reservations/o-1/commit"), false);
    check(r#", "path": "/reservations/*""#, &action("/reservations/o-1/release"), false);
    check(r#", "order_id": "o-1""#, &charge, true);
    check(r#", "order_id": "o-2""#, &charge, false);
    check(r#", "order_id": "o-1", "direction": "probe""#, &Target { key: String::new(), ..probe }, true);
    check(r#", "probability": 0"#, &charge, false);
}

#[test]
fn each_fault_has_its_point() {
    let check = |fault: &str, expected: Point| {
        let faults = faults(&format!(r#"[{{"fault": {fault}}}]"#));
        for point in [Point::Arrival, Point::Handler, Point::Commit, Point::Departure] {
            assert_eq!(faults.strike(point, &action("/charges"), 0).is_some(), point == expected, "{fault}");
        }
    };
    check(r#"{"latency": {"min_ms": 1, "max_ms": 2}}"#, Point::Arrival);
    check(r#"{"error": {"status": 503}}"#, Point::Arrival);
    check(r#"{"rate-limit": {"retry_after_s": 1}}"#, Point::Arrival);
    check(r#"{"crash": {"at": "before-effect"}}"#, Point::Arrival);
    check(r#""decline""#, Point::Handler);
    check(r#""out-of-stock""#, Point::Handler);
    check(r#"{"crash": {"at": "before-commit"}}"#, Point::Commit);
    check(r#"{"timeout-after-effect": {"hold_ms": 1}}"#, Point::Departure);
    check(r#""lost-response""#, Point::Departure);
    check(r#"{"crash": {"at": "after-commit"}}"#, Point::Departure);
}

#[test]
fn the_nth_request_and_no_other_is_struck() {
    let faults = faults(r#"[{"fault": "decline", "nth": 3, "path": "/charges"}]"#);
    let mut struck = Vec::new();
    for request in 1..=5 {
        faults.strike(Point::Handler, &action("/elsewhere"), 0);
        if faults.strike(Point::Handler, &action("/charges"), 0).is_some() {
            struck.push(request);
        }
    }
    assert_eq!(struck, [3]);
    let state = faults.state();
    assert_eq!((state.armed[0].matched, state.armed[0].fired, state.firings.len()), (5, 1, 1));
}

#[test]
fn a_limit_ends_a_fault() {
    let faults = faults(r#"[{"fault": "decline", "limit": 2}]"#);
    let struck = (0..5).filter(|_| faults.strike(Point::Handler, &action("/charges"), 0).is_some()).count();
    assert_eq!(struck, 2);
}

#[test]
fn several_faults_strike_one_after_the_other() {
    let faults = faults(
        r#"[{"fault": {"latency": {"min_ms": 1, "max_ms": 1}}}, {"fault": "decline"}, {"fault": {"error": {"status": 500}}}]"#,
    );
    let (first, after) = faults.strike(Point::Arrival, &action("/charges"), 0).unwrap();
    let (second, end) = faults.strike(Point::Arrival, &action("/charges"), after).unwrap();
    assert_eq!((first, second), (FaultKind::Latency { min_ms: 1, max_ms: 1 }, FaultKind::Error { status: 500 }));
    assert_eq!(faults.strike(Point::Arrival, &action("/charges"), end), None);
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let run = |seed: u64| {
        let faults = Faults::new(vec![Fault::new(FaultKind::Decline, 0.5)], seed);
        (0..64).map(|_| faults.strike(Point::Handler, &action("/charges"), 0).is_some()).collect::<Vec<bool>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let struck = run(3).into_iter().filter(|struck| *struck).count();
    assert!((16..=48).contains(&struck), "{struck} of 64 at a probability of one half");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for nonsense in [
        "[",
        "{}",
        "no-such-file.json",
        r#"[{"fault": "explode"}]"#,
        r#"[{"fault": "decline", "probabilty": 1}]"#,
        r#"[{"fault": "decline", "probability": 1.5}]"#,
        r#"[{"fault": {"latency": {"min_ms": 2, "max_ms": 1}}}]"#,
        r#"[{"fault": {"error": {"status": 404}}}]"#,
    ] {
        assert!(read(nonsense, Service::Payment).is_err(), "{nonsense}");
    }
}

#[test]
fn a_file_and_a_preset_are_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let faults = vec![Fault { nth: Some(2), ..Fault::new(FaultKind::LostResponse, 1.0) }];
    std::fs::write(file.path(), serde_json::to_string(&faults).unwrap()).unwrap();
    assert_eq!(read(file.path().to_str().unwrap(), Service::Order).unwrap(), faults);
    assert_eq!(read("none", Service::Order).unwrap(), []);
}

#[test]
fn presets_are_sound_and_crash_nothing() {
    for service in Service::ALL {
        let of = |name: &str| preset(name, service).unwrap();
        assert!(of("none").is_empty());
        for fault in of("some").into_iter().chain(of("many")) {
            fault.check().unwrap();
            assert!(!matches!(fault.fault, FaultKind::Crash { .. }));
        }
        let trouble = |name: &str| of(name).iter().map(|fault| fault.probability).sum::<f64>();
        assert!(trouble("some") * 3.0 <= trouble("many") && trouble("many") < 0.6, "{service}");
    }
    assert_eq!(preset("all", Service::Order), None);
}
