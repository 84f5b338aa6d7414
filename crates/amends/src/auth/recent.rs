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

/// By the digests of their tokens.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<TokenDigest, (Proof, Instant)>>);

impl Recent {
    /// Who shows the token with this digest, if that was found out lately and still holds. Time is told twice: by a clock that
    /// never goes back, and as tokens say when they expire.
    pub(super) fn find(&self, digest: &TokenDigest, moment: Instant, now: Timestamp) -> Option<Caller> {
        let entries = self.entries();
        let (proof, asked) = entries.get(digest)?;
        let is_fresh = moment.duration_since(*asked) < KEPT && proof.until.is_none_or(|until| now < until);
        is_fresh.then(|| proof.caller.clone())
    }

    /// Remembers what was asked for at this moment.
    pub(super) fn keep(&self, digest: TokenDigest, proof: Proof, asked: Instant) {
        let mut entries = self.entries();
        if entries.len() >= MOST {
            entries.retain(|_, (_, earlier)| asked.duration_since(*earlier) < KEPT);
        }
        // Who is forgotten costs a question more.
        if entries.len() >= MOST {
            entries.clear();
        }
        entries.insert(digest, (proof, asked));
    }

    pub(super) fn clear(&self) {
        self.entries().clear();
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<TokenDigest, (Proof, Instant)>> {
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
        recent.clear();
        assert_eq!(recent.find(&[1; 32], asked, AT), None);
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
            assert!(recent.entries().len() <= MOST);
        }
        assert_eq!(recent.entries().len(), 1);
    }
}
