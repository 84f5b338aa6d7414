//! What a participant's answer means: the table of the protocol, in one place.
//!
//! The class of an answer decides what happens to money, so it is a pure function of what came back and nothing
//! else: not of the attempt, the clock or the step.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// What came back from one call, before anyone judged it.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A complete response.
    Response(Response),
    /// Nothing was sent: no address, no connection, no TLS.
    NotSent {
        /// One sentence for people.
        error: String,
    },
    /// Bytes were sent, or may have been, and no complete response came: a timeout, a broken connection.
    Lost {
        /// One sentence for people.
        error: String,
    },
    /// What was sent by a message was answered.
    Reply(Reply),
}

/// The answer to a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Reply {
    /// It took effect.
    Done {
        /// The output, or null.
        #[serde(default)]
        output: Arc<Value>,
    },
    /// It took no effect, and asking again will not change that.
    Refused {
        /// One sentence for people.
        error: String,
    },
    /// It took no effect, and may be tried again.
    NotDone {
        /// One sentence for people.
        error: String,
        /// In how many milliseconds, if the participant says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// A complete HTTP response, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Retry-After` in milliseconds, if it was there and could be read.
    pub retry_after_ms: Option<u64>,
    /// The body: JSON if it is JSON, otherwise text; null if it was empty or too large to keep.
    pub body: Arc<Value>,
    /// Why the body is not kept, if it is not (too large, too deep).
    pub body_dropped: Option<String>,
}

/// What went wrong, as people see it, with the status where there was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The status code of the answer, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// One sentence.
    pub message: String,
    /// What failures alike have in common, where neither status nor message tell: an answer's problem type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// What an answer to an action means.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionOutcome {
    /// It took effect.
    Done {
        /// What the participant answered: JSON, text, or null.
        output: Arc<Value>,
    },
    /// It took no effect, and may be tried again.
    NotDone {
        /// Why.
        failure: Failure,
        /// `Retry-After` in milliseconds, if the participant said so.
        retry_after_ms: Option<u64>,
    },
    /// The first request still runs; asking again costs no attempt.
    InProgress {
        /// What the participant said.
        failure: Failure,
        /// `Retry-After` in milliseconds, if the participant said so.
        retry_after_ms: Option<u64>,
    },
    /// It took no effect, and asking again will not change that.
    Refused {
        /// Why.
        failure: Failure,
    },
    /// It may have taken effect.
    Unknown {
        /// Why nobody knows.
        failure: Failure,
        /// `Retry-After` in milliseconds, if the participant said so.
        retry_after_ms: Option<u64>,
    },
}

/// What an answer to a compensation means.
#[derive(Clone, Debug, PartialEq)]
pub enum CompensationOutcome {
    /// The effect is undone, or was never there.
    Done,
    /// Try again later.
    Again {
        /// What went wrong.
        failure: Failure,
        /// `Retry-After` in milliseconds, if the participant said so.
        retry_after_ms: Option<u64>,
        /// Whether this attempt may have undone the effect nevertheless.
        uncertain: bool,
    },
    /// The action (or an earlier compensation) still runs; asking again costs no attempt.
    InProgress {
        /// What the participant said.
        failure: Failure,
        /// `Retry-After` in milliseconds, if the participant said so.
        retry_after_ms: Option<u64>,
    },
    /// Trying again cannot help: a person must look.
    Hopeless {
        /// What went wrong.
        failure: Failure,
    },
}

/// What an answer to a probe means.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeOutcome {
    /// An answer that `happened` can judge.
    Answered,
    /// No usable answer; ask again.
    Again {
        /// What went wrong.
        failure: Failure,
        /// `Retry-After` in milliseconds, if the participant said so.
        retry_after_ms: Option<u64>,
    },
}

/// Judges an answer to an action.
#[must_use]
pub fn classify_action(answer: &Answer) -> ActionOutcome {
    let response = match answer {
        Answer::NotSent { error } => {
            return ActionOutcome::NotDone { failure: Failure::without_status(error), retry_after_ms: None };
        }
        Answer::Lost { error } => {
            return ActionOutcome::Unknown { failure: Failure::without_status(error), retry_after_ms: None };
        }
        Answer::Reply(Reply::Done { output }) => return ActionOutcome::Done { output: output.clone() },
        Answer::Reply(Reply::Refused { error }) => {
            return ActionOutcome::Refused { failure: refused(error) };
        }
        Answer::Reply(Reply::NotDone { error, retry_after_ms }) => {
            return ActionOutcome::NotDone { failure: not_done(error), retry_after_ms: *retry_after_ms };
        }
        Answer::Response(response) => response,
    };
    let retry_after_ms = response.retry_after_ms;
    match response.status {
        200..=299 => ActionOutcome::Done { output: response.body.clone() },
        409 if response.says_done_before() => ActionOutcome::Done { output: Arc::new(Value::Null) },
        429 => ActionOutcome::NotDone { failure: response.failure(), retry_after_ms },
        425 => ActionOutcome::InProgress { failure: response.failure(), retry_after_ms },
        409 if retry_after_ms.is_some() => ActionOutcome::InProgress { failure: response.failure(), retry_after_ms },
        408 => ActionOutcome::Unknown { failure: response.failure(), retry_after_ms },
        300..=499 => ActionOutcome::Refused { failure: response.failure() },
        // 5xx, and whatever HTTP does not define: it proves nothing about the effect.
        _ => ActionOutcome::Unknown { failure: response.failure(), retry_after_ms },
    }
}

/// Judges an answer to a compensation. `not_found_is_done`: the definition says that 404 means there is nothing to undo.
#[must_use]
pub fn classify_compensation(answer: &Answer, not_found_is_done: bool) -> CompensationOutcome {
    let response = match answer {
        Answer::NotSent { error } => {
            let failure = Failure::without_status(error);
            return CompensationOutcome::Again { failure, retry_after_ms: None, uncertain: false };
        }
        Answer::Lost { error } => {
            let failure = Failure::without_status(error);
            return CompensationOutcome::Again { failure, retry_after_ms: None, uncertain: true };
        }
        Answer::Reply(Reply::Done { .. }) => return CompensationOutcome::Done,
        Answer::Reply(Reply::Refused { error }) => {
            return CompensationOutcome::Hopeless { failure: refused(error) };
        }
        Answer::Reply(Reply::NotDone { error, retry_after_ms }) => {
            let failure = not_done(error);
            return CompensationOutcome::Again { failure, retry_after_ms: *retry_after_ms, uncertain: false };
        }
        Answer::Response(response) => response,
    };
    let retry_after_ms = response.retry_after_ms;
    match response.status {
        200..=299 | 410 => CompensationOutcome::Done,
        409 if response.says_done_before() => CompensationOutcome::Done,
        404 if not_found_is_done => CompensationOutcome::Done,
        401 | 403 | 404 => CompensationOutcome::Hopeless { failure: response.failure() },
        425 => CompensationOutcome::InProgress { failure: response.failure(), retry_after_ms },
        409 if retry_after_ms.is_some() => {
            CompensationOutcome::InProgress { failure: response.failure(), retry_after_ms }
        }
        300..=407 | 409..=499 => {
            CompensationOutcome::Again { failure: response.failure(), retry_after_ms, uncertain: false }
        }
        _ => CompensationOutcome::Again { failure: response.failure(), retry_after_ms, uncertain: true },
    }
}

/// Judges an answer to a probe: 2xx and 404 can be looked at (a 404 often *is* the answer), the rest is asked again.
#[must_use]
pub fn classify_probe(answer: &Answer) -> ProbeOutcome {
    match answer {
        Answer::NotSent { error } | Answer::Lost { error } => {
            ProbeOutcome::Again { failure: Failure::without_status(error), retry_after_ms: None }
        }
        Answer::Reply(_) => {
            let failure = Failure::without_status("a probe is no message, and was answered like one");
            ProbeOutcome::Again { failure, retry_after_ms: None }
        }
        Answer::Response(response) => match response.status {
            200..=299 | 404 => ProbeOutcome::Answered,
            _ => ProbeOutcome::Again { failure: response.failure(), retry_after_ms: response.retry_after_ms },
        },
    }
}

/// What the answer to a message says begins with a word of ours, as that of a call does with its status.
fn refused(error: &str) -> Failure {
    Failure::without_status(format!("refused: {error}"))
}

fn not_done(error: &str) -> Failure {
    Failure::without_status(format!("not done: {error}"))
}

impl Failure {
    /// A failure that no status code goes with.
    #[must_use]
    pub fn without_status(message: impl Into<String>) -> Failure {
        Failure { status: None, message: message.into(), kind: None }
    }

    /// A failure that somebody tells whom the step does not ask, and why.
    #[must_use]
    pub fn from_outside(reason: &str) -> Failure {
        let message = format!("failed from outside: {reason}");
        Failure { status: None, message, kind: Some(FROM_OUTSIDE.to_owned()) }
    }

    /// Whether it is one of [`Failure::from_outside`].
    #[must_use]
    pub fn is_from_outside(&self) -> bool {
        self.status.is_none() && self.kind.as_deref() == Some(FROM_OUTSIDE)
    }
}

/// The kind of what is told from outside.
const FROM_OUTSIDE: &str = "failed from outside";

/// The longest that is kept of an answer's problem type, in characters.
const KIND_CHARS: usize = 200;

/// The problem type by which `amends-idempotency` says that the call was answered before and that the answer was too
/// large to be kept. Its member `original_status` is the status of that answer.
const ANSWER_NOT_KEPT: &str = "urn:amends:problem:answer-not-kept";

impl Response {
    /// Whether the participant says that an earlier attempt succeeded, and that its answer is gone.
    fn says_done_before(&self) -> bool {
        let kind = self.body.get("type").and_then(Value::as_str);
        let original = self.body.get("original_status").and_then(Value::as_u64);
        kind == Some(ANSWER_NOT_KEPT) && original.is_some_and(|status| (200..300).contains(&status))
    }

    /// What the response says of itself: a problem's `detail` or `title` where there is one, else its status.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let said = ["detail", "title", "message", "error"]
            .iter()
            .find_map(|name| self.body.get(name).and_then(Value::as_str))
            .or_else(|| self.body.as_str())
            .map(|text| text.chars().take(300).collect::<String>());
        let message = match said {
            Some(said) if !said.trim().is_empty() => format!("answered {}: {}", self.status, said.trim()),
            Some(_) | None => format!("answered {}", self.status),
        };
        let message = match &self.body_dropped {
            Some(why) => format!("{message} ({why})"),
            None => message,
        };
        let kind = self.body.get("type").and_then(Value::as_str);
        let kind = kind.map(|kind| kind.chars().take(KIND_CHARS).collect());
        Failure { status: Some(self.status), message, kind }
    }
}
