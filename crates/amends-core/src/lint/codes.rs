//! The kinds of problems, each with a stable name. `docs/definitions.md` explains them one by one.

use serde::Serialize;
use std::fmt;

/// Whether a definition with the problem can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot run, or cannot keep its promise.
    Error,
    /// It runs, and will be regretted.
    Warning,
}

/// A kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable name.
    pub name: &'static str,
    /// Whether a definition with it can be used.
    pub severity: Severity,
    /// A few words that stand under the offending token.
    pub label: &'static str,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// The code with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.name == name)
}

macro_rules! codes {
    ($($severity:ident $constant:ident $name:literal $label:literal)*) => {
        $(pub(crate) const $constant: &Code =
            &Code { name: $name, severity: Severity::$severity, label: $label };)*

        /// Every code there is.
        pub const ALL: &[&Code] = &[$($constant),*];
    };
}

codes! {
    // Reading the document.
    Error TOO_LARGE "too-large" "too large"
    Error EMPTY "empty-definition" "nothing here"
    Error SYNTAX "syntax" "cannot be read from here"
    Error SEVERAL_DOCUMENTS "several-documents" "a second document"
    Error ANCHOR "anchor" "not supported"
    Error TAG "tag" "not supported"
    Error TOO_DEEP "too-deep" "too deep"
    Error BAD_KEY "bad-key" "a key must be text"
    Error UNQUOTED_EXPRESSION "unquoted-expression" "needs quotes"
    Error BAD_NUMBER "bad-number" "cannot be kept exactly"
    Error DUPLICATE_KEY "duplicate-key" "given again here"
    // Keys and values.
    Error UNKNOWN_KEY "unknown-key" "no such key"
    Error MISSING_KEY "missing-key" "something is missing here"
    Error WRONG_TYPE "wrong-type" "wrong type"
    Error BAD_NAME "bad-name" "not a name"
    Error BAD_VALUE "bad-value" "not one of the values"
    Error BAD_DURATION "bad-duration" "not a duration"
    Error ZERO_DURATION "zero-duration" "must be longer than nothing"
    Error BAD_RETRY "bad-retry" "makes no sense"
    Error BAD_CALL "bad-call" "not one call"
    Error BAD_TARGET "bad-target" "not a target"
    Error BAD_EXPRESSION "bad-expression" "cannot be read"
    Error TOO_MANY_EXPRESSIONS "too-many-expressions" "too many"
    Error BAD_POINTER "bad-pointer" "not to be redacted"
    Error TOO_MANY_POINTERS "too-many-pointers" "one too many"
    Error BAD_STEP "bad-step" "not one thing to do"
    Error MISPLACED_KEY "misplaced-key" "does not belong here"
    Error WAIT_WITHOUT_TIMEOUT "wait-without-timeout" "would wait for ever"
    Error NO_STEPS "no-steps" "no steps"
    Error TOO_MANY_STEPS "too-many-steps" "one too many"
    Error DUPLICATE_STEP "duplicate-step" "this name again"
    Warning BODY_ON_GET "body-on-get" "may be ignored"
    // The graph.
    Error UNKNOWN_STEP "unknown-step" "no such step"
    Error AFTER_ITSELF "after-itself" "this is the step itself"
    Error CYCLE "cycle" "closes the circle"
    // What can be undone.
    Error SEVERAL_PIVOTS "several-pivots" "another pivot"
    Error COMPENSATABLE_AFTER_PIVOT "compensatable-after-pivot" "may fail when nothing can be undone"
    Error RETRIABLE_TOO_EARLY "retriable-too-early" "may run too early"
    Error COMPENSATION_NEVER_RUNS "compensation-never-runs" "never runs"
    Warning CANNOT_BE_UNDONE "cannot-be-undone" "would be left behind"
    Warning WAIT_AFTER_PIVOT "wait-after-pivot" "may park the saga"
    Error MESSAGE_AT_MOST_ONCE "message-at-most-once" "may be delivered twice"
    Warning AT_MOST_ONCE_WITHOUT_PROBE "at-most-once-without-probe" "will need a person"
    // What templates read.
    Error OUT_OF_SCOPE "out-of-scope" "not to be had here"
    Error STEP_NOT_BEFORE "step-not-before" "may not have run"
    Warning SLEEP_HAS_NO_OUTPUT "sleep-has-no-output" "always null"
    Warning COMPENSATION_NEEDS_OUTPUT "compensation-needs-output" "null when the answer was lost"
    Warning PROBE_WITHOUT_OUTPUT "probe-without-output" "leaves the output null"
    Warning CONSTANT_KEY "constant-key" "the same for every saga"
    // Time.
    Warning DEADLINE_OVER_PIVOT "deadline-over-pivot" "may pass while the pivot runs"
    Warning TIMEOUT_OVER_DEADLINE "timeout-over-deadline" "longer than the deadline"
    Error SLEEPS_OVER_DEADLINE "sleeps-over-deadline" "never ends in time"
    // Configuration.
    Error UNKNOWN_PARTICIPANT "unknown-participant" "not configured"
    Error UNKNOWN_QUEUE "unknown-queue" "not configured"
}
