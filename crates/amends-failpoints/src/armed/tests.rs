//! What the variable may say.

use super::{Action, Armed, parse};
use crate::Point;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn the_variable_says_what_is_to_happen_where() {
    let armed = |point, action, meeting| Armed { point, action, meeting };
    let delay = Action::Delay(Duration::from_millis(200));
    let cases = [
        ("", vec![]),
        ("call.after=abort", vec![armed(Point::CallAfter, Action::Abort(Duration::ZERO), None)]),
        ("call.after=abort@3", vec![armed(Point::CallAfter, Action::Abort(Duration::ZERO), Some(3))]),
        ("turn.after=abort(0)", vec![armed(Point::TurnAfter, Action::Abort(Duration::ZERO), None)]),
        ("call.after=abort(9)@3", { vec![armed(Point::CallAfter, Action::Abort(Duration::from_millis(9)), Some(3))] }),
        ("call.before = error @ 2 ;", vec![armed(Point::CallBefore, Action::Error, Some(2))]),
        ("claim.after=delay(200);turn.after=abort@9", {
            vec![armed(Point::ClaimAfter, delay, None), armed(Point::TurnAfter, Action::Abort(Duration::ZERO), Some(9))]
        }),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_with_the_variable_is_said() {
    let form =
        "is not of the form POINT=abort, POINT=abort(MS), POINT=delay(MS) or POINT=error, each with or without @N";
    let cases = [
        ("call.befor=abort", "there is no failpoint `call.befor`; did you mean `call.before`?".to_owned()),
        ("clame.after=abort", "there is no failpoint `clame.after`; did you mean `claim.after`?".to_owned()),
        ("call.after", "`call.after` does not say what is to happen".to_owned()),
        ("call.after=explode", format!("`call.after=explode` {form}")),
        ("call.after=abort@0", format!("`call.after=abort@0` {form}")),
        ("call.after=delay(soon)", format!("`call.after=delay(soon)` {form}")),
        ("call.after=error", "`call.after=error`: this point takes no such action".to_owned()),
        ("call.after=explode(5)", format!("`call.after=explode(5)` {form}")),
        ("turn.after=abort(1)", "`turn.after=abort(1)`: this point takes no such action".to_owned()),
        ("turn.after=delay(1)", "`turn.after=delay(1)`: this point takes no such action".to_owned()),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), Err(expected), "{text}");
    }
}

#[test]
fn each_point_has_a_name_of_its_own() {
    let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
    assert_eq!(names.len(), Point::ALL.len());
}
