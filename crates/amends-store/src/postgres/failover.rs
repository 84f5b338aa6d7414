//! Whether a connection leads to the store that this process has been working on.
//!
//! After a failover the address leads to another server. It must be a successor of the one before: the same system, with a
//! history that is not older, that takes writes and has all that was acknowledged. One that is not is never worked on, and what
//! this process does waits until there is one that is, or until somebody starts it again and so accepts the loss.
//!
//! What a primary sends to its standbys is a log, so a successor has all up to some moment and nothing after it. It is enough
//! to look for what was acknowledged last: the renewal of this process's lease, and the last commits since.

use super::connect::Link;
use super::errors::whole;
use crate::Incarnation;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio_postgres::Error;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// What identifies a server's history: the system, and how often a standby of it was promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    system: i64,
    /// In hexadecimal digits, always as many.
    timeline: String,
}

impl Identity {
    fn is_older_than(&self, other: Option<&Identity>) -> bool {
        other.is_some_and(|other| other.system == self.system && self.timeline < other.timeline)
    }
}

/// Which server was seen, and what it has acknowledged.
pub(super) struct Witness {
    /// How many batches of commits can be on their way at once. The one that is last in the log is among as many that were
    /// acknowledged last: whatever else has begun since comes after it.
    writers: usize,
    seen: Mutex<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    server: Option<Identity>,
    /// The last renewal of a lease, and until when it runs, as the server wrote it.
    renewal: Option<(Incarnation, String)>,
    /// Commits since then: a saga, and the number of the first event.
    commits: VecDeque<(Uuid, i64)>,
    /// Why the last server that was looked at is none to work on.
    doubt: Option<String>,
}

/// Why a connection is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoUse {
    /// It cannot be opened, or ends.
    #[error("{}", whole(.0))]
    Broken(#[from] Error),
    /// It leads to a server that must not be worked on.
    #[error("{0}")]
    Unfit(String),
}

impl Witness {
    pub(super) fn new(writers: usize) -> Witness {
        Witness { writers, seen: Mutex::default() }
    }

    /// A commit was acknowledged that wrote this saga's event.
    pub(super) fn acknowledged(&self, saga: Uuid, first: i64) {
        self.change(|seen| {
            if seen.commits.len() == self.writers {
                seen.commits.pop_front();
            }
            seen.commits.push_back((saga, first));
        });
    }

    /// How many commits were acknowledged that a renewal which begins now comes after.
    pub(super) fn before_renewal(&self) -> Vec<(Uuid, i64)> {
        self.seen().commits.into()
    }

    /// A renewal was acknowledged, and with it all that was acknowledged before it began.
    pub(super) fn renewed(&self, me: Incarnation, until: String, before: &[(Uuid, i64)]) {
        self.change(|seen| {
            seen.renewal = Some((me, until));
            seen.commits.retain(|commit| !before.contains(commit));
        });
    }

    /// Sagas were forgotten: what they had is missing in no successor.
    pub(super) fn forgot(&self, sagas: &[Uuid]) {
        self.change(|seen| seen.commits.retain(|(saga, _)| !sagas.contains(saga)));
    }

    /// Looks whether this connection leads to the store that was seen before, or to a successor of it. Returns which server it is,
    /// if that says so.
    pub(super) async fn examine(&self, link: &Link) -> Result<Option<Identity>, NoUse> {
        let examined = self.look(link).await;
        match &examined {
            Ok(identity) => self.change(|seen| {
                seen.doubt = None;
                // Another connection may have seen a later one meanwhile.
                if !identity.as_ref().is_some_and(|identity| identity.is_older_than(seen.server.as_ref())) {
                    seen.server = identity.clone().or(seen.server.take());
                }
            }),
            Err(NoUse::Unfit(why)) => self.change(|seen| {
                if seen.doubt.replace(why.clone()).as_ref() != Some(why) {
                    tracing::error!("{why}");
                }
            }),
            Err(NoUse::Broken(_)) => {}
        }
        examined
    }

    /// Whether the last server that was looked at was none to work on.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).doubt.is_some()
    }

    /// Whether a server was replaced by one that was seen since.
    pub(super) fn is_replaced(&self, identity: Option<&Identity>) -> bool {
        identity.is_some_and(|identity| identity.is_older_than(self.seen().server.as_ref()))
    }

    async fn look(&self, link: &Link) -> Result<Option<Identity>, NoUse> {
        let (now, seen) = (identity(link).await?, self.seen());
        match (&seen.server, &now) {
            (Some(before), Some(now)) if before.system != now.system => Err(NoUse::Unfit(format!(
                "this is another database system ({}) than the one that this process began with ({}); mend the address, or start \
                 this server again if the other one is meant",
                now.system, before.system
            ))),
            (Some(before), Some(now)) if now.is_older_than(Some(before)) => Err(NoUse::Unfit(format!(
                "this server's history (timeline {}) is older than what was seen before ({}): it was replaced by a standby and \
                 must not take writes; stop it",
                now.timeline, before.timeline
            ))),
            (Some(before), None) => Err(NoUse::Unfit(format!(
                "this server does not say which database system it is, and the one that this process began with did ({})",
                before.system
            ))),
            (Some(_) | None, _) => match missing(link, &seen).await? {
                Some(missing) => Err(NoUse::Unfit(format!(
                    "the store is behind what it has acknowledged: {missing} is not there. A standby was promoted that did not \
                     have it, or a backup was put back. Nothing is done on it: bring back the server that has it, or start this \
                     server again to go on without what is lost"
                ))),
                None => Ok(now),
            },
        }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Which server this is; `None` where the database is one that does not say.
async fn identity(link: &Link) -> Result<Option<Identity>, NoUse> {
    let recovering = "SELECT pg_is_in_recovery()";
    let says = "
        SELECT system_identifier, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) FROM pg_control_system()";
    let answer = async {
        if link.query_text(recovering, &[]).await?[0].try_get(0)? {
            return Ok(None);
        }
        let row = link.query_text(says, &[]).await?.remove(0);
        Ok(Some(Identity { system: row.try_get(0)?, timeline: row.try_get(1)? }))
    };
    match answer.await {
        Ok(Some(identity)) => Ok(Some(identity)),
        Ok(None) => Err(NoUse::Unfit("this server is a standby and takes no writes; name the one that does".into())),
        Err(error) => told_nothing(error),
    }
}

/// A database that only speaks PostgreSQL's protocol has no such functions, or no right to them.
fn told_nothing(error: Error) -> Result<Option<Identity>, NoUse> {
    match error.code() {
        Some(code) if ["42", "0A"].contains(&&code.code()[..2]) => {
            tracing::debug!(error = whole(&error), "this database does not say which server it is");
            Ok(None)
        }
        Some(_) | None => Err(error.into()),
    }
}

/// What of the things seen last is not there.
async fn missing(link: &Link, seen: &Seen) -> Result<Option<String>, Error> {
    if let Some((me, until)) = &seen.renewal {
        let text = "
            SELECT 1 FROM amends.incarnation LEFT JOIN amends.lease ON lease.incarnation = incarnation.id
            WHERE incarnation.id = $1 AND coalesce(lease.expires_at, incarnation.lease_until) >= $2::timestamptz";
        if link.query_text(text, &[(me, Type::UUID), (until, Type::TEXT)]).await?.is_empty() {
            return Ok(Some(format!("the lease of this process until {until}")));
        }
    }
    for (saga, first) in &seen.commits {
        let text = "SELECT 1 FROM amends.event WHERE saga = $1 AND first = $2";
        if link.query_text(text, &[(saga, Type::UUID), (first, Type::INT8)]).await?.is_empty() {
            return Ok(Some(format!("event {first} of saga {saga}")));
        }
    }
    Ok(None)
}
