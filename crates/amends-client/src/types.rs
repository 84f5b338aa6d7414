//! What goes over the wire. Times are RFC 3339 in UTC with milliseconds; ids are UUIDs as text.

mod queues;

pub use queues::*;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use utoipa::{IntoParams, ToSchema};

/// One execution of a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Saga {
    /// A UUID (version 7).
    pub id: String,
    /// The definition's name.
    pub definition: String,
    /// The definition's version: the SHA-256 of its content in hexadecimal. A running saga keeps the one it began with.
    pub version: String,
    /// The caller's own name for the work; one saga per definition and key.
    pub key: String,
    /// Where it stands.
    pub status: SagaStatus,
    /// Whether a person holds it: no further call is made until it is resumed.
    pub paused: bool,
    /// One sentence that says why it compensates or is stuck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it was started with; `"[redacted]"` stands for each value in it that its definition redacts.
    pub input: Value,
    /// When it was accepted.
    pub created_at: String,
    /// Until when it must be finished before it compensates, if its definition says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Whether it could be cancelled now: it is not being undone, and not past its point of no return.
    #[serde(default)]
    pub can_cancel: bool,
    /// Every step, in the order written.
    pub steps: Vec<Step>,
}

/// One step of a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Its name in the definition.
    pub name: String,
    /// Where it stands.
    pub status: StepStatus,
    /// How many times its action was sent.
    pub attempts: u32,
    /// How many times its compensation was sent.
    pub compensation_attempts: u32,
    /// The key that its action's calls carry; null for a step that makes no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What its action answered; redacted like the input.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// What went wrong last, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When something will be done about it next: a retry, the end of a sleep or of a wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
}

/// Where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SagaStatus {
    /// It goes forward.
    Running,
    /// Its effects are being undone.
    Compensating,
    /// Every step has taken effect.
    Completed,
    /// Every effect was undone.
    Compensated,
    /// A dead letter waits for a person.
    Stuck,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// Its turn has not come.
    Pending,
    /// Its action is being performed, or will be tried again.
    Running,
    /// It waits for `complete` or `fail` from outside.
    Waiting,
    /// It lets time pass.
    Sleeping,
    /// Its action may have happened; this is being found out.
    Unknown,
    /// Its action has taken effect.
    Done,
    /// Its action was refused and had no effect.
    Refused,
    /// It was left out: the saga turned around first, or a person decided so.
    Skipped,
    /// Its effect is being undone.
    Compensating,
    /// Its effect is undone.
    Compensated,
    /// The machine gave it up; a person must decide.
    Dead,
}

/// One entry of a saga's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place in the history, from 1, without gaps.
    pub sequence: u64,
    /// When it was decided.
    pub at: String,
    /// What happened, such as `action-done`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The step it concerns, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Everything else about it; redacted like the saga.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// A saga in a list: without its input and steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SagaSummary {
    /// A UUID (version 7).
    pub id: String,
    /// The definition's name.
    pub definition: String,
    /// The definition's version.
    pub version: String,
    /// The caller's own name for the work.
    pub key: String,
    /// Where it stands.
    pub status: SagaStatus,
    /// Whether a person holds it.
    pub paused: bool,
    /// Why it compensates or is stuck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was accepted.
    pub created_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// One page of a list. Pass `next` as `cursor` to get the page after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries, newest first.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which sagas to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SagaQuery {
    /// Only sagas of this definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Only sagas with this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SagaStatus>,
    /// Only the saga with this business key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where the page begins: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The page's length, 1 to 500; 50 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// A reason given by a person, for the audit log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// One sentence.
    #[schema(min_length = 1, max_length = 4096, pattern = r"\S")]
    pub reason: String,
}

/// Ends a waiting step well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteStep {
    /// The step's output, for the steps after it.
    #[serde(default)]
    pub output: Value,
}

/// A definition as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Definition {
    /// The name given by `saga:`.
    pub name: String,
    /// The SHA-256 of its content in hexadecimal.
    pub version: String,
    /// When this version was stored first.
    pub created_at: String,
    /// As it was written.
    pub source: String,
    /// What lint has to say that is no error.
    #[serde(default)]
    pub warnings: Vec<Diagnostic>,
}

/// One finding of lint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// A stable name of the finding, such as `unknown-step`.
    pub code: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub remedy: String,
}

/// A step that the machine gave up on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its id: the saga's id, a dot, and a number.
    pub id: String,
    /// The saga's id.
    pub saga: String,
    /// The definition's name.
    pub definition: String,
    /// The saga's business key.
    pub key: String,
    /// The step; absent where the whole saga could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// `action`, `compensation`, `probe` or `saga` (the saga itself could not be read).
    pub direction: String,
    /// What is known of the effect.
    pub claim: Claim,
    /// What went wrong last.
    pub error: String,
    /// What dead letters alike have in common: 16 hexadecimal digits.
    pub fingerprint: String,
    /// The participant of the call that was given up; absent where it was no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// When the machine gave up.
    pub opened_at: String,
    /// When it was settled; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<String>,
    /// What was decided, by whom and why; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// What would be accepted now; absent in lists, and where it is settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// How many events the saga has: what `seen` of an action names; absent in lists, and where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// Where the saga stands; absent in lists, and where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga_status: Option<SagaStatus>,
    /// The call that was given up, as a retry would make it; absent in lists, where it is settled, and where it was no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<PlannedCall>,
    /// What happened to the step, oldest first: every attempt, and what came of it; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Event>,
}

/// What a person can decide about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Make the call again.
    Retry,
    /// Make it with another body, under another key.
    Edit,
    /// Say that the effect is there.
    Done,
    /// Say that the effect is not there.
    Undone,
    /// Leave the step as it is.
    Skip,
    /// Undo what the saga did.
    TurnAround,
}

/// What is known of a step's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// The effect is there.
    Done,
    /// The effect is not there.
    Undone,
    /// Nobody knows: ask the participant.
    Unknown,
}

/// Which dead letters to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterQuery {
    /// Only those of this definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Only those of this saga.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(format = "uuid")]
    pub saga: Option<String>,
    /// Only those of this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Only those whose call was this participant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// Only those with this fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Only those that were opened longer ago than this: a number with a unit (ms, s, m, h, d), such as `2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
    /// The settled ones too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// Where the page begins: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The page's length, 1 to 500; 50 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// Open dead letters that are alike: the same step of the same definition failed in the same way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterGroup {
    /// What they have in common: 16 hexadecimal digits.
    pub fingerprint: String,
    /// How many there are.
    pub count: u64,
    /// The definition's name.
    pub definition: String,
    /// The step; absent where whole sagas could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// `action`, `compensation`, `probe` or `saga`.
    pub direction: String,
    /// The participant of the calls that were given up; absent where they were no calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// When the first of them was opened.
    pub oldest_at: String,
    /// When the last of them was opened.
    pub newest_at: String,
    /// The id of the newest one.
    pub sample: String,
    /// What went wrong with that one.
    pub error: String,
}

/// Which groups of dead letters to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GroupQuery {
    /// Where the page begins: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The page's length, 1 to 500; 50 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// Settles a dead letter by what a person found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveDeadLetter {
    /// What is the case: is the effect there, or not?
    pub effect: Effect,
    /// The step's output, where its action is declared done and later steps read it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// How the person knows, and why.
    #[schema(min_length = 1, max_length = 4096, pattern = r"\S")]
    pub reason: String,
}

/// Tries a dead letter's action again with another body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditDeadLetter {
    /// What is sent in the place of the body: any JSON.
    pub body: Value,
    /// Why, for the audit log.
    #[schema(min_length = 1, max_length = 4096, pattern = r"\S")]
    pub reason: String,
}

/// What an action would do. Nothing was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// How many events the saga has: what `seen` of an action names.
    pub seen: u64,
    /// The calls that it would lead to, in order. On the way back these are all; on the way forward those that would be made
    /// at once, because what comes after them depends on their answers.
    pub calls: Vec<PlannedCall>,
    /// Where the saga would stand at once.
    pub status: SagaStatus,
    /// Where it would stand when all compensations among the calls have succeeded.
    pub status_at_last: SagaStatus,
    /// Where its steps would stand then.
    pub steps: Vec<PlannedStep>,
    /// What an edit changes in the body; absent for other actions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// A call that would be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedCall {
    /// The step.
    pub step: String,
    /// `action`, `compensation` or `probe`.
    pub direction: String,
    /// The method.
    pub method: String,
    /// The participant.
    pub participant: String,
    /// Path and query after the participant's address.
    pub path: String,
    /// `Idempotency-Key`.
    pub idempotency_key: String,
    /// The body; absent where there is none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// A step as an action would leave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// Where it would stand.
    pub status: StepStatus,
}

/// One difference between two bodies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Where: a JSON pointer (RFC 6901); empty for the whole body.
    pub pointer: String,
    /// What was there; absent where there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What is there now; absent where there is nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// A dead letter that was settled, or what would come of settling it, if that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum DeadLetterOrPlan {
    /// It was settled.
    Settled(Box<DeadLetter>),
    /// Nothing was done.
    Plan(Plan),
}

/// A saga after an order, or what would come of the order, if that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SagaOrPlan {
    /// The order was carried out.
    Saga(Box<Saga>),
    /// Nothing was done.
    Plan(Plan),
}

/// How an action on a dead letter is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActionQuery {
    /// Do nothing, and answer with what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Refuse it unless the saga still has so many events, as `seen` of the dead letter or the plan said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
}

/// Whether an order is only to be foreseen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Do nothing, and answer with what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Whether an effect is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The effect is there.
    Done,
    /// The effect is not there, or was undone elsewhere.
    Undone,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number in the chain, once it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Its hash, in hexadecimal, once it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Whether it is sealed. That takes about a second.
    pub sealed: bool,
    /// When it was done.
    pub at: String,
    /// Who did it.
    pub actor: String,
    /// What was done, such as `dead letter: retry`.
    pub action: String,
    /// The saga it was done to, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga: Option<String>,
    /// What it was done to, where that is no saga: a definition's name and version, or a token's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The step, if it concerned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why, where a reason is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where the chain of the audit log ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// The number of the last sealed entry; 0 where there is none.
    pub number: u64,
    /// Its hash, in hexadecimal; 64 zeros where there is none.
    pub hash: String,
}

/// Which part of the chain to export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditExport {
    /// Begin after the entry with this number; with the first if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// Which audit entries to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only those of this saga.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(format = "uuid")]
    pub saga: Option<String>,
    /// Where the page begins: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The page's length, 1 to 500; 50 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// Counts of what happened, kept by the commits themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Statistics {
    /// Sagas accepted.
    pub started: u64,
    /// Sagas that completed.
    pub completed: u64,
    /// Sagas that were undone.
    pub compensated: u64,
    /// Sagas that are neither.
    pub in_flight: u64,
    /// Dead letters that wait for a person.
    pub dead_letters: u64,
    /// Unfinished sagas that nothing will wake. Always 0; anything else is a fault of Amends.
    pub orphans: u64,
}

/// What a caller may do. Each role may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Starts sagas, gives them orders and settles dead letters.
    Operator,
    /// Puts definitions, and says who may call.
    Admin,
}

/// A token that is to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Whose it is, as the audit log will show it: 1 to 64 letters, digits and `.`, `_`, `@`, `-`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    pub name: String,
    /// What it permits.
    pub role: Role,
    /// For how long it is valid, such as `90d`; for ever if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// A token, without what makes it one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    #[schema(format = "uuid")]
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it permits; one that a newer server made can have another role than those that this version knows.
    pub role: String,
    /// When it was made (RFC 3339, UTC).
    pub created_at: String,
    /// From when on it is not valid any more, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// A token that was made. Nobody can see its text again.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// What it is.
    #[serde(flatten)]
    pub about: Token,
    /// The token itself, as it is sent behind `Authorization: Bearer`.
    pub token: String,
}

/// Which tokens to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    /// Where the page begins: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The page's length, 1 to 500; 50 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

/// An error, as RFC 9457 has it (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable name of the kind of error, such as `urn:amends:problem:unknown-definition`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of error in a few words.
    pub title: String,
    /// The status code of the response.
    pub status: u16,
    /// What is wrong here, and how to mend it.
    #[serde(default)]
    pub detail: String,
    /// Lint's findings, where a definition was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

impl SagaStatus {
    /// As it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SagaStatus::Running => "running",
            SagaStatus::Compensating => "compensating",
            SagaStatus::Completed => "completed",
            SagaStatus::Compensated => "compensated",
            SagaStatus::Stuck => "stuck",
        }
    }

    /// Whether nothing more will happen to the saga.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, SagaStatus::Completed | SagaStatus::Compensated)
    }
}

impl Role {
    /// Every role, from the least to the greatest.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// As it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Without the token itself, so that no log can show it.
impl fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedToken").field("about", &self.about).finish_non_exhaustive()
    }
}

impl fmt::Display for SagaStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl StepStatus {
    /// As it is written on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Pending => "pending",
            StepStatus::Running => "running",
            StepStatus::Waiting => "waiting",
            StepStatus::Sleeping => "sleeping",
            StepStatus::Unknown => "unknown",
            StepStatus::Done => "done",
            StepStatus::Refused => "refused",
            StepStatus::Skipped => "skipped",
            StepStatus::Compensating => "compensating",
            StepStatus::Compensated => "compensated",
            StepStatus::Dead => "dead",
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(&self.title),
            detail => f.write_str(detail),
        }
    }
}
