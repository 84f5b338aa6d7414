//! The queues of the store in memory.

use crate::queues::{
    DeadMessage, DeadQuery, Delivery, Depth, Handled, Handling, NewMessage, NewRedrive, REDRIVEN, REDRIVES_SHOWN,
    ReceiveRequest, Redrive, read_receipt, receipt, redriven_at,
};
use amends_core::time::Timestamp;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Messages by their queues and ids, and what was redriven, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct QueueState {
    messages: BTreeMap<(String, String), Held>,
    redrives: Vec<(String, Redrive)>,
    receivings: u128,
}

#[derive(Clone, Debug)]
struct Held {
    body: String,
    sent_at: Timestamp,
    visible_at: Timestamp,
    receives: u32,
    receiving: Option<Uuid>,
    dead_at: Option<Timestamp>,
    redrive: Option<String>,
}

impl QueueState {
    pub(super) fn put(&mut self, queue: &str, message: NewMessage) {
        let NewMessage { id, body, at } = message;
        self.messages.entry((queue.to_owned(), id)).or_insert(Held {
            body,
            sent_at: at,
            visible_at: at,
            receives: 0,
            receiving: None,
            dead_at: None,
            redrive: None,
        });
    }

    fn of<'a>(&'a mut self, queue: &'a str) -> impl Iterator<Item = (&'a String, &'a mut Held)> {
        self.messages.iter_mut().filter(move |((of, _), _)| of == queue).map(|((_, id), held)| (id, held))
    }

    pub(super) fn receive(&mut self, queue: &str, request: &ReceiveRequest) -> Vec<Delivery> {
        self.receivings += 1;
        let receiving = Uuid::from_u128(self.receivings);
        let is_ready = |held: &Held| held.dead_at.is_none() && held.visible_at <= request.now;
        let mut ready: Vec<_> = self.of(queue).filter(|(_, held)| is_ready(held)).collect();
        ready.sort_by_key(|(id, held)| (held.visible_at, *id));
        ready.truncate(request.limit);
        let (over, mut ready): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|(_, held)| held.receives >= request.receives_max);
        for (_, held) in over {
            held.dead_at = Some(request.now);
            held.receiving = None;
        }
        ready.sort_by_key(|(id, held)| (held.sent_at, *id));
        let taken = ready.into_iter().map(|(id, held)| {
            held.visible_at = request.now.plus(request.visibility_ms);
            held.receives += 1;
            held.receiving = Some(receiving);
            Delivery {
                id: id.clone(),
                body: held.body.clone(),
                receipt: receipt(receiving, id),
                receives: held.receives,
            }
        });
        taken.collect()
    }

    pub(super) fn handle(&mut self, queue: &str, receipt: &str, handling: Handling, now: Timestamp) -> Handled {
        let Some((receiving, id)) = read_receipt(receipt) else { return Handled::Stale };
        let place = (queue.to_owned(), id.to_owned());
        let Some(held) = self.messages.get_mut(&place).filter(|held| held.receiving == Some(receiving)) else {
            return Handled::Stale;
        };
        match handling {
            Handling::Acknowledge => {
                self.messages.remove(&place);
            }
            Handling::Extend { .. } if held.visible_at <= now => return Handled::Stale,
            Handling::Extend { until } => held.visible_at = until,
            Handling::Reject { at } => {
                held.visible_at = at;
                held.receiving = None;
            }
        }
        Handled::Done
    }

    pub(super) fn dead(&mut self, queue: &str, query: &DeadQuery) -> Vec<DeadMessage> {
        let mut dead: Vec<DeadMessage> = self.of(queue).filter_map(|(id, held)| dead_message(id, held)).collect();
        dead.sort_by(|one, other| (one.dead_at, &one.id).cmp(&(other.dead_at, &other.id)));
        let is_after = |letter: &DeadMessage| {
            query.after.as_ref().is_none_or(|(at, id)| (*at, id.as_str()) < (letter.dead_at, letter.id.as_str()))
        };
        dead.into_iter().filter(is_after).take(query.limit).collect()
    }

    pub(super) fn redrive(&mut self, queue: &str, redrive: NewRedrive) -> Redrive {
        let mut dead: Vec<_> = self.of(queue).filter(|(_, held)| held.dead_at.is_some()).collect();
        dead.sort_by_key(|(id, held)| (held.dead_at, *id));
        dead.truncate(REDRIVEN);
        let total = u64::try_from(dead.len()).unwrap_or(u64::MAX);
        for (number, (_, held)) in dead.into_iter().enumerate() {
            held.dead_at = None;
            held.receives = 0;
            held.visible_at = redriven_at(&redrive, number);
            held.redrive = Some(redrive.id.clone());
        }
        let NewRedrive { id, per_second, now } = redrive;
        let begun = Redrive { id, at: now, per_second, total, moved: 0, is_cancelled: false };
        self.redrives.push((queue.to_owned(), begun.clone()));
        Redrive { moved: total - self.waiting(&begun.id, now), ..begun }
    }

    /// How many messages of a redrive are not ready yet.
    fn waiting(&self, redrive: &str, now: Timestamp) -> u64 {
        let waits = |held: &&Held| is_waiting(held, redrive, now);
        u64::try_from(self.messages.values().filter(waits).count()).unwrap_or(u64::MAX)
    }

    pub(super) fn redrives(&self, queue: &str, now: Timestamp) -> Vec<Redrive> {
        let of_queue = self.redrives.iter().rev().filter(|(of, _)| of == queue).map(|(_, redrive)| redrive);
        let how_far = |redrive: &Redrive| match redrive.is_cancelled {
            true => redrive.clone(),
            false => Redrive { moved: redrive.total - self.waiting(&redrive.id, now), ..redrive.clone() },
        };
        of_queue.take(REDRIVES_SHOWN).map(how_far).collect()
    }

    pub(super) fn cancel_redrive(&mut self, queue: &str, id: &str, now: Timestamp) -> Option<Redrive> {
        let place = self.redrives.iter().position(|(of, redrive)| of == queue && redrive.id == id)?;
        if !self.redrives[place].1.is_cancelled {
            let waiting = self.waiting(id, now);
            for held in self.messages.values_mut().filter(|held| is_waiting(held, id, now)) {
                held.dead_at = Some(now);
            }
            let redrive = &mut self.redrives[place].1;
            redrive.moved = redrive.total - waiting;
            redrive.is_cancelled = true;
        }
        Some(self.redrives[place].1.clone())
    }

    pub(super) fn depth(&mut self, queue: &str, now: Timestamp) -> Depth {
        let mut depth = Depth::default();
        for (_, held) in self.of(queue) {
            match held.dead_at {
                Some(_) => depth.dead += 1,
                None if held.visible_at <= now => depth.ready += 1,
                None => depth.invisible += 1,
            }
        }
        depth
    }
}

fn is_waiting(held: &Held, redrive: &str, now: Timestamp) -> bool {
    let is_of_it = held.redrive.as_deref() == Some(redrive);
    is_of_it && held.dead_at.is_none() && held.receives == 0 && held.visible_at > now
}

fn dead_message(id: &str, held: &Held) -> Option<DeadMessage> {
    let Held { body, sent_at, receives, dead_at, .. } = held;
    let (id, body) = (id.to_owned(), body.clone());
    Some(DeadMessage { id, body, sent_at: *sent_at, dead_at: (*dead_at)?, receives: *receives })
}
