//! What is measured: the programs, and how they are started.

use crate::herd::HERD;
use crate::shop::{DEFINITION, PARTICIPANTS, SLEEPER};
use crate::store::Store;
use crate::usage::Process;
use anyhow::{Context, bail};
use std::fmt::{self, Write};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it is ready.
const READY: Duration = Duration::from_secs(120);

/// Who performs the sagas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The load generator itself makes the calls, and nothing is durable.
    Bare,
    /// The durable floor.
    Floor,
    /// Amends, through its API.
    Amends,
    /// Another build of it.
    Other,
    /// Several servers of it on one store.
    Several,
    /// One, while others read from it as fast as they can.
    Read,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Subject::Bare => "bare floor",
            Subject::Floor => "durable floor",
            Subject::Amends => "amends",
            Subject::Other => "other build",
            Subject::Several => "several instances",
            Subject::Read => "amends, read from",
        })
    }
}

/// A program that was started here, and ends with its owner.
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Program {
    /// Starts this very program in another role, and waits for it to say where it listens.
    pub fn role(arguments: &[&str]) -> anyhow::Result<Program> {
        let mut child =
            Command::new(std::env::current_exe()?).args(arguments).stdout(Stdio::piped()).spawn().context("a role")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it was piped")?).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("{arguments:?} does not say where it listens"))?;
        Ok(Program { child, address })
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it has used so far.
    pub fn look(&self) -> anyhow::Result<Process> {
        Process::look(self.child.id())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server under test.
#[derive(Clone, Debug)]
pub struct Amends {
    /// Its program.
    pub binary: PathBuf,
}

/// What a server holds compensations to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many begin in a second.
    pub per_second: u32,
    /// How many are in flight at each participant.
    pub in_flight: u32,
    /// How many fail in a row before the breaker opens.
    pub failures: u32,
    /// How long it stays open.
    pub open: &'static str,
}

impl Limits {
    /// None that any load here reaches: what is measured is the server and not its patience.
    pub const OUT_OF_REACH: Limits = Limits { per_second: 100_000, in_flight: 64, failures: 1_000, open: "100ms" };
}

impl Amends {
    /// Starts it on this store, and says how long it took until it was ready.
    pub fn start(&self, store: &Store<'_>, services: SocketAddr) -> anyhow::Result<(Program, Duration)> {
        self.start_with(store, services, Limits::OUT_OF_REACH)
    }

    /// The same, with these limits.
    pub fn start_with(
        &self,
        store: &Store<'_>,
        services: SocketAddr,
        limits: Limits,
    ) -> anyhow::Result<(Program, Duration)> {
        let address = free_address()?;
        let folder = store.folder();
        std::fs::create_dir_all(folder.join("sagas"))?;
        std::fs::write(folder.join("sagas/bench.yaml"), DEFINITION)?;
        std::fs::write(folder.join("sagas/sleeper.yaml"), SLEEPER)?;
        std::fs::write(folder.join("sagas/herd.yaml"), HERD)?;
        // Others may be started on the same store.
        let path = folder.join(format!("amends-{}.toml", address.port()));
        std::fs::write(&path, configuration(address, &store.address(), services, limits))?;
        let began = Instant::now();
        let child = Command::new(&self.binary)
            .args(["serve", "--config"])
            .arg(path)
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started: cargo build --release -p amends", self.binary.display()))?;
        let mut program = Program { child, address };
        while !is_ready(address) {
            if let Some(status) = program.child.try_wait()? {
                bail!("the server has ended: {status}");
            }
            if began.elapsed() > READY {
                bail!("the server is not ready after {READY:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((program, began.elapsed()))
    }
}

fn configuration(address: SocketAddr, store: &str, services: SocketAddr, limits: Limits) -> String {
    let Limits { per_second, in_flight, failures, open } = limits;
    let mut text = format!(
        "listen = \"{address}\"\nstore = \"{store}\"\ndefinitions = \"sagas\"\n\
         [log]\nlevel = \"warn\"\n[compensations]\nper_second = {per_second}\n[limits]\nlive_sagas = 1000000\n"
    );
    for participant in PARTICIPANTS {
        write!(text, "[participants.{participant}]\nurl = \"http://{services}\"\nin_flight = 256\n").expect("text");
        writeln!(
            text,
            "compensations.in_flight = {in_flight}\nbreaker = {{ failures = {failures}, open = \"{open}\" }}"
        )
        .expect("text");
    }
    text
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Whether the server takes requests.
fn is_ready(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let ask = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))?;
        stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
