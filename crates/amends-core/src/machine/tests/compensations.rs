//! Answers to compensations, their messages and their budget.

use super::script::{Row, Situation, check_rows, check_situations};

/// At the first attempt, and at the last one after an uncertain and after a certain one.
#[rustfmt::skip]
const ANSWERS: &[Situation] = &[
    ("a b", "a=200 b=422 a=", &[
        ("200 204 410", "undid a, compensated | compensated: a compensated, b refused"),
        ("302 400 409 422 429 unsent", "undo-again a not-done +0 | compensating: a compensating, b refused"),
        ("401 403 404", "dead a compensation done | stuck: a dead, b refused"),
        ("408 500 lost", "undo-again a unknown +0 | compensating: a compensating, b refused"),
        ("409/2000 425/2000", "undo-again a in-progress +2000 | compensating: a compensating, b refused"),
        ("425", "undo-again a in-progress +1000 | compensating: a compensating, b refused"),
        ("429/2000", "undo-again a not-done +2000 | compensating: a compensating, b refused"),
        ("503/2000", "undo-again a unknown +2000 | compensating: a compensating, b refused"),
        ("409/20000 503/20000", "dead a compensation unknown | stuck: a dead, b refused"),
    ]),
    ("a b", "a=200 b=422 a=503 a=", &[
        ("200 204 410", "undid a, compensated | compensated: a compensated, b refused"),
        ("302 400 401 403 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "dead a compensation unknown | stuck: a dead, b refused"),
        ("409/2000 425/2000", "undo-again a in-progress +2000 | compensating: a compensating, b refused"),
        ("425", "undo-again a in-progress +1000 | compensating: a compensating, b refused"),
    ]),
    ("a b", "a=200 b=422 a=429 a=", &[
        ("200 204 410", "undid a, compensated | compensated: a compensated, b refused"),
        ("302 400 401 403 404 409 422 429 429/2000 unsent", "dead a compensation done | stuck: a dead, b refused"),
        ("408 500 503/2000 lost 409/20000 503/20000", "dead a compensation unknown | stuck: a dead, b refused"),
        ("409/2000 425/2000", "undo-again a in-progress +2000 | compensating: a compensating, b refused"),
        ("425", "undo-again a in-progress +1000 | compensating: a compensating, b refused"),
    ]),
];

#[test]
fn answers() {
    check_situations(ANSWERS);
}

/// Only where the definition says so does a 404 end it.
#[rustfmt::skip]
const THE_DEFINITION_SAYS_THAT_404_IS_DONE: &[Situation] = &[
    ("a(gone) b", "a=200 b=422 a=", &[
        ("200 204 404 410", "undid a, compensated | compensated: a compensated, b refused"),
        ("302 400 409 422 429 unsent", "undo-again a not-done +0 | compensating: a compensating, b refused"),
        ("401 403", "dead a compensation done | stuck: a dead, b refused"),
        ("408 500 lost", "undo-again a unknown +0 | compensating: a compensating, b refused"),
        ("409/2000 425/2000", "undo-again a in-progress +2000 | compensating: a compensating, b refused"),
        ("425", "undo-again a in-progress +1000 | compensating: a compensating, b refused"),
        ("429/2000", "undo-again a not-done +2000 | compensating: a compensating, b refused"),
        ("503/2000", "undo-again a unknown +2000 | compensating: a compensating, b refused"),
        ("409/20000 503/20000", "dead a compensation unknown | stuck: a dead, b refused"),
    ]),
];

#[test]
fn the_definition_says_that_404_is_done() {
    check_situations(THE_DEFINITION_SAYS_THAT_404_IS_DONE);
}

/// The claim of a dead letter stays what it was.
#[rustfmt::skip]
const NOBODY_KNOWS_WHETHER_THERE_IS_AN_EFFECT: &[Situation] = &[
    ("a(tries=1) b", "a=lost a=", &[
        ("200 204 410", "undid a, compensated | compensated: a compensated, b skipped"),
        ("302 400 401 403 404 408 409 422 429 429/2000 500 503/2000 lost unsent 409/20000 503/20000", "dead a compensation unknown | stuck: a dead, b skipped"),
        ("409/2000 425/2000", "undo-again a in-progress +2000 | compensating: a compensating, b skipped"),
        ("425", "undo-again a in-progress +1000 | compensating: a compensating, b skipped"),
    ]),
];

#[test]
fn nobody_knows_whether_there_is_an_effect() {
    check_situations(NOBODY_KNOWS_WHETHER_THERE_IS_AN_EFFECT);
}

/// Answers are recorded, and nothing new is begun.
#[rustfmt::skip]
const HELD: &[Situation] = &[
    ("a b", "a=200 b=422 a. pause a=", &[
        ("200 204 410", "undid a | compensating: a compensated, b refused"),
        ("302 400 409 422 429 unsent", "undo-again a not-done +0 | compensating: a compensating, b refused"),
        ("401 403 404", "dead a compensation done | stuck: a dead, b refused"),
        ("408 500 lost", "undo-again a unknown +0 | compensating: a compensating, b refused"),
        ("409/2000 425/2000", "undo-again a in-progress +2000 | compensating: a compensating, b refused"),
        ("425", "undo-again a in-progress +1000 | compensating: a compensating, b refused"),
        ("429/2000", "undo-again a not-done +2000 | compensating: a compensating, b refused"),
        ("503/2000", "undo-again a unknown +2000 | compensating: a compensating, b refused"),
        ("409/20000 503/20000", "dead a compensation unknown | stuck: a dead, b refused"),
    ]),
];

#[test]
fn held() {
    check_situations(HELD);
}

/// Messages that come, come again, come too often, or come for something else by now.
#[rustfmt::skip]
const MESSAGES: &[Row] = &[
    ("a b", "a=200 b=422 a.", "send a<1 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a.20", "send a<20 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a.21", "dead a compensation unknown | stuck: a dead, b refused"),
    ("a b", "a=200 b=422 a. a.2", "send a<2 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a. a.2 a<1=503 a<1=200", "stale"),
    ("a b", "a=200 b=422 a. a.2 a<1=200 a<2=503", "stale"),
    ("a b", "a=200 b=422 a. a.2 a<2=429", "undo-again a unknown +0 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a. a.2 a<2=429 a<2=200", "stale"),
    ("a b", "a=200 b=422 a. a.2 a<2=429 a<1=200", "stale"),
    ("a b", "a=200 b=422 a. a.2 a<2=429 a.", "send a<3 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a. a.2 a<2=401", "dead a compensation unknown | stuck: a dead, b refused"),
    ("a b", "a=200 b=422 a. a.2 a<2=200", "undid a, compensated | compensated: a compensated, b refused"),
    ("a b", "a=200 b=422 a. reword a.2", "dead a compensation unknown | stuck: a dead, b refused"),
    ("a b", "a=200 b=422 a=503 a.", "send a<2 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=503 a<1=200", "stale"),
    ("a b", "a=200 b=422 a=200 a.", "stale"),
    ("a b", "a=200 b=422 a=200 a<1=200", "stale"),
    ("a b", "a=200 b=422 b.", "stale"),
    ("a b", "a=200 a.", "stale"),
    ("a b", "a=200 x.", "stale"),
    ("a b", "a=200 b=422 pause a.", "nothing | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 pause a.21", "nothing | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 pause a.21 resume", "resumed | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 reword a.", "dead a compensation done | stuck: a dead, b refused"),
    ("a b", "a=200 b=422 reword a. retry:a", "settled a retry, undo a done | compensating: a compensating, b refused"),
    ("a(undo-needs) b", "a=200 b=422", "refused b, back, dead a compensation done | stuck: a dead, b refused"),
    ("a(undo-needs) b", "a=200 b=422 retry:a", "settled a retry, dead a compensation done | stuck: a dead, b refused"),
    ("a(undo-needs) b", "a=200 b=422 undone:a", "settled a undone, compensated | compensated: a compensated, b refused"),
    ("a(undo-reads=a) b", "a=200 b=422", "refused b, back, undo a done | compensating: a compensating, b refused"),
    ("a(undo-reads=a,tries=1) b", "a=lost", "unknown a, back, dead a compensation unknown | stuck: a dead, b skipped"),
    ("a(undo-output) b", "a=200 b=422 a.", "send a<1 | compensating: a compensating, b refused"),
    ("a(undo-output,tries=1) b", "a=lost a.", "send a<1 | compensating: a compensating, b skipped"),
    ("a(probe,undo-reads=a,tries=1) b", "a=lost a=yes b=422", "refused b, back, undo a done | compensating: a compensating, b refused"),
];

#[test]
fn messages() {
    check_rows(MESSAGES);
}

/// How often and how long it is tried. Only the delays between attempts count, not the time in the queue.
#[rustfmt::skip]
const BUDGET: &[Row] = &[
    ("a(tries=1) b", "a=200 b=422 a=503", "dead a compensation unknown | stuck: a dead, b refused"),
    ("a(tries=3) b", "a=200 b=422 a=503 a=429", "undo-again a not-done +0 | compensating: a compensating, b refused"),
    ("a(tries=3) b", "a=200 b=422 a=503 a=429 a=500", "dead a compensation unknown | stuck: a dead, b refused"),
    ("a b", "a=200 b=422 +3600000 a=503", "undo-again a unknown +0 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=503 ~3600000 a=425", "undo-again a in-progress +1000 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=425/8000 a=425/2000", "undo-again a in-progress +2000 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=425/8000 a=425/2001", "dead a compensation unknown | stuck: a dead, b refused"),
    ("a b", "a=200 b=422 a=425/5000 ~5000 a=425/5000 ~5000 a=425", "dead a compensation unknown | stuck: a dead, b refused"),
    ("a b", "a=200 b=422 a=425/0", "undo-again a in-progress +100 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=403 retry:a", "settled a retry, undo a done | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=403 retry:a a=503", "undo-again a unknown +0 | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=503 a=503 retry:a a=429 a=429", "dead a compensation unknown | stuck: a dead, b refused"),
];

#[test]
fn budget() {
    check_rows(BUDGET);
}
