//! Who was known a moment ago, so that a request costs no question to the store. What was revoked is taken for at most so long.

use super::{Caller, Proof};
use amends_core::time::Timestamp;
use amends_store::TokenDigest;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long somebody is taken to be who they were.
const KEPT: Duration = Duration::from_secs(5);
/// How many are kept at once.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// By the digests of their tokens: who they are, and when that was asked for.
    known: HashMap<TokenDigest, (Proof, Instant)>,
    /// When everybody was forgotten last. What was asked for before may not be so any more.
    forgotten: Option<Instant>,
}

impl Recent {
    /// Who shows the token with this digest, if that was found out lately and still holds. Time is told twice: by a clock that
    /// never goes back, and as tokens say when they expire.
    pub(super) fn find(&self, digest: &TokenDigest, moment: Instant, now: Timestamp) -> Option<Caller> {
        let entries = self.entries();
        let (proof, asked) = entries.known.get(digest)?;
        let is_fresh = moment.duration_since(*asked) < KEPT && proof.until.is_none_or(|until| now < until);
        is_fresh.then(|| proof.caller.clone())
    }

    /// Remembers what was asked for at this moment.
    pub(super) fn keep(&self, digest: TokenDigest, proof: Proof, asked: Instant) {
        let mut entries = self.entries();
        if entries.forgotten.is_some_and(|forgotten| asked <= forgotten) {
            return;
        }
        if entries.known.len() >= MOST {
            entries.known.retain(|_, (_, earlier)| asked.duration_since(*earlier) < KEPT);
        }
        // Who is forgotten costs a question more.
        if entries.known.len() >= MOST {
            entries.known.clear();
        }
        entries.known.insert(digest, (proof, asked));
    }

    /// Forgets everybody, and does not remember what was asked for up to this moment.
    pub(super) fn clear(&self, moment: Instant) {
        *self.entries() = Entries { known: HashMap::new(), forgotten: Some(moment) };
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_000);

    fn proof(until: Option<u64>) -> Proof {
        Proof { caller: Caller { name: "kim".into(), role: None }, until: until.map(Timestamp) }
    }

    #[test]
    fn who_is_known_is_known_for_five_seconds() {
        let (recent, asked) = (Recent::default(), Instant::now());
        recent.keep([1; 32], proof(None), asked);
        for (after_ms, is_known) in [(0, true), (4_999, true), (5_000, false)] {
            let moment = asked + Duration::from_millis(after_ms);
            assert_eq!(recent.find(&[1; 32], moment, AT).is_some(), is_known, "{after_ms}");
        }
        assert_eq!(recent.find(&[2; 32], asked, AT), None);
    }

    /// An answer that was on its way meanwhile is from before.
    #[test]
    fn who_is_forgotten_stays_forgotten() {
        let (recent, asked) = (Recent::default(), Instant::now());
        recent.keep([1; 32], proof(None), asked);
        recent.clear(asked);
        recent.keep([2; 32], proof(None), asked);
        recent.keep([3; 32], proof(None), asked + Duration::from_millis(1));
        let known = [1, 2, 3].map(|number| recent.find(&[number; 32], asked, AT).is_some());
        assert_eq!(known, [false, false, true]);
    }

    #[test]
    fn nobody_is_known_longer_than_the_token_is_valid() {
        let (recent, asked) = (Recent::default(), Instant::now());
        recent.keep([1; 32], proof(Some(2_000)), asked);
        assert!(recent.find(&[1; 32], asked, Timestamp(1_999)).is_some());
        assert_eq!(recent.find(&[1; 32], asked, Timestamp(2_000)), None);
    }

    #[test]
    fn only_so_many_are_kept() {
        let (recent, asked) = (Recent::default(), Instant::now());
        for number in 0..2 * MOST + 1 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            recent.keep(digest, proof(None), asked);
            assert!(recent.entries().known.len() <= MOST);
        }
        assert_eq!(recent.entries().known.len(), 1);
    }
}
