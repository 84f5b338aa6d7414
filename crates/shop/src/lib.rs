//! The shop: six small services that fulfil an order together, and the saga that coordinates them.
//!
//! Each service is a process of its own with a database of its own, and makes its endpoints idempotent with
//! `amends-idempotency`. What they have in common is in three places: [`faults`] makes them fail on purpose, the
//! ledger writes down what they did, and serving starts and stops them. Nothing but the idempotency key keeps a
//! service from doing a thing twice, so that an outside checker who counts the ledgers counts the truth.

pub mod faults;

mod analytics;
mod answer;
mod by_message;
mod inventory;
mod ledger;
mod notification;
mod order;
mod payment;
mod serving;
mod shipping;

pub use inventory::{CATALOGUE, INITIAL_STOCK, Product};
pub use serving::{open, run, watch_parent};

use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;

/// One of the six services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Keeps orders, and is the shop's front door.
    Order,
    /// Keeps the stock.
    Inventory,
    /// Charges and refunds.
    Payment,
    /// Ships.
    Shipping,
    /// Writes to customers.
    Notification,
    /// Counts.
    Analytics,
}

/// How a service is started.
#[derive(Clone, Debug, Args)]
pub struct ServiceOptions {
    /// Which service to be
    pub service: Service,
    /// The address to listen on; port 0 takes a free one, and the line on standard output says which
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The service's own SQLite database; it is created if it is not there
    #[arg(long, value_name = "PATH")]
    pub database: PathBuf,
    /// The address of the Amends server, which the order service starts sagas at, and whose queue commands come from
    #[arg(long, value_name = "URL")]
    pub amends: Option<String>,
    /// The definition whose sagas the order service starts
    #[arg(long, value_name = "NAME", default_value = DEFINITION)]
    pub definition: String,
    /// Perform the commands of this queue of the Amends server too; for the payment service
    #[arg(long, value_name = "NAME", requires = "amends")]
    pub queue: Option<String>,
    /// How many commands of the queue are worked on at once
    #[arg(long, value_name = "NUMBER", default_value = "4")]
    pub workers: NonZeroU8,
    /// Faults to inject: a preset (none, some, many), a JSON list, or a file that holds one
    #[arg(long, value_name = "FAULTS", default_value = "none")]
    pub faults: String,
    /// The seed of the faults' randomness
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Stop when standard input ends, and so with the process that started this one
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// The saga's definition, as YAML. Its participants are named like the services.
#[must_use]
pub fn definition() -> &'static str {
    include_str!("../order-fulfilment.yaml")
}

/// The definition's name.
pub const DEFINITION: &str = "order-fulfilment";

/// The same saga, except that payments are asked for by message: over the queue [`PAYMENT_QUEUE`].
#[must_use]
pub fn definition_by_message() -> &'static str {
    include_str!("../order-fulfilment-by-message.yaml")
}

/// The name of that definition.
pub const DEFINITION_BY_MESSAGE: &str = "order-fulfilment-by-message";

/// The queue that the payment service lives off.
pub const PAYMENT_QUEUE: &str = "payment-commands";

impl Service {
    /// All six, in the order in which an order first meets them.
    pub const ALL: [Service; 6] = [
        Service::Order,
        Service::Inventory,
        Service::Payment,
        Service::Shipping,
        Service::Notification,
        Service::Analytics,
    ];

    /// The service's name, which is also the participant's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Service::Order => "order",
            Service::Inventory => "inventory",
            Service::Payment => "payment",
            Service::Shipping => "shipping",
            Service::Notification => "notification",
            Service::Analytics => "analytics",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
