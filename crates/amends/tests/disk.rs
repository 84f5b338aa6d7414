//! The real server on a disk that fails, is slow, or is full, and on a store that was damaged.

#![cfg(test)]

mod support;

use amends_client::{DeadLetterQuery, Error, SagaQuery, SagaStatus, StartOptions};
use amends_idempotency::rusqlite::{Connection, params};
use fastrand::Rng;
use serde_json::json;
use shop::{INITIAL_STOCK, Service};
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use support::child::{self, Program};
use support::customers::{Habits, Load};
use support::setting::{SOON_VISIBLE, Setting, until};

const SLOW_FSYNC: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_fsync_ends_the_server_and_nothing_accepted_is_lost() {
    if !can_trace() {
        return;
    }
    // The first ones are those of the start; later ones meet sagas at work.
    for nth in [1, 2, 12, 60] {
        let setting = Setting::start(&mut Rng::with_seed(nth), "none", SOON_VISIBLE).await;
        let trace = setting.path("trace");
        let failing = injecting(&trace, &format!("error=EIO:when={nth}"));
        let load = Load::start(&setting, Habits::default(), &mut Rng::with_seed(nth));
        let status = match setting.launch(None, &failing).await {
            Err(status) => status,
            Ok(mut server) => server.ended().await,
        };
        let said = setting.log();
        let says_one_of = |words: [&str; 2]| words.iter().any(|words| said.contains(words));
        let clear = says_one_of(["the store failed; the process ends", "cannot be used as a store"])
            // As SQLite says it of its files, and the system of their directory.
            && says_one_of(["disk I/O error", "Input/output error"]);
        assert!(!status.success() && clear, "{nth}: {status}: {said}");
        assert!(child::read(&trace).contains("(INJECTED)"), "{nth}: no fsync failed: {said}");

        let server = setting.serve().await;
        load.close();
        let accepted = load.end().await;
        let evidence = setting.settled(accepted).await;
        assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new(), "{nth}");
        assert_eq!(evidence.with_status(SagaStatus::Completed).count(), evidence.sagas.len(), "{nth}");
        drop(server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_fsync_makes_the_server_slow_and_nothing_else() {
    if !can_trace() {
        return;
    }
    let mut random = Rng::with_seed(1);
    let setting = Setting::start(&mut random, "none", SOON_VISIBLE).await;
    let slow = injecting(&setting.path("trace"), &format!("delay_enter={}", SLOW_FSYNC.as_micros()));
    let server = ready(setting.launch(None, &slow).await, &setting);
    let began = Instant::now();
    let load = Load::start(&setting, Habits { orders: 20, ..Habits::default() }, &mut random);
    load.wait_for(1).await;
    assert!(began.elapsed() >= SLOW_FSYNC, "an order was accepted after {:?}, so no fsync was slow", began.elapsed());
    assert!(setting.client.is_ready().await);
    let accepted = load.end().await;
    let evidence = setting.settled(accepted).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
    assert_eq!(evidence.with_status(SagaStatus::Completed).count(), 20);
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_starts_and_the_server_goes_on_when_there_is_room() {
    let mut random = Rng::with_seed(1);
    let setting = Setting::start(&mut random, "none", SOON_VISIBLE).await;
    let Some(disk) = Disk::mount(&setting.path("disk")) else { return };
    let server = ready(setting.launch(None, &disk.within()).await, &setting);

    // With nothing else to do, a start is refused, and leaves nothing behind.
    disk.fill();
    let refusal = setting.client.start(shop::DEFINITION, &an_order(), StartOptions::default()).await;
    let Err(Error::Refused(problem)) = refusal else { panic!("{refusal:?}") };
    assert_eq!((problem.status, problem.kind.as_str()), (503, "urn:amends:problem:store-unavailable"));
    assert!(problem.detail.contains("disk is full"), "{problem}");
    assert!(setting.client.sagas(&SagaQuery::default()).await.unwrap().items.is_empty());

    // It comes again in the middle of the work.
    disk.make_room();
    let load = Load::start(&setting, Habits { orders: 60, ..Habits::default() }, &mut random);
    load.wait_for(15).await;
    let said_before = setting.log().len();
    disk.fill();
    until(async || setting.log()[said_before..].contains("disk is full").then_some(())).await;
    // Nobody is to send it work, and what is stored can still be read.
    until(async || (!setting.client.is_ready().await).then_some(())).await;
    assert!(!setting.client.sagas(&SagaQuery::default()).await.unwrap().items.is_empty());
    disk.make_room();
    until(async || setting.client.is_ready().await.then_some(())).await;
    load.wait_for(usize::MAX).await;

    // And once more for a server that is killed while there is no room.
    disk.fill();
    assert!(!server.kill().await.success());
    disk.make_room();
    let server = ready(setting.launch(None, &disk.within()).await, &setting);
    let accepted = load.end().await;
    let evidence = setting.settled(accepted).await;
    assert_eq!(evidence.disagreements(INITIAL_STOCK), Vec::<String>::new());
    assert_eq!(evidence.with_status(SagaStatus::Completed).count(), 60);
    drop(server);
}

/// What may be wrong with a saga in the file, each as a statement about the saga `?1`.
const DAMAGES: [(&str, &str); 6] = [
    ("its events are cut short", "UPDATE events SET body = substr(body, 1, 9) WHERE saga = ?1 AND first = 1"),
    (
        "an event is of a kind that nobody knows",
        "UPDATE events SET body = CAST('[{\"type\":\"x\"}]' AS BLOB) WHERE saga = ?1 AND first = 1",
    ),
    ("its definition is missing", "UPDATE saga SET version = 'gone' WHERE id = ?1"),
    ("its first events are missing", "DELETE FROM events WHERE saga = ?1 AND first = 1"),
    ("its events happened before time began", "UPDATE events SET at = -5 WHERE saga = ?1 AND first = 1"),
    ("its status is none", "UPDATE saga SET status = 'confused' WHERE id = ?1"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_that_cannot_be_read_is_set_aside_and_the_others_go_on() {
    let mut random = Rng::with_seed(1);
    let setting = Setting::start(&mut random, "none", SOON_VISIBLE).await;
    let slow = json!([{ "fault": { "latency": { "min_ms": 700, "max_ms": 800 } } }]);
    setting.shop.put(Service::Shipping, "/faults", &slow).await;
    let server = setting.serve().await;
    let load = Load::start(&setting, Habits { orders: 20, ..Habits::default() }, &mut random);
    load.wait_for(20).await;
    server.kill().await;
    let store = Connection::open(setting.path("amends.db")).unwrap();
    let (damaged, body) = damage(&store);

    let server = setting.serve().await;
    load.end().await;
    until(async || (count(&setting, SagaStatus::Completed).await == 20 - DAMAGES.len()).then_some(())).await;
    let letters = setting.client.dead_letters(&DeadLetterQuery::default()).await.unwrap().items;
    assert_eq!((letters.len(), count(&setting, SagaStatus::Stuck).await), (DAMAGES.len(), DAMAGES.len()));
    for ((what, _), id) in DAMAGES.iter().zip(&damaged) {
        let letter = letters.iter().find(|letter| letter.saga == *id).unwrap_or_else(|| panic!("{what}: {letters:?}"));
        assert!(letter.step.is_none() && letter.error.contains("cannot be read"), "{what}: {letter:?}");
    }
    for command in [&["list", "--status", "stuck"][..], &["dead-letters", "list"]] {
        let said = command_line(&setting, command);
        for id in &damaged {
            assert!(said.contains(id.as_str()), "{command:?} does not show {id}: {said}");
        }
    }
    assert_eq!(setting.client.statistics().await.unwrap().orphans, 0);

    // Once somebody has mended it, the saga goes on where it was.
    server.kill().await;
    let id = uuid::Uuid::parse_str(&damaged[0]).unwrap();
    store.execute("UPDATE events SET body = ?2 WHERE saga = ?1 AND first = 1", params![id.as_bytes(), body]).unwrap();
    let server = setting.serve().await;
    let letter = letters.iter().find(|letter| letter.saga == damaged[0]).unwrap();
    setting.client.retry_dead_letter(&letter.id, "the events were restored from a backup").await.unwrap();
    until(async || (count(&setting, SagaStatus::Completed).await == 21 - DAMAGES.len()).then_some(())).await;
    drop(server);
}

/// Damages one unfinished saga in each way; says which, and what the first one's first events were.
fn damage(store: &Connection) -> (Vec<String>, Vec<u8>) {
    let mut unfinished = store.prepare("SELECT id FROM saga WHERE finished_at IS NULL ORDER BY id").unwrap();
    let ids: Vec<Vec<u8>> = unfinished.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(ids.len() >= DAMAGES.len(), "only {} sagas were at work", ids.len());
    let body = "SELECT body FROM events WHERE saga = ?1 AND first = 1";
    let body = store.query_row(body, [&ids[0]], |row| row.get(0)).unwrap();
    let damaged = DAMAGES.iter().zip(&ids).map(|((what, statement), id)| {
        assert_eq!(store.execute(statement, params![id]).unwrap(), 1, "{what}");
        uuid::Uuid::from_slice(id).unwrap().to_string()
    });
    (damaged.collect(), body)
}

async fn count(setting: &Setting, status: SagaStatus) -> usize {
    let query = SagaQuery { status: Some(status), limit: Some(100), ..SagaQuery::default() };
    setting.client.sagas(&query).await.unwrap().items.len()
}

fn an_order() -> serde_json::Value {
    let lines = json!([{ "sku": shop::CATALOGUE[0].sku, "quantity": 1, "price_cents": 1 }]);
    json!({ "order_id": "refused", "customer_id": "somebody", "lines": lines, "total_cents": 1 })
}

/// What a command prints when it is asked about this setting's server.
fn command_line(setting: &Setting, words: &[&str]) -> String {
    let config = child::read(&setting.path("amends.toml"));
    let address = config.lines().find_map(|line| line.strip_prefix("listen = ")).expect("it says where it listens");
    let server = format!("http://{}", address.trim_matches('"'));
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    let output = command.args(words).args(["--server", &server]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ready(started: Result<Program, ExitStatus>, setting: &Setting) -> Program {
    started.unwrap_or_else(|status| panic!("it does not start ({status}): {}", setting.log()))
}

/// strace, which does this to every fsync of each thread. It detaches itself, so that the server is our own child.
fn injecting(trace: &Path, what: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        "strace -D -f -qq -e signal=none -e trace=fsync,fdatasync -e".split(' ').map(Into::into).collect();
    words.extend([format!("inject=fsync,fdatasync:{what}").into(), "-o".into(), trace.into()]);
    words
}

/// Whether a process may be traced here. Without strace this fails, because `cargo xtask test` installs it.
fn can_trace() -> bool {
    let injection = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"];
    let traced = Command::new("strace").args(injection).output().expect("strace is installed by `cargo xtask test`");
    if !traced.status.success() {
        skipped("no process may be traced here", &String::from_utf8_lossy(&traced.stderr));
    }
    traced.status.success()
}

/// Says that a test shows nothing on this machine, where it is seen even though the test passes.
fn skipped(why: &str, said: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}: {}", said.trim());
}

/// A disk that is small, though larger than a write-ahead log becomes. It exists in a mount namespace of its own, for which nobody needs to be root, and lives
/// as long as the process that holds that namespace.
struct Disk {
    holder: Child,
    folder: PathBuf,
}

impl Disk {
    /// Mounts it at `folder`; where that is not allowed, says so.
    fn mount(folder: &Path) -> Option<Disk> {
        std::fs::create_dir(folder).unwrap();
        let mut holder = Command::new("unshare");
        holder.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        holder.args(["mount -t tmpfs -o size=48m tmpfs \"$0\" && echo mounted && exec cat"]).arg(folder);
        holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = holder.spawn().expect("unshare is part of every Debian (util-linux)");
        let mut said = [0; 8];
        if holder.stdout.as_mut().expect("it is piped").read_exact(&mut said).is_err() {
            let output = holder.wait_with_output().unwrap();
            skipped("no disk can be mounted here", &String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Disk { holder, folder: folder.to_owned() })
    }

    /// What runs a server that has its store on this disk.
    fn within(&self) -> Vec<OsString> {
        let store = format!("AMENDS_STORE=sqlite:{}", self.folder.join("amends.db").display());
        let target = self.holder.id().to_string();
        ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &target, "env", &store]
            .map(Into::into)
            .into()
    }

    fn filler(&self) -> PathBuf {
        let inside = self.folder.strip_prefix("/").expect("a temporary folder has an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside).join("filler")
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        for bytes in [1 << 20, 1 << 12, 1] {
            let block = vec![1; bytes];
            let full =
                std::iter::repeat_with(|| filler.write_all(&block)).find_map(Result::err).expect("it has an end");
            assert_eq!(full.kind(), ErrorKind::StorageFull);
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
