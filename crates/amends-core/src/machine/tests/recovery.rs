//! A saga that is taken into memory, and answers that come too late.

use super::script::{Row, check_rows};

/// The calls that were in flight have lost their answers; nothing else has changed.
#[rustfmt::skip]
const EVERY_STATE: &[Row] = &[
    ("a b", "recover", "again a interrupted +0, start a!2 | running: a unknown, b pending"),
    ("a b", "a=200 recover", "again b interrupted +0, start b!2 | running: a done, b unknown"),
    ("a b", "a=200 recover recover recover", "again b interrupted +0, start b!4 | running: a done, b unknown"),
    ("a b", "a=200 b=200 recover", "nothing | completed: a done, b done"),
    ("a b", "a=200 recover b!1=200", "stale"),
    ("a b", "a=200 recover b!2=200", "done b, completed | completed: a done, b done"),
    ("a b", "a=200 recover b=422", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
    ("a b(patient)", "a=200 b=503 recover", "nothing | running: a done, b unknown"),
    ("a b(once)", "a=200 recover", "dead b action unknown | stuck: a done, b dead"),
    ("a b(once,probe)", "a=200 recover", "doubt b, ask b?1 | running: a done, b unknown"),
    ("a b(once)", "a=200 b=429 recover", "dead b action unknown | stuck: a done, b dead"),
    ("a b(pivot)", "a=200 recover", "again b interrupted +0, start b!2 | running: a done, b unknown"),
    ("a b(retriable)", "a=200 recover", "again b interrupted +0, start b!2 | running: a done, b unknown"),
    ("a b(probe)", "a=200 b=lost b=lost recover", "ask-again b interrupted +0, ask b?1 | running: a done, b unknown"),
    ("a b(probe)", "a=200 b=lost b=lost recover b=yes", "found b, completed | completed: a done, b done"),
    ("a b(probe,patient)", "a=200 b=lost due b=lost b=503 recover", "nothing | running: a done, b unknown"),
    ("a b(after=a) c(after=a)", "a=200 recover", "again b interrupted +0, again c interrupted +0, start b!2, start c!2 | running: a done, b unknown, c unknown"),
    ("a b(after=a) c(after=a)", "a=200 c=422 recover", "unknown b, undo b unknown | compensating: a done, b compensating, c refused"),
    ("a b(after=a,probe) c(after=a)", "a=200 c=422 recover", "doubt b, ask b?1 | compensating: a done, b unknown, c refused"),
    ("a b(after=a,once) c(after=a)", "a=200 c=422 recover", "dead b action unknown | stuck: a done, b dead, c refused"),
    ("a b(after=a,once,probe) c(after=a)", "a=200 c=422 recover", "doubt b, ask b?1 | compensating: a done, b unknown, c refused"),
    ("a b", "a=200 b=422 recover", "nothing | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a. recover", "nothing | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a. recover a.2", "send a<2 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a. recover a<1=200", "undid a, compensated | compensated: a compensated, b refused"),
    ("a b", "a=200 b=422 a=503 recover", "nothing | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=200 recover", "nothing | compensated: a compensated, b refused"),
    ("a b", "a=200 b=422 a=403 recover", "nothing | stuck: a dead, b refused"),
    ("a b(once)", "a=200 b=lost recover", "nothing | stuck: a done, b dead"),
    ("a b", "pause recover", "again a interrupted +0 | running: a unknown, b pending"),
    ("a b", "pause recover resume", "resumed, start a!2 | running: a unknown, b pending"),
    ("a b", "pause recover a!1=200", "stale"),
    ("w(wait) a", "complete:w recover", "again a interrupted +0, start a!2 | running: w done, a unknown"),
    ("a", "a=503/1000 recover", "nothing | running: a unknown"),
    ("a", "a=503/1000 ~1000 recover", "start a!2 | running: a unknown"),
    ("a", "recover recover recover a=503 a=503", "unknown a, back, undo a unknown | compensating: a compensating"),
    ("a(once)", "recover retry:a", "settled a retry, start a!2 | running: a unknown"),
    ("a(once)", "recover retry:a recover", "dead a action unknown | stuck: a dead"),
];

#[test]
fn every_state() {
    check_rows(EVERY_STATE);
}

/// Late, repeated and invented answers change nothing.
#[rustfmt::skip]
const LATE_ANSWERS: &[Row] = &[
    ("a b", "a!1=200 a!1=200", "stale"),
    ("a b", "a=200 a!1=503", "stale"),
    ("a b", "a!2=200", "stale"),
    ("a b", "a?1=yes", "stale"),
    ("a b", "a<1=200", "stale"),
    ("a b", "b!1=200", "stale"),
    ("a b", "x!1=200", "stale"),
    ("a b", "a=503 a!1=200", "stale"),
    ("a b", "a=503 a=200 a!1=503", "stale"),
    ("a b", "cancel a=200 a!1=200", "stale"),
    ("a b", "a=422 a!1=200", "stale"),
    ("a b", "a=200 b=200 b!2=200", "stale"),
    ("a b(after=) c(after=a+b)", "a=422 b=422 b!1=200", "stale"),
];

#[test]
fn late_answers() {
    check_rows(LATE_ANSWERS);
}
