//! What really happened at the participants, whatever the saga was told.

/// One step's effect, as its participant has it in its books.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Whether a repeated call with the same key has no second effect.
    pub honours_key: bool,
    /// How often the effect was made.
    pub done: u32,
    /// How often it was undone.
    pub undone: u32,
    /// Set by a compensation: an action that comes later is turned away.
    pub tombstone: bool,
    /// Requests that nobody waits for any more, and that may still arrive.
    pub under_way: u32,
    /// Whether a person left the step as it was.
    pub left_alone: bool,
}

impl Account {
    /// The effects that are there.
    pub fn net(&self) -> u32 {
        self.done - self.undone
    }

    /// A request arrives. Returns whether the participant says that it is done.
    pub fn act(&mut self) -> bool {
        if self.honours_key && self.tombstone {
            return false;
        }
        if !self.honours_key || self.done == 0 {
            self.done += 1;
        }
        true
    }

    /// A compensation arrives. It undoes what is there, and keeps out what is not there yet.
    pub fn undo(&mut self) {
        self.undone += self.net().min(1);
        self.tombstone = true;
    }

    /// One request that was under way arrives after all.
    pub fn land(&mut self) {
        if self.under_way > 0 {
            self.under_way -= 1;
            self.act();
        }
    }

    /// Everything that is under way arrives.
    pub fn land_all(&mut self) {
        while self.under_way > 0 {
            self.land();
        }
    }
}
