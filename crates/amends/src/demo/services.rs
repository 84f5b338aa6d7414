//! The shop's six services as the demo sees them: over HTTP, like anybody else.

use super::reconcile::{Entry, Stock};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shop::Service;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take. It is longer than any fault holds one back.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often which kind of fault struck, by service.
pub(super) type Fired = BTreeMap<&'static str, BTreeMap<String, u64>>;

/// Talks to the six services. Cheap to clone.
#[derive(Clone)]
pub(super) struct Services {
    http: reqwest::Client,
    addresses: Arc<BTreeMap<&'static str, String>>,
}

/// What a customer is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Accepted {
    /// The order.
    pub(super) order_id: String,
    /// The saga that fulfils it.
    pub(super) saga_id: String,
}

#[derive(Deserialize)]
struct Ledger {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct StockList {
    stock: Vec<Stock>,
}

#[derive(Deserialize)]
struct FaultList {
    faults: Vec<Armed>,
}

#[derive(Deserialize)]
struct Armed {
    fault: Value,
    fired: u64,
}

impl Services {
    /// Services at these addresses, by their names.
    pub(super) fn new(addresses: BTreeMap<&'static str, String>) -> Result<Services> {
        // The process may have chosen its cryptography already; then this changes nothing.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
        Ok(Services { http: http.context("no HTTP client can be made")?, addresses: Arc::new(addresses) })
    }

    /// Where a service is.
    pub(super) fn address(&self, service: Service) -> &str {
        self.addresses.get(service.name()).map_or("", String::as_str)
    }

    /// Presses the button once. `None` where no answer came, or none that names an order.
    pub(super) async fn checkout(&self, body: &Value) -> Option<Accepted> {
        let url = format!("{}/checkout", self.address(Service::Order));
        let response = self.http.post(url).json(body).send().await.ok()?;
        response.error_for_status().ok()?.json().await.ok()
    }

    /// What every service did.
    pub(super) async fn ledgers(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for service in Service::ALL {
            let ledger: Ledger = self.get(service, "ledger").await?;
            entries.extend(ledger.entries.into_iter().map(|entry| Entry { service: service.to_string(), ..entry }));
        }
        Ok(entries)
    }

    /// The stock of every product; what there was at first is not known here.
    pub(super) async fn stock(&self) -> Result<Vec<Stock>> {
        Ok(self.get::<StockList>(Service::Inventory, "stock").await?.stock)
    }

    /// Which faults struck.
    pub(super) async fn fired(&self) -> Result<Fired> {
        let mut fired = Fired::new();
        for service in Service::ALL {
            let kinds = fired.entry(service.name()).or_default();
            for armed in self.get::<FaultList>(service, "faults").await?.faults {
                *kinds.entry(kind(&armed.fault)).or_default() += armed.fired;
            }
        }
        Ok(fired)
    }

    async fn get<T: DeserializeOwned>(&self, service: Service, path: &str) -> Result<T> {
        let url = format!("{}/{path}", self.address(service));
        let response = async { self.http.get(url).send().await?.error_for_status()?.json().await };
        response.await.with_context(|| format!("the {service} service does not say what is in its {path}"))
    }
}

/// The name of a fault: JSON writes one without details as a text, any other as an object with one key.
fn kind(fault: &Value) -> String {
    match fault {
        Value::String(name) => name.clone(),
        Value::Object(named) => match named.iter().next() {
            Some((name, details)) if details["status"].is_u64() => format!("{name} {}", details["status"]),
            Some((name, _)) => name.clone(),
            None => String::new(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => fault.to_string(),
    }
}
