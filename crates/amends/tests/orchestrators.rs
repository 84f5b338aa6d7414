//! Several real servers on one real PostgreSQL, behind a load balancer, while customers go on ordering at the shop and calls
//! to the services fail by chance. Servers are killed and stopped in mid-work, the database is ended and the network cut.
//! What the services then have in their ledgers is compared with what the servers say and with what customers were told.
//!
//! A failing run prints its seed; `ORCHESTRATORS_SEED=<seed>` makes the same choices again, though not the same timing.

#![cfg(test)]

mod support;

use amends_client::{Client, SagaStatus, StartOptions};
use fastrand::Rng;
use serde_json::json;
use shop::INITIAL_STOCK;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;
use support::child::{self, Launch, Program, lasting_address};
use support::customers::{Habits, Load};
use support::relay::Relay;
use support::seeded;
use support::setting::{SOON_VISIBLE, Setting, until};
use test_postgres::{Durability, Server, Stop};
use tokio::process::Command;
use tokio::time::sleep;

/// Shorter than by default, so that no test waits long for a take-over.
const LEASE: Duration = Duration::from_secs(2);
const SETTINGS: &str = "\n[postgres]\nlease = \"2s\"\ntransaction_timeout = \"1s\"\n";

/// Servers on one database, and the balancer that clients and the shop go through.
struct Orchestrators {
    setting: Setting,
    servers: Vec<Option<Program>>,
    addresses: Vec<SocketAddr>,
    /// How each of them gets to the database.
    stores: Vec<String>,
    _balancer: Relay,
}

impl Orchestrators {
    /// Starts a server for each way to the database.
    async fn start(stores: Vec<String>, random: &mut Rng) -> Orchestrators {
        let settings = format!("{SOON_VISIBLE}{SETTINGS}");
        let setting = Setting::start_on(&stores[0], random, "some", &settings).await;
        let addresses: Vec<SocketAddr> = stores.iter().map(|_| lasting_address()).collect();
        let balancer = Relay::start(setting.address, addresses.clone()).await;
        let servers = stores.iter().map(|_| None).collect();
        let mut orchestrators = Orchestrators { setting, servers, addresses, stores, _balancer: balancer };
        for number in 0..orchestrators.servers.len() {
            orchestrators.serve(number).await;
        }
        orchestrators
    }

    async fn serve(&mut self, number: usize) {
        let mut arguments = self.setting.arguments();
        let own: [OsString; 4] = [
            "--listen".into(),
            self.addresses[number].to_string().into(),
            "--store".into(),
            self.stores[number].clone().into(),
        ];
        arguments.extend(own);
        let log = self.log(number);
        let launch = Launch { arguments: &arguments, log: &log, failpoints: None, within: &[] };
        let started = launch.start().await;
        self.servers[number] = Some(started.unwrap_or_else(|status| panic!("{status}: {}", child::read(&log))));
    }

    fn log(&self, number: usize) -> std::path::PathBuf {
        self.setting.path(&format!("server-{number}.log"))
    }

    async fn signal(&self, number: usize, signal: &str) {
        let id = self.servers[number].as_ref().expect("it runs").id();
        assert!(Command::new("kill").args([signal, &id.to_string()]).status().await.unwrap().success());
    }

    /// How often any server has said this.
    fn said(&self, what: &str) -> usize {
        (0..self.servers.len()).map(|number| child::read(&self.log(number)).matches(what).count()).sum()
    }

    /// Lets all orders end, and expects nothing to be wrong and enough to have happened.
    async fn conclude(&self, load: Load) {
        load.close();
        let accepted = load.end().await;
        let evidence = self.setting.settled(accepted).await;
        assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
        let count = |status| evidence.with_status(status).count();
        let (completed, compensated) = (count(SagaStatus::Completed), count(SagaStatus::Compensated));
        assert!(completed > 0 && compensated > 0, "{completed} completed and {compensated} compensated");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_lose_nothing_and_the_others_go_on_with_it() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let store = test_postgres::database();
    let mut all = Orchestrators::start(vec![store; 3], &mut random).await;
    let load = Load::start(&all.setting, Habits { held: 0.3, ..Habits::default() }, &mut random);
    for _ in 0..6 {
        load.wait_for(random.usize(10..30)).await;
        let victim = random.usize(..3);
        let server = all.servers[victim].take().expect("it was started again");
        server.kill().await;
        // Now and then it is back before anybody has noticed that it was away.
        sleep(Duration::from_millis(random.u64(0..4_000))).await; // tidy: allow-sleep a fault lasts
        all.serve(victim).await;
    }
    all.conclude(load).await;
    assert!(all.said("gives no sign of life") > 0, "nobody has taken over from anybody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_too_late_begins_anew() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let store = test_postgres::database();
    let all = Orchestrators::start(vec![store; 3], &mut random).await;
    let load = Load::start(&all.setting, Habits { held: 0.3, ..Habits::default() }, &mut random);
    for _ in 0..3 {
        load.wait_for(random.usize(10..30)).await;
        let frozen = random.usize(..3);
        let gone_on = all.said("this one goes on as a new incarnation");
        all.signal(frozen, "-STOP").await;
        sleep(LEASE * 2).await; // tidy: allow-sleep a fault lasts
        all.signal(frozen, "-CONT").await;
        until(async || (all.said("this one goes on as a new incarnation") > gone_on).then_some(())).await;
    }
    all.conclude(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_taken_for_dead_while_it_works_can_write_nothing() {
    const REFUSED: &str = "a commit was refused, because another orchestrator has taken over";
    let mut random = seeded("ORCHESTRATORS_SEED");
    let store = test_postgres::database();
    let all = Orchestrators::start(vec![store.clone(); 3], &mut random).await;
    let load = Load::start(&all.setting, Habits { held: 0.3, ..Habits::default() }, &mut random);
    // As if the database's clock had jumped. Where a renewal comes first, nobody has noticed.
    let jump = "UPDATE amends.lease SET expires_at = clock_timestamp() - interval '1 hour'
                WHERE incarnation = (SELECT id FROM amends.incarnation WHERE live ORDER BY random() LIMIT 1)";
    let mut jumps = 0;
    while all.said(REFUSED) < 3 {
        assert!(jumps < 60, "no stale write was tried");
        jumps += 1;
        load.wait_for(random.usize(5..15)).await;
        test_postgres::execute(&store, jump).unwrap();
    }
    all.conclude(load).await;
    eprintln!("{} stale writes were refused after {jumps} jumps", all.said(REFUSED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_in_order_hands_over_at_once() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let store = test_postgres::database();
    let mut all = Orchestrators::start(vec![store; 2], &mut random).await;
    let load = Load::start(&all.setting, Habits { held: 0.3, ..Habits::default() }, &mut random);
    load.wait_for(40).await;
    let server = all.servers[0].take().expect("it runs");
    assert!(server.terminate().await.success());
    load.wait_for(20).await;
    all.conclude(load).await;
    assert_eq!(all.said("gives no sign of life"), 0, "its sagas waited for the end of its lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_and_comes_back_loses_nothing() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let mut postgres = Server::start(Durability::Full).unwrap();
    let store = postgres.create_database().unwrap();
    let all = Orchestrators::start(vec![store; 2], &mut random).await;
    let load = Load::start(&all.setting, Habits { held: 0.3, ..Habits::default() }, &mut random);
    for _ in 0..4 {
        load.wait_for(random.usize(10..30)).await;
        postgres.stop(Stop::Immediate).unwrap();
        sleep(Duration::from_millis(random.u64(0..3_000))).await; // tidy: allow-sleep a fault lasts
        postgres.start_again().unwrap();
    }
    all.conclude(load).await;
    assert!(all.said("the store cannot take commits") > 0, "nobody has noticed");
}

/// While servers are replaced one by one: what an old one cannot read waits for a new one, and is nobody's dead letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_server_has_written_is_left_to_it() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let store = test_postgres::database();
    let sql = |statement: &str| test_postgres::execute(&store, statement).unwrap();
    let all = Orchestrators::start(vec![store.clone()], &mut random).await;
    let load = Load::start(&all.setting, Habits { orders: 1, ..Habits::default() }, &mut random);
    load.wait_for(1).await;
    load.end().await;
    // There is no newer program yet: this stands for one that is alive, and the version for one that only it knows.
    sql("INSERT INTO amends.incarnation (id, live, format, released) VALUES (gen_random_uuid(), true, 99, false);
         INSERT INTO amends.lease SELECT id, clock_timestamp() + interval '1 hour' FROM amends.incarnation WHERE format = 99");
    sleep(LEASE).await; // tidy: allow-sleep the old one looks around
    sql("WITH newer AS (UPDATE amends.saga SET version = 'newer' RETURNING id), ended AS (DELETE FROM amends.finished)
         INSERT INTO amends.unfinished SELECT id, 'running', false, NULL, NULL, 0 FROM newer ON CONFLICT DO NOTHING");
    sleep(LEASE * 2).await; // tidy: allow-sleep the old one claims it again and again
    assert_eq!(all.setting.client.statistics().await.unwrap().dead_letters, 0);
    // It ends, and comes back perhaps.
    let end = "DELETE FROM amends.lease USING amends.incarnation WHERE id = incarnation AND format = 99;
        UPDATE amends.incarnation SET live = false, released = true, lease_until = clock_timestamp() WHERE format = 99";
    sql(end);
    sleep(LEASE).await; // tidy: allow-sleep the old one claims it again and again
    assert_eq!(all.setting.client.statistics().await.unwrap().dead_letters, 0);
    sql("UPDATE amends.incarnation SET lease_until = lease_until - interval '1 hour' WHERE format = 99");
    // One for each order that was placed before the load ended.
    until(async || (all.setting.client.statistics().await.unwrap().dead_letters > 0).then_some(())).await;
}

/// Whoever asks the wrong server waits, watches and decides as well there as at the right one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_is_waited_for_and_completed_at_another_server() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let all = Orchestrators::start(vec![test_postgres::database(); 2], &mut random).await;
    let [here, there] = [0, 1].map(|number| Client::new(&format!("http://{}", all.addresses[number])).unwrap());
    let definition = "saga: approval\nkey: '{{ input.id }}'\nsteps:\n  approval: { wait: 1h }\n";
    here.put_definition("approval", definition).await.unwrap();
    let input = json!({ "id": "one" });
    let started = here.start("approval", &input, StartOptions::default()).await.unwrap().saga;
    // The other has to hear of the definition first.
    until(async || there.start("approval", &input, StartOptions::default()).await.ok()).await;
    let patient = StartOptions { wait: Some(Duration::from_secs(30)), ..StartOptions::default() };
    let waiting = {
        let (there, input) = (there.clone(), input.clone());
        tokio::spawn(async move { there.start("approval", &input, patient).await.unwrap() })
    };
    let mut stream = there.follow(&started.id, 0).await.unwrap();
    let watching = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = stream.next().await.unwrap() {
            events.push(event.sequence);
        }
        events
    });
    // It is in the hands of the one that accepted it, so the other has to leave it there.
    let completed = there.complete_step(&started.id, "approval", json!("yes")).await.unwrap();
    assert_eq!(completed.id, started.id);
    let waited = waiting.await.unwrap();
    assert_eq!(
        (waited.saga.id, waited.saga.status, waited.created),
        (started.id.clone(), SagaStatus::Completed, false)
    );
    let known: Vec<u64> = there.events(&started.id).await.unwrap().items.iter().map(|event| event.sequence).collect();
    assert_eq!(watching.await.unwrap(), known);
}

/// A primary and a standby as one address.
fn either(primary: &Server, standby: &Server) -> String {
    let both = format!(":{},127.0.0.1:{}/", primary.port(), standby.port());
    primary.create_database().unwrap().replace(&format!(":{}/", primary.port()), &both)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_promoted_is_gone_on_with() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let mut primary = Server::start(Durability::Full).unwrap();
    let standby = primary.standby().unwrap();
    primary.wait_for_standby().unwrap();
    let all = Orchestrators::start(vec![either(&primary, &standby); 3], &mut random).await;
    let load = Load::start(&all.setting, Habits { held: 0.3, ..Habits::default() }, &mut random);
    load.wait_for(random.usize(20..60)).await;
    primary.stop(Stop::Immediate).unwrap();
    sleep(Duration::from_millis(random.u64(0..3_000))).await; // tidy: allow-sleep a fault lasts
    standby.promote().unwrap();
    load.wait_for(20).await;
    all.conclude(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_lacks_what_was_acknowledged_stops_everything_and_says_why() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let mut primary = Server::start(Durability::Full).unwrap();
    let standby = primary.standby().unwrap();
    let mut all = Orchestrators::start(vec![either(&primary, &standby); 2], &mut random).await;
    let load = Load::start(&all.setting, Habits::default(), &mut random);
    load.wait_for(20).await;
    standby.stop_following().unwrap();
    load.wait_for(20).await;
    load.close();
    primary.stop(Stop::Immediate).unwrap();
    standby.promote().unwrap();
    for server in 0..2 {
        let ready = format!("http://{}/readyz", all.addresses[server]);
        until(async || {
            let answer = all.setting.shop.http.get(&ready).send().await.unwrap();
            let (status, said) = (answer.status(), answer.text().await.unwrap());
            (status == 503 && said.contains("behind what it has acknowledged")).then_some(())
        })
        .await;
    }
    // It is a person's to say that it is lost, by starting a server again.
    all.servers[0].take().unwrap().kill().await;
    all.serve(0).await;
    let ready = all.setting.shop.http.get(format!("http://{}/readyz", all.addresses[0])).send().await.unwrap();
    assert_eq!(ready.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_from_the_database_is_taken_over_from() {
    let mut random = seeded("ORCHESTRATORS_SEED");
    let postgres = Server::start(Durability::None).unwrap();
    let store = postgres.create_database().unwrap();
    let relay = Relay::start(lasting_address(), vec![SocketAddr::from(([127, 0, 0, 1], postgres.port()))]).await;
    let through_relay = store.replace(&format!(":{}/", postgres.port()), &format!(":{}/", relay.address.port()));
    let all = Orchestrators::start(vec![through_relay, store.clone(), store], &mut random).await;
    let load = Load::start(&all.setting, Habits { held: 0.3, ..Habits::default() }, &mut random);
    for _ in 0..2 {
        load.wait_for(random.usize(10..30)).await;
        let gone_on = all.said("this one goes on as a new incarnation");
        relay.cut();
        sleep(LEASE * 3).await; // tidy: allow-sleep a fault lasts
        relay.heal();
        until(async || (all.said("this one goes on as a new incarnation") > gone_on).then_some(())).await;
    }
    all.conclude(load).await;
    assert!(all.said("gives no sign of life") > 0, "nobody has taken over from it");
}
