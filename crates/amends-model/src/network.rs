//! What is between orchestrators and participants, and the participants with their idempotency layer (DESIGN §4).

use crate::saga::Heard;
use crate::{Fault, Incarnation};

/// Which of a step's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Direction {
    Action,
    Compensation,
}

/// What is on its way. A key belongs to step and direction: it names neither the attempt nor the owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// A call.
    Request {
        /// Of which step.
        step: usize,
        /// Which call.
        direction: Direction,
        /// Who listens for the answer; nobody after it has given up or is gone. The request itself can arrive at any time.
        caller: Option<Incarnation>,
    },
    /// What a participant has answered to somebody who still listens.
    Answer {
        /// Of which step.
        step: usize,
        /// Who listens.
        to: Incarnation,
        /// What it says.
        heard: Heard,
    },
}

/// The participant of one step: what its idempotency layer remembers, and its own books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Participant {
    /// What is on record under the action's key.
    pub action: Option<Record>,
    /// Whether the compensation's key is on record.
    pub compensation: bool,
    /// How many effects there were.
    pub done: u8,
    /// How many of them were undone.
    pub undone: u8,
}

/// What is on record under an action's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// It took effect.
    Done,
    /// It was refused, and had none.
    Refused,
    /// Its compensation came first.
    Tombstone,
}

impl Participant {
    /// Effects that are there.
    pub fn net(&self) -> i8 {
        self.done as i8 - self.undone as i8
    }

    /// What it does with a request: all of it in one transaction. `refuses` says what an action would come to by itself.
    pub fn handle(&mut self, direction: Direction, refuses: bool, fault: Fault) -> Heard {
        if fault == Fault::NoIdempotency {
            (self.action, self.compensation) = (None, false);
        }
        match direction {
            Direction::Action => self.act(refuses),
            Direction::Compensation => self.compensate(fault),
        }
    }

    /// §4: a call that is repeated has its first answer, and an action that comes after its compensation is refused.
    fn act(&mut self, refuses: bool) -> Heard {
        match self.action {
            Some(Record::Done) => Heard::Done,
            Some(Record::Refused | Record::Tombstone) => Heard::Refused,
            None if refuses => {
                self.action = Some(Record::Refused);
                Heard::Refused
            }
            None => {
                self.action = Some(Record::Done);
                self.done += 1;
                Heard::Done
            }
        }
    }

    /// §4: a compensation whose action never arrived undoes nothing, and leaves a tombstone under its key.
    fn compensate(&mut self, fault: Fault) -> Heard {
        let is_repeated = std::mem::replace(&mut self.compensation, true);
        match self.action {
            _ if is_repeated => {}
            Some(Record::Refused | Record::Tombstone) => {}
            None if fault == Fault::NoTombstone => {}
            // Who keeps no record cannot tell this from a compensation that has something to undo.
            None if fault == Fault::NoIdempotency => self.undone += 1,
            None => self.action = Some(Record::Tombstone),
            Some(Record::Done) => self.undone += 1,
        }
        Heard::Done
    }
}
