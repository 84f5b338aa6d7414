//! What PostgreSQL's errors mean here.

use super::failover::NoUse;
use crate::StoreError;
use std::error::Error as _;
use tokio_postgres::error::{Severity, SqlState};

/// Why a store on PostgreSQL could not be opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error("the address of the store cannot be used: {why}")]
    Address { why: String },
    #[error("the store ({place}) cannot be reached: {why}")]
    Unreachable { place: String, why: String },
    #[error(
        "the store ({place}) has schema {found}, and this program knows schemas up to {known}; use the newer program"
    )]
    Newer { place: String, found: u32, known: u32 },
    #[error("the store ({place}) cannot be brought to this program's schema: {why}")]
    Schema { place: String, why: String },
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused before it wrote anything.
    Refused(StoreError),
    /// PostgreSQL failed before it was asked to commit: nothing was written.
    Sql(tokio_postgres::Error),
    /// The answer to the commit was lost: it may have been written.
    Lost(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(refusal: StoreError) -> Failure {
        Failure::Refused(refusal)
    }
}

impl From<NoUse> for Failure {
    fn from(no_use: NoUse) -> Failure {
        match no_use {
            NoUse::Broken(error) => Failure::Sql(error),
            NoUse::Unfit(why) => Failure::Refused(StoreError::Unavailable(why.into())),
        }
    }
}

impl Failure {
    /// What an error means that came when the transaction was to be committed. A statement that the server refused has kept
    /// it from committing; anything else may have come after.
    pub(super) fn at_commit(error: tokio_postgres::Error) -> Failure {
        let said = error.as_db_error();
        match said.is_some_and(|said| is_refusal(said.parsed_severity(), said.code().code())) {
            true => Failure::Sql(error),
            false => Failure::Lost(error),
        }
    }

    /// Whether it failed because not all of it could be done: such statements divide by nothing then.
    pub(super) fn is_doubt(&self) -> bool {
        matches!(self, Failure::Sql(error) if error.code() == Some(&SqlState::DIVISION_BY_ZERO))
    }

    /// Whether the same transaction can succeed at once: another one was in its way.
    pub(super) fn is_contention(&self) -> bool {
        match self {
            Failure::Sql(error) => error.as_db_error().is_some_and(|error| {
                let is_event = || error.table().is_some_and(|table| table.starts_with("event"));
                let code = error.code();
                [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED].contains(&code)
                    || (*code == SqlState::UNIQUE_VIOLATION && is_event())
            }),
            Failure::Refused(_) | Failure::Lost(_) => false,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Lost(error) => StoreError::Unknown(whole(&error).into()),
            Failure::Sql(error) => refusal(&error),
        }
    }
}

/// Whether an error says that a statement was not done. What ends the connection or the server may come when it was: a server
/// that cannot flush its log has written the commit there, perhaps, and finds it when it starts again.
fn is_refusal(severity: Option<Severity>, code: &str) -> bool {
    // Its own shutting down (57P01 and others), trouble with the connection, and trouble with the system.
    severity == Some(Severity::Error) && !["57P", "08", "58"].iter().any(|class| code.starts_with(class))
}

/// An error before anything was committed.
pub(super) fn refusal(error: &tokio_postgres::Error) -> StoreError {
    let text = whole(error).into();
    match error.code() {
        // What these say does not change with time.
        Some(code)
            if [
                &SqlState::UNIQUE_VIOLATION,
                &SqlState::CHECK_VIOLATION,
                &SqlState::NOT_NULL_VIOLATION,
                &SqlState::UNDEFINED_TABLE,
                &SqlState::UNDEFINED_COLUMN,
                &SqlState::INVALID_SCHEMA_NAME,
                &SqlState::DATA_CORRUPTED,
                &SqlState::INDEX_CORRUPTED,
            ]
            .contains(&code) =>
        {
            StoreError::Damaged(text)
        }
        Some(_) | None => StoreError::Unavailable(text),
    }
}

/// An error with all that is behind it.
pub(super) fn whole(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_the_server_at_work_is_a_refusal() {
        for (severity, code, is_refused) in [
            (Some(Severity::Error), "22012", true),
            (Some(Severity::Error), "23505", true),
            (Some(Severity::Error), "40P01", true),
            (Some(Severity::Error), "57014", true),
            (Some(Severity::Error), "08P01", false),
            (Some(Severity::Error), "57P01", false),
            (Some(Severity::Error), "58030", false),
            (Some(Severity::Fatal), "57P01", false),
            (Some(Severity::Fatal), "25P03", false),
            (Some(Severity::Panic), "58030", false),
            (Some(Severity::Panic), "53100", false),
            (None, "22012", false),
        ] {
            assert_eq!(is_refusal(severity, code), is_refused, "{severity:?} {code}");
        }
    }
}
