//! A PgBouncer in front of a server, in the mode that lends a connection for one transaction at a time.

use super::{Programs, Server, USER, free_port};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A running pooler. It ends when this is dropped.
#[derive(Debug)]
pub struct Pooler {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Pooler {
    /// Starts it in front of a server, with so many connections to each database.
    ///
    /// # Errors
    /// Where it is not installed or does not start.
    pub fn start(server: &Server, connections: usize) -> io::Result<Pooler> {
        let programs = Programs::find()?;
        let folder = programs.folder_of_its_own()?;
        let port = free_port()?;
        // Nobody is asked who he is: everybody is the user that the line of the databases names.
        let settings = format!(
            "[databases]\n* = user={USER} host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 500\n",
            server.port()
        );
        let path = folder.path().join("pgbouncer.ini");
        fs::write(&path, settings)?;
        let mut command = programs.run(PROGRAM);
        let log = fs::File::create(folder.path().join("log"))?;
        let process = command.arg(&path).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut pooler = Pooler { process, folder, port };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = pooler.process.try_wait()? {
                let log = fs::read_to_string(pooler.folder.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("pgbouncer ended with {status}:\n{log}")));
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(io::Error::other("pgbouncer does not accept connections"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(pooler)
    }

    /// The address of a database of the server, through the pooler.
    #[must_use]
    pub fn url(&self, server: &Server, database: &str) -> String {
        database.replace(&format!(":{}/", server.port()), &format!(":{}/", self.port))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether it is installed.
#[must_use]
pub fn has_pooler() -> bool {
    fs::metadata(PROGRAM).is_ok()
}
