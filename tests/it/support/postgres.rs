//! A real PostgreSQL from Debian's package. `test/servers` starts it as the user nobody on a free port.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use x_msrv_net::{address::HostPort, secret::Secret};
use x_msrv_postgres::{Exists, Settings};

use super::{PATIENCE, program::kill, project, wait_until};

/// Options of a server whose data need not survive a crash of the machine.
const FAST: [&str; 4] = ["-c", "fsync=off", "-c", "max_connections=200"];

/// A server with a private data folder. It stops with this handle, or with the process: `test/servers` stops
/// it when its standard input is closed.
#[derive(Debug)]
pub(crate) struct Postgres {
    guard: Child,
    options: Vec<String>,
    folder: TempDir,
    pub(crate) address: HostPort,
}

impl Postgres {
    /// The server that all tests share that do not change it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::with(&[]))
    }

    /// A private server with further options.
    pub(crate) fn with(options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let options: Vec<_> = FAST.iter().chain(options).map(ToString::to_string).collect();
        let (guard, address) = start(&folder, &options, &[]);
        Self { guard, options, folder, address }
    }

    /// A hot standby that follows another server.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        let folder = TempDir::new().expect("a folder");
        let options: Vec<_> = FAST.iter().map(ToString::to_string).collect();
        let of = ("POSTGRES_PRIMARY", primary.address.to_string());
        let (guard, address) = start(&folder, &options, &[of]);
        Self { guard, options, folder, address }
    }

    /// Its folder, for files that the server reads; the files must be readable for all users.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.folder.path().join("pids")).expect("its pid").trim().to_owned()
    }

    /// Kills it with SIGKILL, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        let pid = self.pid();
        kill(&pid, "KILL");
        drop(self.guard.stdin.take());
        self.guard.wait().expect("the guard ends");
        wait_until("its processes end", || !is_used(&self.folder));
    }

    /// Freezes it and all of its processes.
    pub(crate) fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Resumes it.
    pub(crate) fn thaw(&self) {
        self.signal_all("CONT");
    }

    /// Signals the postmaster first: then no process of its comes or goes but those that end just now.
    fn signal_all(&self, name: &str) {
        let pid = self.pid();
        kill(&pid, name);
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
        for child in children.split_whitespace() {
            drop(Command::new("kill").args(["-s", name, child]).stderr(Stdio::null()).status());
        }
    }

    /// Starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        (self.guard, self.address) =
            start(&self.folder, &self.options, &[("POSTGRES_PORT", self.address.port.to_string())]);
    }

    /// Runs statements as the superuser; returns the text of each row's columns.
    pub(crate) async fn sql(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        self.sql_in("postgres", statements).await
    }

    /// The same in another database.
    pub(crate) async fn sql_in(&self, database: &str, statements: &str) -> Vec<Vec<Option<String>>> {
        let session = self.session_in(database).await;
        session.run(statements).await
    }

    /// Opens a lasting session of the superuser.
    pub(crate) async fn session(&self) -> Session {
        self.session_in("postgres").await
    }

    async fn session_in(&self, database: &str) -> Session {
        let mut config = tokio_postgres::Config::new();
        config.host(&self.address.host).port(self.address.port).dbname(database);
        config.user("postgres").password("postgres").connect_timeout(PATIENCE);
        let (client, connection) = config.connect(NoTls).await.expect("the server answers");
        tokio::spawn(async move { connection.await.ok() }); // the test decides when a session ends
        Session(client)
    }

    /// Creates a new schema; returns its name and settings for a table `t` in it. The table does not exist
    /// yet.
    pub(crate) async fn schema(&self) -> (String, Settings) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let schema = format!("s{}", NUMBER.fetch_add(1, Relaxed));
        self.sql(&format!("CREATE SCHEMA {schema}")).await;
        let settings = Settings {
            hosts: vec![self.address.clone()],
            database: "postgres".to_owned(),
            user: "postgres".to_owned(),
            password: Some(Secret::Text("postgres".to_owned())),
            table: format!("{schema}.t").parse().expect("a name"),
            columns: None,
            exists: Exists::Replace,
            timeout: PATIENCE,
            connect_timeout: PATIENCE,
            tls: None,
        };
        (schema, settings)
    }

    /// The same with a table of the default shape.
    pub(crate) async fn table(&self) -> (String, Settings) {
        let (schema, settings) = self.schema().await;
        self.sql(&format!("CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb NOT NULL)")).await;
        (schema, settings)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test that failed may have left it frozen, and then it would never end.
        if let Ok(pid) = fs::read_to_string(self.folder.path().join("pids")) {
            drop(Command::new("kill").args(["-s", "CONT", pid.trim()]).stderr(Stdio::null()).status());
        }
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

/// A pgbouncer in front of a server. It pools transactions unless its settings say otherwise.
#[derive(Debug)]
pub(crate) struct Pgbouncer {
    guard: Child,
    _folder: TempDir,
    pub(crate) address: HostPort,
}

impl Pgbouncer {
    /// One with further settings, as `NAME=VALUE`.
    pub(crate) fn before(server: &Postgres, settings: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut command = Command::new(project().join("test/servers"));
        command.arg("pgbouncer").arg(folder.path()).arg(server.address.to_string()).args(settings);
        let (guard, address) = guarded(command, "PGBOUNCER=");
        Self { guard, _folder: folder, address }
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

/// A connection of the test itself.
pub(crate) struct Session(tokio_postgres::Client);

impl Session {
    pub(crate) async fn run(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        let messages = self.0.simple_query(statements).await.expect(statements);
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    }
}

/// Returns whether a process that was started there still runs there.
fn is_used(folder: &TempDir) -> bool {
    let data = folder.path().join("data");
    let processes = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    processes.filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok()).any(|cwd| cwd == data)
}

fn start(folder: &TempDir, options: &[String], environment: &[(&str, String)]) -> (Child, HostPort) {
    fs::remove_file(folder.path().join("pids")).ok();
    let mut command = Command::new(project().join("test/servers"));
    command.arg("postgres").arg(folder.path()).args(options).envs(environment.iter().cloned());
    guarded(command, "POSTGRES=")
}

/// Starts a server that prints its address after `name`, and stops when its standard input is closed.
fn guarded(mut command: Command, name: &str) -> (Child, HostPort) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut guard = command.spawn().expect("test/servers runs");
    let mut line = String::new();
    BufReader::new(guard.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix(name).unwrap_or_else(|| panic!("the server starts: {line}"));
    (guard, address.parse().expect("an address"))
}
