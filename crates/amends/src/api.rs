//! The HTTP API. `router.rs` lists every endpoint, `problem.rs` every error; `docs/api.md` tells both to callers.
//!
//! It decides nothing about sagas: it checks what comes in, asks the engine, and shows what the store holds.

pub mod access;
mod audit;
mod cursor;
mod dead_letters;
mod definitions;
mod extract;
mod follow;
mod guard;
mod health;
mod history;
pub(crate) mod json;
mod metrics;
mod plan;
mod prefer;
pub mod problem;
mod queues;
mod reading;
mod router;
mod sagas;
mod tokens;
mod wire;

#[cfg(test)]
mod tests;

pub use follow::Followers;
pub use metrics::HttpMetrics;
pub use queues::Queue;
pub use reading::Reading;
pub use router::{openapi, router};

use crate::auth::Authenticator;
use amends_core::lint::Known;
use amends_core::redact::{Pointer, own_words};
use amends_engine::{Engine, EngineError, History, Snapshot};
use amends_store::StoreAndViews;
use problem::ApiProblem;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// What the handlers work with.
pub struct App {
    /// The engine.
    pub engine: Engine,
    /// What is read.
    pub store: Arc<dyn StoreAndViews>,
    /// The queues of the configuration.
    pub queues: BTreeMap<String, Queue>,
    /// The participants and queues that definitions may name.
    pub known: Known,
    /// Who follows which saga live.
    pub followers: Followers,
    /// How much may be read.
    pub reading: Reading,
    /// Counts of the API's own requests.
    pub metrics: HttpMetrics,
    /// Who finds out who calls; `None` where everybody may do everything.
    pub auth: Option<Authenticator>,
    /// Where the server listens.
    pub listening: SocketAddr,
    /// Names that requests may call the server by, besides those of the loopback.
    pub hosts: Vec<String>,
    /// How long a caller may take to send a body.
    pub body_read_timeout: Duration,
    /// What is shown of no saga, whatever its definition says.
    pub redact: Vec<Pointer>,
    /// How the server is.
    pub health: watch::Receiver<Health>,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes work.
    Running,
    /// It is stopping: whoever waits is answered now.
    Stopping,
    /// The engine cannot go on.
    Failed(String),
}

/// The application as the handlers share it.
pub type Shared = Arc<App>;

impl App {
    /// A saga with its history, as it is in the store.
    pub(crate) async fn read(&self, id: Uuid) -> Result<(Snapshot, History), ApiProblem> {
        let record = self.store.saga(id).await?;
        let record = record.ok_or_else(|| {
            let detail = format!("there is no saga {id}; GET /v1/sagas lists those there are");
            ApiProblem::new(problem::UNKNOWN_SAGA, detail)
        })?;
        let version = &record.birth.version;
        let unreadable =
            |why: String| ApiProblem::new(problem::UNREADABLE_SAGA, format!("saga {id} cannot be read: {why}"));
        let definition = match self.engine.definition(version).await {
            Ok(found) => {
                found.ok_or_else(|| unreadable(format!("version {version} of its definition is not in the store")))?
            }
            // The definition was valid when it was stored, so this is no mistake of the caller's.
            Err(EngineError::BadInput(why)) => return Err(unreadable(why)),
            Err(error) => return Err(error.into()),
        };
        Ok(Snapshot::read(&record, definition)?)
    }

    /// Why a saga was not started. What is wrong with an input may quote it.
    pub(crate) fn refusal(&self, error: EngineError) -> ApiProblem {
        match error {
            EngineError::BadInput(why) if !self.redact.is_empty() => {
                ApiProblem::from(EngineError::BadInput(own_words(&why).into_owned()))
            }
            other => ApiProblem::from(other),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.health.borrow() != Health::Running
    }

    /// Ends when the server does not take work any more.
    pub(crate) async fn stopping(&self) {
        let mut health = self.health.clone();
        // A sender that is gone means the same.
        let _ = health.wait_for(|health| *health != Health::Running).await;
    }
}
