//! The processes that the demo starts, and their end.
//!
//! Each child holds the reading end of a pipe whose writing end only this process has: however this process ends,
//! the pipe closes, and the child, told `--exit-with-parent`, ends too. Each is its own process group, so that a
//! Ctrl-C in the terminal reaches this process alone, which then ends the children in its own order.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// What a child prints before its address once it takes requests.
const READY: &str = "listening on ";
/// How long a child may take until it takes requests: a slow disk under load included.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the children get to end by themselves once their pipes are closed.
const END_GRACE: Duration = Duration::from_secs(8);
/// How much of a log is shown when its child has ended.
const LOG_LINES: usize = 12;

/// The children that were started.
pub(super) struct Children {
    program: PathBuf,
    logs: PathBuf,
    running: Vec<Running>,
    report: mpsc::UnboundedSender<Ended>,
    reports: mpsc::UnboundedReceiver<Ended>,
}

/// How to start a child.
pub(super) struct Start {
    /// What people call it.
    pub(super) title: String,
    /// The file that its log goes to.
    pub(super) log: String,
    /// Its command line.
    pub(super) arguments: Vec<OsString>,
}

/// A child that has ended while it was needed.
#[derive(Debug)]
pub(super) struct Ended {
    title: String,
    status: String,
    log: PathBuf,
}

struct Running {
    stdin: ChildStdin,
    kill: oneshot::Sender<()>,
    watch: JoinHandle<()>,
}

impl Children {
    /// No children yet; each will be this same program, and its log will be a file in the directory `logs`.
    pub(super) fn new(logs: &Path) -> Result<Children> {
        let program = std::env::current_exe().context("the path of this program cannot be found out")?;
        let (report, reports) = mpsc::unbounded_channel();
        Ok(Children { program, logs: logs.to_owned(), running: Vec::new(), report, reports })
    }

    /// Starts a child and waits until it takes requests. The answer is its address.
    pub(super) async fn start(&mut self, Start { title, log, arguments }: Start) -> Result<String> {
        let log = self.logs.join(log);
        let stderr = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let spawned = self.command(&arguments, stderr).spawn();
        let mut child = spawned.with_context(|| format!("{title} cannot be started"))?;
        let stdin = child.stdin.take().expect("its standard input is a pipe");
        let mut stdout = BufReader::new(child.stdout.take().expect("its standard output is a pipe")).lines();
        let (kill, killed) = oneshot::channel();
        let ended = Ended { title: title.clone(), status: String::new(), log };
        let watch = tokio::spawn(watch(child, killed, ended, self.report.clone()));
        self.running.push(Running { stdin, kill, watch });
        let address = self.ready(&title, &mut stdout).await?;
        tokio::spawn(drain(stdout));
        Ok(address)
    }

    /// Waits until a child has ended, which none should while it is needed.
    pub(super) async fn first_end(&mut self) -> Ended {
        self.reports.recv().await.expect("this very value holds a sender")
    }

    /// Ends all of them: asks first, and kills those that take too long.
    pub(super) async fn end(self) {
        let (asked, killers): (Vec<_>, Vec<_>) =
            self.running.into_iter().map(|Running { stdin, kill, watch }| (stdin, (kill, watch))).unzip();
        drop(asked);
        let deadline = Instant::now() + END_GRACE;
        for (kill, mut watch) in killers {
            if timeout_at(deadline, &mut watch).await.is_err() {
                // A watch that has just finished does not listen any more, and need not.
                let _ = kill.send(());
                let _ = watch.await;
            }
        }
    }

    fn command(&self, arguments: &[OsString], stderr: File) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--exit-with-parent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        command.kill_on_drop(true);
        // Their logs go to files, and from there perhaps into a message.
        command.env("NO_COLOR", "1");
        #[cfg(unix)]
        command.process_group(0);
        // Settings of a server that the caller has elsewhere must not reach the demo's.
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AMENDS_")) {
            command.env_remove(variable);
        }
        command
    }

    async fn ready(&mut self, title: &str, stdout: &mut Lines<BufReader<ChildStdout>>) -> Result<String> {
        match timeout(START_TIMEOUT, address(stdout)).await {
            Ok(Ok(Some(address))) => Ok(address),
            Ok(Ok(None) | Err(_)) => Err(self.first_end().await.into()),
            Err(_) => bail!("{title} did not take requests within {} s", START_TIMEOUT.as_secs()),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ended while it was needed ({})", self.title, self.status)?;
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        if lines.is_empty() {
            return write!(f, "Its log, {}, is empty.", name(&self.log));
        }
        write!(f, "Its log, {}, ends:", name(&self.log))?;
        lines[lines.len().saturating_sub(LOG_LINES)..].iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for Ended {}

/// A file's own name: the directory is the same for all of them, and told elsewhere.
fn name(file: &Path) -> std::path::Display<'_> {
    Path::new(file.file_name().unwrap_or_default()).display()
}

/// The address in the line that says that the child is ready; `None` where its output ends without one.
async fn address(stdout: &mut Lines<BufReader<ChildStdout>>) -> std::io::Result<Option<String>> {
    while let Some(line) = stdout.next_line().await? {
        if let Some((_, address)) = line.split_once(READY) {
            return Ok(Some(address.trim().trim_end_matches('/').to_owned()));
        }
    }
    Ok(None)
}

/// Waits for the child's end, and brings it about when told to.
async fn watch(
    mut child: Child,
    killed: oneshot::Receiver<()>,
    mut ended: Ended,
    report: mpsc::UnboundedSender<Ended>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = killed => match child.start_kill() {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    ended.status = described(status);
    // Nobody listens where the demo itself is ending.
    let _ = report.send(ended);
}

fn described(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("its status cannot be known: {error}"),
    }
}

/// Reads on, so that a child never waits for someone to read what it prints.
async fn drain(mut stdout: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = stdout.next_line().await {}
}
