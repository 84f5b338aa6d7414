//! The real program as a child process, and ports that it can come back to.

#![cfg(test)]

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// How long a child may take to start, or to end once it is to end, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `amends`. It is killed when this is dropped, and ends by itself where that could not happen.
pub struct Program {
    child: Child,
    /// The end of this pipe is what tells it that its parent has gone.
    _stdin: ChildStdin,
    pub address: SocketAddr,
    log: PathBuf,
}

/// How to start `amends`.
pub struct Launch<'a> {
    pub arguments: &'a [OsString],
    /// What it writes to standard error is appended to this file.
    pub log: &'a Path,
    pub failpoints: Option<&'a str>,
    /// A program that becomes `amends`, or watches it, with its arguments; none as a rule.
    pub within: &'a [OsString],
}

impl Launch<'_> {
    /// Starts it and waits until it takes requests. The error is how it ended before it did.
    pub async fn start(self) -> Result<Program, ExitStatus> {
        let Launch { arguments, log, failpoints, within } = self;
        let stderr = File::options().append(true).create(true).open(log).unwrap();
        let mut command = command(within, arguments);
        command.envs(failpoints.map(|failpoints| (amends_failpoints::VARIABLE, failpoints)));
        command.arg("--exit-with-parent").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        // Waiting for a child closes its standard input unless that is taken away first.
        let stdin = child.stdin.take().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("the program starts in time").unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let Some(address) = address else {
            assert_eq!(line, "", "no address; its log:\n{}", read(log));
            return Err(timeout(PATIENCE, child.wait()).await.expect("it ends in time").unwrap());
        };
        // Nobody writes to a pipe that nobody reads: what else it prints goes nowhere.
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        Ok(Program { child, _stdin: stdin, address, log: log.to_owned() })
    }
}

impl Program {
    /// Starts `amends` with these arguments, its log appended to `log`, and waits until it takes requests.
    pub async fn start(arguments: &[OsString], log: &Path) -> Program {
        let started = Launch { arguments, log, failpoints: None, within: &[] }.start().await;
        started.unwrap_or_else(|status| panic!("it does not start ({status}); its log:\n{}", read(log)))
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("nobody has waited for it")
    }

    /// Kills it as `kill -9` does.
    pub async fn kill(mut self) -> ExitStatus {
        self.child.start_kill().unwrap();
        self.ended().await
    }

    /// Asks it to stop, as an init system does.
    pub async fn terminate(mut self) -> ExitStatus {
        let asked = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().await.unwrap();
        assert!(asked.success());
        self.ended().await
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end; its log:\n{}", read(&self.log))).unwrap()
    }
}

/// Runs `amends` to its end: whether that was good, and what it wrote to standard error.
pub async fn run(arguments: &[OsString]) -> (bool, String) {
    let output = timeout(PATIENCE, command(&[], arguments).output()).await.expect("the program ends in time").unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What a child wrote to its log.
pub fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

/// A port that is free now and that nobody is given by chance: it lies below those that the system hands out. A
/// process that comes back finds it free, and a client that dials it meanwhile is not connected to itself.
pub fn lasting_address() -> SocketAddr {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = fastrand::Rng::with_seed(u64::from(now.subsec_nanos()) << 32 | u64::from(std::process::id()));
    let addresses = std::iter::repeat_with(|| SocketAddr::from((Ipv4Addr::LOCALHOST, random.u16(12_000..30_000))));
    addresses.take(1_000).find(|address| TcpListener::bind(address).is_ok()).expect("one of many ports is free")
}

fn command(within: &[OsString], arguments: &[OsString]) -> Command {
    let amends = OsString::from(env!("CARGO_BIN_EXE_amends"));
    let mut words = within.iter().chain([&amends]).chain(arguments);
    let mut command = Command::new(words.next().expect("the program is one of them"));
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    // Settings of a server that the caller has elsewhere must not reach this one.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AMENDS_")) {
        command.env_remove(variable);
    }
    command
}
