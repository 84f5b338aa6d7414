//! What people are not shown of a saga. The values that a definition's `redact` or the server's configuration points to stay in
//! the store, because participants need them, and are replaced by [`REDACTED`] on every way to people.
//!
//! A pointer reaches values that have a place: the input and the outputs. It does not reach what participants and expressions
//! put into sentences, nor the digests of requests, from which a short value can be guessed. So where anything is redacted,
//! sentences keep what Amends says itself ([`own_words`]) and digests are not shown.
//!
//! Whatever turns a saga into something to look at goes through a [`Redaction`]. It takes events apart field by field, so that
//! an event that is new does not compile before somebody has decided what is shown of it.

mod events;
mod pointer;
#[cfg(test)]
mod tests;
mod words;

pub use pointer::{Pointer, PointerError};
pub use words::own_words;

use crate::answer::Failure;
use crate::definition::{Definition, StepIndex};
use crate::machine::{Event, Saga};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// What stands in the place of a value that is not shown, whatever its type.
pub const REDACTED: &str = "[redacted]";

/// What is not shown of the sagas of one version of a definition.
#[derive(Clone, Copy, Debug)]
pub struct Redaction<'a> {
    definition: &'a Definition,
    everywhere: &'a [Pointer],
}

impl<'a> Redaction<'a> {
    /// What the definition itself says, and what counts for every definition.
    #[must_use]
    pub fn of(definition: &'a Definition, everywhere: &'a [Pointer]) -> Redaction<'a> {
        Redaction { definition, everywhere }
    }

    /// The input as it is shown.
    #[must_use]
    pub fn input(&self, input: &Value) -> Value {
        let mut shown = input.clone();
        self.pointers().for_each(|pointer| pointer.hide_in_input(&mut shown));
        shown
    }

    /// A step's output as it is shown. Null, which is no output, stays null.
    ///
    /// # Panics
    /// Where the definition has no such step.
    #[must_use]
    pub fn output(&self, step: StepIndex, output: &Value) -> Value {
        let mut shown = output.clone();
        let name = &self.definition.steps[step].name;
        self.pointers().for_each(|pointer| pointer.hide_in_output(name, &mut shown));
        shown
    }

    /// A sentence of the machine's as it is shown: an error, or a reason.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.hides() { own_words(text) } else { Cow::Borrowed(text) }
    }

    /// A failure as it is shown. Its kind is the participant's word.
    #[must_use]
    pub fn failure(&self, failure: &Failure) -> Failure {
        if !self.hides() {
            return failure.clone();
        }
        let kind = failure.kind.as_ref().map(|_| REDACTED.to_owned());
        Failure { status: failure.status, message: self.text(&failure.message).into_owned(), kind }
    }

    /// A body that a person gave an action, as it is shown. No pointer reaches into it, so all of it is hidden.
    #[must_use]
    pub fn edited(&self, body: &Value) -> Value {
        if self.hides() { REDACTED.into() } else { body.clone() }
    }

    /// A saga for which calls are rendered that are only shown. What expressions make of a hidden value is not known to be
    /// harmless, so they do not get it in the first place.
    #[must_use]
    pub fn saga<'s>(&self, saga: &'s Saga) -> Cow<'s, Saga> {
        if !self.hides() {
            return Cow::Borrowed(saga);
        }
        let mut shown = saga.clone();
        shown.input = Arc::new(self.input(&saga.input));
        for (index, step) in shown.steps.iter_mut().enumerate() {
            step.output = Arc::new(self.output(index, &step.output));
            if let Some(edit) = &mut step.edit {
                edit.body = Arc::new(self.edited(&edit.body));
            }
        }
        Cow::Owned(shown)
    }

    /// An event as it is shown.
    #[must_use]
    pub fn event<'e>(&self, event: &'e Event) -> Cow<'e, Event> {
        if self.hides() { Cow::Owned(events::shown(self, event)) } else { Cow::Borrowed(event) }
    }

    fn hides(&self) -> bool {
        self.pointers().next().is_some()
    }

    fn pointers(&self) -> impl Iterator<Item = &'a Pointer> {
        self.definition.redact.iter().chain(self.everywhere)
    }
}
