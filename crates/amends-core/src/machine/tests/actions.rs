//! Answers to actions: the table of the protocol, in every situation that makes a difference.

use super::script::{Situation, check_situations};

/// A step that can be undone: at the first attempt, and at the last one after an uncertain and after a certain one.
#[rustfmt::skip]
const THE_PARTICIPANT_HONOURS_THE_KEY: &[Situation] = &[
    ("a b", "a=200 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 500 lost", "again b unknown +0, start b!2 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
        ("429 unsent", "again b not-done +0, start b!2 | running: a done, b running"),
        ("429/2000", "again b not-done +2000 | running: a done, b running"),
        ("503/2000", "again b unknown +2000 | running: a done, b unknown"),
        ("409/20000 503/20000", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
    ]),
    ("a b", "a=200 b=503 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
    ("a b", "a=200 b=429 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 500 503/2000 lost 409/20000 503/20000", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
];

#[test]
fn the_participant_honours_the_key() {
    check_situations(THE_PARTICIPANT_HONOURS_THE_KEY);
}

/// The same with a probe.
#[rustfmt::skip]
const THE_PARTICIPANT_CAN_BE_ASKED: &[Situation] = &[
    ("a b(probe)", "a=200 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 500 lost", "again b unknown +0, start b!2 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
        ("429 unsent", "again b not-done +0, start b!2 | running: a done, b running"),
        ("429/2000", "again b not-done +2000 | running: a done, b running"),
        ("503/2000", "again b unknown +2000 | running: a done, b unknown"),
        ("409/20000 503/20000", "doubt b, ask b?1 | running: a done, b unknown"),
    ]),
    ("a b(probe)", "a=200 b=503 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "doubt b, ask b?1 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
    ("a b(probe,tries=1)", "a=200 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 500 503/2000 lost 409/20000 503/20000", "doubt b, ask b?1 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
];

#[test]
fn the_participant_can_be_asked() {
    check_situations(THE_PARTICIPANT_CAN_BE_ASKED);
}

/// What is not sent again after an unknown outcome.
#[rustfmt::skip]
const AT_MOST_ONCE: &[Situation] = &[
    ("a b(once)", "a=200 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 409/2000 425 425/2000 500 503/2000 lost 409/20000 503/20000", "dead b action unknown | stuck: a done, b dead"),
        ("429 unsent", "again b not-done +0, start b!2 | running: a done, b running"),
        ("429/2000", "again b not-done +2000 | running: a done, b running"),
    ]),
    ("a b(once)", "a=200 b=429 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 409/2000 425 425/2000 500 503/2000 lost 409/20000 503/20000", "dead b action unknown | stuck: a done, b dead"),
    ]),
    ("a b(once,probe)", "a=200 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 409/2000 425 425/2000 500 503/2000 lost 409/20000 503/20000", "doubt b, ask b?1 | running: a done, b unknown"),
        ("429 unsent", "again b not-done +0, start b!2 | running: a done, b running"),
        ("429/2000", "again b not-done +2000 | running: a done, b running"),
    ]),
];

#[test]
fn at_most_once() {
    check_situations(AT_MOST_ONCE);
}

/// The step that cannot be undone.
#[rustfmt::skip]
const THE_PIVOT: &[Situation] = &[
    ("a b(pivot)", "a=200 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("408 500 lost", "again b unknown +0, start b!2 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
        ("429 unsent", "again b not-done +0, start b!2 | running: a done, b running"),
        ("429/2000", "again b not-done +2000 | running: a done, b running"),
        ("503/2000", "again b unknown +2000 | running: a done, b unknown"),
        ("409/20000 503/20000", "dead b action unknown | stuck: a done, b dead"),
    ]),
    ("a b(pivot)", "a=200 b=lost b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "dead b action unknown | stuck: a done, b dead"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
    ("a b(pivot,probe)", "a=200 b=lost b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "doubt b, ask b?1 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
];

#[test]
fn the_pivot() {
    check_situations(THE_PIVOT);
}

/// Steps behind the point of no return.
#[rustfmt::skip]
const RETRIABLE: &[Situation] = &[
    ("a b(retriable)", "a=200 b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 409 422", "dead b action undone | stuck: a done, b dead"),
        ("408 500 lost", "again b unknown +0, start b!2 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
        ("429 unsent", "again b not-done +0, start b!2 | running: a done, b running"),
        ("429/2000", "again b not-done +2000 | running: a done, b running"),
        ("503/2000", "again b unknown +2000 | running: a done, b unknown"),
        ("409/20000 503/20000", "dead b action unknown | stuck: a done, b dead"),
    ]),
    ("a b(retriable)", "a=200 b=lost b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "dead b action unknown | stuck: a done, b dead"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
    ("a b(retriable,probe)", "a=200 b=lost b=", &[
        ("200 204", "done b, completed | completed: a done, b done"),
        ("302 401 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "doubt b, ask b?1 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
];

#[test]
fn retriable() {
    check_situations(RETRIABLE);
}

/// No other attempt follows, whatever comes back.
#[rustfmt::skip]
const IN_FLIGHT_WHEN_THE_SAGA_TURNED_BACK: &[Situation] = &[
    ("a b(after=a) c(after=a)", "a=200 c=422 b=", &[
        ("200 204", "done b, undo b done | compensating: a done, b compensating, c refused"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, undo a done | compensating: a compensating, b refused, c refused"),
        ("408 409/2000 425 425/2000 500 503/2000 lost 409/20000 503/20000", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
    ]),
    ("a b(after=a) c(after=a)", "a=200 b=503 c=422 b=", &[
        ("200 204", "done b, undo b done | compensating: a done, b compensating, c refused"),
        ("302 401 404 408 409 409/2000 422 425 425/2000 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
    ]),
    ("a b(after=a,probe) c(after=a)", "a=200 c=422 b=", &[
        ("200 204", "done b, undo b done | compensating: a done, b compensating, c refused"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, undo a done | compensating: a compensating, b refused, c refused"),
        ("408 409/2000 425 425/2000 500 503/2000 lost 409/20000 503/20000", "doubt b, ask b?1 | compensating: a done, b unknown, c refused"),
    ]),
    ("a b(after=a,once) c(after=a)", "a=200 c=422 b=", &[
        ("200 204", "done b, undo b done | compensating: a done, b compensating, c refused"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, undo a done | compensating: a compensating, b refused, c refused"),
        ("408 409/2000 425 425/2000 500 503/2000 lost 409/20000 503/20000", "dead b action unknown | stuck: a done, b dead, c refused"),
    ]),
];

#[test]
fn in_flight_when_the_saga_turned_back() {
    check_situations(IN_FLIGHT_WHEN_THE_SAGA_TURNED_BACK);
}

/// Answers are recorded, and nothing new is begun.
#[rustfmt::skip]
const HELD: &[Situation] = &[
    ("a b", "a=200 pause b=", &[
        ("200 204", "done b | running: a done, b done"),
        ("302 401 404 409 422", "refused b, back | compensating: a done, b refused"),
        ("408 500 lost", "again b unknown +0 | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
        ("429 unsent", "again b not-done +0 | running: a done, b running"),
        ("429/2000", "again b not-done +2000 | running: a done, b running"),
        ("503/2000", "again b unknown +2000 | running: a done, b unknown"),
        ("409/20000 503/20000", "unknown b, back | compensating: a done, b unknown"),
    ]),
    ("a b(tries=1)", "a=200 pause b=", &[
        ("200 204", "done b | running: a done, b done"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, back | compensating: a done, b refused"),
        ("408 500 503/2000 lost 409/20000 503/20000", "unknown b, back | compensating: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
    ("a b(tries=1,probe)", "a=200 pause b=", &[
        ("200 204", "done b | running: a done, b done"),
        ("302 401 404 409 422 429 429/2000 unsent", "refused b, back | compensating: a done, b refused"),
        ("408 500 503/2000 lost 409/20000 503/20000", "doubt b | running: a done, b unknown"),
        ("409/2000 425/2000", "again b in-progress +2000 | running: a done, b unknown"),
        ("425", "again b in-progress +1000 | running: a done, b unknown"),
    ]),
];

#[test]
fn held() {
    check_situations(HELD);
}
