//! Asking whether an action happened.

use super::script::{Row, Situation, check_rows, check_situations};

/// Whatever is not a clear yes or no is asked again.
#[rustfmt::skip]
const FIRST_QUESTION: &[Situation] = &[
    ("a b(probe)", "a=200 b=lost b=lost b=", &[
        ("yes", "found b, completed | completed: a done, b done"),
        ("no", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
        ("200 204 302 400 401 403 404 408 425 429 500 lost unsent", "ask-again b unknown +0, ask b?2 | running: a done, b unknown"),
        ("409/2000 429/2000 503/2000", "ask-again b unknown +2000 | running: a done, b unknown"),
        ("503/20000", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
    ]),
];

#[test]
fn first_question() {
    check_situations(FIRST_QUESTION);
}

/// And then it depends on what may be done about it.
#[rustfmt::skip]
const LAST_QUESTION: &[Situation] = &[
    ("a b(probe)", "a=200 b=lost b=lost b=503 b=", &[
        ("yes", "found b, completed | completed: a done, b done"),
        ("no", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
        ("200 204 302 400 401 403 404 408 409/2000 425 429 429/2000 500 503/2000 lost unsent 503/20000", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
    ]),
    ("a b(once,probe)", "a=200 b=lost b=503 b=", &[
        ("yes", "found b, completed | completed: a done, b done"),
        ("no", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("200 204 302 400 401 403 404 408 409/2000 425 429 429/2000 500 503/2000 lost unsent 503/20000", "dead b probe unknown | stuck: a done, b dead"),
    ]),
    ("a b(pivot,probe)", "a=200 b=lost b=lost b=503 b=", &[
        ("yes", "found b, completed | completed: a done, b done"),
        ("no", "refused b, back, undo a done | compensating: a compensating, b refused"),
        ("200 204 302 400 401 403 404 408 409/2000 425 429 429/2000 500 503/2000 lost unsent 503/20000", "dead b probe unknown | stuck: a done, b dead"),
    ]),
    ("a b(retriable,probe)", "a=200 b=lost b=lost b=503 b=", &[
        ("yes", "found b, completed | completed: a done, b done"),
        ("no", "dead b action undone | stuck: a done, b dead"),
        ("200 204 302 400 401 403 404 408 409/2000 425 429 429/2000 500 503/2000 lost unsent 503/20000", "dead b probe unknown | stuck: a done, b dead"),
    ]),
];

#[test]
fn last_question() {
    check_situations(LAST_QUESTION);
}

/// The question is seen to its end after the turn.
#[rustfmt::skip]
const ON_THE_WAY_BACK: &[Situation] = &[
    ("a b(after=a,probe) c(after=a)", "a=200 b=lost b=lost c=422 b=", &[
        ("yes", "found b, undo b done | compensating: a done, b compensating, c refused"),
        ("no", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
        ("200 204 302 400 401 403 404 408 425 429 500 lost unsent", "ask-again b unknown +0, ask b?2 | compensating: a done, b unknown, c refused"),
        ("409/2000 429/2000 503/2000", "ask-again b unknown +2000 | compensating: a done, b unknown, c refused"),
        ("503/20000", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
    ]),
    ("a b(after=a,probe) c(after=a)", "a=200 b=lost b=lost c=422 b=503 b=", &[
        ("yes", "found b, undo b done | compensating: a done, b compensating, c refused"),
        ("no", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
        ("200 204 302 400 401 403 404 408 409/2000 425 429 429/2000 500 503/2000 lost unsent 503/20000", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
    ]),
    ("a b(after=a,once,probe) c(after=a)", "a=200 b=lost c=422 b=503 b=", &[
        ("yes", "found b, undo b done | compensating: a done, b compensating, c refused"),
        ("no", "refused b, undo a done | compensating: a compensating, b refused, c refused"),
        ("200 204 302 400 401 403 404 408 409/2000 425 429 429/2000 500 503/2000 lost unsent 503/20000", "dead b probe unknown | stuck: a done, b dead, c refused"),
    ]),
];

#[test]
fn on_the_way_back() {
    check_situations(ON_THE_WAY_BACK);
}

/// Answers are recorded, and nothing new is begun.
#[rustfmt::skip]
const HELD: &[Situation] = &[
    ("a b(probe)", "a=200 b=lost b=lost pause b=", &[
        ("yes", "found b | running: a done, b done"),
        ("no", "unknown b, back | compensating: a done, b unknown"),
        ("200 204 302 400 401 403 404 408 425 429 500 lost unsent", "ask-again b unknown +0 | running: a done, b unknown"),
        ("409/2000 429/2000 503/2000", "ask-again b unknown +2000 | running: a done, b unknown"),
        ("503/20000", "unknown b, back | compensating: a done, b unknown"),
    ]),
];

#[test]
fn held() {
    check_situations(HELD);
}

/// Questions that cannot be asked, that were answered before, that a person lets ask again.
#[rustfmt::skip]
const QUESTIONS: &[Row] = &[
    ("a b(probe,probe-needs)", "a=200 b=lost b=lost", "doubt b, unknown b, back, undo b unknown | compensating: a done, b compensating"),
    ("a b(once,probe,probe-needs)", "a=200 b=lost", "doubt b, dead b probe unknown | stuck: a done, b dead"),
    ("a b(retriable,probe,probe-needs)", "a=200 b=lost b=lost", "doubt b, dead b probe unknown | stuck: a done, b dead"),
    ("a b(probe)", "a=200 b=lost b=lost b?2=yes", "stale"),
    ("a b(probe)", "a=200 b=lost b=lost b!2=200", "stale"),
    ("a b(probe)", "a=200 b=lost b=lost b=503 b?1=yes", "stale"),
    ("a b(probe)", "a=200 b=lost b=lost b=no b?1=yes", "stale"),
    ("a(probe,tries=1) b(reads=a)", "a=lost a=yes", "found a, start b!1 | running: a done, b running"),
    ("a(probe,tries=3) b", "a=lost a=429 a=lost a=500 a=lost", "ask-again a unknown +0, ask a?3 | running: a unknown, b pending"),
    ("a(probe,tries=3) b", "a=lost a=429 a=lost a=500 a=lost a=unsent", "unknown a, back, undo a unknown | compensating: a compensating, b skipped"),
    ("a(probe,patient,tries=3) b", "a=429 due a=lost due a=503", "doubt a, ask a?1 | running: a unknown, b pending"),
    ("a(probe,patient,tries=3) b", "a=429 due a=lost due a=503 a=503 tick", "nothing | running: a unknown, b pending"),
    ("a b(retriable,probe,tries=1)", "a=200 b=lost b=no retry:b", "settled b retry, start b!2 | running: a done, b running"),
    ("a b(retriable,probe,tries=1)", "a=200 b=lost b=no retry:b b=422", "dead b action undone | stuck: a done, b dead"),
    ("a b(retriable,probe,tries=1)", "a=200 b=lost b=503 retry:b", "settled b retry, ask b?1 | running: a done, b unknown"),
    ("a b(retriable,probe,tries=1)", "a=200 b=lost b=503 retry:b b=no", "dead b action undone | stuck: a done, b dead"),
    ("a b(probe)", "a=200 b=lost b=lost pause b=503 resume", "resumed, ask b?2 | running: a done, b unknown"),
    ("a b(probe,tries=1)", "a=200 pause b=lost resume", "resumed, ask b?1 | running: a done, b unknown"),
    ("a b(probe,tries=1)", "a=200 pause b=lost recover", "nothing | running: a done, b unknown"),
    ("a b(once,probe)", "a=200 pause recover", "doubt b | running: a done, b unknown"),
    ("a b(probe,tries=1)", "a=200 b=lost b=withdrawn", "ask-again b withdrawn +0, ask b?1 | running: a done, b unknown"),
    ("a b(bare,probe)", "a=200 b=lost b=lost b=no", "refused b, back, undo a done | compensating: a compensating, b refused"),
    ("a b(unsaid,probe)", "a=200 b=lost b=lost b=no", "refused b, back, undo a done | compensating: a compensating, b refused"),
    ("a b(probe,undo-reads=b)", "a=200 b=lost b=lost b=no", "refused b, back, undo a done | compensating: a compensating, b refused"),
    ("a b(once,probe)", "a=200 pause recover resume", "resumed, ask b?1 | running: a done, b unknown"),
];

#[test]
fn questions() {
    check_rows(QUESTIONS);
}

/// Steps that were to be tried again when the saga turned back.
#[rustfmt::skip]
const DOUBTS_AT_THE_TURN: &[Row] = &[
    ("a b(after=a,patient) c(after=a)", "a=200 b=lost c=422", "refused c, back, undo b unknown | compensating: a done, b compensating, c refused"),
    ("a b(after=a,patient) c(after=a)", "a=200 b=429 c=422", "refused c, back, undo a done | compensating: a compensating, b refused, c refused"),
    ("a b(after=a,patient,probe) c(after=a)", "a=200 b=lost c=422", "refused c, doubt b, back, ask b?1 | compensating: a done, b unknown, c refused"),
    ("a b(after=a,patient,probe) c(after=a)", "a=200 b=429 c=422", "refused c, back, undo a done | compensating: a compensating, b refused, c refused"),
    ("a b(after=a,patient,probe) c(after=a)", "a=200 b=lost c=422 b=yes", "found b, undo b done | compensating: a done, b compensating, c refused"),
    ("a b(after=a,patient,probe) c(after=a)", "a=200 b=lost c=422 b=no", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
    ("a b(after=a,once) c(after=a)", "a=200 b=lost pause retry:b c=422", "refused c, dead b action unknown, back | stuck: a done, b dead, c refused"),
    ("a b(after=a,once,probe) c(after=a)", "a=200 b=lost b=503 b=503 pause retry:b c=422", "refused c, back | compensating: a done, b unknown, c refused"),
];

#[test]
fn doubts_at_the_turn() {
    check_rows(DOUBTS_AT_THE_TURN);
}
