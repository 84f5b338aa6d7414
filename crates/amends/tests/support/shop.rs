//! The shop's six services as they are seen over HTTP, wherever they run.

#![cfg(test)]

use serde::Deserialize;
use serde_json::Value;
use shop::{Service, ServiceOptions};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::Path;
use tokio::net::TcpListener;

/// Where the six services are, in the order of [`Service::ALL`].
pub struct Shop {
    pub addresses: [SocketAddr; 6],
    pub http: reqwest::Client,
}

/// What the services wrote into their ledgers.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every entry, service by service in the order in which they were written.
    pub entries: Vec<Entry>,
    /// For each action's key how often it was done and undone.
    pub effects: BTreeMap<String, Effect>,
}

/// One line of a ledger.
#[derive(Debug, Deserialize)]
pub struct Entry {
    pub action_key: String,
    pub order_id: String,
    pub direction: String,
}

/// How often an action took effect, and how often that was undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub done: u32,
    pub undone: u32,
}

impl Shop {
    /// Starts all six in this process, each with a new database in `folder`. `adjust` is given each one's options.
    pub async fn in_process(folder: &Path, mut adjust: impl FnMut(&mut ServiceOptions)) -> Shop {
        let mut addresses = Vec::new();
        for service in Service::ALL {
            let mut options = ServiceOptions {
                service,
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                database: folder.join(format!("{service}.db")),
                amends: None,
                definition: shop::DEFINITION.into(),
                queue: None,
                workers: NonZeroU8::MIN,
                faults: "none".into(),
                seed: 0,
                exit_with_parent: false,
            };
            adjust(&mut options);
            let router = shop::open(&options).unwrap();
            let listener = TcpListener::bind(options.listen).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Shop::at(addresses.try_into().unwrap())
    }

    /// Services that run already.
    pub fn at(addresses: [SocketAddr; 6]) -> Shop {
        // The process may have chosen its cryptography already; then this changes nothing.
        let _already_chosen = rustls::crypto::ring::default_provider().install_default();
        Shop { addresses, http: reqwest::Client::new() }
    }

    pub fn url(&self, service: Service) -> String {
        format!("http://{}", self.addresses[service as usize])
    }

    pub async fn get(&self, service: Service, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url(service))).send().await.unwrap();
        assert!(answer.status().is_success(), "GET {path} at {service}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// A PUT under an idempotency key of its own.
    pub async fn put(&self, service: Service, path: &str, body: &Value) {
        let request = self.http.put(format!("{}{path}", self.url(service))).json(body);
        let answer = request.header("idempotency-key", uuid::Uuid::now_v7().to_string()).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "PUT {path} at {service}: {status}: {:?}", answer.text().await);
    }

    /// The ledgers of all six.
    pub async fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for service in Service::ALL {
            let mut written = self.get(service, "/ledger").await;
            let entries: Vec<Entry> = serde_json::from_value(written["entries"].take()).unwrap();
            ledger.entries.extend(entries);
        }
        for entry in &ledger.entries {
            let effect = ledger.effects.entry(entry.action_key.clone()).or_default();
            match entry.direction.as_str() {
                "action" => effect.done += 1,
                "compensation" => effect.undone += 1,
                other => panic!("a ledger knows no direction `{other}`"),
            }
        }
        ledger
    }

    /// What there is of each product: free, reserved, sold.
    pub async fn stock(&self) -> BTreeMap<String, [i64; 3]> {
        let stock = self.get(Service::Inventory, "/stock").await;
        let number = |product: &Value, name: &str| product[name].as_i64().unwrap();
        let products = stock["stock"].as_array().unwrap().iter().map(|product| {
            let sku = product["sku"].as_str().unwrap().to_owned();
            (sku, ["free", "reserved", "sold"].map(|name| number(product, name)))
        });
        products.collect()
    }
}

impl Ledger {
    /// What became of the action under this key.
    pub fn effect(&self, key: &str) -> Effect {
        self.effects.get(key).copied().unwrap_or_default()
    }
}

impl Effect {
    /// It was done and is still there.
    pub const DONE: Effect = Effect { done: 1, undone: 0 };
    /// It was done and then undone.
    pub const UNDONE: Effect = Effect { done: 1, undone: 1 };
    /// It never happened.
    pub const NONE: Effect = Effect { done: 0, undone: 0 };

    /// How much of it is there.
    pub fn net(self) -> i64 {
        i64::from(self.done) - i64::from(self.undone)
    }
}
