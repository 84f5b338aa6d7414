//! The shop, and a place for a real server that comes and goes.

#![cfg(test)]

use super::agreement::{Accepted, Evidence};
use super::child::{self, Launch, Program, lasting_address};
use super::shop::Shop;
use amends_client::{Client, SagaQuery, SagaStatus, Statistics};
use amends_store::{Rest, SqliteOptions, SqliteStore, Views};
use fastrand::Rng;
use shop::Service;
use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// How long anything may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// A compensation that was in flight at a kill is not begun again before its message is visible again, and no test
/// waits for the minute that this takes by default.
pub const SOON_VISIBLE: &str = "visibility = \"3s\"";

/// The shop, and a place for a server that comes and goes.
pub struct Setting {
    pub folder: TempDir,
    pub shop: Shop,
    pub client: Client,
    /// Where the client and the shop look for a server.
    pub address: SocketAddr,
}

impl Setting {
    /// Starts the shop with these faults, which stays for the whole test. `compensations` is what the server's
    /// configuration says about them.
    pub async fn start(random: &mut Rng, faults: &str, compensations: &str) -> Setting {
        Setting::start_on("sqlite:amends.db", random, faults, compensations).await
    }

    /// The same on any store.
    pub async fn start_on(store: &str, random: &mut Rng, faults: &str, compensations: &str) -> Setting {
        let start = Start { store, faults, compensations, definition: shop::DEFINITION };
        start.start(random).await
    }

    /// The same, in which payments are asked for by message. The payment service is still to be started.
    pub async fn start_by_message(random: &mut Rng, faults: &str, compensations: &str) -> Setting {
        let start = Start { store: "sqlite:amends.db", faults, compensations, definition: shop::DEFINITION_BY_MESSAGE };
        let mut setting = start.start(random).await;
        let here = setting.shop.url(Service::Payment);
        setting.shop.addresses[Service::Payment as usize] = lasting_address();
        let file = setting.path("amends.toml");
        let text = std::fs::read_to_string(&file).unwrap().replace(&here, &setting.shop.url(Service::Payment));
        std::fs::write(file, format!("{text}[queues.{}]\nreceives = 100\n", shop::PAYMENT_QUEUE)).unwrap();
        let definition = format!("sagas/{}.yaml", shop::DEFINITION_BY_MESSAGE);
        std::fs::write(setting.path(&definition), shop::definition_by_message()).unwrap();
        setting
    }

    pub fn arguments(&self) -> Vec<OsString> {
        vec!["serve".into(), "--config".into(), self.path("amends.toml").into()]
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        child::read(&self.path("server.log"))
    }

    /// Starts a server on the file of the one before it, at the same address.
    pub async fn serve(&self) -> Program {
        Program::start(&self.arguments(), &self.path("server.log")).await
    }

    /// Starts a server that may end before it takes requests: with `failpoints`, or `within` another program.
    pub async fn launch(&self, failpoints: Option<&str>, within: &[OsString]) -> Result<Program, ExitStatus> {
        let (arguments, log) = (&self.arguments(), &self.path("server.log"));
        Launch { arguments, log, failpoints, within }.start().await
    }

    /// Waits until sagas are in flight, and says how many.
    pub async fn in_flight(&self) -> Statistics {
        until(async || {
            let statistics = self.client.statistics().await.unwrap();
            assert_eq!(statistics.orphans, 0, "{statistics:?}");
            (statistics.in_flight > statistics.dead_letters).then_some(statistics)
        })
        .await
    }

    /// How many sagas a server that has stopped has left unfinished. None of them is anybody's.
    pub async fn released(&self) -> usize {
        let store = SqliteStore::open(SqliteOptions::new(self.path("amends.db"))).unwrap();
        let query = amends_store::SagaQuery { limit: 1_000, ..Default::default() };
        let sagas = store.sagas(query).await.unwrap();
        let owned: Vec<_> = sagas.iter().filter(|saga| saga.row.rest == Rest::Owned).collect();
        assert!(owned.is_empty(), "these are still owned by the server that stopped: {owned:?}");
        sagas.iter().filter(|saga| !matches!(saga.row.rest, Rest::Finished(_))).count()
    }

    /// Waits until no saga moves any more, and finds everything out about all of them.
    pub async fn settled(&self, accepted: Vec<Accepted>) -> Evidence {
        for status in [SagaStatus::Running, SagaStatus::Compensating, SagaStatus::Running] {
            let query = SagaQuery { status: Some(status), limit: Some(1), ..SagaQuery::default() };
            let left = async || self.client.sagas(&query).await.unwrap().items;
            let all_ended = until_or_late(async || left().await.is_empty().then_some(())).await.is_some();
            if !all_ended {
                let (left, log) = (left().await, self.log());
                let Some(first) = left.first() else { continue };
                let events = self.client.events(&first.id).await;
                panic!("this one, and maybe others, does not end: {first:?}: {events:#?}; the log:\n{log}");
            }
        }
        Evidence::gather(&self.client, &self.shop, accepted).await
    }

    /// A run in which nothing went wrong at the services, or no saga turned back, would show little.
    pub async fn check_coverage(&self, evidence: &Evidence) {
        let completed = evidence.with_status(SagaStatus::Completed).count();
        let compensated = evidence.with_status(SagaStatus::Compensated).count();
        assert!(completed > 0 && compensated > 0, "{completed} completed and {compensated} compensated");
        for service in [Service::Order, Service::Inventory, Service::Payment, Service::Shipping] {
            let faults = self.shop.get(service, "/faults").await;
            assert!(!faults["firings"].as_array().unwrap().is_empty(), "no fault of {service} struck");
        }
    }
}

/// What a setting begins with.
struct Start<'a> {
    store: &'a str,
    faults: &'a str,
    compensations: &'a str,
    /// The definition whose sagas a checkout starts.
    definition: &'a str,
}

impl Start<'_> {
    async fn start(self, random: &mut Rng) -> Setting {
        let Start { store, faults, compensations, definition } = self;
        let folder = tempfile::tempdir().unwrap();
        let address = lasting_address();
        let amends = format!("http://{address}");
        let shop = Shop::in_process(folder.path(), |options| {
            options.amends = (options.service == Service::Order).then(|| amends.clone());
            options.definition = definition.to_owned();
            options.faults = faults.to_owned();
            options.seed = random.u64(..);
        });
        let shop = shop.await;
        std::fs::create_dir(folder.path().join("sagas")).unwrap();
        std::fs::write(folder.path().join("sagas/order-fulfilment.yaml"), shop::definition()).unwrap();
        std::fs::write(folder.path().join("amends.toml"), configuration(address, store, &shop, compensations)).unwrap();
        let client = Client::new(&amends).unwrap();
        Setting { folder, shop, client, address }
    }
}

fn configuration(address: SocketAddr, store: &str, shop: &Shop, compensations: &str) -> String {
    let mut text = format!(
        "listen = \"{address}\"\nstore = \"{store}\"\ndefinitions = \"sagas\"\n\
         [log]\nlevel = \"warn\"\n[compensations]\n{compensations}\n"
    );
    for service in Service::ALL {
        writeln!(text, "[participants.{service}]\nurl = \"{}\"", shop.url(service)).unwrap();
    }
    text
}

/// Looks again and again until there is something to see.
pub async fn until<T>(look: impl AsyncFnMut() -> Option<T>) -> T {
    until_or_late(look).await.expect("it comes about in time")
}

/// The same; none where it does not come about in time.
async fn until_or_late<T>(mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let looking = async {
        let mut looks = interval(BETWEEN_LOOKS);
        loop {
            looks.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    timeout(PATIENCE, looking).await.ok()
}
