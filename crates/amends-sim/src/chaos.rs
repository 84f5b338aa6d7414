//! What a run is made of, drawn from its seed: how much of the world there is, and which faults it meets how often.

use fastrand::Rng;

/// How often things go wrong, each in thousandths of the occasions there are for it. Every run has only some of the
/// faults: where everything fails at once, little gets far enough to fail in an interesting place.
#[derive(Clone, Debug)]
pub(crate) struct Chaos {
    /// A process is killed before or after it does one thing.
    pub(crate) kill: u32,
    /// A process is stopped in order.
    pub(crate) stop: u32,
    /// A process is frozen for a while (SIGSTOP, SIGCONT).
    pub(crate) freeze: u32,
    /// The store refuses for now; nothing was written.
    pub(crate) refuse_store: u32,
    /// The store, one that several processes share, does not say what became of a commit or of what it was asked for.
    pub(crate) lose_commit: u32,
    /// The store takes its time.
    pub(crate) slow_store: u32,
    /// Nothing is sent: no connection.
    pub(crate) unreachable: u32,
    /// A request never arrives.
    pub(crate) lose_request: u32,
    /// A request arrives after its caller has given up.
    pub(crate) delay: u32,
    /// A request that was worked on arrives once more.
    pub(crate) duplicate: u32,
    /// An answer never arrives.
    pub(crate) lose_answer: u32,
    /// Something between answers in the participant's place, with 502, 504, 408 or nonsense, whatever happened behind it.
    pub(crate) gateway: u32,
    /// Something between turns the request away before it arrives: 401, 429, a redirect.
    pub(crate) turn_away: u32,
    /// The participant refuses an action.
    pub(crate) refuse: u32,
    /// The participant fails and has rolled back.
    pub(crate) fail: u32,
    /// The participant says of a compensation what no retry can mend.
    pub(crate) hopeless: u32,
    /// The participant works longer than its caller waits.
    pub(crate) slow_work: u32,
    /// The participant dies over a request.
    pub(crate) crash: u32,
    /// A participant is away for a while.
    pub(crate) outage: u32,
    /// Definitions cannot be read for a while, as by an older program.
    pub(crate) amnesia: u32,
    /// People act while it all goes on.
    pub(crate) people: u32,
}

/// How much of everything there is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Orchestrators. With one, the store is the embedded one: a new process takes the store over at once.
    pub(crate) processes: usize,
    /// Commits that may be on their way to the store at once.
    pub(crate) commits: usize,
    /// Sagas that clients start.
    pub(crate) sagas: usize,
    /// Definitions.
    pub(crate) definitions: usize,
    /// Calls, and compensations, that may be in flight to one participant.
    pub(crate) places: usize,
    /// Milliseconds in which sagas are started and faults happen.
    pub(crate) storm_ms: u64,
    /// Milliseconds by which a process's clock may be wrong, either way.
    pub(crate) skew_ms: u64,
    pub(crate) chaos: Chaos,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Plan {
        let chaos = Chaos {
            kill: some(rng, 40),
            stop: some(rng, 3),
            freeze: some(rng, 15),
            refuse_store: some(rng, 100),
            lose_commit: some(rng, 100),
            slow_store: some(rng, 100),
            unreachable: some(rng, 150),
            lose_request: some(rng, 150),
            delay: some(rng, 150),
            duplicate: some(rng, 200),
            lose_answer: some(rng, 200),
            gateway: some(rng, 150),
            turn_away: some(rng, 100),
            refuse: some(rng, 200),
            fail: some(rng, 200),
            hopeless: some(rng, 150),
            slow_work: some(rng, 100),
            crash: some(rng, 60),
            outage: some(rng, 30),
            amnesia: some(rng, 15),
            people: some(rng, 150),
        };
        let processes = if rng.bool() { 1 } else { rng.usize(2..=3) };
        Plan {
            processes,
            commits: if processes == 1 { 1 } else { rng.usize(1..=3) },
            sagas: rng.usize(1..=6),
            definitions: rng.usize(1..=2),
            places: rng.usize(1..=4),
            storm_ms: rng.u64(2_000..15_000),
            skew_ms: [0, 0, 0, 500, 5_000, if rng.u8(..8) == 0 { 3_600_000 } else { 0 }][rng.usize(..6)],
            chaos,
        }
    }
}

/// Half of the time nothing, otherwise up to `most` thousandths.
fn some(rng: &mut Rng, most: u32) -> u32 {
    if rng.bool() { 0 } else { rng.u32(1..=most) }
}
