//! The transaction as a handler sees it: something to write in, and nothing to end.

use crate::problem::Problem;
use crate::store::{OpenTransaction, StoreError, blocking};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use rusqlite::Connection;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The transaction that holds the handler's writes and the idempotency record together. An axum extractor.
///
/// The layer commits it after the handler has answered 2xx or 3xx, and rolls it back otherwise. A clone that outlives
/// the handler is of no use: every later [`Transaction::with`] fails.
#[derive(Clone)]
pub struct Transaction {
    shared: Arc<Shared>,
}

/// Why the work in a transaction failed. As a response it is 500, and so the transaction is rolled back.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// SQLite refused.
    #[error("the database refused: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The handler has answered already, or the transaction broke.
    #[error("the transaction has ended")]
    Ended,
}

struct Shared {
    key: Option<String>,
    action_key: Option<String>,
    open: Mutex<Option<OpenTransaction>>,
}

/// The layer's side of a [`Transaction`]. Dropping it rolls back, whoever still has a clone of the handler's side.
pub struct Lent {
    shared: Arc<Shared>,
}

impl Transaction {
    /// Runs `work` in the transaction, on a thread that may block.
    ///
    /// `work` cannot commit: while it has the connection, a `COMMIT` fails and takes the whole transaction with it.
    ///
    /// # Errors
    /// [`TransactionError::Sqlite`] with the error that `work` returned, and [`TransactionError::Ended`] where there
    /// is no transaction any more.
    ///
    /// # Panics
    /// Where `work` panics.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, TransactionError> {
        let shared = Arc::clone(&self.shared);
        let result = blocking(move || match &*shared.open() {
            Some(open) if open.is_whole() => open.lend(work).map(Some),
            Some(_) | None => Ok(None),
        });
        result.await?.ok_or(TransactionError::Ended)
    }

    /// The request's idempotency key, unquoted; `None` where the layer does not require one and none was sent.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.shared.key.as_deref()
    }

    /// The key of the action to undo, where the request is a compensation (`Amends-Action-Key`).
    #[must_use]
    pub fn action_key(&self) -> Option<&str> {
        self.shared.action_key.as_deref()
    }
}

impl Lent {
    pub fn new(open: OpenTransaction, key: Option<String>, action_key: Option<String>) -> Lent {
        Lent { shared: Arc::new(Shared { key, action_key, open: Mutex::new(Some(open)) }) }
    }

    /// The handler's side.
    pub fn transaction(&self) -> Transaction {
        Transaction { shared: Arc::clone(&self.shared) }
    }

    /// Takes the transaction back, if it is still the one that was lent. Blocks while a `with` runs.
    pub fn take_back(&self) -> Option<OpenTransaction> {
        self.shared.open().take().filter(OpenTransaction::is_whole)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.take_back());
    }
}

impl Shared {
    /// A panic in a handler's work poisons the lock; the transaction is then rolled back like any other.
    fn open(&self) -> MutexGuard<'_, Option<OpenTransaction>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Sync> FromRequestParts<S> for Transaction {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Transaction>().cloned().ok_or_else(|| Problem::NotBehindTheLayer.into_response())
    }
}

impl From<StoreError> for TransactionError {
    fn from(error: StoreError) -> TransactionError {
        match error {
            StoreError::Sqlite(error) => TransactionError::Sqlite(error),
            StoreError::Busy | StoreError::ShuttingDown => TransactionError::Ended,
        }
    }
}

impl IntoResponse for TransactionError {
    fn into_response(self) -> Response {
        tracing::error!(error = %self, "a transaction failed");
        Problem::TransactionFailed.into_response()
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("key", &self.key()).finish_non_exhaustive()
    }
}
