//! What an error of the library means: whether trying again can help.

#[cfg(test)]
mod tests;

use amends_store::queues::QueueError;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::sync::Arc;

/// Codes, or their last words, of answers below 500 that time mends: too many requests, credentials that are about to be renewed.
const FOR_NOW: [&str; 9] = [
    "Throttling",
    "ThrottlingException",
    "Throttled",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "OverLimit",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
];

pub(crate) fn failure<E>(error: &SdkError<E, HttpResponse>) -> QueueError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let (status, told) = (answer.raw().status().as_u16(), answer.err());
            let code = told.code().unwrap_or("no code");
            judge(status, code, format!("{code}: {}", told.message().unwrap_or("SQS says no more")))
        }
        SdkError::ConstructionFailure(_) => refused(chain(error)),
        // Not sent, not answered in time, or answered with what is no answer.
        _ => QueueError::Unavailable(chain(error).into()),
    }
}

pub(crate) fn refused(why: impl Into<Arc<str>>) -> QueueError {
    QueueError::Refused(why.into())
}

fn judge(status: u16, code: &str, said: String) -> QueueError {
    let is_for_now = status >= 500 || status == 429 || FOR_NOW.iter().any(|words| code.ends_with(words));
    if is_for_now { QueueError::Unavailable(said.into()) } else { refused(said) }
}

/// An error and what it came from, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(": ");
        said.push_str(&error.to_string());
        cause = error.source();
    }
    said
}
