//! Time for those who read: lists, searches and counts are for people, and the sagas go before them.
//!
//! What is read costs the store and this process time that the sagas would have had. So reading gets a share of the processors'
//! time, saved up for a while for whoever looks now and then. Beyond that it waits, and goes as fast as the share allows.

use super::Shared;
use super::problem::{self, ApiProblem};
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, timeout};

/// The share of the processors' time.
const SHARE: f64 = 0.05;
/// For how long it is saved up when nobody reads.
const SAVED: Duration = Duration::from_secs(10);
/// For how long what was taken too much holds up the next, at the most. What a store takes that hangs is not reading.
const DEBT: Duration = Duration::from_secs(5);
/// What a turn is taken to need until it is known.
const ADVANCE: f64 = 0.005;
/// The shortest time that is waited for.
const TICK: Duration = Duration::from_millis(1);
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much may be read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// One waits at a time, and the others behind it.
    gate: Arc<AsyncMutex<()>>,
    time: Arc<Mutex<Time>>,
    /// Seconds of reading that each second gives.
    rate: f64,
}

/// Time to read, in seconds. It may be owed.
#[derive(Clone, Copy, Debug)]
struct Time {
    left: f64,
    at: Instant,
}

impl Default for Reading {
    /// For the processors of this machine.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Reading::at(SHARE * processors as f64)
    }
}

impl Reading {
    fn at(rate: f64) -> Reading {
        let time = Time { left: rate * SAVED.as_secs_f64(), at: Instant::now() };
        Reading { gate: Arc::default(), time: Arc::new(Mutex::new(time)), rate }
    }

    /// Waits until there is time, and takes of it until the turn is dropped.
    pub(crate) async fn turn(&self) -> Turn {
        let _gate = self.gate.lock().await;
        loop {
            let left = self.spend(0.0);
            if left >= 0.0 {
                self.spend(ADVANCE);
                return Turn { reading: self.clone(), began: Instant::now() };
            }
            sleep(Duration::from_secs_f64(-left / self.rate).max(TICK)).await;
        }
    }

    /// The same, for no longer than anybody waits.
    async fn turn_in_time(&self) -> Result<Turn, ApiProblem> {
        timeout(PATIENCE, self.turn()).await.map_err(|_| {
            let detail = "more is asked than lists, searches and counts are given time for; ask less often";
            ApiProblem::new(problem::TOO_MANY_READS, detail)
        })
    }

    /// Takes time, and says how much is left now.
    fn spend(&self, took: f64) -> f64 {
        let mut time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let given = (now - time.at).as_secs_f64() * self.rate;
        let left = (time.left + given).min(self.rate * SAVED.as_secs_f64()) - took;
        let left = left.max(-self.rate * DEBT.as_secs_f64());
        *time = Time { left, at: now };
        left
    }
}

/// A request that reads for people, for as long as it does.
#[derive(Debug)]
pub(crate) struct Turn {
    reading: Reading,
    began: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.reading.spend(self.began.elapsed().as_secs_f64() - ADVANCE);
    }
}

impl FromRequestParts<Shared> for Turn {
    type Rejection = ApiProblem;

    async fn from_request_parts(_: &mut Parts, app: &Shared) -> Result<Self, ApiProblem> {
        app.reading.turn_in_time().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as fast as it is let for so long, each time for 10 ms, and says how often.
    async fn read(reading: Reading, time: Duration) -> u32 {
        let (began, mut times) = (Instant::now(), 0);
        while began.elapsed() < time {
            let turn = reading.turn().await;
            sleep(Duration::from_millis(10)).await; // tidy: allow-sleep the clock is virtual
            drop(turn);
            times += 1;
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_looks_now_and_then_does_not_wait() {
        let reading = Reading::at(0.1);
        for _ in 0..10 {
            let began = Instant::now();
            assert!(
                read(reading.clone(), Duration::from_millis(100)).await == 10 && began.elapsed().as_millis() == 100
            );
            sleep(Duration::from_secs(10)).await; // tidy: allow-sleep the clock is virtual
        }
    }

    /// However many they are.
    #[tokio::test(start_paused = true)]
    async fn whoever_reads_all_the_time_gets_a_share() {
        for readers in [1, 4, 40] {
            let reading = Reading::at(0.1);
            let hour = Duration::from_secs(3_600);
            let all = (0..readers).map(|_| tokio::spawn(read(reading.clone(), hour)));
            let times: u32 = futures_util::future::join_all(all).await.into_iter().map(Result::unwrap).sum();
            let share = f64::from(times) * 0.01 / hour.as_secs_f64();
            assert!((0.1..0.11).contains(&share), "{readers}: {share}");
        }
    }

    /// When the store has hung, people want to know what is the matter.
    #[tokio::test(start_paused = true)]
    async fn whoever_waited_for_a_store_that_hung_is_not_made_to_wait_for_long() {
        let reading = Reading::at(0.1);
        let mut turns = Vec::new();
        for _ in 0..20 {
            turns.push(reading.turn().await);
        }
        sleep(Duration::from_secs(600)).await; // tidy: allow-sleep the clock is virtual
        drop(turns);
        let began = Instant::now();
        reading.turn().await;
        assert!(began.elapsed() <= DEBT + TICK, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_would_wait_for_too_long_is_refused() {
        let reading = Reading::at(0.1);
        // Each is taken to need 5 ms until it is known, and so holds up the next for 50 ms.
        let all = (0..1_000).map(|_| {
            let reading = reading.clone();
            tokio::spawn(async move { reading.turn_in_time().await.map(std::mem::forget) })
        });
        let turns = futures_util::future::join_all(all).await;
        let refused = turns.into_iter().filter(|turn| turn.as_ref().unwrap().is_err()).count();
        assert!((500..900).contains(&refused), "{refused}");
    }
}
