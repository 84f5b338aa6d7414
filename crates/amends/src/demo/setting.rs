//! Starts the server and the six services, so that each knows where the others are.
//!
//! The order service starts sagas at the server, and the server calls the order service: one of the two addresses
//! has to be fixed before the other process starts, so a port is reserved for the order service.

use super::Faults;
use super::children::{Children, Start};
use super::services::Services;
use amends_client::Client;
use anyhow::{Context, Result};
use shop::Service;
use shop::faults::{Direction, Fault, FaultKind};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

/// Where the server listens if it can: then the command line finds it without being told.
pub(super) const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7700);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How likely it is, among many faults, that a shelf turns out to be empty once the order is confirmed.
const EMPTY_SHELF: f64 = 0.04;

/// Everything that runs, and how to talk to it.
pub(super) struct Setting {
    /// The server's address.
    pub(super) server: String,
    /// Talks to the server.
    pub(super) client: Client,
    /// Talks to the services.
    pub(super) services: Services,
}

/// Starts everything, with its data and logs in `directory`.
pub(super) async fn start(faults: Faults, seed: u64, directory: &Path, children: &mut Children) -> Result<Setting> {
    let order_address = free_address()?;
    let mut addresses = BTreeMap::from([(Service::Order.name(), format!("http://{order_address}"))]);
    let plan = Plan { faults, seed, directory };
    for service in Service::ALL.into_iter().filter(|service| *service != Service::Order) {
        addresses.insert(service.name(), children.start(plan.service(service, ANY, None)?).await?);
    }
    let server = start_server(directory, &addresses, children).await?;
    let order = plan.service(Service::Order, order_address, Some(&server))?;
    addresses.insert(Service::Order.name(), children.start(order).await?);
    Ok(Setting { client: Client::new(&server)?.acting_as("demo"), server, services: Services::new(addresses)? })
}

struct Plan<'a> {
    faults: Faults,
    seed: u64,
    directory: &'a Path,
}

impl Plan<'_> {
    fn service(&self, service: Service, listen: SocketAddr, amends: Option<&str>) -> Result<Start> {
        let faults = serde_json::to_string(&faults(self.faults, service))?;
        let database = self.directory.join(format!("{service}.db"));
        // Services that shared a seed would fail in step.
        let seed = self.seed.wrapping_mul(Service::ALL.len() as u64).wrapping_add(service as u64);
        let mut arguments: Vec<OsString> = vec!["shop-service".into(), service.name().into()];
        arguments.extend(["--listen".into(), listen.to_string().into(), "--database".into(), database.into()]);
        arguments.extend(["--faults".into(), faults.into(), "--seed".into(), seed.to_string().into()]);
        if let Some(amends) = amends {
            arguments.extend(["--amends".into(), amends.into()]);
        }
        Ok(Start { title: format!("the {service} service"), log: format!("{service}.log"), arguments })
    }
}

/// Starts the server at its usual address, or at any other if somebody is there.
async fn start_server(
    directory: &Path,
    addresses: &BTreeMap<&'static str, String>,
    children: &mut Children,
) -> Result<String> {
    let definitions = directory.join("sagas");
    let config = directory.join("amends.toml");
    let written = std::fs::create_dir(&definitions)
        .and_then(|()| std::fs::write(definitions.join(format!("{}.yaml", shop::DEFINITION)), shop::definition()))
        .and_then(|()| std::fs::write(&config, configuration(addresses)));
    written.with_context(|| format!("{} cannot be written to", directory.display()))?;
    let start = |listen: SocketAddr| Start {
        title: "the Amends server".into(),
        log: "server.log".into(),
        arguments: [
            "serve".into(),
            "--config".into(),
            OsString::from(&config),
            "--listen".into(),
            listen.to_string().into(),
        ]
        .to_vec(),
    };
    // Between looking and listening somebody else may be quicker, so a failure there is no reason to give up.
    if TcpListener::bind(USUAL).is_ok()
        && let Ok(address) = children.start(start(USUAL)).await
    {
        return Ok(address);
    }
    children.start(start(ANY)).await
}

fn configuration(addresses: &BTreeMap<&'static str, String>) -> String {
    let mut toml = "store = \"sqlite:amends.db\"\ndefinitions = \"sagas\"\nshutdown_grace = \"2s\"\n".to_owned();
    for (name, address) in addresses {
        let _ = write!(toml, "\n[participants.{name}]\nurl = \"{address}\"\n");
    }
    toml
}

/// What goes wrong at a service. The presets leave nothing that a person would have to decide, so that many faults
/// get one more: goods that were reserved and confirmed are not on the shelf, when nothing can be undone any more.
fn faults(faults: Faults, service: Service) -> Vec<Fault> {
    let mut list = shop::faults::preset(&faults.to_string(), service).unwrap_or_default();
    if faults == Faults::Many && service == Service::Inventory {
        list.push(Fault {
            direction: Some(Direction::Action),
            path: Some("/reservations/*/commit".into()),
            ..Fault::new(FaultKind::OutOfStock, EMPTY_SHELF)
        });
    }
    list
}

fn free_address() -> Result<SocketAddr> {
    let address = TcpListener::bind(ANY).and_then(|listener| listener.local_addr());
    address.context("no port is free on the loopback")
}
