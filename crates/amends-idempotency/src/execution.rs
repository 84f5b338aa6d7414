//! One request from its claim to its answer: begin and decide, run the handler, then keep what becomes of it in one commit.

use crate::in_flight::{Claim, ScopedKey};
use crate::layer::Shared;
use crate::problem::Problem;
use crate::records::{self, Answer, Stored};
use crate::store::{OpenTransaction, blocking};
use crate::transaction::Lent;
use amends_core::idempotency::{
    Answered, CompensationDecision, Decision, Ending, Fingerprint, decide, decide_compensation,
};
use amends_core::time::Timestamp;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header, request};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

/// The service behind the layer.
pub type Handler = Box<dyn FnMut(Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send>;

/// A request that was read whole.
pub struct Call {
    pub key: Option<ScopedKey>,
    /// The action to undo, where the request is a compensation.
    pub action_key: Option<ScopedKey>,
    pub fingerprint: Fingerprint,
    pub parts: request::Parts,
    pub body: Bytes,
}

/// A request whose turn it is.
pub struct Execution {
    pub shared: Arc<Shared>,
    pub call: Call,
    /// Held until the answer is there, so that a repeat finds either the claim or the record.
    pub claim: Option<Claim>,
}

/// Reads the records before the handler runs, and writes them after it.
#[derive(Clone)]
struct Bookkeeper {
    shared: Arc<Shared>,
    /// `None` where the request has no key and none is required.
    key: Option<ScopedKey>,
    action_key: Option<ScopedKey>,
    fingerprint: Fingerprint,
}

/// What the records say about a request.
enum Verdict {
    Run(OpenTransaction),
    Answer(Response),
    Refuse(Problem),
}

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const AMENDS_NULL_COMPENSATION: HeaderName = HeaderName::from_static("amends-null-compensation");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// Around the handler's writes, so that a refusal can be kept without them.
const BEGIN_HANDLER: &str = "SAVEPOINT amends_idempotency_handler";
const UNDO_HANDLER: &str = "ROLLBACK TO amends_idempotency_handler";

impl Execution {
    /// Runs to the end whether or not anyone still waits for the answer, which is not given before the commit.
    pub async fn run(self, mut handler: Handler) -> Result<Response, Problem> {
        let Execution { shared, call, claim } = self;
        let direction = call.direction();
        let Call { key, action_key, fingerprint, parts, body } = call;
        let books = Bookkeeper { shared: Arc::clone(&shared), key, action_key, fingerprint };

        let judge = books.clone();
        let open = match shared.store.begin(move |open| judge.judge(open)).await? {
            Verdict::Run(open) => open,
            Verdict::Answer(answer) => return Ok(answer),
            Verdict::Refuse(problem) => return Err(problem),
        };
        let text = |scoped: &Option<ScopedKey>| scoped.as_ref().map(|scoped| scoped.key.clone());
        let lent = Lent::new(open, text(&books.key), text(&books.action_key));
        let mut request = Request::from_parts(parts, Body::from(body));
        request.extensions_mut().insert(lent.transaction());
        let answer = handler(request).await;
        let answered = Answered {
            direction,
            status: answer.status().as_u16(),
            retry_after: answer.headers().contains_key(header::RETRY_AFTER),
        };
        let answer = books.conclude(lent, answered.ending(), answer).await;
        // Only now: whoever asked meanwhile must find the record.
        drop(claim);
        answer
    }
}

impl Bookkeeper {
    /// Decides by the records, under the write lock: what they say holds until the transaction ends.
    fn judge(self, open: OpenTransaction) -> rusqlite::Result<Verdict> {
        if let Some(key) = &self.key {
            let stored = records::find(open.connection(), key)?;
            let record = stored.as_ref().map(Stored::record);
            match decide(record.as_ref(), &self.fingerprint, self.now()) {
                Decision::Execute => {}
                Decision::Replay => return Ok(replay(stored.expect("only what is stored is replayed"))),
                Decision::Mismatch => return Ok(Verdict::Refuse(Problem::OtherRequest)),
                Decision::InFlight => return Ok(Verdict::Refuse(Problem::InFlight)),
                Decision::Unknown => return Ok(Verdict::Refuse(Problem::OutcomeUnknown)),
                Decision::Compensated => return Ok(Verdict::Refuse(Problem::CompensatedBeforeAction)),
            }
            if let Some(action_key) = &self.action_key {
                return self.judge_compensation(open, key, action_key);
            }
        }
        begin_handler(open)
    }

    fn judge_compensation(
        &self,
        open: OpenTransaction,
        key: &ScopedKey,
        action_key: &ScopedKey,
    ) -> rusqlite::Result<Verdict> {
        let now = self.now();
        let action = records::find_action(open.connection(), action_key)?;
        match decide_compensation(action.as_ref(), now) {
            CompensationDecision::Run => return begin_handler(open),
            CompensationDecision::AskAgain => return Ok(Verdict::Refuse(Problem::ActionInFlight)),
            CompensationDecision::LeaveTombstone => {
                let tombstone = Stored::Tombstone { expires_at: self.expiry() };
                records::put(open.connection(), action_key, &tombstone, now)?;
            }
            CompensationDecision::NothingToUndo => {}
        }
        let answer = null_compensation();
        records::put(open.connection(), key, &self.finished(answer.clone()), now)?;
        open.commit()?;
        Ok(Verdict::Answer(answer.response(answer.body.clone().unwrap_or_default())))
    }

    /// Keeps what is to be kept of the handler's writes and answer.
    async fn conclude(self, lent: Lent, ending: Ending, response: Response) -> Result<Response, Problem> {
        let (parts, body) = response.into_parts();
        let (body, record) = match (ending, &self.key) {
            (Ending::Release, _) | (Ending::Refuse, None) => {
                blocking(move || {
                    drop(lent);
                    Ok(())
                })
                .await?;
                return Ok(Response::from_parts(parts, body));
            }
            (Ending::Commit, None) => (body, None),
            (Ending::Commit | Ending::Refuse, Some(key)) => {
                let (body, kept) = keep(body, self.shared.options.response_bytes).await?;
                let answer = Answer::new(parts.status, &parts.headers, &self.shared.options.replayed_headers, kept);
                (body, Some((key.clone(), self.finished(answer))))
            }
        };
        let now = self.now();
        let compensated = self.action_key.clone().filter(|_| ending == Ending::Commit);
        let commit = move || {
            let Some(open) = lent.take_back() else { return Ok(false) };
            if ending == Ending::Refuse {
                open.connection().execute_batch(UNDO_HANDLER)?;
            }
            if let Some((key, stored)) = record {
                records::put(open.connection(), &key, &stored, now)?;
            }
            if let Some(action) = compensated {
                records::settle(open.connection(), &action)?;
            }
            open.commit().map(|()| true)
        };
        match blocking(commit).await? {
            true => Ok(Response::from_parts(parts, body)),
            false => Err(Problem::TransactionFailed),
        }
    }

    fn finished(&self, answer: Answer) -> Stored {
        let settled = self.action_key.is_some();
        Stored::Finished { fingerprint: self.fingerprint.clone(), answer, settled, expires_at: self.expiry() }
    }

    fn now(&self) -> Timestamp {
        let time = (self.shared.options.clock)();
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn expiry(&self) -> Timestamp {
        self.now().plus(u64::try_from(self.shared.options.expiry.as_millis()).unwrap_or(u64::MAX))
    }
}

fn begin_handler(open: OpenTransaction) -> rusqlite::Result<Verdict> {
    open.connection().execute_batch(BEGIN_HANDLER)?;
    Ok(Verdict::Run(open))
}

fn replay(stored: Stored) -> Verdict {
    match stored {
        Stored::Finished { answer: Answer { status, headers, body: Some(body) }, .. } => {
            let mut response = Answer { status, headers, body: None }.response(body);
            response.headers_mut().insert(IDEMPOTENT_REPLAYED, TRUE);
            Verdict::Answer(response)
        }
        Stored::Finished { answer, .. } => Verdict::Refuse(Problem::AnswerNotKept {
            status: answer.status.as_u16(),
            location: answer.header(&header::LOCATION).map(str::to_owned),
        }),
        Stored::Tombstone { .. } => Verdict::Refuse(Problem::CompensatedBeforeAction),
    }
}

/// What a compensation is answered that has nothing to undo.
fn null_compensation() -> Answer {
    let headers = [(header::CONTENT_TYPE, "application/json"), (AMENDS_NULL_COMPENSATION, "true")];
    Answer {
        status: StatusCode::OK,
        headers: headers.map(|(name, value)| (name.to_string(), value.to_owned())).to_vec(),
        body: Some(Bytes::from_static(b"{}")),
    }
}

/// A body to send, and its bytes if they can be kept: a stream, whose length is not known, and a body over the `limit` cannot.
async fn keep(body: Body, limit: usize) -> Result<(Body, Option<Bytes>), Problem> {
    match body.size_hint().exact() {
        Some(length) if usize::try_from(length).is_ok_and(|length| length <= limit) => {
            let bytes = body.collect().await.map_err(|_| Problem::HandlerFailed)?.to_bytes();
            Ok((Body::from(bytes.clone()), Some(bytes)))
        }
        Some(_) | None => Ok((body, None)),
    }
}
