//! Moves in words.

use crate::network::Message;
use crate::{Incarnation, Move};
use std::fmt;

/// A line for each move.
pub(crate) fn lines(moves: Vec<Move>) -> Vec<String> {
    (1..).zip(moves).map(|(number, step): (usize, Move)| format!("{number:>2}. {step}")).collect()
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Move::Ask(me) => write!(f, "a client asks {0}, and {0} offers the first commit", name(me)),
            Move::Recover(me) => write!(f, "{} offers a commit: it goes on where the saga is", name(me)),
            Move::TurnBack(me) => write!(f, "{} offers a commit: the saga turns back", name(me)),
            Move::Land(me) => write!(f, "the commit of {} is written", name(me)),
            Move::RollBack(me) => write!(f, "the store undoes the transaction of {}", name(me)),
            Move::Disconnect(me) => write!(f, "{} loses the answer to its commit", name(me)),
            Move::OfferAgain(me) => write!(f, "{} offers its commit again", name(me)),
            Move::Send(me, step) => write!(f, "{} sends its call for step {}", name(me), step + 1),
            Move::Withdraw(me, step) => write!(f, "{} does not send its call for step {} any more", name(me), step + 1),
            Move::GiveUp(me, step) => write!(f, "{} waits no longer for step {}", name(me), step + 1),
            Move::Deliver(message) => write!(f, "delivered: {message}"),
            Move::Refuse(message) => write!(f, "delivered, and refused: {message}"),
            Move::Lose(message) => write!(f, "lost: {message}"),
            Move::Repeat(message) => write!(f, "repeated on its way: {message}"),
            Move::Crash(me) => write!(f, "{} is killed", name(me)),
            Move::Retire(me) => write!(f, "{} is declared dead", name(me)),
            Move::HandOut(me) => write!(f, "what {} had is handed out", name(me)),
            Move::Claim(me) => write!(f, "{} claims the saga", name(me)),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Request { step, direction, caller: Some(caller) } => {
                write!(f, "{direction:?} of step {}, for {}", step + 1, name(caller))
            }
            Message::Request { step, direction, caller: None } => {
                write!(f, "{direction:?} of step {}, late: nobody listens any more", step + 1)
            }
            Message::Answer { step, to, heard } => {
                write!(f, "the answer {heard:?} from step {} to {}", step + 1, name(to))
            }
        }
    }
}

fn name(me: &Incarnation) -> char {
    char::from(b'A' + u8::try_from(*me).unwrap_or(25))
}
