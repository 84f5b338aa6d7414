//! Measures what sagas at rest cost: starts many that sleep, and looks at the server's memory and at how long it
//! takes to start again after `kill -9`.
//!
//! `cargo build --release -p amends && cargo run --release -p amends --example sleepers -- 100000`

use amends_client::{Client, StartOptions};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const DEFINITION: &str = "saga: sleeper\nkey: '{{ input.id }}'\nsteps:\n  sleep: { sleep: 24h }\n";
/// Requests in flight at once.
const CALLERS: usize = 64;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let count: usize = std::env::args().nth(1).unwrap_or_else(|| "100000".into()).parse().context("how many sagas?")?;
    let folder = tempfile::tempdir()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let client = Client::new(&format!("http://127.0.0.1:{port}"))?;

    let (mut server, first_start) = serve(folder.path(), port, &client).await?;
    let empty = resident_mib(&server)?;
    client.put_definition("sleeper", DEFINITION).await?;
    let began = Instant::now();
    start_all(&client, count).await?;
    let starting = began.elapsed();
    let full = resident_mib(&server)?;
    server.kill()?;
    server.wait()?;

    let (mut server, second_start) = serve(folder.path(), port, &client).await?;
    let restarted = resident_mib(&server)?;
    let statistics = client.statistics().await?;
    server.kill()?;
    server.wait()?;
    if statistics.in_flight != count as u64 || statistics.orphans != 0 {
        bail!("{count} sagas should sleep: {statistics:?}");
    }
    let store_mib = std::fs::metadata(folder.path().join("amends.db"))?.len() / (1 << 20);
    println!("sagas asleep                       {count}");
    println!("started per second                 {:.0}", count as f64 / starting.as_secs_f64());
    println!("memory, empty / all asleep / after the restart   {empty} / {full} / {restarted} MiB");
    println!("ready after, first start / restart {first_start:?} / {second_start:?}");
    println!("the store                          {store_mib} MiB");
    Ok(())
}

/// Starts the server that was built beside this program, and waits until it is ready.
async fn serve(folder: &Path, port: u16, client: &Client) -> anyhow::Result<(Child, Duration)> {
    let beside: PathBuf = std::env::current_exe()?.ancestors().nth(2).context("it lies in target/…/examples")?.into();
    let began = Instant::now();
    let server = Command::new(beside.join("amends"))
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--store"])
        .arg(format!("sqlite:{}", folder.join("amends.db").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("build the server first: cargo build --release -p amends")?;
    while !client.is_ready().await {
        if began.elapsed() > Duration::from_secs(60) {
            bail!("the server is not ready after a minute");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok((server, began.elapsed()))
}

async fn start_all(client: &Client, count: usize) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let callers = (0..CALLERS).map(|_| {
        let (client, next) = (client.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, amends_client::Error>(());
                }
                let input = serde_json::json!({ "id": format!("sleeper-{number}") });
                client.start("sleeper", &input, StartOptions::default()).await?;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

fn resident_mib(server: &Child) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("the kernel tells the memory")?;
    let kib: u64 = line.split_whitespace().nth(1).context("in KiB")?.parse()?;
    Ok(kib / 1024)
}
