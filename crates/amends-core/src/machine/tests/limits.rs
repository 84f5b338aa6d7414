//! Deadlines, attempts and totals.

use super::script::{Row, check_rows};

/// A deadline turns the saga back as long as it can turn back, and means nothing afterwards.
#[rustfmt::skip]
const DEADLINES: &[Row] = &[
    ("deadline=30s a b", "+29999", "nothing | running: a running, b pending"),
    ("deadline=30s a b", "+30000", "back | compensating: a running, b skipped"),
    ("deadline=30s a b", "~30000 a=200", "done a, back, undo a done | compensating: a compensating, b skipped"),
    ("deadline=30s a b", "a=200 ~30000 b=200", "done b, completed | completed: a done, b done"),
    ("deadline=30s a b", "a=200 ~30000 b=422", "refused b, back, undo a done | compensating: a compensating, b refused"),
    ("deadline=30s a b", "a=200 ~30000 b=503", "unknown b, back, undo b unknown | compensating: a done, b compensating"),
    ("deadline=30s a b", "a=200 ~30000 recover", "again b interrupted +0, back, undo b unknown | compensating: a done, b compensating"),
    ("deadline=30s a(patient) b", "a=429 ~30000 tick", "back, compensated | compensated: a refused, b skipped"),
    ("deadline=30s a(patient) b", "a=503 ~30000 tick", "back, undo a unknown | compensating: a compensating, b skipped"),
    ("deadline=30s a(once) b", "a=503 +30000", "back | stuck: a dead, b skipped"),
    ("deadline=30s a w(wait=20s)", "a=200 ~30000 complete:w", "completed w, completed | completed: a done, w done"),
    ("deadline=30s a w(wait=20s) b", "a=200 ~30000 complete:w", "completed w, back, undo a done | compensating: a compensating, w done, b skipped"),
    ("deadline=30s a s(sleep)", "a=200 ~30000 tick", "back, undo a done | compensating: a compensating, s skipped"),
    ("deadline=30s a p(pivot)", "a=200 +30000", "nothing | running: a done, p running"),
    ("deadline=30s a p(pivot) b(retriable)", "a=200 ~30000 p=200", "done p, start b!1 | running: a done, p done, b running"),
    ("deadline=30s a p(pivot)", "a=200 ~30000 p=503", "dead p action unknown | stuck: a done, p dead"),
    ("deadline=30s a p(pivot)", "a=200 ~30000 p=429", "refused p, back, undo a done | compensating: a compensating, p refused"),
    ("deadline=30s a p(pivot,patient)", "a=200 p=429 ~30000 tick", "back, undo a done | compensating: a compensating, p refused"),
    ("deadline=30s a p(pivot,patient)", "a=200 p=503 ~30000 tick", "start p!2 | running: a done, p unknown"),
    ("deadline=30s a b(retriable)", "a=200 +30000", "nothing | running: a done, b running"),
    ("deadline=30s a b(retriable)", "~30000 a=200", "done a, back, undo a done | compensating: a compensating, b skipped"),
    ("deadline=30s a b(retriable)", "a=200 b=422 ~30000 retry:b", "settled b retry, start b!2 | running: a done, b running"),
    ("deadline=30s a b(retriable)", "a=200 b=503 b=503 ~30000 retry:b", "settled b retry, start b!3 | running: a done, b unknown"),
    ("deadline=30s a b(retriable) c(retriable)", "a=200 b=422 ~30000 skip:b", "settled b skip, start c!1 | running: a done, b skipped, c running"),
    ("deadline=30s a b(pivot) c(retriable)", "a=200 b=503 b=503 ~30000 skip:b", "settled b skip, start c!1 | running: a done, b skipped, c running"),
    ("deadline=30s a b(pivot) c(retriable)", "a=200 b=503 b=503 ~30000 retry:b", "settled b retry, start b!3 | running: a done, b unknown, c pending"),
    ("deadline=30s a b(pivot) c(retriable)", "a=200 b=503 b=503 ~30000 undone:b", "settled b undone, back, undo a done | compensating: a compensating, b refused, c skipped"),
    ("deadline=30s a b(once) c", "a=200 b=503 ~30000 retry:b", "settled b retry, dead b action unknown, back | stuck: a done, b dead, c skipped"),
    ("deadline=30s a b", "pause +30000", "nothing | running: a running, b pending"),
    ("deadline=30s a b", "pause ~30000 resume", "resumed, back | compensating: a running, b skipped"),
    ("deadline=30s a b", "pause ~30000 a=200", "done a | running: a done, b pending"),
    ("deadline=30s a b", "pause ~30000 a=200 resume", "resumed, back, undo a done | compensating: a compensating, b skipped"),
    ("deadline=30s w(wait=20s,retriable) a(retriable)", "fail:w ~30000 retry:w", "settled w retry, wait w +20000 | running: w waiting, a pending"),
];

#[test]
fn deadlines() {
    check_rows(DEADLINES);
}

/// Attempts are spent exactly as the policy says; those that cost none are bounded by the total.
#[rustfmt::skip]
const ATTEMPTS: &[Row] = &[
    ("a(tries=1)", "a=429", "refused a, back, compensated | compensated: a refused"),
    ("a(tries=2)", "a=429 a=unsent", "refused a, back, compensated | compensated: a refused"),
    ("a(tries=3)", "a=429 a=unsent", "again a not-done +0, start a!3 | running: a running"),
    ("a(tries=3)", "a=429 a=unsent a=429", "refused a, back, compensated | compensated: a refused"),
    ("a(tries=2)", "a=409/100 due a=425/100 due a=429", "again a not-done +0, start a!4 | running: a unknown"),
    ("a", "a=409/1000 due", "start a!2 | running: a unknown"),
    ("a", "a=409/0", "again a in-progress +100 | running: a unknown"),
    ("a", "a=425", "again a in-progress +1000 | running: a unknown"),
    ("a", "a=409/5000 due a=409/5000 due a=409/1", "unknown a, back, undo a unknown | compensating: a compensating"),
    ("a", "a=409/5000 due a=409/5000", "again a in-progress +5000 | running: a unknown"),
    ("a", "a=409/10001", "unknown a, back, undo a unknown | compensating: a compensating"),
    ("a", "a=503/10000", "again a unknown +10000 | running: a unknown"),
    ("a", "a=503/10001", "unknown a, back, undo a unknown | compensating: a compensating"),
    ("a", "a=429/10001", "refused a, back, compensated | compensated: a refused"),
    ("a(once)", "a=429/10001", "refused a, back, compensated | compensated: a refused"),
    ("a(patient,tries=3)", "a=503 tick", "nothing | running: a unknown"),
    ("a(patient,tries=3)", "a=503 due", "start a!2 | running: a unknown"),
    ("a(patient,tries=3)", "a=429/30000", "again a not-done +30326 | running: a running"),
    ("a(patient,tries=3)", "a=429/30000 ~29999 tick", "nothing | running: a running"),
];

#[test]
fn attempts() {
    check_rows(ATTEMPTS);
}
