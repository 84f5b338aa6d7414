//! Steps that wait for somebody, and steps that sleep.

use super::script::{Row, check_rows};

/// Waits that can be undone.
#[rustfmt::skip]
const WAITS: &[Row] = &[
    ("w(wait) a", "", "wait w +60000 | running: w waiting, a pending"),
    ("a w(wait)", "a=200", "done a, wait w +60000 | running: a done, w waiting"),
    ("w(wait) a", "complete:w", "completed w, start a!1 | running: w done, a running"),
    ("w(wait) a", "+59999", "nothing | running: w waiting, a pending"),
    ("w(wait) a", "+60000", "failed w, back, compensated | compensated: w refused, a skipped"),
    ("a w(wait)", "a=200 +60000", "failed w, back, undo a done | compensating: a compensating, w refused"),
    ("a w(wait)", "a=200 fail:w", "failed w, back, undo a done | compensating: a compensating, w refused"),
    ("a w(wait)", "a=200 ~60000 complete:w", "completed w, completed | completed: a done, w done"),
    ("a w(wait)", "a=200 ~60000 fail:w", "failed w, back, undo a done | compensating: a compensating, w refused"),
    ("a w(wait)", "a=200 complete:w complete:w", "no: step w is not waiting: it is done"),
    ("a w(wait) b", "a=200 complete:w complete:w", "no: step w is not waiting: it is done"),
    ("a w(wait) b", "a=200 complete:w fail:w", "no: step w is not waiting: it is done"),
    ("a w(wait)", "complete:w", "no: step w is not waiting: it is pending"),
    ("a w(wait)", "complete:a", "no: step a is not waiting: it is running"),
    ("a w(wait)", "fail:a", "no: step a is not waiting: it is running"),
    ("a w(wait)", "complete:nobody", "no: the saga has no such step"),
    ("a w(wait)", "fail:nobody", "no: the saga has no such step"),
    ("a w(wait) b", "a=200 fail:w complete:w", "no: step w is not waiting: it is refused"),
    ("a w(wait) b(after=a)", "a=200 b=422", "refused b, back, undo a done | compensating: a compensating, w skipped, b refused"),
    ("a w(wait) b(after=a)", "a=200 b=422 complete:w", "no: step w is not waiting: it is skipped"),
    ("w(wait) a", "pause complete:w", "completed w | running: w done, a pending"),
    ("w(wait) a", "pause complete:w resume", "resumed, start a!1 | running: w done, a running"),
    ("w(wait) a", "pause +60000", "nothing | running: w waiting, a pending"),
    ("w(wait) a", "pause ~60000 resume", "resumed, failed w, back, compensated | compensated: w refused, a skipped"),
    ("a w(wait) b", "a=200 pause fail:w", "failed w, back | compensating: a done, w refused, b skipped"),
    ("a w(wait) b", "a=200 pause fail:w resume", "resumed, undo a done | compensating: a compensating, w refused, b skipped"),
    ("w(wait) a", "recover", "nothing | running: w waiting, a pending"),
    ("w(wait) a", "~60000 recover", "failed w, back, compensated | compensated: w refused, a skipped"),
    ("w(wait) a(reads=w)", "complete:w", "completed w, start a!1 | running: w done, a running"),
];

#[test]
fn waits() {
    check_rows(WAITS);
}

/// Waits whose failure cannot turn the saga back, and the pivot that is a wait.
#[rustfmt::skip]
const PAST_THE_POINT_OF_NO_RETURN: &[Row] = &[
    ("a(pivot) w(wait)", "a=200 +60000", "dead w action undone | stuck: a done, w dead"),
    ("a(pivot) w(wait)", "a=200 fail:w", "dead w action undone | stuck: a done, w dead"),
    ("a(pivot) w(wait)", "a=200 fail:w retry:w", "settled w retry, wait w +60000 | running: a done, w waiting"),
    ("a(pivot) w(wait)", "a=200 fail:w retry:w complete:w", "completed w, completed | completed: a done, w done"),
    ("a(pivot) w(wait)", "a=200 fail:w done:w", "settled w done, completed | completed: a done, w done"),
    ("a(pivot) w(wait)", "a=200 fail:w undone:w", "no: the saga can only go forward, so a step that did not happen is to be retried, or skipped"),
    ("a(pivot) w(wait)", "a=200 fail:w skip:w", "settled w skip, completed | completed: a done, w skipped"),
    ("a w(wait,retriable)", "a=200 fail:w", "dead w action undone | stuck: a done, w dead"),
    ("a w(wait,retriable)", "a=200 cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a w(wait,retriable)", "a=200 fail:w undone:w", "no: the saga can only go forward, so a step that did not happen is to be retried, or skipped"),
    ("a w(wait,pivot)", "a=200 cancel", "back, undo a done | compensating: a compensating, w skipped"),
    ("a w(wait,pivot)", "a=200 fail:w", "failed w, back, undo a done | compensating: a compensating, w refused"),
    ("a w(wait,pivot)", "a=200 +60000", "failed w, back, undo a done | compensating: a compensating, w refused"),
    ("a w(wait,pivot) b(retriable)", "a=200 complete:w", "completed w, start b!1 | running: a done, w done, b running"),
    ("a w(wait,pivot) b(retriable)", "a=200 complete:w cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a p(pivot) w(after=a,wait)", "a=200 fail:w", "dead w action undone | stuck: a done, p running, w dead"),
    ("a p(pivot) w(after=a,wait)", "a=200 fail:w p=422", "refused p, back | stuck: a done, p refused, w dead"),
    ("a p(pivot) w(after=a,wait)", "a=200 fail:w p=422 undone:w", "settled w undone, undo a done | compensating: a compensating, p refused, w refused"),
    ("a p(pivot) w(after=a,wait)", "a=200 fail:w undone:w", "no: the saga is past its point of no return, so a step that did not happen is to be retried, or skipped"),
    ("a p(pivot,patient) w(after=a,wait)", "a=200 p=429 fail:w", "failed w, back, undo a done | compensating: a compensating, p refused, w refused"),
    ("a p(pivot,patient) w(after=a,wait)", "a=200 p=503 fail:w", "dead w action undone | stuck: a done, p unknown, w dead"),
];

#[test]
fn past_the_point_of_no_return() {
    check_rows(PAST_THE_POINT_OF_NO_RETURN);
}

/// Sleeps.
#[rustfmt::skip]
const SLEEPS: &[Row] = &[
    ("s(sleep) a", "", "sleep s +10000 | running: s sleeping, a pending"),
    ("s(sleep) a", "+9999", "nothing | running: s sleeping, a pending"),
    ("s(sleep) a", "+10000", "slept s, start a!1 | running: s done, a running"),
    ("a s(sleep)", "a=200 +10000", "slept s, completed | completed: a done, s done"),
    ("a s(sleep) b", "a=200 cancel", "back, undo a done | compensating: a compensating, s skipped, b skipped"),
    ("a s(sleep) b(after=a)", "a=200 b=422", "refused b, back, undo a done | compensating: a compensating, s skipped, b refused"),
    ("s(sleep) a", "~10000 recover", "slept s, start a!1 | running: s done, a running"),
    ("s(sleep) a", "pause +10000", "nothing | running: s sleeping, a pending"),
    ("s(sleep) a", "pause ~10000 resume", "resumed, slept s, start a!1 | running: s done, a running"),
    ("s(sleep) a", "complete:s", "no: step s is not waiting: it is sleeping"),
    ("s(sleep) t(sleep=1s,after=) a(after=s+t)", "+1000", "slept t | running: s sleeping, t done, a pending"),
    ("s(sleep=5s) t(sleep=5s,after=) a(after=s+t)", "+5000", "slept s, slept t, start a!1 | running: s done, t done, a running"),
    ("s(sleep=5s) t(sleep=5s,after=) w(wait=5s,after=) a(after=s+t+w)", "+5000", "slept s, slept t, failed w, back, compensated | compensated: s done, t done, w refused, a skipped"),
];

#[test]
fn sleeps() {
    check_rows(SLEEPS);
}
