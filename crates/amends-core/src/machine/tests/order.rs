//! Steps side by side, and the order in which they are undone.

use super::script::{Row, check_rows};

/// Forward along the graph, and back against it.
#[rustfmt::skip]
const BRANCHES: &[Row] = &[
    ("a b c", "a=200 b=200 c=422", "refused c, back, undo b done | compensating: a done, b compensating, c refused"),
    ("a b c", "a=200 b=200 c=422 b=200", "undid b, undo a done | compensating: a compensating, b compensated, c refused"),
    ("a b c", "a=200 b=200 c=422 b=200 a=200", "undid a, compensated | compensated: a compensated, b compensated, c refused"),
    ("a b(bare) c", "a=200 b=200 c=422", "refused c, back, undo a done | compensating: a compensating, b done, c refused"),
    ("a b(bare) c(bare) d", "a=200 b=200 c=200 d=422", "refused d, back, undo a done | compensating: a compensating, b done, c done, d refused"),
    ("a s(sleep) b", "a=200 +10000 b=422", "refused b, back, undo a done | compensating: a compensating, s done, b refused"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200", "done a, start b!1, start c!1 | running: a done, b running, c running, d pending"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200", "done b | running: a done, b done, c running, d pending"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=200", "done c, start d!1 | running: a done, b done, c done, d running"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=200 d=422", "refused d, back, undo b done, undo c done | compensating: a done, b compensating, c compensating, d refused"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=200 d=422 b=200", "undid b | compensating: a done, b compensated, c compensating, d refused"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=200 d=422 b=200 c=200", "undid c, undo a done | compensating: a compensating, b compensated, c compensated, d refused"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=422", "refused b, back | compensating: a done, b refused, c running, d skipped"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=422 c=200", "done c, undo c done | compensating: a done, b refused, c compensating, d skipped"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=422", "refused c, back, undo b done | compensating: a done, b compensating, c refused, d skipped"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=200 d=422 c=403", "dead c compensation done | stuck: a done, b compensating, c dead, d refused"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=200 d=422 c=403 b=200", "undid b | stuck: a done, b compensated, c dead, d refused"),
    ("a b(after=a) c(after=a) d(after=b+c)", "a=200 b=200 c=200 d=422 c=403 b=200 undone:c", "settled c undone, undo a done | compensating: a compensating, b compensated, c compensated, d refused"),
    ("a b(after=) c(after=a)", "a=200 c=422", "refused c, back, undo a done | compensating: a compensating, b running, c refused"),
    ("a b(after=) c(after=a)", "a=200 c=422 b=200", "done b, undo b done | compensating: a compensating, b compensating, c refused"),
    ("a b(after=) c(after=a)", "a=422 b=503", "unknown b, undo b unknown | compensating: a refused, b compensating, c skipped"),
    ("a b(after=) c(after=a)", "a=422 b=429", "refused b, compensated | compensated: a refused, b refused, c skipped"),
    ("a b(after=) c(after=a+b,retriable) d(after=a+b,retriable)", "a=200 b=200", "done b, start c!1, start d!1 | running: a done, b done, c running, d running"),
    ("a b(after=) c(after=a+b,retriable) d(after=a+b,retriable)", "a=200 b=200 c=422 d=200", "done d | stuck: a done, b done, c dead, d done"),
    ("a b(after=) c(after=a+b,retriable) d(after=a+b,retriable)", "a=200 b=200 c=422 d=200 retry:c c=200", "done c, completed | completed: a done, b done, c done, d done"),
    ("a b(after=a,needs) c(after=a)", "a=200", "done a, refused b, back, undo a done | compensating: a compensating, b refused, c skipped"),
    ("a b(after=a) c(after=a,needs)", "a=200", "done a, refused c, back, undo a done | compensating: a compensating, b skipped, c refused"),
    ("a b(after=a) w(after=a,wait=5s) c(after=w,needs)", "a=200 complete:w", "completed w, refused c, back | compensating: a done, b running, w done, c refused"),
    ("a b(after=a,patient) w(after=a,wait=60s)", "a=200 b=503 ~60000 tick", "failed w, back, undo b unknown | compensating: a done, b compensating, w refused"),
];

#[test]
fn branches() {
    check_rows(BRANCHES);
}
