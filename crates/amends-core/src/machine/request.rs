//! What is sent: a definition's call, rendered for one saga. The same saga renders the same bytes on every
//! attempt and for every orchestrator, and a digest committed with the intent holds it to that.

use super::{Saga, Step, StepState};
use crate::definition::{Call, CallWork, Definition, Method, StepIndex};
use crate::expression::{RenderError, Scope};
use crate::limits::MESSAGE_BODY_BYTES;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One request to a participant, or message, without what does not depend on the definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The participant's name in the configuration.
    pub participant: String,
    /// Path and query after the participant's base URL; begins with a slash.
    pub path: String,
    /// The JSON body, if there is one.
    pub body: Option<String>,
    /// Milliseconds that the attempt may take.
    pub timeout_ms: u64,
}

impl Request {
    /// Whether it is put in a queue, rather than sent over HTTP.
    #[must_use]
    pub fn is_message(&self) -> bool {
        self.method == Method::Send
    }

    /// A digest over everything that the participant sees of it: 128 bits of SHA-256, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.method.as_str(), &self.participant, &self.path, self.body.as_deref().unwrap_or_default()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        crate::text::hexadecimal(&hash.finalize()[..16])
    }

    fn render(call: &Call, scope: &Scope) -> Result<Request, RenderError> {
        let body = call.body.as_ref().map(|body| body.render(scope)).transpose()?;
        let body = body.map(|body: Value| serde_json::to_string(&body).expect("a value can be written"));
        if let Some(body) = body.as_ref().filter(|body| call.is_message() && body.len() > MESSAGE_BODY_BYTES) {
            let message = format!("a message of {} bytes does not fit: {MESSAGE_BODY_BYTES} do", body.len());
            return Err(RenderError { expression: "body".into(), message });
        }
        Ok(Request {
            method: call.method,
            participant: call.participant.clone(),
            path: call.path.render_path(scope)?,
            body,
            timeout_ms: call.timeout_ms,
        })
    }
}

/// Renders a step's action.
pub(super) fn action(definition: &Definition, saga: &Saga, work: &CallWork) -> Result<Request, RenderError> {
    Request::render(&work.action, &scope(definition, saga))
}

/// Renders a step's compensation; it may use the step's own output as `output`.
pub(super) fn compensation(
    definition: &Definition,
    saga: &Saga,
    step: StepIndex,
    call: &Call,
) -> Result<Request, RenderError> {
    let scope = Scope { own_output: Some(saga.steps[step].output.clone()), ..scope(definition, saga) };
    Request::render(call, &scope)
}

/// Renders the question whether a step's action happened.
pub(super) fn probe(definition: &Definition, saga: &Saga, call: &Call) -> Result<Request, RenderError> {
    Request::render(call, &scope(definition, saga))
}

/// What a saga's expressions can see: outputs of the steps that have taken effect.
pub(super) fn scope(definition: &Definition, saga: &Saga) -> Scope {
    let outputs = saga.steps.iter().zip(&definition.steps).filter(|(step, _)| step.has_output());
    Scope {
        saga_id: saga.id.to_string(),
        saga_key: saga.key.clone(),
        input: saga.input.clone(),
        outputs: outputs.map(|(step, written)| (written.name.clone(), step.output.clone())).collect(),
        own_output: None,
        response: None,
    }
}

impl Step {
    /// Whether other steps can read this one's output.
    fn has_output(&self) -> bool {
        match self.state {
            // Of an unknown step the output is null: in a compensation it must be the same before and after it is queued.
            StepState::Done | StepState::Unknown | StepState::Compensating(_) | StepState::Compensated => true,
            StepState::Dead(_) => !self.output.is_null(),
            StepState::Pending
            | StepState::Reopened
            | StepState::Acting(_)
            | StepState::Sent { .. }
            | StepState::ActionDue { .. }
            | StepState::Probing(_)
            | StepState::ProbeDue { .. }
            | StepState::Waiting { .. }
            | StepState::Sleeping { .. }
            | StepState::Refused
            | StepState::Skipped => false,
        }
    }
}
