//! Who follows which saga live. One task hears what the engine commits and passes each commit on to those who
//! follow its saga, so that a thousand followers do not each wake for every commit of every saga.
//!
//! A follower never slows the engine down: one that is too slow, and everyone when this task itself was too slow,
//! finds its channel closed. That means: follow again, and read from the store what was missed.

#[cfg(test)]
mod tests;

use amends_engine::{Committed, Engine};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{broadcast, mpsc};
use uuid::Uuid;

/// How many commits of its saga a follower may lag behind.
const LAG: usize = 64;

/// Who follows which saga. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Followers {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    by_saga: HashMap<Uuid, Vec<mpsc::Sender<Arc<Committed>>>>,
    ended: bool,
}

/// One follower of one saga. Ends with its drop.
#[derive(Debug)]
pub(crate) struct Following {
    saga: Uuid,
    commits: mpsc::Receiver<Arc<Committed>>,
    followers: Followers,
}

impl Followers {
    /// Begins to hear what the engine commits.
    #[must_use]
    pub fn of(engine: &Engine) -> Followers {
        let followers = Followers { state: Arc::default() };
        tokio::spawn(hear(followers.clone(), engine.committed()));
        followers
    }

    /// Follows a saga from now on; `None` where the engine has ended. Read the store after this and not before, and
    /// drop what comes twice.
    pub(crate) fn follow(&self, saga: Uuid) -> Option<Following> {
        let (sender, commits) = mpsc::channel(LAG);
        let mut state = self.state();
        if state.ended {
            return None;
        }
        state.by_saga.entry(saga).or_default().push(sender);
        drop(state);
        Some(Following { saga, commits, followers: self.clone() })
    }

    fn pass_on(&self, commit: &Arc<Committed>) {
        let mut state = self.state();
        let saga = commit.saga.id;
        if let Some(followers) = state.by_saga.get_mut(&saga) {
            // Whoever is gone or too slow is dropped, which closes the channel.
            followers.retain(|follower| follower.try_send(commit.clone()).is_ok());
            if followers.is_empty() {
                state.by_saga.remove(&saga);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl Following {
    /// The next commit; `None` where some were missed.
    pub(crate) async fn next(&mut self) -> Option<Arc<Committed>> {
        self.commits.recv().await
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.commits.close();
        let mut state = self.followers.state();
        if let Some(followers) = state.by_saga.get_mut(&self.saga) {
            followers.retain(|follower| !follower.is_closed());
            if followers.is_empty() {
                state.by_saga.remove(&self.saga);
            }
        }
    }
}

async fn hear(followers: Followers, mut commits: broadcast::Receiver<Arc<Committed>>) {
    loop {
        match commits.recv().await {
            Ok(commit) => followers.pass_on(&commit),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "followers of sagas read the store, because commits were missed");
                followers.state().by_saga.clear();
            }
            Err(broadcast::error::RecvError::Closed) => break,
        }
    }
    let mut state = followers.state();
    state.ended = true;
    state.by_saga.clear();
}
