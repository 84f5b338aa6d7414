//! What SQLite's errors mean here.

use crate::StoreError;
use rusqlite::ErrorCode;
use std::path::PathBuf;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or another store of this one.
    #[error("{} is in use by {holder}; one server at a time can have it", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// Who has it and since when, as the lock file says.
        holder: String,
    },
    /// A newer program wrote it.
    #[error("{} has schema {found}, and this program knows schemas up to {known}; use the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest one this program knows.
        known: u32,
    },
    /// It holds something else.
    #[error("{} is not an Amends store; it was left as it is", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read and written.
    #[error("{} cannot be used as a store: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        why: String,
    },
}

/// Why a piece of work failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused before it wrote anything, so the transaction it is in can go on.
    Refused(StoreError),
    /// SQLite failed, and what the transaction did so far is in doubt: it is rolled back.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

/// Whether nothing more can be known of the file except by opening it anew.
pub(super) fn is_fatal(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// What to tell the caller: that it can come again, or that something is wrong with what is stored or was sent.
pub(super) fn refusal(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::CannotOpen
            | ErrorCode::OperationInterrupted
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::Unavailable(error.to_string().into()),
        _ => StoreError::Damaged(error.to_string().into()),
    }
}

/// What a caller hears of a thread that is gone: whatever it asked for may or may not have happened.
pub(super) fn stopped() -> StoreError {
    StoreError::Damaged("the store has stopped; open it again to see what is in it".into())
}
