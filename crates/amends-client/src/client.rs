//! A typed client. It follows no redirect and never repeats a request by itself: a caller that repeats a start
//! with the same key gets the same saga.

use crate::types::{
    ActionQuery, AuditEntry, AuditExport, AuditHead, AuditQuery, CompleteStep, CreatedToken, DeadLetter,
    DeadLetterGroup, DeadLetterQuery, DeadMessage, Definition, DryRun, EditDeadLetter, Event, GroupQuery,
    HandleMessages, HandledMessage, Items, NewToken, Page, Plan, Problem, QueueDepth, QueueMessage, Reason,
    ReceiveMessages, Redrive, RedriveMessages, Reply, ResolveDeadLetter, Saga, SagaQuery, SagaSummary, Statistics,
    Token, TokenQuery,
};
use futures_util::StreamExt;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use reqwest::{Certificate, ClientBuilder, Method, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;

/// Talks to one Amends server. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: reqwest::Url,
    http: reqwest::Client,
    actor: Option<String>,
    /// Marked as sensitive, so that nothing shows it.
    authorization: Option<HeaderValue>,
}

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused, and says why.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// No usable answer came; whether the request had an effect is not known.
    #[error("the server at {server} gave no usable answer: {cause}")]
    Unreachable {
        /// The address that was tried.
        server: String,
        /// What went wrong.
        cause: String,
    },
    /// The address given is not one.
    #[error("`{0}` is not the address of a server; write one such as http://127.0.0.1:7700")]
    BadAddress(String),
    /// The authority given is none.
    #[error("the authority's certificate cannot be used: {0}; it must be PEM")]
    BadAuthority(String),
    /// The token given is not one.
    #[error("the token has characters that no header can carry")]
    BadToken,
}

/// What a person decides about a dead letter.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the types say it")]
pub enum DeadLetterAction {
    Retry(Reason),
    Edit(EditDeadLetter),
    Resolve(ResolveDeadLetter),
    Skip(Reason),
    TurnAround(Reason),
}

/// What a person orders a saga to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the methods of Client")]
pub enum SagaOrder {
    Cancel,
    Pause,
    Resume,
}

/// How to start a saga.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// How long to wait for the outcome; without it the answer comes as soon as the saga is accepted.
    pub wait: Option<Duration>,
    /// A W3C `traceparent` to go on from.
    pub traceparent: Option<String>,
}

/// A saga that was started, or that was there already.
#[derive(Clone, Debug)]
pub struct Started {
    /// The saga; it can have another key than this start's where the definition dedupes.
    pub saga: Saga,
    /// Whether this very request created it.
    pub created: bool,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:7700`.
    ///
    /// # Errors
    /// [`Error::BadAddress`] where `base` is not an `http` or `https` address.
    pub fn new(base: &str) -> Result<Client, Error> {
        Client::build(base, |http| http)
    }

    /// A client that believes an `https` server whose certificate comes from `authority`, and no other: one or more
    /// certificates in PEM.
    ///
    /// # Errors
    /// As [`Client::new`], and [`Error::BadAuthority`] where there is no certificate in it.
    pub fn trusting(base: &str, authority: &[u8]) -> Result<Client, Error> {
        let bad = |why: String| Error::BadAuthority(why);
        let certificates = Certificate::from_pem_bundle(authority).map_err(|error| bad(root_cause(&error)))?;
        if certificates.is_empty() {
            return Err(bad("there is no certificate in it".to_owned()));
        }
        Client::build(base, |http| http.tls_certs_only(certificates))
    }

    fn build(base: &str, adjust: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Client, Error> {
        let bad = || Error::BadAddress(base.to_owned());
        let mut url = reqwest::Url::parse(base).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad());
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        // The process may have chosen its cryptography already; then this changes nothing.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(10));
        let http = adjust(http)
            .build()
            .map_err(|error| Error::Unreachable { server: base.to_owned(), cause: root_cause(&error) })?;
        Ok(Client { base: url, http, actor: None, authorization: None })
    }

    /// The same client, whose actions the audit log attributes to `actor`.
    #[must_use]
    pub fn acting_as(mut self, actor: impl Into<String>) -> Client {
        self.actor = Some(actor.into());
        self
    }

    /// The same client, which shows this token with every request.
    ///
    /// # Errors
    /// [`Error::BadToken`] where no header can carry it.
    pub fn with_token(mut self, token: &str) -> Result<Client, Error> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Error::BadToken)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Starts a saga of `definition` with `input`.
    ///
    /// # Errors
    /// [`Error::Refused`] where the server refuses it; nothing was started then.
    pub async fn start(
        &self,
        definition: &str,
        input: &(impl Serialize + ?Sized),
        options: StartOptions,
    ) -> Result<Started, Error> {
        let mut request = self.request(Method::POST, &["sagas", definition]).json(input);
        if let Some(wait) = options.wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs().max(1)));
        }
        if let Some(traceparent) = options.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let response = self.send(request).await?;
        let created = response.headers().get("amends-created").is_some_and(|value| value == "true");
        Ok(Started { saga: self.json(response).await?, created })
    }

    /// One saga.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is none.
    pub async fn saga(&self, id: &str) -> Result<Saga, Error> {
        self.get(&["sagas", id], &()).await
    }

    /// A page of sagas, newest first.
    ///
    /// # Errors
    /// [`Error::Refused`] where the query is malformed.
    pub async fn sagas(&self, query: &SagaQuery) -> Result<Page<SagaSummary>, Error> {
        self.get(&["sagas"], query).await
    }

    /// A saga's whole history, however many pages the server makes of it.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such saga.
    pub async fn events(&self, id: &str) -> Result<Page<Event>, Error> {
        let mut whole: Page<Event> = self.get(&["sagas", id, "events"], &()).await?;
        while let Some(cursor) = whole.next.take() {
            let page: Page<Event> = self.get(&["sagas", id, "events"], &[("cursor", cursor)]).await?;
            whole.items.extend(page.items);
            whole.next = page.next;
        }
        Ok(whole)
    }

    /// A saga's history from the event after `after`, followed live until the saga is finished.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such saga.
    pub async fn follow(&self, id: &str, after: u64) -> Result<EventStream, Error> {
        let request = self
            .request(Method::GET, &["sagas", id, "events"])
            .header("accept", "text/event-stream")
            .header("last-event-id", after.to_string());
        let response = self.send(request).await?;
        Ok(EventStream { server: self.base.to_string(), body: response.bytes_stream().boxed(), buffer: Vec::new() })
    }

    /// Stops a saga and undoes what it did.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where it is past the point of no return or finished.
    pub async fn cancel(&self, id: &str, reason: &str) -> Result<Saga, Error> {
        self.post(&["sagas", id, "cancel"], &Reason { reason: reason.to_owned() }).await
    }

    /// Holds a saga: calls in flight end, no further call is made.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where it is finished or held already.
    pub async fn pause(&self, id: &str, reason: &str) -> Result<Saga, Error> {
        self.post(&["sagas", id, "pause"], &Reason { reason: reason.to_owned() }).await
    }

    /// Lets a held saga go on.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where it is not held.
    pub async fn resume(&self, id: &str, reason: &str) -> Result<Saga, Error> {
        self.post(&["sagas", id, "resume"], &Reason { reason: reason.to_owned() }).await
    }

    /// Ends a waiting step well.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where the step does not wait.
    pub async fn complete_step(&self, id: &str, step: &str, output: Value) -> Result<Saga, Error> {
        self.post(&["sagas", id, "steps", step, "complete"], &CompleteStep { output }).await
    }

    /// Ends a waiting step badly: the saga compensates.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where the step does not wait.
    pub async fn fail_step(&self, id: &str, step: &str, reason: &str) -> Result<Saga, Error> {
        self.post(&["sagas", id, "steps", step, "fail"], &Reason { reason: reason.to_owned() }).await
    }

    /// Stores a definition (YAML or JSON); an identical one changes nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] with lint's diagnostics where it is not valid.
    pub async fn put_definition(&self, name: &str, source: &str) -> Result<Definition, Error> {
        let request = self
            .request(Method::PUT, &["definitions", name])
            .header("content-type", "application/yaml")
            .body(source.to_owned());
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// The current version of every definition.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where the server does not answer.
    pub async fn definitions(&self) -> Result<Page<Definition>, Error> {
        self.get(&["definitions"], &()).await
    }

    /// The current version of one definition.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is none.
    pub async fn definition(&self, name: &str) -> Result<Definition, Error> {
        self.get(&["definitions", name], &()).await
    }

    /// A page of dead letters, newest first.
    ///
    /// # Errors
    /// [`Error::Refused`] where the query is malformed.
    pub async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, Error> {
        self.get(&["dead-letters"], query).await
    }

    /// A page of groups of open dead letters that are alike, those with the newest first.
    ///
    /// # Errors
    /// [`Error::Refused`] where the query is malformed.
    pub async fn dead_letter_groups(&self, query: &GroupQuery) -> Result<Page<DeadLetterGroup>, Error> {
        self.get(&["dead-letters", "groups"], query).await
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is none.
    pub async fn dead_letter(&self, id: &str) -> Result<DeadLetter, Error> {
        self.get(&["dead-letters", id], &()).await
    }

    /// Tries a dead letter's call again, with a fresh budget of attempts and the same key.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where it is not open any more.
    pub async fn retry_dead_letter(&self, id: &str, reason: &str) -> Result<DeadLetter, Error> {
        self.post(&["dead-letters", id, "retry"], &Reason { reason: reason.to_owned() }).await
    }

    /// The queues of the configuration, and how many messages each has.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where the server does not answer.
    pub async fn queues(&self) -> Result<Items<QueueDepth>, Error> {
        self.get(&["queues"], &()).await
    }

    /// Dead messages of a queue, those that died first first.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such queue.
    pub async fn dead_messages(&self, queue: &str) -> Result<Items<DeadMessage>, Error> {
        self.get(&["queues", queue, "dead"], &()).await
    }

    /// Makes dead messages ready again.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such queue.
    pub async fn redrive(&self, queue: &str, asked: &RedriveMessages) -> Result<Redrive, Error> {
        self.post(&["queues", queue, "redrives"], asked).await
    }

    /// The last redrives of a queue, newest first.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such queue.
    pub async fn redrives(&self, queue: &str) -> Result<Items<Redrive>, Error> {
        self.get(&["queues", queue, "redrives"], &()).await
    }

    /// Stops a redrive: what is not ready yet is dead again.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such queue or redrive.
    pub async fn cancel_redrive(&self, queue: &str, id: &str) -> Result<Redrive, Error> {
        self.post(&["queues", queue, "redrives", id, "cancel"], &()).await
    }

    /// Settles a dead letter by what a person found out.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where it is not open any more.
    pub async fn resolve_dead_letter(&self, id: &str, resolution: &ResolveDeadLetter) -> Result<DeadLetter, Error> {
        self.post(&["dead-letters", id, "resolve"], resolution).await
    }

    /// Leaves a dead letter's step as it is and lets the saga go on without it.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where it is not open any more.
    pub async fn skip_dead_letter(&self, id: &str, reason: &str) -> Result<DeadLetter, Error> {
        self.post(&["dead-letters", id, "skip"], &Reason { reason: reason.to_owned() }).await
    }

    /// Settles a dead letter by any of the actions there are. `seen` is that of the dead letter or the plan on which this was
    /// decided, if it is to hold for that state alone.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where it is not open any more, the saga has moved on, or the action does not fit.
    pub async fn settle_dead_letter(
        &self,
        id: &str,
        action: &DeadLetterAction,
        seen: Option<u64>,
    ) -> Result<DeadLetter, Error> {
        self.act_on_dead_letter(id, action, ActionQuery { dry_run: false, seen }).await
    }

    /// What an action on a dead letter would do. Nothing is done.
    ///
    /// # Errors
    /// Where [`Client::settle_dead_letter`] would be refused.
    pub async fn foresee_dead_letter(&self, id: &str, action: &DeadLetterAction) -> Result<Plan, Error> {
        self.act_on_dead_letter(id, action, ActionQuery { dry_run: true, seen: None }).await
    }

    async fn act_on_dead_letter<T: DeserializeOwned>(
        &self,
        id: &str,
        action: &DeadLetterAction,
        query: ActionQuery,
    ) -> Result<T, Error> {
        let (way, body) = match action {
            DeadLetterAction::Retry(reason) => ("retry", serde_json::to_value(reason)),
            DeadLetterAction::Edit(edit) => ("edit", serde_json::to_value(edit)),
            DeadLetterAction::Resolve(resolution) => ("resolve", serde_json::to_value(resolution)),
            DeadLetterAction::Skip(reason) => ("skip", serde_json::to_value(reason)),
            DeadLetterAction::TurnAround(reason) => ("turn-around", serde_json::to_value(reason)),
        };
        let body = body.expect("what is sent is plain data");
        let request = self.request(Method::POST, &["dead-letters", id, way]).query(&query).json(&body);
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// What an order would do to a saga. Nothing is done.
    ///
    /// # Errors
    /// Where the order would be refused.
    pub async fn foresee_saga(&self, id: &str, order: SagaOrder, reason: &str) -> Result<Plan, Error> {
        let way = match order {
            SagaOrder::Cancel => "cancel",
            SagaOrder::Pause => "pause",
            SagaOrder::Resume => "resume",
        };
        let body = Reason { reason: reason.to_owned() };
        let request = self.request(Method::POST, &["sagas", id, way]).query(&DryRun { dry_run: true }).json(&body);
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// A page of the audit log, newest first.
    ///
    /// # Errors
    /// [`Error::Refused`] where the query is malformed.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
        self.get(&["audit"], query).await
    }

    /// Where the chain of the audit log ends.
    ///
    /// # Errors
    /// [`Error::Refused`] where the server refuses it.
    pub async fn audit_head(&self) -> Result<AuditHead, Error> {
        self.get(&["audit", "head"], &()).await
    }

    /// The sealed part of the audit log, oldest first, line by line as it comes.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 400 where the entry after which it is to begin is not there.
    pub async fn export_audit(&self, query: &AuditExport) -> Result<LineStream, Error> {
        let response = self.send(self.request(Method::GET, &["audit", "export"]).query(query)).await?;
        Ok(LineStream {
            server: self.base.to_string(),
            body: response.bytes_stream().boxed(),
            buffer: Vec::new(),
            read: 0,
        })
    }

    /// Makes a token. The answer is the only one that has its text.
    ///
    /// # Errors
    /// [`Error::Refused`] where its name or its time is out of bounds.
    pub async fn create_token(&self, token: &NewToken) -> Result<CreatedToken, Error> {
        self.post(&["tokens"], token).await
    }

    /// A page of tokens, newest first, with those that are not valid any more.
    ///
    /// # Errors
    /// [`Error::Refused`] where the query is malformed.
    pub async fn tokens(&self, query: &TokenQuery) -> Result<Page<Token>, Error> {
        self.get(&["tokens"], query).await
    }

    /// Revokes a token; one that was revoked before stays as it is.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is none.
    pub async fn revoke_token(&self, id: &str) -> Result<Token, Error> {
        let response = self.send(self.request(Method::DELETE, &["tokens", id])).await?;
        self.json(response).await
    }

    /// Receives messages of a queue, perhaps none. Until they are dealt with, or their time is over, nobody else gets them.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such queue.
    pub async fn receive(&self, queue: &str, what: &ReceiveMessages) -> Result<Items<QueueMessage>, Error> {
        self.post(&["queues", queue, "receive"], what).await
    }

    /// Says what becomes of messages that were received, and tells what came of each, in their order.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 404 where there is no such queue.
    pub async fn handle(&self, queue: &str, messages: &HandleMessages) -> Result<Items<HandledMessage>, Error> {
        self.post(&["queues", queue, "handle"], messages).await
    }

    /// Answers a command that was received from a queue: the saga after it.
    ///
    /// # Errors
    /// [`Error::Refused`] with status 409 where nobody waits for the answer any more.
    pub async fn reply(&self, reply: &Reply) -> Result<Saga, Error> {
        self.post(&["replies"], reply).await
    }

    /// The server's counts.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where the server does not answer.
    pub async fn statistics(&self) -> Result<Statistics, Error> {
        self.get(&["statistics"], &()).await
    }

    /// Whether the server says that it can take work.
    pub async fn is_ready(&self) -> bool {
        let Ok(url) = self.base.join("readyz") else { return false };
        matches!(self.http.get(url).send().await, Ok(response) if response.status() == StatusCode::OK)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &impl Serialize) -> Result<T, Error> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        self.json(response).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Error> {
        let response = self.send(self.request(Method::POST, path).json(body)).await?;
        self.json(response).await
    }

    fn request(&self, method: Method, path: &[&str]) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http address has path segments").pop_if_empty().push("v1").extend(path);
        let mut request = self.http.request(method, url);
        if let Some(actor) = &self.actor {
            request = request.header("amends-actor", actor);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let problem = serde_json::from_slice(&body).unwrap_or_else(|_| Problem {
            kind: "about:blank".into(),
            title: format!("the server answered {status}"),
            status: status.as_u16(),
            detail: String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned(),
            diagnostics: Vec::new(),
        });
        Err(Error::Refused(Box::new(problem)))
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        response.json().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::Unreachable { server: self.base.to_string(), cause: root_cause(error) }
    }
}

/// A saga's events as they are committed.
pub struct EventStream {
    server: String,
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
}

impl EventStream {
    /// The next event; `None` once the saga is finished and everything was told.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where the connection breaks: follow again from the last sequence seen.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = self.parse(&block)? {
                    return Ok(Some(event));
                }
                continue;
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(self.broken(root_cause(&error))),
                None => return Ok(None),
            }
        }
    }

    fn parse(&self, block: &[u8]) -> Result<Option<Event>, Error> {
        let text = String::from_utf8_lossy(block);
        let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
        if data.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&data.join("\n")).map(Some).map_err(|error| self.broken(error.to_string()))
    }

    fn broken(&self, cause: String) -> Error {
        Error::Unreachable { server: self.server.clone(), cause }
    }
}

/// The lines of an export, as they come.
pub struct LineStream {
    server: String,
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
    /// How much of the buffer was given out.
    read: usize,
}

impl LineStream {
    /// The next line without its end; `None` after the last. What is no UTF-8 is replaced.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where the connection breaks, or the last line has no end.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(length) = self.buffer[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.buffer[self.read..self.read + length]).into_owned();
                self.read += length + 1;
                return Ok(Some(line));
            }
            self.buffer.drain(..self.read);
            self.read = 0;
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(self.broken(root_cause(&error))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.broken("the answer ends within a line".into())),
            }
        }
    }

    fn broken(&self, cause: String) -> Error {
        Error::Unreachable { server: self.server.clone(), cause }
    }
}

/// The innermost cause of an error: the part that says something ("connection refused").
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_to_nobody() {
        let client = Client::new("http://127.0.0.1:7700").unwrap().with_token("amends_sesame").unwrap();
        assert!(!format!("{client:?}").contains("sesame"));
        assert!(matches!(client.with_token("two\nlines"), Err(Error::BadToken)));
        let about = Token {
            id: "1".into(),
            name: "billing".into(),
            role: "viewer".into(),
            created_at: String::new(),
            expires_at: None,
            revoked_at: None,
        };
        assert!(!format!("{:?}", CreatedToken { about, token: "amends_sesame".into() }).contains("sesame"));
    }
}
