//! The SQS that tests need: LocalStack's, pinned, on a free port of the loopback.
//!
//! It is installed from `crates/amends-sqs/tests/emulator/requirements.txt`, started by `start.py` beside that, and ends with its
//! [`Emulator`]. Its queues are in memory, so nothing is left of them.

use crate::python;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Where tests find the address of the one that somebody has started for all of them.
pub const VARIABLE: &str = "TEST_SQS";

/// It takes five seconds on an idle machine, and the first time Python compiles it.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A running one. It ends when this is dropped.
pub struct Emulator {
    process: Child,
    /// The end of this pipe is what tells it that its parent has gone.
    _stdin: Option<ChildStdin>,
    pub url: String,
}

impl Emulator {
    /// Installs it, unless it is there, and starts it.
    pub fn start(workspace: &Workspace) -> Result<Emulator> {
        let own = workspace.root.join("crates/amends-sqs/tests/emulator");
        let programs = python::install(workspace, "localstack", &own.join("requirements.txt"))?;
        let place = workspace.target.join("localstack");
        std::fs::create_dir_all(&place)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let log = place.join("log");
        let mut command = Command::new(programs.join("python"));
        command.arg(own.join("start.py")).arg(port.to_string()).current_dir(&place);
        // Whatever it writes down is thrown away with the target directory.
        command.env("HOME", &place).env("FILESYSTEM_ROOT", place.join("files"));
        command.stdin(Stdio::piped()).stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let mut process = command.spawn().context("LocalStack cannot be started")?;
        // Waiting for a child closes its standard input unless that is taken away first.
        let stdin = process.stdin.take();
        // It is owned from here on, so that it ends whatever comes.
        let mut emulator = Emulator { process, _stdin: stdin, url: format!("http://127.0.0.1:{port}") };
        emulator.wait(port, &log)?;
        Ok(emulator)
    }

    /// Waits until it says that it is ready: it takes connections a little before.
    fn wait(&mut self, port: u16, log: &Path) -> Result<()> {
        let began = Instant::now();
        loop {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            if is_ready(&said) && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("LocalStack ended with {status}:\n{said}");
            }
            if began.elapsed() > START_TIMEOUT {
                bail!("LocalStack is not ready after {START_TIMEOUT:?}:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing in it is to be kept.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The task: one for whoever runs tests by hand.
pub fn run(workspace: &Workspace) -> Result<()> {
    let mut emulator = Emulator::start(workspace)?;
    println!("export {VARIABLE}={}", emulator.url);
    let status = emulator.process.wait()?;
    bail!("LocalStack ended with {status}");
}

fn is_ready(said: &str) -> bool {
    said.lines().any(|line| line == "Ready.")
}

#[cfg(test)]
mod tests;
