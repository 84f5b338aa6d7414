//! What people may do, and what they may not.

use super::script::{Row, check_rows, play};
use super::stage::{Stage, operator};
use crate::machine::{Command, Refusal, Settlement};

/// At every point.
#[rustfmt::skip]
const CANCEL: &[Row] = &[
    ("a b", "cancel", "back | compensating: a running, b skipped"),
    ("a b", "cancel a=200", "done a, undo a done | compensating: a compensating, b skipped"),
    ("a b", "cancel a=422", "refused a, compensated | compensated: a refused, b skipped"),
    ("a b", "cancel a=lost", "unknown a, undo a unknown | compensating: a compensating, b skipped"),
    ("a b", "a=200 cancel", "back | compensating: a done, b running"),
    ("a b", "a=200 cancel cancel", "no: the saga is being undone already"),
    ("a b", "a=200 b=200 cancel", "no: the saga is finished: it is completed"),
    ("a b", "a=422 cancel", "no: the saga is finished: it is compensated"),
    ("a b(retriable)", "a=200 cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a p(pivot)", "a=200 cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a p(pivot) b(retriable)", "a=200 p=200 cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a p(pivot,patient)", "a=200 p=429 cancel", "back, undo a done | compensating: a compensating, p refused"),
    ("a p(pivot,patient)", "a=200 p=503 cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a p(pivot)", "a=200 p=503 p=503 cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a p(pivot)", "a=200 p=503 p=503 undone:p cancel", "no: the saga is being undone already"),
    ("a b(once)", "a=200 b=503 cancel", "back | stuck: a done, b dead"),
    ("a b(once)", "a=200 b=503 cancel undone:b", "settled b undone, undo a done | compensating: a compensating, b refused"),
    ("a b", "pause cancel", "back | compensating: a running, b skipped"),
    ("a b", "a=200 pause cancel", "back | compensating: a done, b running"),
    ("a b", "a=200 pause cancel b=422 resume", "resumed, undo a done | compensating: a compensating, b refused"),
    ("a(bare)", "a=503 cancel", "back | compensating: a unknown"),
];

#[test]
fn cancel() {
    check_rows(CANCEL);
}

/// Pausing and resuming.
#[rustfmt::skip]
const HOLD: &[Row] = &[
    ("a b", "pause", "paused | running: a running, b pending"),
    ("a b", "pause pause", "no: the saga is paused already"),
    ("a b", "resume", "no: the saga is not paused"),
    ("a b", "pause resume", "resumed | running: a running, b pending"),
    ("a b", "pause a=200", "done a | running: a done, b pending"),
    ("a b", "pause a=200 resume", "resumed, start b!1 | running: a done, b running"),
    ("a b", "pause a=200 tick", "nothing | running: a done, b pending"),
    ("a b(tries=1)", "a=200 pause b=withdrawn", "again b withdrawn +0 | running: a done, b running"),
    ("a b(tries=1)", "a=200 pause b=withdrawn resume", "resumed, start b!2 | running: a done, b running"),
    ("a b(once,tries=1)", "a=200 pause b=withdrawn resume", "resumed, start b!2 | running: a done, b running"),
    ("a b", "a=200 pause b=withdrawn b!1=200", "stale"),
    ("a b(retriable,tries=1)", "a=200 pause b=withdrawn resume", "resumed, start b!2 | running: a done, b running"),
    ("a b", "a=200 cancel b=withdrawn", "refused b, undo a done | compensating: a compensating, b refused"),
    ("a b", "a=200 b=lost cancel b=withdrawn", "unknown b, undo b unknown | compensating: a done, b compensating"),
    ("a b", "a=200 b=200 pause", "no: the saga is finished: it is completed"),
    ("a b", "a=200 b=200 resume", "no: the saga is finished: it is completed"),
    ("a", "a=422 pause", "no: the saga is finished: it is compensated"),
    ("a b", "a=200 b=422 pause", "paused | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 pause resume", "resumed | compensating: a compensating, b refused"),
    ("a b", "a=200 pause b=422", "refused b, back | compensating: a done, b refused"),
    ("a b", "a=200 pause b=422 resume", "resumed, undo a done | compensating: a compensating, b refused"),
    ("a b", "pause a=422", "refused a, back | compensating: a refused, b skipped"),
    ("a", "pause a=503 resume", "resumed, start a!2 | running: a unknown"),
    ("a(tries=1)", "pause a=unsent", "refused a, back | compensating: a refused"),
    ("a(patient)", "a=503 pause +60000", "nothing | running: a unknown"),
    ("a(patient)", "a=503 pause ~60000 resume", "resumed, start a!2 | running: a unknown"),
    ("a b(retriable)", "a=200 b=422 pause", "paused | stuck: a done, b dead"),
    ("a b(retriable)", "a=200 b=422 pause retry:b", "settled b retry | running: a done, b pending"),
    ("a b(retriable)", "a=200 b=422 pause retry:b resume", "resumed, start b!2 | running: a done, b running"),
    ("a b(retriable)", "a=200 b=422 pause retry:b cancel", "no: the saga is past its point of no return and can only go forward"),
    ("a b(retriable)", "a=200 b=503 b=503 pause retry:b", "settled b retry | running: a done, b unknown"),
    ("a b(retriable)", "a=200 b=422 pause skip:b", "settled b skip | running: a done, b skipped"),
    ("a b(retriable)", "a=200 b=422 pause skip:b resume", "resumed, completed | completed: a done, b skipped"),
];

#[test]
fn hold() {
    check_rows(HOLD);
}

/// An action or a probe that was given up while the saga goes forward.
#[rustfmt::skip]
const GIVEN_UP_GOING_FORWARD: &[Row] = &[
    ("a b(once)", "a=200 b=lost retry:b", "settled b retry, start b!2 | running: a done, b unknown"),
    ("a b(once)", "a=200 b=lost done:b", "settled b done, completed | completed: a done, b done"),
    ("a b(once)", "a=200 b=lost undone:b", "settled b undone, back, undo a done | compensating: a compensating, b refused"),
    ("a b(once)", "a=200 b=lost skip:b", "settled b skip, completed | completed: a done, b skipped"),
    ("a b(once) c(reads=b)", "a=200 b=lost done:b", "settled b done, start c!1 | running: a done, b done, c running"),
    ("a b(once) c(reads=b)", "a=200 b=lost skip:b", "settled b skip, refused c, back, undo a done | compensating: a compensating, b skipped, c refused"),
    ("a b(pivot)", "a=200 b=lost b=lost retry:b", "settled b retry, start b!3 | running: a done, b unknown"),
    ("a b(pivot)", "a=200 b=lost b=lost done:b", "settled b done, completed | completed: a done, b done"),
    ("a b(pivot)", "a=200 b=lost b=lost undone:b", "settled b undone, back, undo a done | compensating: a compensating, b refused"),
    ("a b(pivot)", "a=200 b=lost b=lost skip:b", "settled b skip, completed | completed: a done, b skipped"),
    ("a b(pivot)", "a=200 b=lost b=lost retry:b b=422", "dead b action unknown | stuck: a done, b dead"),
    ("a b(pivot,tries=1)", "a=200 b=lost retry:b b=422", "dead b action unknown | stuck: a done, b dead"),
    ("a b(pivot,tries=1)", "a=200 b=lost retry:b b=429", "dead b action unknown | stuck: a done, b dead"),
    ("a b(retriable)", "a=200 b=422 retry:b", "settled b retry, start b!2 | running: a done, b running"),
    ("a b(retriable)", "a=200 b=422 retry:b b=429", "again b not-done +0, start b!3 | running: a done, b running"),
    ("a b(retriable)", "a=200 b=422 retry:b b=429 b=429", "dead b action undone | stuck: a done, b dead"),
    ("a b(retriable)", "a=200 b=422 done:b", "settled b done, completed | completed: a done, b done"),
    ("a b(retriable)", "a=200 b=422 undone:b", "no: the saga can only go forward, so a step that did not happen is to be retried, or skipped"),
    ("a b(retriable)", "a=200 b=422 skip:b", "settled b skip, completed | completed: a done, b skipped"),
    ("a b(retriable,tries=1)", "a=200 b=lost retry:b b=422", "dead b action unknown | stuck: a done, b dead"),
    ("a p(pivot) b(retriable)", "a=200 p=200 b=422 undone:b", "no: the saga can only go forward, so a step that did not happen is to be retried, or skipped"),
    ("a b(once,tries=1) c", "a=200 b=lost retry:b b=429", "dead b action unknown | stuck: a done, b dead, c pending"),
    ("a b(once,tries=1) c", "a=200 b=lost retry:b b=422", "dead b action unknown | stuck: a done, b dead, c pending"),
    ("a", "reword a=503", "again a unknown +0, dead a action unknown | stuck: a dead"),
    ("a", "a=503/1000 reword due", "dead a action unknown | stuck: a dead"),
    ("a", "a=503/1000 reword due retry:a", "settled a retry, start a!2 | running: a unknown"),
    ("a", "a=503/1000 reword due undone:a", "settled a undone, back, compensated | compensated: a refused"),
    ("a", "a=503/1000 reword due pause retry:a", "settled a retry | running: a unknown"),
    ("a", "a=503/1000 reword due pause retry:a cancel", "back | compensating: a unknown"),
    ("a", "a=503/1000 reword due pause retry:a cancel resume", "resumed, undo a unknown | compensating: a compensating"),
    ("a", "a=429/1000 reword due pause retry:a cancel", "back | compensating: a refused"),
    ("a", "a=429/1000 reword due", "dead a action undone | stuck: a dead"),
    ("a", "a=429/1000 reword due undone:a", "settled a undone, back, compensated | compensated: a refused"),
    ("a b(needs)", "a=200", "done a, refused b, back, undo a done | compensating: a compensating, b refused"),
    ("a b(needs,retriable)", "a=200", "done a, dead b action undone | stuck: a done, b dead"),
    ("a b(needs,retriable)", "a=200 retry:b", "settled b retry, dead b action undone | stuck: a done, b dead"),
    ("a b(needs,pivot)", "a=200", "done a, refused b, back, undo a done | compensating: a compensating, b refused"),
    ("b(needs)", "", "refused b, back, compensated | compensated: b refused"),
    ("a b(once,probe)", "a=200 b=lost b=503 b=503 retry:b", "settled b retry, ask b?1 | running: a done, b unknown"),
    ("a b(once,probe)", "a=200 b=lost b=503 b=503 done:b", "settled b done, completed | completed: a done, b done"),
    ("a b(once,probe)", "a=200 b=lost b=503 b=503 undone:b", "settled b undone, back, undo a done | compensating: a compensating, b refused"),
    ("a b(once,probe)", "a=200 b=lost b=503 b=503 skip:b", "settled b skip, completed | completed: a done, b skipped"),
    ("a b(pivot,probe)", "a=200 b=lost b=lost b=503 b=503 undone:b", "settled b undone, back, undo a done | compensating: a compensating, b refused"),
    ("a b(retriable,probe)", "a=200 b=lost b=lost b=503 b=503 undone:b", "no: the saga can only go forward, so a step that did not happen is to be retried, or skipped"),
];

#[test]
fn given_up_going_forward() {
    check_rows(GIVEN_UP_GOING_FORWARD);
}

/// The saga is turned around at a dead letter. What may have happened is undone as if it had.
#[rustfmt::skip]
const TURNED_AROUND: &[Row] = &[
    ("a b(once)", "a=200 b=lost around:b", "settled b around, back, undo b unknown | compensating: a done, b compensating"),
    ("a b(once)", "a=200 b=lost around:b b=200 a=200", "undid a, compensated | compensated: a compensated, b compensated"),
    ("a b(once) c", "a=200 b=lost around:b", "settled b around, back, undo b unknown | compensating: a done, b compensating, c skipped"),
    ("a b(once,bare)", "a=200 b=lost around:b", "settled b around, back, undo a done | compensating: a compensating, b unknown"),
    ("a b(once,unsaid)", "a=200 b=lost around:b", "settled b around, back, dead b compensation unknown | stuck: a done, b dead"),
    ("a b(once,probe)", "a=200 b=lost b=503 b=503 around:b", "settled b around, back, undo b unknown | compensating: a done, b compensating"),
    ("a b(once)", "a=200 b=lost pause around:b", "settled b around, back | compensating: a done, b unknown"),
    ("a b(once)", "a=200 b=lost pause around:b resume", "resumed, undo b unknown | compensating: a done, b compensating"),
    ("a", "a=429/1000 reword due around:a", "settled a around, back, compensated | compensated: a refused"),
    ("a p(pivot)", "a=200 p=lost p=lost around:p", "no: the saga is past its point of no return and can only go forward: retry the step, resolve it, or skip it"),
    ("a b(retriable)", "a=200 b=422 around:b", "no: the saga is past its point of no return and can only go forward: retry the step, resolve it, or skip it"),
    ("a b(once)", "a=200 b=lost cancel around:b", "no: the saga is being undone already"),
    ("a b", "a=200 b=422 a=403 around:a", "no: the saga is being undone already"),
    ("a b(once)", "a=200 b=lost around:b around:#6", "no: the dead letter was settled already: the saga has moved on"),
];

#[test]
fn turned_around() {
    check_rows(TURNED_AROUND);
}

/// A step is tried again with another body, and so under another key: only where the step has not happened and will not.
#[rustfmt::skip]
const EDITED: &[Row] = &[
    ("a b(retriable)", "a=200 b=422 edit:b", "settled b edit, start b!2 | running: a done, b running"),
    ("a b(retriable)", "a=200 b=429 b=unsent edit:b b=200", "done b, completed | completed: a done, b done"),
    ("a b(retriable)", "a=200 b=422 edit:b b=429", "again b not-done +0, start b!3 | running: a done, b running"),
    ("a b(retriable)", "a=200 b=422 edit:b recover", "again b interrupted +0, start b!3 | running: a done, b unknown"),
    ("a b(retriable)", "a=200 b=422 edit:b b=422 edit:b", "settled b edit, start b!3 | running: a done, b running"),
    ("a b(retriable)", "a=200 b=422 edit:b b=lost b=422 edit:b", "no: whether the step happened is not known, and under another key it could happen twice: find that out first, and resolve it"),
    ("a b(retriable)", "a=200 b=422 pause edit:b", "settled b edit | running: a done, b pending"),
    ("a b(retriable)", "a=200 b=422 pause edit:b resume", "resumed, start b!2 | running: a done, b running"),
    ("a b(retriable)", "a=200 b=503 b=503 edit:b", "no: whether the step happened is not known, and under another key it could happen twice: find that out first, and resolve it"),
    ("a b(retriable)", "a=200 b=503 b=422 edit:b", "no: whether the step happened is not known, and under another key it could happen twice: find that out first, and resolve it"),
    ("a b(once)", "a=200 b=lost edit:b", "no: whether the step happened is not known, and under another key it could happen twice: find that out first, and resolve it"),
    ("a b(once,probe)", "a=200 b=lost b=503 b=503 edit:b", "no: whether the step happened is not known, and under another key it could happen twice: find that out first, and resolve it"),
    ("a b(retriable,probe)", "a=200 b=lost b=lost b=no edit:b", "no: an earlier attempt was not answered and its request may still arrive, so under another key the step could happen twice: retry it as it was, resolve it, or skip it"),
    ("a b(retriable,probe)", "a=200 b=lost b=lost b=no retry:b b=422 edit:b", "no: an earlier attempt was not answered and its request may still arrive, so under another key the step could happen twice: retry it as it was, resolve it, or skip it"),
    ("a p(pivot) w(wait=5s,retriable)", "a=200 p=200 fail:w edit:w", "no: the step's request has no body that could be edited"),
    ("a", "a=429/1000 reword due edit:a", "settled a edit, start a!2 | running: a running"),
    ("a", "a=429/1000 reword due cancel edit:a", "no: the saga is being undone, so no action is sent any more: find out whether it happened and resolve it"),
    ("a b", "a=200 b=422 a=403 edit:a", "no: only an action's request can be edited: retry the compensation, or undo the step by hand and resolve it"),
];

#[test]
fn edited() {
    check_rows(EDITED);
}

/// The body is the person's and the rest the definition's; the key is another one, for a key stands for one request.
#[test]
fn an_edited_request_has_a_key_of_its_own() {
    let (stage, _) = play("a b(retriable)", "a=200 b=422");
    let keys = |stage: &Stage| {
        let (saga, definition) = (&stage.saga, &stage.definition);
        [saga.action_key(definition, 1), saga.compensation_key(definition, 1)]
    };
    let id = stage.saga.id;
    assert_eq!(keys(&stage), [format!("key-1-{id}-b"), format!("key-1-{id}-b-compensation")]);
    let (stage, _) = play("a b(retriable)", "a=200 b=422 edit:b recover");
    assert_eq!(keys(&stage), [format!("key-1-{id}-b.2"), format!("key-1-{id}-b.2-compensation")]);
    assert_eq!(stage.saga.action_key(&stage.definition, 0), format!("key-1-{id}-a"), "the others keep theirs");
    let [call] = &stage.flying[..] else { panic!("one call is in flight: {:?}", stage.flying) };
    assert_eq!((call.request.path.as_str(), call.request.body.as_deref()), ("/b", Some(r#"{"edited":"b"}"#)));
    let (stage, _) = play("a b(retriable)", "a=200 b=422 edit:b b=422 edit:b");
    assert_eq!(keys(&stage)[0], format!("key-1-{id}-b.3"));
}

/// The same after the saga turned back.
#[rustfmt::skip]
const GIVEN_UP_ON_THE_WAY_BACK: &[Row] = &[
    ("a b(after=a,once) c(after=a)", "a=200 c=422 b=lost retry:b", "no: the saga is being undone, so no action is sent any more: find out whether it happened and resolve it"),
    ("a b(after=a,once) c(after=a)", "a=200 c=422 b=lost done:b", "settled b done, undo b done | compensating: a done, b compensating, c refused"),
    ("a b(after=a,once) c(after=a)", "a=200 c=422 b=lost undone:b", "settled b undone, undo a done | compensating: a compensating, b refused, c refused"),
    ("a b(after=a,once) c(after=a)", "a=200 c=422 b=lost skip:b", "settled b skip, undo a done | compensating: a compensating, b skipped, c refused"),
    ("a b(after=a,once,probe) c(after=a)", "a=200 c=422 b=lost b=503 b=503 retry:b", "settled b retry, ask b?1 | compensating: a done, b unknown, c refused"),
    ("a b(after=a,once,probe) c(after=a)", "a=200 c=422 b=lost b=503 b=503 done:b", "settled b done, undo b done | compensating: a done, b compensating, c refused"),
    ("a b(after=a,once,probe) c(after=a)", "a=200 c=422 b=lost b=503 b=503 undone:b", "settled b undone, undo a done | compensating: a compensating, b refused, c refused"),
    ("a b(after=a,once,probe) c(after=a)", "a=200 c=422 b=lost b=503 b=503 skip:b", "settled b skip, undo a done | compensating: a compensating, b skipped, c refused"),
];

#[test]
fn given_up_on_the_way_back() {
    check_rows(GIVEN_UP_ON_THE_WAY_BACK);
}

/// A compensation that was given up.
#[rustfmt::skip]
const COMPENSATION_GIVEN_UP: &[Row] = &[
    ("a b", "a=200 b=422 a=403 retry:a", "settled a retry, undo a done | compensating: a compensating, b refused"),
    ("a b", "a=200 b=422 a=403 done:a", "no: an effect that is still there is to be undone: retry the compensation, or skip it to leave the effect"),
    ("a b", "a=200 b=422 a=403 undone:a", "settled a undone, compensated | compensated: a compensated, b refused"),
    ("a b", "a=200 b=422 a=403 skip:a", "settled a skip, compensated | compensated: a skipped, b refused"),
    ("a b c", "a=200 b=200 c=422 b=403 undone:b", "settled b undone, undo a done | compensating: a compensating, b compensated, c refused"),
    ("a b c", "a=200 b=200 c=422 b=403 skip:b", "settled b skip, undo a done | compensating: a compensating, b skipped, c refused"),
    ("a b", "a=200 b=422 a=503 a=503 retry:a", "settled a retry, undo a unknown | compensating: a compensating, b refused"),
];

#[test]
fn compensation_given_up() {
    check_rows(COMPENSATION_GIVEN_UP);
}

/// A decision names the dead letter that it is about.
#[rustfmt::skip]
const LETTERS: &[Row] = &[
    ("a b", "retry:#1", "no: the dead letter was settled already: the saga has moved on"),
    ("a b(once)", "a=200 b=lost retry:#7", "no: the dead letter was settled already: the saga has moved on"),
    ("a b(once)", "a=200 b=lost retry:#4", "no: the dead letter was settled already: the saga has moved on"),
    ("a b(once)", "a=200 b=lost undone:b retry:b", "no: the dead letter was settled already: the saga has moved on"),
    ("a b(retriable)", "a=200 b=422 retry:b b=422 retry:#5", "no: the dead letter was settled already: the saga has moved on"),
    ("a b(retriable)", "a=200 b=422 skip:b retry:#5", "no: the saga is finished: it is completed"),
];

#[test]
fn letters() {
    check_rows(LETTERS);
}

/// A decision may name the state that it was made on.
#[test]
fn a_decision_about_another_state_is_refused() {
    let (stage, _) = play("a b(once)", "a=200 b=lost");
    let (_, death) = stage.saga.dead().next().expect("there is a dead letter");
    let skip = |seen| Command::Settle {
        letter: death.letter,
        settlement: Settlement::Skip,
        operator: operator(),
        seen: Some(seen),
    };
    let (letter, now) = (death.letter, stage.saga.sequence);
    let (mut moved_on, _) = play("a b(once)", "a=200 b=lost cancel");
    assert!(moved_on.saga.dead().any(|(_, death)| death.letter == letter), "the same letter is open");
    let why = moved_on.command(&skip(now)).expect_err("it was going forward when this was decided");
    let told = format!(
        "the saga has moved on: this was decided after event {now}, and there are {} now; it is stuck",
        now + 1
    );
    assert_eq!(why, Refusal::Conflict(told));
    moved_on.command(&skip(now + 1)).expect("whoever looks again may decide");
    let (mut stage, _) = play("a b(once)", "a=200 b=lost");
    stage.command(&skip(now)).expect("nothing has happened since");
}

/// A step that the definition says nothing about undoing: a person undoes it.
#[rustfmt::skip]
const WHAT_NOTHING_UNDOES: &[Row] = &[
    ("a(unsaid) b", "a=200 b=422", "refused b, back, dead a compensation done | stuck: a dead, b refused"),
    ("a(unsaid) b", "a=200 b=422 retry:a", "no: the definition has no compensation for this step: undo it by hand and resolve it, or skip it"),
    ("a(unsaid) b", "a=200 b=422 done:a", "no: the definition has no compensation for this step: undo it by hand and resolve it, or skip it"),
    ("a(unsaid) b", "a=200 b=422 undone:a", "settled a undone, compensated | compensated: a compensated, b refused"),
    ("a(unsaid) b", "a=200 b=422 skip:a", "settled a skip, compensated | compensated: a skipped, b refused"),
    ("a(unsaid) b", "a=422", "refused a, back, compensated | compensated: a refused, b skipped"),
    ("a(unsaid,tries=1) b", "a=503", "unknown a, back, dead a compensation unknown | stuck: a dead, b skipped"),
    ("a b(unsaid) c", "a=200 b=200 c=422", "refused c, back, dead b compensation done | stuck: a done, b dead, c refused"),
    ("a b(unsaid) c", "a=200 b=200 c=422 undone:b", "settled b undone, undo a done | compensating: a compensating, b compensated, c refused"),
    ("a b(unsaid) c", "a=200 b=200 c=422 skip:b", "settled b skip, undo a done | compensating: a compensating, b skipped, c refused"),
];

#[test]
fn what_nothing_undoes() {
    check_rows(WHAT_NOTHING_UNDOES);
}
