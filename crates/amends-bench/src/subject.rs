//! What is measured: the programs, and what the kernel says about them.

use crate::shop::{DEFINITION, PARTICIPANTS, SLEEPER};
use anyhow::{Context, bail};
use std::fmt::{self, Write};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Kernel ticks per second in `/proc`; every Linux has a hundred.
const TICKS: f64 = 100.0;
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
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Subject::Bare => "bare floor",
            Subject::Floor => "durable floor",
            Subject::Amends => "amends",
            Subject::Other => "other build",
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
    pub fn usage(&self, disk: &Disk) -> anyhow::Result<Usage> {
        let file = |name: &str| -> anyhow::Result<String> {
            let path = format!("/proc/{}/{name}", self.child.id());
            std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
        };
        // The command's name may have spaces in it and is in brackets.
        let stat = file("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("the name of a process is in brackets")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(Usage {
            cpu_s: ticks / TICKS,
            peak_mib: number_after(&file("status")?, "VmHWM:")? as f64 / 1024.0,
            resident_mib: number_after(&file("status")?, "VmRSS:")? as f64 / 1024.0,
            written: number_after(&file("io")?, "write_bytes:")?,
            flushes: disk.flushes()?,
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program has used since it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of processor time, its own and the kernel's on its behalf.
    pub cpu_s: f64,
    /// The most memory it had at once.
    pub peak_mib: f64,
    /// The memory it has.
    pub resident_mib: f64,
    /// Bytes that it caused to be written to the disk.
    pub written: u64,
    /// Flushes of the disk, whoever caused them.
    pub flushes: u64,
}

/// The disk that a folder lies on.
pub struct Disk {
    statistics: PathBuf,
}

impl Disk {
    /// The disk of this folder.
    pub fn of(folder: &Path) -> anyhow::Result<Disk> {
        let device = std::fs::metadata(folder)?.dev();
        let major = ((device >> 32) & 0xffff_f000) | ((device >> 8) & 0xfff);
        let minor = ((device >> 12) & 0xffff_ff00) | (device & 0xff);
        Ok(Disk { statistics: format!("/sys/dev/block/{major}:{minor}/stat").into() })
    }

    /// How often it was flushed since the machine was started; nothing on what is no disk.
    fn flushes(&self) -> anyhow::Result<u64> {
        let Ok(text) = std::fs::read_to_string(&self.statistics) else { return Ok(0) };
        text.split_whitespace().nth(15).map_or(Ok(0), |field| Ok(field.parse()?))
    }
}

fn number_after(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("the kernel tells {name}"))?;
    Ok(line.split_whitespace().nth(1).context("a number follows")?.parse()?)
}

/// The server under test.
#[derive(Clone, Debug)]
pub struct Amends {
    /// Its program.
    pub binary: PathBuf,
}

impl Amends {
    /// Starts it on the store in this folder, and says how long it took until it was ready.
    pub fn start(&self, folder: &Path, services: SocketAddr) -> anyhow::Result<(Program, Duration)> {
        let address = free_address()?;
        std::fs::create_dir_all(folder.join("sagas"))?;
        std::fs::write(folder.join("sagas/bench.yaml"), DEFINITION)?;
        std::fs::write(folder.join("sagas/sleeper.yaml"), SLEEPER)?;
        std::fs::write(folder.join("amends.toml"), configuration(address, services))?;
        let began = Instant::now();
        let child = Command::new(&self.binary)
            .args(["serve", "--config"])
            .arg(folder.join("amends.toml"))
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

/// Limits that no load here reaches: what is measured is the server and not its patience.
fn configuration(address: SocketAddr, services: SocketAddr) -> String {
    let mut text = format!(
        "listen = \"{address}\"\nstore = \"sqlite:amends.db\"\ndefinitions = \"sagas\"\n\
         [log]\nlevel = \"warn\"\n[compensations]\nper_second = 100000\n[limits]\nlive_sagas = 1000000\n"
    );
    for participant in PARTICIPANTS {
        write!(text, "[participants.{participant}]\nurl = \"http://{services}\"\nin_flight = 256\n").expect("text");
        writeln!(text, "compensations.in_flight = 64").expect("text");
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
