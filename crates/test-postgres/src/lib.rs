//! A PostgreSQL of one's own, in a temporary folder, for tests and measurements.
//!
//! It runs the programs that the system's packages bring, as a child that ends with its [`Server`]. It listens on a free
//! port of the loopback and nowhere else. PostgreSQL refuses to run as root; where this process is root, it runs as the user
//! that the packages made for it.

mod pooler;

pub use pooler::{Pooler, has_pooler};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where tests find a server that somebody has started for all of them.
pub const VARIABLE: &str = "TEST_POSTGRES";

const USER: &str = "amends";
const SYSTEM_USER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What a crash of the machine may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed. It is what a measurement and a test of crashes need.
    Full,
    /// Everything: for tests that only ask what a server answers.
    None,
}

/// How a server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its clients are cut off, and it writes down what it knows.
    Fast,
    /// At once, as in a crash: it recovers from its log when it is started again.
    Immediate,
}

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    // The child goes before the folder that it works in.
    process: Option<Child>,
    programs: Programs,
    folder: TempDir,
    port: u16,
}

/// The installed programs, and who runs them.
#[derive(Clone, Debug)]
struct Programs {
    folder: PathBuf,
    run_as: Option<&'static str>,
}

impl Server {
    /// Makes a new, empty server and starts it.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed or does not start; its own words are in the error.
    pub fn start(durability: Durability) -> io::Result<Server> {
        let programs = Programs::find()?;
        let folder = programs.folder_of_its_own()?;
        let data = folder.path().join("data");
        let mut initialise = programs.command("initdb");
        initialise.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale", "--username", USER]);
        finish(initialise.arg("--pgdata").arg(&data), "initdb")?;
        let settings = match durability {
            Durability::Full => "",
            Durability::None => "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n",
        };
        let common = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 300\n\
                      shared_buffers = 256MB\nwal_level = replica\nmax_wal_size = 4GB\nlog_min_messages = fatal\n";
        let path = data.join("postgresql.conf");
        let written = fs::read_to_string(&path)?;
        fs::write(&path, format!("{written}\n{common}{settings}"))?;
        let mut server = Server { process: None, programs, folder, port: free_port()? };
        server.start_again()?;
        Ok(server)
    }

    /// Starts a server that was stopped, at the same address.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_again(&mut self) -> io::Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let process = self.process.insert(process);
        let began = Instant::now();
        loop {
            if let Some(status) = process.try_wait()? {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("postgres ended with {status}:\n{log}")));
            }
            let mut asked = self.programs.command("pg_isready");
            asked.args(["--quiet", "--host", "127.0.0.1", "--port", &self.port.to_string()]);
            if asked.status()?.success() {
                return Ok(());
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(io::Error::other(format!("postgres does not accept connections after {START_TIMEOUT:?}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server and waits until it has ended.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn stop(&mut self, how: Stop) -> io::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let signal = match how {
            Stop::Fast => "-INT",
            Stop::Immediate => "-QUIT",
        };
        Command::new("kill").args([signal, &process.id().to_string()]).status()?;
        process.wait()?;
        Ok(())
    }

    /// Makes a copy of this server that follows what it writes, takes reads, and takes writes once it is promoted.
    ///
    /// # Errors
    /// Where the copy cannot be made or does not start.
    pub fn standby(&self) -> io::Result<Server> {
        let folder = self.programs.folder_of_its_own()?;
        let mut copy = self.programs.command("pg_basebackup");
        copy.args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--username", USER, "--no-sync"]);
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--pgdata"]).arg(folder.path().join("data"));
        finish(&mut copy, "pg_basebackup")?;
        let mut standby = Server { process: None, programs: self.programs.clone(), folder, port: free_port()? };
        standby.start_again()?;
        Ok(standby)
    }

    /// Has every commit wait until a standby has it too.
    ///
    /// # Errors
    /// Where the server cannot be told, or there is no standby.
    pub fn wait_for_standby(&self) -> io::Result<()> {
        self.set("synchronous_standby_names", "*")?;
        self.wait_until("EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync')")
    }

    /// Has commits wait for no standby any more.
    ///
    /// # Errors
    /// Where the server cannot be told.
    pub fn wait_for_nobody(&self) -> io::Result<()> {
        self.set("synchronous_standby_names", "")
    }

    /// Has a standby follow its primary no longer.
    ///
    /// # Errors
    /// Where the server cannot be told, or goes on following.
    pub fn stop_following(&self) -> io::Result<()> {
        self.set("primary_conninfo", "")?;
        self.wait_until("NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)")
    }

    /// Has a standby take writes, and waits until it does.
    ///
    /// # Errors
    /// Where it is none, or does not come to it.
    pub fn promote(&self) -> io::Result<()> {
        let mut promote = self.programs.command("pg_ctl");
        finish(promote.args(["promote", "--wait", "--pgdata"]).arg(self.data()), "pg_ctl")
    }

    /// Starts a server that was stopped at the address of another one that is.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_in_place_of(&mut self, other: &Server) -> io::Result<()> {
        self.port = other.port;
        self.start_again()
    }

    /// Changes a setting while it runs.
    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        let url = self.url("postgres");
        execute(&url, &format!("ALTER SYSTEM SET {name} = '{value}'"))?;
        execute(&url, "SELECT pg_reload_conf()")
    }

    /// Waits for what follows from a setting, which it does some time after the server was told.
    fn wait_until(&self, condition: &str) -> io::Result<()> {
        let wait = format!(
            "DO $$ BEGIN
                FOR round IN 1..1000 LOOP EXIT WHEN {condition}; PERFORM pg_sleep(0.02); END LOOP;
                ASSERT {condition}, 'it does not come about';
            END $$"
        );
        execute(&self.url("postgres"), &wait)
    }

    /// The address of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Has it take TLS connections, and nothing else, with a certificate of its own for `localhost`. Returns where that lies.
    ///
    /// # Errors
    /// Where the certificate cannot be made or the server does not start with it.
    pub fn require_tls(&mut self) -> io::Result<PathBuf> {
        self.stop(Stop::Fast)?;
        let (certificate, key) = (self.data().join("server.crt"), self.data().join("server.key"));
        let mut openssl = self.programs.run("/usr/bin/openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        finish(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate), "openssl")?;
        let settings = self.data().join("postgresql.conf");
        let written = fs::read_to_string(&settings)?;
        fs::write(&settings, format!("{written}\nssl = on\n"))?;
        fs::write(self.data().join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n")?;
        self.start_again()?;
        // The server's folder is its own; whoever connects must be able to read the certificate.
        let copy = self.folder.path().join("server.crt");
        fs::copy(certificate, &copy)?;
        Ok(copy)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, for a test that ends, stops or measures it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Makes a new database and returns its address.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create_database(&self) -> io::Result<String> {
        create_database(&self.url("postgres"))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing in it is to be kept.
        let _ = self.stop(Stop::Immediate);
    }
}

/// Whether the packages that it needs are installed.
#[must_use]
pub fn is_installed() -> bool {
    Programs::find().is_ok()
}

/// A new database on the server that all tests share: the one that [`VARIABLE`] names, or one that this process starts.
///
/// # Panics
/// Where there is none and none can be started.
#[must_use]
pub fn database() -> String {
    static OWN: OnceLock<Server> = OnceLock::new();
    let address = std::env::var(VARIABLE).unwrap_or_else(|_| {
        let server = OWN.get_or_init(|| {
            let server = Server::start(Durability::None).expect("PostgreSQL is installed and starts");
            end_with_this_process(&server);
            server
        });
        server.url("postgres")
    });
    create_database(&address).expect("a database can be made")
}

/// A static is never dropped, so a shell waits for the end of this process and then ends the server.
fn end_with_this_process(server: &Server) {
    let (Some(postgres), folder) = (server.pid(), server.folder.path().display()) else { return };
    let script = format!(
        "while kill -0 {} 2>/dev/null; do sleep 0.2; done; kill -QUIT {postgres}; rm -rf '{folder}'",
        std::process::id()
    );
    let mut watcher = Command::new("setsid");
    // It forks, so that what waits is no child of this process.
    watcher.args(["--fork", "sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    watcher.status().expect("a shell can be started");
}

/// Runs SQL in a database.
///
/// # Errors
/// Where it fails; the database's words are in the error.
pub fn execute(address: &str, statement: &str) -> io::Result<()> {
    let mut psql = Programs::find()?.command("psql");
    finish(psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement, address]), "psql")
}

/// Makes a new database on the server at `address` and returns its address.
///
/// # Errors
/// Where it cannot be made.
pub fn create_database(address: &str) -> io::Result<String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    execute(address, &format!("CREATE DATABASE {name}"))?;
    let (server, _) = address.rsplit_once('/').ok_or_else(|| io::Error::other("the address names no database"))?;
    Ok(format!("{server}/{name}"))
}

impl Programs {
    /// The newest version that the packages have installed.
    fn find() -> io::Result<Programs> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders = versions.map(|entry| entry.path().join("bin")).filter(|folder| folder.join("postgres").exists());
        let newest = folders.max_by_key(|folder| version(folder));
        let folder = newest.ok_or_else(|| io::Error::other("PostgreSQL is not installed (package postgresql)"))?;
        let is_root = fs::metadata("/proc/self")?.uid() == 0;
        Ok(Programs { folder, run_as: is_root.then_some(SYSTEM_USER) })
    }

    fn command(&self, program: &str) -> Command {
        self.run(self.folder.join(program))
    }

    fn run(&self, path: impl AsRef<Path>) -> Command {
        let path = path.as_ref();
        let mut command = match self.run_as {
            None => Command::new(path),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups").arg(path);
                command
            }
        };
        // Its working directory must be one that the user can enter.
        command.current_dir("/").env("LC_ALL", "C");
        command
    }

    /// A new folder that belongs to whoever runs the server.
    fn folder_of_its_own(&self) -> io::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("amends-postgres-").tempdir()?;
        if let Some(user) = self.run_as {
            let ask = |what: &str| -> io::Result<u32> {
                let output = Command::new("id").args([what, user]).output()?;
                let text = String::from_utf8_lossy(&output.stdout);
                text.trim().parse().map_err(|_| io::Error::other(format!("there is no user {user}")))
            };
            chown(folder.path(), Some(ask("-u")?), Some(ask("-g")?))?;
        }
        Ok(folder)
    }
}

fn version(folder: &Path) -> u32 {
    let name = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or_default()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn finish(command: &mut Command, name: &str) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{name} ended with {}: {said}", output.status)))
}
