//! The audit log: who did what, when and why; and its chain.
//!
//! An entry is written in the transaction that carries out what it tells of, and is sealed afterwards, so that no commit waits for
//! the end of a chain that all of them would have to lengthen. Sealing gives it a number and a hash, by the rules of
//! [`amends_core::chain`], and happens to it once. Its place in the chain is where the chain ended when it was sealed: no clock has a part
//! in it, and what was committed late comes later.

use crate::StoreError;
use amends_core::chain::{Entry, Head};
use amends_core::time::Timestamp;
use async_trait::async_trait;
use uuid::Uuid;

/// What somebody did that concerns no saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// What it concerned.
    pub subject: String,
    /// When.
    pub at: Timestamp,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "as in Write::Audit and Deed")]
pub struct AuditEntry {
    /// Its place in the list: pages go by it. Of two entries one of which was committed before the other was written, the
    /// other's is greater.
    pub place: u128,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    /// `None` where it concerns no saga.
    pub saga: Option<Uuid>,
    /// What it concerns, where that is no saga.
    pub subject: Option<String>,
    pub step: Option<String>,
    /// Empty where nobody asked for one.
    pub reason: String,
    /// Its number and its hash, once it is sealed.
    pub seal: Option<Head>,
}

/// Which audit entries to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditQuery {
    /// Only of this saga.
    pub saga: Option<Uuid>,
    /// Only entries whose place is before this one.
    pub before: Option<u128>,
    /// How many at most.
    pub limit: usize,
}

/// The chain of the audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Seals entries that are not, at most so many, in the order of their places. Returns where the chain ends then; `None` where
    /// there was nothing to seal, or another process is at it. It is done whole or not at all, and can be called at any time.
    async fn seal(&self, limit: usize) -> Result<Option<Head>, StoreError>;

    /// The sealed entries after this number, in the order of the chain.
    async fn sealed(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Where the chain ends.
    async fn head(&self) -> Result<Head, StoreError>;
}

impl AuditEntry {
    /// What is sealed of it.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry {
            action: self.action.clone(),
            actor: self.actor.clone(),
            at: self.at.to_string(),
            reason: self.reason.clone(),
            saga: self.saga.map(|saga| saga.to_string()),
            step: self.step.clone(),
            subject: self.subject.clone(),
        }
    }
}

/// Entries on the way to being sealed, each with the head that the chain has with it.
pub(crate) fn seals(mut head: Head, entries: &[AuditEntry]) -> Vec<Head> {
    let sealed = entries.iter().map(|entry| {
        head = head.with(&entry.entry());
        head
    });
    sealed.collect()
}

/// The rank is what places go by; what has the same, because it was written at once, is told apart by the rest.
pub(crate) fn place(rank: u64, rest: u64) -> u128 {
    u128::from(rank) << 64 | u128::from(rest)
}
