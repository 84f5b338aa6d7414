//! A service that is away, comes back ill, and recovers, as it is told; it writes down when it was asked to undo something.

use crate::http::{json, serve};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tokio::sync::watch;

/// Where the undo arrives.
pub const UNDO: &str = "/charge/undo";
/// Where it is read what has arrived.
pub const ARRIVALS: &str = "/arrivals";
/// How many in a hundred are refused by one who is ill.
const REFUSED_BY_THE_ILL: u8 = 60;

/// How it is. What it is told is the path `/health/` and the name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It says to nobody whether their order can be shipped: all wait.
    Silent,
    /// Nothing can be shipped, and nothing be undone.
    Away,
    /// Some can be undone.
    Ill,
    /// All can be undone.
    Well,
}

impl Health {
    /// Where it is told so.
    pub fn path(self) -> &'static str {
        match self {
            Health::Silent => "/health/silent",
            Health::Away => "/health/away",
            Health::Ill => "/health/ill",
            Health::Well => "/health/well",
        }
    }
}

/// Somebody asked that something be undone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Arrival {
    /// When, in milliseconds since the service began.
    pub at_ms: u64,
    /// Whether it was.
    pub undone: bool,
}

/// Serves until the process ends.
pub async fn run() -> anyhow::Result<()> {
    let patient = Rc::new(Patient {
        began: Instant::now(),
        health: watch::Sender::new(Health::Silent),
        arrivals: RefCell::default(),
        chance: RefCell::new(fastrand::Rng::with_seed(1)),
    });
    serve(move |request| patient.clone().answer(request)).await
}

struct Patient {
    began: Instant,
    health: watch::Sender<Health>,
    arrivals: RefCell<Vec<Arrival>>,
    chance: RefCell<fastrand::Rng>,
}

impl Patient {
    async fn answer(self: Rc<Patient>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if let Some(health) =
            [Health::Silent, Health::Away, Health::Ill, Health::Well].into_iter().find(|health| health.path() == path)
        {
            self.health.send_replace(health);
            return json(StatusCode::OK, self.began.elapsed().as_millis().to_string());
        }
        match path {
            ARRIVALS => json(StatusCode::OK, serde_json::to_vec(&*self.arrivals.borrow()).expect("numbers are JSON")),
            UNDO => self.undo(),
            "/ship" => {
                // It lives as long as the process.
                let _ = self.health.subscribe().wait_for(|health| *health != Health::Silent).await;
                json(StatusCode::UNPROCESSABLE_ENTITY, r#"{"detail":"there is no way to ship it"}"#)
            }
            _ => json(StatusCode::OK, "{}"),
        }
    }

    fn undo(&self) -> Response<Full<Bytes>> {
        let undone = match *self.health.borrow() {
            Health::Silent | Health::Away => false,
            Health::Ill => self.chance.borrow_mut().u8(..100) >= REFUSED_BY_THE_ILL,
            Health::Well => true,
        };
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.arrivals.borrow_mut().push(Arrival { at_ms, undone });
        if undone {
            json(StatusCode::OK, "{}")
        } else {
            json(StatusCode::SERVICE_UNAVAILABLE, r#"{"detail":"come back later"}"#)
        }
    }
}
