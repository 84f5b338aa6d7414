//! A saga's history: as a page, and as a stream of server-sent events that goes on live.

use super::cursor::{self, List};
use super::extract::{Parameters, Segments, saga_id};
use super::follow::Following;
use super::problem::{self, ApiProblem};
use super::{Shared, wire};
use amends_client::{Event, Page, Problem};
use amends_engine::{History, Snapshot};
use axum::Json;
use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use utoipa::IntoParams;
use uuid::Uuid;

/// How often a silent stream says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events a page has if nothing is said, and at most.
const PAGE: u32 = 1_000;

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Where the page begins: `next` of the page before.
    cursor: Option<String>,
    /// The page's length, 1 to 1000; 1000 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A saga's history
///
/// Oldest first. With `Accept: text/event-stream` it comes as server-sent events and goes on live until the saga is
/// finished: `id` is the event's sequence, `event` its type, `data` the event as JSON. `Last-Event-ID` says after
/// which event to begin.
#[utoipa::path(
    get,
    path = "/v1/sagas/{id}/events",
    operation_id = "list_events",
    tag = "sagas",
    params(
        ("id" = String, Path, format = "uuid", description = "The saga's id"),
        EventQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "For a stream: the last sequence that was seen"),
    ),
    responses(
        (status = 200, description = "The events", content(
            (Page<Event> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = "4XX", description = "What is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(app): State<Shared>,
    Segments(id): Segments<String>,
    Parameters(query): Parameters<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let id = saga_id(&id)?;
    if !wants_stream(&headers) {
        return page(&app, id, &query).await.map(IntoResponse::into_response);
    }
    let after = last_event_id(&headers)?;
    let tail = Tail::begin(app, id, after).await?;
    let events = stream::unfold(tail, |mut tail| async move {
        let event = tail.next().await?;
        Some((Ok::<_, Infallible>(shown(&event)), tail))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // Some proxies gather a response before they pass it on, unless they are asked not to.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

async fn page(app: &Shared, id: Uuid, query: &EventQuery) -> Result<Json<Page<Event>>, ApiProblem> {
    let limit = match query.limit.unwrap_or(PAGE) {
        limit @ 1..=PAGE => limit as usize,
        limit => {
            return Err(ApiProblem::new(problem::BAD_QUERY, format!("`limit` is {limit}; ask for 1 to {PAGE} events")));
        }
    };
    let after = List::Events.number(query.cursor.as_deref())?.unwrap_or(0);
    let (snapshot, history) = app.read(id).await?;
    let mut events = after_event(app, &snapshot, &history, after);
    events.truncate(limit.saturating_add(1));
    Ok(Json(cursor::page(List::Events, limit, events, |event| event.sequence.into(), |event| event)))
}

/// How often a saga is looked at that another orchestrator may be working on.
const LOOK: Duration = Duration::from_millis(500);

/// A stream's place in a saga's history.
struct Tail {
    app: Shared,
    id: Uuid,
    following: Option<Following>,
    /// The last sequence that was queued to be told.
    last: u64,
    queue: VecDeque<Event>,
    finished: bool,
}

impl Tail {
    async fn begin(app: Shared, id: Uuid, after: u64) -> Result<Tail, ApiProblem> {
        let mut tail = Tail { app, id, following: None, last: after, queue: VecDeque::new(), finished: false };
        tail.catch_up().await?;
        Ok(tail)
    }

    /// The next event; `None` when there will be none, or none from this server.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.finished {
                return None;
            }
            let commit = tokio::select! {
                commit = self.following.as_mut()?.next() => commit,
                // Another orchestrator may be working on the saga, and then nothing is heard of it here.
                () = tokio::time::sleep(LOOK), if self.app.engine.is_shared() => None,
                () = self.app.stopping() => return None,
            };
            match commit {
                Some(commit) if commit.events.first().is_some_and(|(sequence, ..)| *sequence <= self.last + 1) => {
                    for (sequence, at, event) in &commit.events {
                        self.queue(wire::event(&commit.saga, (*sequence, *at, event), &self.app.redact));
                    }
                    self.finished = commit.saga.saga.is_finished();
                }
                // Something was missed in between. A store that cannot be read ends the stream, and its reader
                // begins a new one after the last event that it saw.
                Some(_) | None => self.catch_up().await.ok()?,
            }
        }
    }

    /// Follows the saga, and reads from the store what has happened until now.
    async fn catch_up(&mut self) -> Result<(), ApiProblem> {
        self.following = self.app.followers.follow(self.id);
        let (snapshot, history) = self.app.read(self.id).await?;
        for event in after_event(&self.app, &snapshot, &history, self.last) {
            self.queue(event);
        }
        self.finished = snapshot.saga.is_finished();
        Ok(())
    }

    /// Queues an event, unless it was queued before.
    fn queue(&mut self, event: Event) {
        if event.sequence > self.last {
            self.last = event.sequence;
            self.queue.push_back(event);
        }
    }
}

fn after_event(app: &Shared, snapshot: &Snapshot, history: &History, after: u64) -> Vec<Event> {
    let numbered = (1..).zip(history).skip(usize::try_from(after).unwrap_or(usize::MAX));
    numbered.map(|(sequence, (at, event))| wire::event(snapshot, (sequence, *at, event), &app.redact)).collect()
}

fn shown(event: &Event) -> sse::Event {
    let data = serde_json::to_string(event).expect("an event is plain data");
    sse::Event::default().id(event.sequence.to_string()).event(&event.kind).data(data)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types =
        accepted.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or_default());
    types.any(|media_type| media_type.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn last_event_id(headers: &HeaderMap) -> Result<u64, ApiProblem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        let detail = "`Last-Event-ID` is not the sequence of an event; send the last `id` that was seen, or nothing";
        ApiProblem::new(problem::BAD_HEADER, detail)
    })
}
