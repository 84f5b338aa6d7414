//! Steps that are performed by message: sent, and answered some time or never.

use super::script::{Row, check_rows, play};

/// On the way forward.
#[rustfmt::skip]
const FORWARD: &[Row] = &[
    ("m(sent) a", "", "send m!1 +60000 | running: m running, a pending"),
    ("m(sent) a", "m=done", "done m, start a!1 | running: m done, a running"),
    ("m(sent) a(reads=m)", "m=done", "done m, start a!1 | running: m done, a running"),
    ("m(sent) a", "m=refused", "unknown m, back, undo m unknown, send m<1 +60000 | compensating: m compensating, a skipped"),
    ("m(sent) a", "m=later", "again m unknown +0, send m!2 +60000 | running: m unknown, a pending"),
    ("m(sent) a", "m=later +1", "nothing | running: m unknown, a pending"),
    ("m(sent) a", "m=later +1 m=later", "unknown m, back, undo m unknown, send m<1 +60000 | compensating: m compensating, a skipped"),
    // Whoever has the saga then gets the answer, so nothing is lost with its owner.
    ("m(sent) a", "recover", "nothing | running: m running, a pending"),
    ("m(sent) a", "recover m!1=done", "done m, start a!1 | running: m done, a running"),
    ("m(sent) a", "+59999", "nothing | running: m running, a pending"),
    ("m(sent,patient) a", "+60000", "again m unknown +326 | running: m unknown, a pending"),
    ("m(sent,patient,tries=3) a", "~59999 +1", "again m unknown +326 | running: m unknown, a pending"),
    ("m(sent,probe) a", "+60000", "again m unknown +0, send m!2 +60000 | running: m unknown, a pending"),
    ("m(sent,probe) a", "+60000 +60000", "doubt m, ask m?1 | running: m unknown, a pending"),
    ("m(sent,probe) a", "+60000 +60000 m?1=yes", "found m, start a!1 | running: m done, a running"),
    ("m(sent,pivot) a(retriable)", "+60000", "again m unknown +0, send m!2 +60000 | running: m unknown, a pending"),
    ("m(sent,pivot) a(retriable)", "+60000 +60000", "dead m action unknown | stuck: m dead, a pending"),
    ("m(sent) a", "+60000 +60000", "unknown m, back, undo m unknown, send m<1 +60000 | compensating: m compensating, a skipped"),
    ("m(sent,retriable)", "m=refused", "dead m action undone | stuck: m dead"),
    ("m(sent,retriable)", "m=refused retry:m", "settled m retry, send m!2 +60000 | running: m running"),
    ("m(sent,pivot) a(retriable)", "cancel", "no: the saga is past its point of no return and can only go forward"),
    ("m(sent) n(sent,after=) a(after=m+n)", "n=done", "done n | running: m running, n done, a pending"),
    ("m(sent) n(sent,after=) a(after=m+n)", "n=done m=done", "done m, start a!1 | running: m done, n done, a running"),
    // Answered as a wait is, by somebody who calls.
    ("m(sent) a", "complete:m", "done m, start a!1 | running: m done, a running"),
    ("m(sent) a", "fail:m", "unknown m, back, undo m unknown, send m<1 +60000 | compensating: m compensating, a skipped"),
    ("m(sent) a", "complete:m complete:m", "no: step m is not waiting: it is done"),
    // A message is no call: what was sent by one is not answered like the other.
    ("m(sent) a", "m=200", "stale"),
    ("a m", "a=done", "stale"),
];

#[test]
fn forward() {
    check_rows(FORWARD);
}

/// What was sent more than once is one piece of work.
#[rustfmt::skip]
const TWICE: &[Row] = &[
    ("m(sent,tries=3) a", "m=later m!1=done", "done m, start a!1 | running: m done, a running"),
    ("m(sent,tries=3) a", "m=later m!1=refused", "stale"),
    ("m(sent,tries=3) a", "m=later m!1=later", "stale"),
    ("m(sent,tries=3) a", "m=later +1 m!1=done", "done m, start a!1 | running: m done, a running"),
    ("m(sent,tries=3) a", "m=later +1 m!1=refused", "stale"),
    ("m(sent,tries=3) a", "m=later +1 m!1=later", "stale"),
    ("m(sent,tries=3) a", "m=later +1 m!3=done", "stale"),
    ("m(sent,tries=3) a", "m=done m!1=done", "stale"),
    ("m(sent,tries=3) a", "m=refused m!1=done", "stale"),
];

#[test]
fn twice() {
    check_rows(TWICE);
}

/// A person decides. Whatever was said of a message that was sent, it may be delivered again, so it is not edited unless nothing
/// could undo it anyway.
#[rustfmt::skip]
const DECIDED: &[Row] = &[
    ("m(sent,retriable)", "m=refused edit:m", "settled m edit, send m!2 +60000 | running: m running"),
    ("m(sent,retriable)", "m=refused edit:m m=done", "done m, completed | completed: m done"),
    ("m(sent,retriable)", "m=refused edit:m m!1=done", "stale"),
    ("m(sent,retriable)", "m=refused edit:m m=later m!1=done", "stale"),
    ("m(sent,retriable)", "m=refused edit:m m=later m!2=done", "done m, completed | completed: m done"),
    ("m(sent,retriable)", "m=refused retry:m m=refused edit:m", "settled m edit, send m!3 +60000 | running: m running"),
    ("m(sent,retriable,tries=1)", "+60000 edit:m", "no: whether the step happened is not known, and under another key it could happen twice: find that out first, and resolve it"),
    ("m(sent,retriable,tries=1)", "+60000 retry:m m!2=refused edit:m", "no: whether the step happened is not known, and under another key it could happen twice: find that out first, and resolve it"),
    ("m(sent,retriable,probe,tries=1)", "+60000 m?1=no edit:m", "no: an earlier attempt was not answered and its request may still arrive, so under another key the step could happen twice: retry it as it was, resolve it, or skip it"),
    // Whoever calls from outside may not even have got the message.
    ("m(sent,retriable)", "fail:m edit:m", "no: an earlier attempt was not answered and its request may still arrive, so under another key the step could happen twice: retry it as it was, resolve it, or skip it"),
    ("m(sent,retriable)", "fail:m retry:m m!2=refused edit:m", "no: an earlier attempt was not answered and its request may still arrive, so under another key the step could happen twice: retry it as it was, resolve it, or skip it"),
    ("m(sent,undo-needs,patient,tries=3)", "m=later reword due edit:m", "no: the step's message may be delivered again at any time, so under another key the step could happen twice: retry it as it was, resolve it, or skip it"),
    ("m(sent,bare,patient,tries=3)", "m=later reword due edit:m", "settled m edit, send m!2 +60000 | running: m running"),
    ("m(sent,bare,patient,tries=3)", "m=later reword due around:m", "settled m around, back, compensated | compensated: m refused"),
    ("m(sent) b(once)", "m=done b=lost around:b", "settled b around, back, undo b unknown | compensating: m done, b compensating"),
    ("m(sent) b(once)", "m=done b=lost around:b b=200", "undid b, undo m done, send m<1 +60000 | compensating: m compensating, b compensated"),
];

#[test]
fn decided() {
    check_rows(DECIDED);
}

/// An edited message has another body under another key, and its id names another attempt.
#[test]
fn an_edited_message_is_another_one() {
    let (stage, _) = play("m(sent,retriable)", "m=refused edit:m");
    let [call] = &stage.flying[..] else { panic!("one message is in the queue: {:?}", stage.flying) };
    assert_eq!((call.attempt, call.request.body.as_deref()), (2, Some(r#"{"edited":"m"}"#)));
    let id = stage.saga.id;
    assert_eq!(stage.saga.action_key(&stage.definition, 0), format!("key-1-{id}-m.2"));
}

/// When the saga turns back meanwhile, and on the way back.
#[rustfmt::skip]
const BACK: &[Row] = &[
    ("m(sent) b(after=)", "b=422", "refused b, back | compensating: m running, b refused"),
    ("m(sent) b(after=)", "b=422 m=done", "done m, undo m done, send m<1 +60000 | compensating: m compensating, b refused"),
    ("m(sent) b(after=)", "b=422 m=refused", "unknown m, undo m unknown, send m<1 +60000 | compensating: m compensating, b refused"),
    ("m(sent) b(after=)", "b=422 m=later", "unknown m, undo m unknown, send m<1 +60000 | compensating: m compensating, b refused"),
    ("m(sent) b(after=)", "b=422 +60000", "unknown m, undo m unknown, send m<1 +60000 | compensating: m compensating, b refused"),
    ("m(sent) a", "m=done a=422", "refused a, back, undo m done, send m<1 +60000 | compensating: m compensating, a refused"),
    ("m(sent) a", "m=done a=422 m<1=done", "undid m, compensated | compensated: m compensated, a refused"),
    ("m(sent) a", "m=done a=422 m<1=refused", "dead m compensation unknown | stuck: m dead, a refused"),
    ("m(sent) a", "m=done a=422 m<1=refused retry:m", "settled m retry, undo m unknown, send m<2 +60000 | compensating: m compensating, a refused"),
    ("m(sent) a", "m=done a=422 m<1=later", "undo-again m unknown +0, send m<2 +60000 | compensating: m compensating, a refused"),
    ("m(sent) a", "m=done a=422 m<1=later +1", "nothing | compensating: m compensating, a refused"),
    ("m(sent) a", "m=done a=422 m<1=later m<1=done", "undid m, compensated | compensated: m compensated, a refused"),
    ("m(sent) a", "m=done a=422 m<1=later +1 m<1=done", "undid m, compensated | compensated: m compensated, a refused"),
    ("m(sent) a", "m=done a=422 m<1=later +1 m<1=refused", "stale"),
    ("m(sent) a", "m=done a=422 m<1=later +1 m<2=refused", "dead m compensation unknown | stuck: m dead, a refused"),
    ("m(sent) a", "m=done a=422 m<2=done", "stale"),
    ("m(sent) a", "m=done a=422 recover", "nothing | compensating: m compensating, a refused"),
    ("m(sent) a", "m=done a=422 +60000", "undo-again m unknown +0, send m<2 +60000 | compensating: m compensating, a refused"),
    ("m(sent) a", "m=done a=422 +60000 +1 +60000", "dead m compensation unknown | stuck: m dead, a refused"),
    ("m(sent) a", "m=done a=422 m.", "stale"),
    // The callback says which step, and not which of its messages: it is the action's.
    ("m(sent) a", "m=done a=422 complete:m", "no: step m is not waiting: it is compensating"),
    ("m(sent) a", "m=done a=422 m!1=done", "stale"),
    ("m(sent) a", "m=done reword a=422", "refused a, back, undo m done, send m<1 +60000 | compensating: m compensating, a refused"),
];

#[test]
fn back() {
    check_rows(BACK);
}

/// A saga that is held hears what is answered, and sends nothing.
#[rustfmt::skip]
const HELD: &[Row] = &[
    ("m(sent) a", "pause m=done", "done m | running: m done, a pending"),
    ("m(sent) a", "pause m=later +1", "nothing | running: m unknown, a pending"),
    ("m(sent) a", "pause m=later ~1 resume", "resumed, send m!2 +60000 | running: m unknown, a pending"),
    ("m(sent) a", "pause +60000", "nothing | running: m running, a pending"),
    ("m(sent,tries=3) a", "pause ~60000 m=done", "done m | running: m done, a pending"),
    ("m(sent) a", "m=done pause a=422", "refused a, back | compensating: m done, a refused"),
    ("m(sent) a", "m=done a=422 pause m<1=later +1", "nothing | compensating: m compensating, a refused"),
    ("m(sent) a", "m=done a=422 pause m<1=later ~1 resume", "resumed, send m<2 +60000 | compensating: m compensating, a refused"),
];

#[test]
fn held() {
    check_rows(HELD);
}
