//! What follows from what, one line a case: the definition, the script, and where it comes to rest.

use crate::play::{Play, check};

type Row = (&'static str, &'static str, &'static str);

#[track_caller]
fn check_all(rows: &[Row]) {
    rows.iter().for_each(|(definition, script, expected)| check(definition, script, expected));
}

/// The table of answers to an action, for each kind of step.
const ACTIONS: &[Row] = &[
    ("z a", "a: 404", "compensated: z compensated, a refused; z a undo-z"),
    ("z a", "a: 302", "compensated: z compensated, a refused; z a undo-z"),
    ("z a", "a: 409", "compensated: z compensated, a refused; z a undo-z"),
    ("z a", "a: 425, 200", "completed: z done, a done; z a a"),
    ("z a", "a: 409/100, 200", "completed: z done, a done; z a a"),
    ("z a", "a: 429, 200", "completed: z done, a done; z a a"),
    ("z a", "a: unsent, 200", "completed: z done, a done; z a a"),
    ("z a", "a: 429 x2", "compensated: z compensated, a refused; z a a undo-z"),
    ("z a", "a: unsent x2", "compensated: z compensated, a refused; z a a undo-z"),
    ("z a", "a: 503, 200", "completed: z done, a done; z a a"),
    ("z a", "a: 503 x2", "compensated: z compensated, a compensated; z a a undo-a undo-z"),
    ("z a", "a: lost x2", "compensated: z compensated, a compensated; z a a undo-a undo-z"),
    ("z a", "a: 408 x2", "compensated: z compensated, a compensated; z a a undo-a undo-z"),
    ("z a", "a: 503, 404", "compensated: z compensated, a compensated; z a a undo-a undo-z"),
    ("z a", "a: 503, 429", "compensated: z compensated, a compensated; z a a undo-a undo-z"),
    ("z a", "a: 425, 404", "compensated: z compensated, a compensated; z a a undo-a undo-z"),
    ("z a", "a: 429, 404", "compensated: z compensated, a refused; z a a undo-z"),
    ("z a", "a: 425 x20", "compensated: z compensated, a compensated; z a a a a a a a a a a a undo-a undo-z"),
    ("z a(probe)", "a: 503 x2; ask a: yes", "completed: z done, a done; z a a ask-a"),
    ("z a(probe)", "a: 503 x2; ask a: no", "compensated: z compensated, a refused; z a a ask-a undo-z"),
    (
        "z a(probe)",
        "a: 503 x2; ask a: 503 x2",
        "compensated: z compensated, a compensated; z a a ask-a ask-a undo-a undo-z",
    ),
    ("z a(probe)", "a: 503, 404; ask a: yes", "completed: z done, a done; z a a ask-a"),
    (
        "z a(probe)",
        "a: 503, 404; ask a: 404",
        "compensated: z compensated, a compensated; z a a ask-a ask-a undo-a undo-z",
    ),
    ("z a(probe)", "a: 404", "compensated: z compensated, a refused; z a undo-z"),
    ("z a(probe)", "a: 429 x2", "compensated: z compensated, a refused; z a a undo-z"),
    ("z a(probe)", "a: 503 x2; ask a: 503, yes", "completed: z done, a done; z a a ask-a ask-a"),
    ("z a(once)", "a: 503", "stuck: z done, a dead; z a"),
    ("z a(once)", "a: lost", "stuck: z done, a dead; z a"),
    ("z a(once)", "a: 425", "stuck: z done, a dead; z a"),
    ("z a(once)", "a: 429, 200", "completed: z done, a done; z a a"),
    ("z a(once)", "a: 404", "compensated: z compensated, a refused; z a undo-z"),
    ("z a(once,probe)", "a: 503; ask a: yes", "completed: z done, a done; z a ask-a"),
    ("z a(once,probe)", "a: 503; ask a: no", "compensated: z compensated, a refused; z a ask-a undo-z"),
    ("z a(once,probe)", "a: 503; ask a: 503 x2", "stuck: z done, a dead; z a ask-a ask-a"),
    ("z a(pivot)", "a: 404", "compensated: z compensated, a refused; z a undo-z"),
    ("z a(pivot)", "a: 429 x2", "compensated: z compensated, a refused; z a a undo-z"),
    ("z a(pivot)", "a: 503, 200", "completed: z done, a done; z a a"),
    ("z a(pivot)", "a: 503 x2", "stuck: z done, a dead; z a a"),
    ("z a(pivot)", "a: 503, 404", "stuck: z done, a dead; z a a"),
    ("z a(pivot,probe)", "a: 503 x2; ask a: yes", "completed: z done, a done; z a a ask-a"),
    ("z a(pivot,probe)", "a: 503 x2; ask a: no", "compensated: z compensated, a refused; z a a ask-a undo-z"),
    ("z a(pivot,probe)", "a: 503 x2; ask a: 503 x2", "stuck: z done, a dead; z a a ask-a ask-a"),
    ("z a(pivot,once)", "a: 503", "stuck: z done, a dead; z a"),
    ("z a(pivot,once,probe)", "a: 503; ask a: no", "compensated: z compensated, a refused; z a ask-a undo-z"),
    ("z a(pivot,once,probe)", "a: 503; ask a: yes", "completed: z done, a done; z a ask-a"),
    ("z a(retriable)", "a: 404", "stuck: z done, a dead; z a"),
    ("z a(retriable)", "a: 429 x2", "stuck: z done, a dead; z a a"),
    ("z a(retriable)", "a: 503, 200", "completed: z done, a done; z a a"),
    ("z a(retriable)", "a: 503 x2", "stuck: z done, a dead; z a a"),
    ("z a(retriable)", "a: 503, 404", "stuck: z done, a dead; z a a"),
    ("z a(retriable,probe)", "a: 503 x2; ask a: yes", "completed: z done, a done; z a a ask-a"),
    ("z a(retriable,probe)", "a: 503 x2; ask a: no", "stuck: z done, a dead; z a a ask-a"),
    ("z a(retriable,probe)", "a: 503 x2; ask a: 503 x2", "stuck: z done, a dead; z a a ask-a ask-a"),
    ("z a(retriable,once)", "a: 503", "stuck: z done, a dead; z a"),
];

/// The way back: its order, and the table of answers to a compensation.
const COMPENSATIONS: &[Row] = &[
    ("a b c", "c: 404", "compensated: a compensated, b compensated, c refused; a b c undo-b undo-a"),
    ("a b(none) c", "c: 404", "compensated: a compensated, b done, c refused; a b c undo-a"),
    ("a b(bare) c", "c: 404", "stuck: a done, b dead, c refused; a b c"),
    (
        "a(after=) b(after=a) c(after=a) d(after=b+c)",
        "d: 404",
        "compensated: a compensated, b compensated, c compensated, d refused; a b c d undo-b undo-c undo-a",
    ),
    ("a b(none) c(none) d", "d: 404", "compensated: a compensated, b done, c done, d refused; a b c d undo-a"),
    (
        "a(after=) b(after=) c(after=a+b)",
        "a: hold; b: 404 | a: 200",
        "compensated: a compensated, b refused, c skipped; a b undo-a",
    ),
    ("a b(undo-missing) c", "c: 404", "stuck: a done, b dead, c refused; a b c"),
    ("a b(missing)", "", "compensated: a compensated, b refused; a undo-a"),
    ("a b", "b: 404; undo a: 410", "compensated: a compensated, b refused; a b undo-a"),
    ("a b", "b: 404; undo a: 404", "stuck: a dead, b refused; a b undo-a"),
    ("a(gone) b", "b: 404; undo a: 404", "compensated: a compensated, b refused; a b undo-a"),
    ("a b", "b: 404; undo a: 401", "stuck: a dead, b refused; a b undo-a"),
    ("a b", "b: 404; undo a: 403", "stuck: a dead, b refused; a b undo-a"),
    ("a b", "b: 404; undo a: 500, 200", "compensated: a compensated, b refused; a b undo-a undo-a"),
    ("a b", "b: 404; undo a: 500 x2", "stuck: a dead, b refused; a b undo-a undo-a"),
    ("a b", "b: 404; undo a: 425 x3", "compensated: a compensated, b refused; a b undo-a undo-a undo-a undo-a"),
    ("a b", "b: 404; undo a: unsent x2", "stuck: a dead, b refused; a b undo-a undo-a"),
    ("a b", "b: 404; undo a: 409 x2", "stuck: a dead, b refused; a b undo-a undo-a"),
    ("a b", "b: 404; undo a: hold | receive a 20", "compensating: a compensating, b refused; a b undo-a undo-a"),
    ("a b", "b: 404; undo a: hold | receive a 21", "stuck: a dead, b refused; a b undo-a"),
    (
        "a b",
        "b: 404; undo a: 425 x30",
        "stuck: a dead, b refused; a b undo-a undo-a undo-a undo-a undo-a undo-a undo-a undo-a undo-a undo-a undo-a",
    ),
];

/// Waits, sleeps and the deadline.
const WAITS: &[Row] = &[
    ("a w(wait) b", "", "running: a done, w waiting, b pending; a"),
    ("a w(wait) b", "| complete w", "completed: a done, w done, b done; a b"),
    ("a w(wait) b", "| fail w", "compensated: a compensated, w refused, b skipped; a undo-a"),
    ("a w(wait) b", "| +59s", "running: a done, w waiting, b pending; a"),
    ("a w(wait) b", "| +60s", "compensated: a compensated, w refused, b skipped; a undo-a"),
    ("a w(wait)", "| complete a", "no: step a is not waiting: it is done"),
    ("a", "| complete x", "no: the saga has no such step"),
    ("a s(sleep) b", "", "running: a done, s sleeping, b pending; a"),
    ("a s(sleep) b", "| +10s", "completed: a done, s done, b done; a b"),
    ("a s(sleep) b", "| cancel", "compensated: a compensated, s skipped, b skipped; a undo-a"),
    ("a(pivot) w(wait,retriable)", "| +60s", "stuck: a done, w dead; a"),
    ("deadline=30s a w(wait)", "| +29s", "running: a done, w waiting; a"),
    ("deadline=30s a w(wait)", "| +30s", "compensated: a compensated, w skipped; a undo-a"),
    ("deadline=30s a(pivot) w(wait,retriable)", "| +30s", "running: a done, w waiting; a"),
    ("deadline=30s a", "a: hold | +30s", "compensating: a running; a"),
    ("deadline=30s a", "a: hold | +30s | a: 200", "compensated: a compensated; a undo-a"),
    ("deadline=30s a(pivot)", "a: hold | +30s", "running: a running; a"),
];

/// Cancel, pause and resume.
const PEOPLE: &[Row] = &[
    ("a b", "b: hold | cancel", "compensating: a done, b running; a b"),
    ("a b", "b: hold | cancel | b: 200", "compensated: a compensated, b compensated; a b undo-b undo-a"),
    ("a b", "b: hold | cancel | b: 404", "compensated: a compensated, b refused; a b undo-a"),
    ("a b", "b: hold | cancel | b: 503", "compensated: a compensated, b compensated; a b undo-b undo-a"),
    ("a b(probe)", "b: hold | cancel | b: 503; ask b: no", "compensated: a compensated, b refused; a b ask-b undo-a"),
    ("a b(once)", "b: hold | cancel | b: 503", "stuck: a done, b dead; a b"),
    ("a b", "b: hold | cancel | cancel", "no: the saga is being undone already"),
    ("a b(pivot)", "b: hold | cancel", "no: the saga is past its point of no return and can only go forward"),
    (
        "a(pivot) b(retriable)",
        "b: hold | cancel",
        "no: the saga is past its point of no return and can only go forward",
    ),
    ("a", "| cancel", "no: the saga is finished: it is completed"),
    ("a", "| pause", "no: the saga is finished: it is completed"),
    ("a", "| resume", "no: the saga is finished: it is completed"),
    ("a b", "a: hold | pause | a: 200", "running: a done, b pending; a"),
    ("a b", "a: hold | pause | a: 200 | resume", "completed: a done, b done; a b"),
    ("a b", "a: hold | pause | pause", "no: the saga is paused already"),
    ("a b", "a: hold | resume", "no: the saga is not paused"),
    ("a b", "a: hold | pause | a: 503 | resume", "completed: a done, b done; a a b"),
    ("z a(once)", "a: 503 | cancel", "stuck: z done, a dead; z a"),
    ("a(pivot)", "a: 503 x2 | cancel", "no: the saga is past its point of no return and can only go forward"),
];

/// What a person may say about a dead letter, and why not the rest.
const SETTLEMENTS: &[Row] = &[
    ("a b(bare) c", "c: 404 | undone b", "compensated: a compensated, b compensated, c refused; a b c undo-a"),
    ("a b(bare) c", "c: 404 | skip b", "compensated: a compensated, b skipped, c refused; a b c undo-a"),
    (
        "a b(bare) c",
        "c: 404 | retry b",
        "no: the definition has no compensation for this step: undo it by hand and resolve it, or skip it",
    ),
    ("a b", "b: 404; undo a: 401 | retry a", "compensated: a compensated, b refused; a b undo-a undo-a"),
    (
        "a b",
        "b: 404; undo a: 401 | done a",
        "no: an effect that is still there is to be undone: retry the compensation, or skip it to leave the effect",
    ),
    ("a b", "b: 404; undo a: 401 | undone a", "compensated: a compensated, b refused; a b undo-a"),
    ("a b", "b: 404; undo a: 401 | skip a", "compensated: a skipped, b refused; a b undo-a"),
    ("a(pivot) w(wait,retriable)", "| +60s | retry w | complete w", "completed: a done, w done; a"),
    (
        "a(pivot) w(wait,retriable)",
        "| fail w | undone w",
        "no: the saga can only go forward, so a step that did not happen is to be retried, or skipped",
    ),
    ("a", "| retry a", "no: the saga is finished: it is completed"),
    ("a(once)", "a: 503 | retry a", "completed: a done; a a"),
    ("a(once) b", "a: 503 | done a", "completed: a done, b done; a b"),
    ("a(once)", "a: 503 | undone a", "compensated: a refused; a"),
    ("z a(once) b", "a: 503 | skip a", "completed: z done, a skipped, b done; z a b"),
    (
        "z a(once)",
        "a: 503 | cancel | retry a",
        "no: the saga is being undone, so no action is sent any more: find out whether it happened and resolve it",
    ),
    ("z a(once)", "a: 503 | cancel | done a", "compensated: z compensated, a compensated; z a undo-a undo-z"),
    ("z a(once)", "a: 503 | cancel | undone a", "compensated: z compensated, a refused; z a undo-z"),
    ("z a(once)", "a: 503 | cancel | skip a", "compensated: z compensated, a skipped; z a undo-z"),
    ("a(once,probe)", "a: 503; ask a: 503 x2 | retry a", "stuck: a dead; a ask-a ask-a ask-a ask-a"),
    ("a(pivot)", "a: 503 x2 | undone a", "compensated: a refused; a a"),
    (
        "a(pivot) b(retriable)",
        "b: 404 | undone b",
        "no: the saga can only go forward, so a step that did not happen is to be retried, or skipped",
    ),
    ("a(pivot) b(retriable)", "b: 404 | retry b", "completed: a done, b done; a b b"),
    ("a(pivot) b(retriable)", "b: 404 | done b", "completed: a done, b done; a b"),
    ("a(pivot) b(retriable)", "b: 404 | skip b", "completed: a done, b skipped; a b"),
    ("a(retriable)", "a: 404 | retry a | retry a", "no: the saga is finished: it is completed"),
];

/// The orchestrator forgot what was in flight.
const RECOVERY: &[Row] = &[
    ("a", "| recover", "completed: a done; a"),
    ("a", "a: hold | recover", "completed: a done; a a"),
    ("a(once)", "a: hold | recover", "stuck: a dead; a"),
    ("a(once,probe)", "a: hold; ask a: yes | recover", "completed: a done; a ask-a"),
    ("a(pivot,once)", "a: hold | recover", "stuck: a dead; a"),
    ("a b", "b: 404; undo a: hold | recover", "compensated: a compensated, b refused; a b undo-a undo-a"),
    ("w(wait)", "| recover", "running: w waiting; "),
    ("a(probe)", "a: 503 x2; ask a: hold, no | recover", "compensated: a refused; a a ask-a ask-a"),
];

/// Nobody waits for these any more.
const STALE: &[Row] = &[
    ("a b", "receive a 1", "no: nobody waits for this answer any more"),
    ("a", "a: hold | late a 2", "no: nobody waits for this answer any more"),
    ("a", "a: hold | recover | late a 1", "no: nobody waits for this answer any more"),
    ("a", "a: hold | late undo a 1", "no: nobody waits for this answer any more"),
    ("a", "a: hold | late ask a 1", "no: nobody waits for this answer any more"),
    ("a", "| late a 1", "no: nobody waits for this answer any more"),
    ("a", "| late x 1", "no: nobody waits for this answer any more"),
];

#[test]
fn an_answer_to_an_action_leads_where_the_table_says() {
    check_all(ACTIONS);
}

#[test]
fn a_saga_turns_back_in_reverse_order() {
    check_all(COMPENSATIONS);
}

#[test]
fn time_ends_waits_sleeps_and_sagas() {
    check_all(WAITS);
}

#[test]
fn people_hold_and_stop_a_saga_where_they_may() {
    check_all(PEOPLE);
}

#[test]
fn a_dead_letter_is_settled_or_the_refusal_says_why_not() {
    check_all(SETTLEMENTS);
}

#[test]
fn recovery_goes_on_where_it_can_be_known_how() {
    check_all(RECOVERY);
}

#[test]
fn a_late_answer_is_refused() {
    check_all(STALE);
}

#[test]
fn retry_after_is_obeyed() {
    for answer in ["429/5000", "503/5000", "409/5000", "425/5000"] {
        let (play, _) = Play::run("a", &format!("a: {answer}"));
        assert!(play.sent_at[1].since(play.sent_at[0]) >= 5_000, "{answer}");
    }
}

#[test]
fn what_still_runs_is_asked_about_within_the_total_time() {
    let (play, _) = Play::run("a(total=3s)", "a: 425 x20");
    let asked = play.sent.iter().zip(&play.sent_at).filter(|(name, _)| *name == "a");
    assert!(asked.clone().all(|(_, at)| at.since(play.sent_at[0]) <= 3_000));
    assert_eq!(asked.count(), 4, "at the start and after each second");
}
