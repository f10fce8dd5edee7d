//! The file: opening it, its versions, and what is read from and written to it.

use std::{
    error::Error,
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use log::debug;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, config::DbConfig,
};
use x_msrv_core::servers::Servers;
use x_msrv_state::{sqlite, state_file};

use crate::{
    KnownServer, Run, Settings, Unrecorded, mark,
    rows::{count, insert, millis, remove, time},
    servers, totals,
};

/// How long to wait for another process's write, which takes a few milliseconds at most.
const BUSY_BOUND: Duration = Duration::from_millis(250);

/// The size of a page in bytes. A run changes two or three pages, and each is written to the write-ahead log
/// as a whole.
const PAGE: u32 = 1024;

/// The size of the write-ahead log in bytes above which it is written into the file, which waits for the
/// disk: about every fortieth run. A longer log slows down every run, because each one reads it.
const LOG: u64 = 100 << 10;

/// The statements that upgrade the tables to each version from the one before; the file's `user_version` is
/// its version.
const VERSIONS: [&str; 3] = [FIRST, servers::SCHEMA, MORE_COUNTERS];

const FIRST: &str = "
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        started_at INTEGER NOT NULL,            -- milliseconds since the epoch
        elapsed INTEGER NOT NULL,               -- microseconds
        exit_code INTEGER NOT NULL,
        stop_reason TEXT NOT NULL,
        received INTEGER NOT NULL,
        stored INTEGER NOT NULL,
        duplicate INTEGER NOT NULL,
        rejected INTEGER NOT NULL,
        requeued INTEGER NOT NULL,
        dead_lettered INTEGER NOT NULL,
        deferred INTEGER NOT NULL,
        unconfirmed INTEGER NOT NULL,
        received_bytes INTEGER NOT NULL,
        depth_before INTEGER,                   -- null if unknown
        depth_after INTEGER,
        error TEXT
    ) STRICT;
    CREATE TABLE rejects (                      -- by reason, for runs with rejected messages
        run INTEGER NOT NULL,
        reason TEXT NOT NULL,
        messages INTEGER NOT NULL,
        detail TEXT NOT NULL,                   -- of the last such message
        PRIMARY KEY (run, reason)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE totals (                       -- of all runs since the machine was booted, including deleted ones
        name TEXT NOT NULL,
        label TEXT NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (name, label)
    ) STRICT, WITHOUT ROWID;
";

const MORE_COUNTERS: &str = "
    ALTER TABLE runs ADD COLUMN given_up INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
";

/// An error of the history file, of any kind.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// The open history file.
pub struct History {
    pub(crate) connection: Connection,
    /// The version of its tables: a reader sees those of an earlier version until a run has upgraded them.
    pub(crate) version: usize,
}

impl History {
    /// Opens or creates the file for appending.
    ///
    /// # Errors
    /// It cannot be opened or created, is not a history, or has a newer version than this program knows.
    pub fn open(path: &Path) -> Result<Self, AnyError> {
        let connection = sqlite::open(path, Some(PAGE), BUSY_BOUND)?;
        connection.pragma_update(None, "synchronous", "normal")?;
        // Otherwise SQLite would checkpoint again in each run: it forgets its progress when a process exits.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        if version(&connection)? < VERSIONS.len() {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            let version = version(&transaction)?; // another process may have upgraded it first
            let is_new = || {
                transaction
                    .query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get::<_, bool>(0))
            };
            if version == 0 && !is_new()? {
                return Err(not_a_history());
            }
            for step in VERSIONS.iter().skip(version) {
                transaction.execute_batch(step)?;
            }
            transaction.execute_batch(&format!("PRAGMA user_version = {}", VERSIONS.len()))?;
            transaction.commit()?;
        }
        Self::of_known_version(connection)
    }

    /// Opens the file for reading; returns `None` if it does not exist.
    ///
    /// # Errors
    /// It cannot be read, is not a history, or has a newer version than this program knows.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, AnyError> {
        if !state_file::exists(path)? {
            return Ok(None);
        }
        std::fs::File::open(path)?; // reports the cause; SQLite reports only that it failed
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW,
        )?;
        connection.busy_timeout(BUSY_BOUND)?;
        Self::of_known_version(connection).map(Some)
    }

    fn of_known_version(connection: Connection) -> Result<Self, AnyError> {
        const NEWEST: usize = VERSIONS.len();
        match version(&connection)? {
            0 => Err(not_a_history()),
            version @ 1..=NEWEST => Ok(Self { connection, version }),
            newer => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its version is {newer}; this program supports versions up to {NEWEST}"),
            )
            .into()),
        }
    }

    /// Resets the totals to 0 if the machine was booted after they started. A power failure can lose the last
    /// runs. The totals would then decrease a little, and Prometheus would take that for a counter reset and
    /// count the whole value as new.
    ///
    /// # Errors
    /// The file cannot be written, or another process holds its lock for too long; nothing is changed then.
    pub fn count_since(&self, booted: SystemTime) -> rusqlite::Result<()> {
        if totals::are_of(&self.connection, booted)? {
            return Ok(());
        }
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        // Another process may have reset them first.
        if !totals::are_of(&transaction, booted)? {
            totals::begin(&transaction, booted)?;
        }
        transaction.commit()
    }

    /// Appends a row, adds it to the totals, updates the known servers if the run connected to the queue, and
    /// deletes the runs that exceed a limit. Returns the names of the known servers that the run did not reach.
    ///
    /// # Errors
    /// The file cannot be written, or another process holds its lock for too long; nothing is changed then.
    pub fn append(
        &self,
        run: &Run,
        servers: Option<&Servers>,
        settings: &Settings,
    ) -> rusqlite::Result<Vec<String>> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let unreached =
            servers.map_or(Ok(Vec::new()), |servers| servers::enter(&transaction, run.started, servers))?;
        let id = insert(&transaction, run, &unreached)?;
        totals::add(&transaction, run)?;
        remove(&transaction, id, run.started, settings)?;
        transaction.commit()?;
        let mut log = settings.path.as_os_str().to_owned();
        log.push("-wal");
        if std::fs::metadata(log).is_ok_and(|log| log.len() > LOG) {
            self.shorten_log();
        }
        Ok(unreached)
    }

    /// Writes the write-ahead log into the file. If another process is reading it, or the disk is full, a
    /// later run does this.
    fn shorten_log(&self) {
        let at_once = self.connection.busy_timeout(Duration::ZERO);
        let written = at_once
            .and_then(|()| self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        let restored = self.connection.busy_timeout(BUSY_BOUND);
        if let Err(cause) = written.and(restored) {
            debug!(cause = cause.to_string(); "the write-ahead log of the history cannot be shortened");
        }
    }

    /// Passes the totals and the servers to `act` while no other process can change them.
    ///
    /// # Errors
    /// The file cannot be read, another process holds its lock for too long, or `act` fails.
    pub(crate) fn with_totals(
        &self,
        act: impl FnOnce(&totals::Totals, &[KnownServer]) -> io::Result<()>,
    ) -> Result<(), AnyError> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        act(&totals::all(&transaction)?, &servers::all(&transaction)?)?;
        Ok(transaction.rollback()?)
    }

    /// Returns the runs that started at `since` or later, in the order in which they were recorded.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn runs(&self, since: SystemTime) -> Result<Vec<Run>, AnyError> {
        Ok(self.query("WHERE started_at >= ?1 ORDER BY id", millis(since))?)
    }

    /// Returns the same runs by their start times. The order differs if the clock was set back.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn runs_by_time(&self, since: SystemTime) -> Result<Vec<Run>, AnyError> {
        Ok(self.query("WHERE started_at >= ?1 ORDER BY started_at, id", millis(since))?)
    }

    /// Returns the last runs, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last(&self, count: u32) -> Result<Vec<Run>, AnyError> {
        let mut runs = self.query("ORDER BY id DESC LIMIT ?1", count.into())?;
        runs.reverse();
        Ok(runs)
    }

    /// Returns when the last successful run ended.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_success(&self) -> Result<Option<SystemTime>, AnyError> {
        Ok(totals::all(&self.connection)?.last_success())
    }

    /// Returns whether a run has received a message, or may have: deleted runs are unknown.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn may_have_received(&self) -> Result<bool, AnyError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE received > 0) OR (SELECT min(id) > 1 FROM runs)";
        Ok(self.connection.query_row(sql, [], |row| row.get::<_, Option<bool>>(0))?.unwrap_or_default())
    }

    /// Returns when the last recorded run started.
    pub(crate) fn last_started(&self) -> rusqlite::Result<Option<SystemTime>> {
        let sql = "SELECT started_at FROM runs ORDER BY id DESC LIMIT 1";
        self.connection.query_row(sql, [], |row| Ok(time(count(row, 0)?))).optional()
    }

    /// Returns the newest run if it has started and has no row. Call this before rows are read; otherwise a run
    /// that ends in between seems to be killed. `path` is the file's. A mark that this user cannot read shows
    /// nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn unrecorded(&self, path: &Path) -> Result<Option<Unrecorded>, AnyError> {
        let marked = mark::read(path).unwrap_or_else(|cause| {
            debug!(cause = cause.to_string(); "the mark of the newest run cannot be read");
            None
        });
        let Some(newest) = marked else { return Ok(None) };
        let sql = "SELECT EXISTS (SELECT 1 FROM (SELECT started_at FROM runs ORDER BY id DESC LIMIT 100) WHERE started_at = ?1)";
        let is_recorded: bool = self.connection.query_row(sql, [millis(newest.started)], |row| row.get(0))?;
        Ok((!is_recorded).then_some(newest))
    }

    /// Returns the known servers of the queue, by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn servers(&self) -> Result<Vec<KnownServer>, AnyError> {
        if self.version < 2 { Ok(Vec::new()) } else { Ok(servers::all(&self.connection)?) }
    }

    /// Forgets the server with this name or address until a run finds it again. Returns whether it was known.
    ///
    /// # Errors
    /// The file cannot be written, or another process holds its lock for too long.
    pub fn forget_server(&self, name: &str) -> Result<bool, AnyError> {
        Ok(servers::forget(&self.connection, name)?)
    }
}

fn not_a_history() -> AnyError {
    io::Error::new(io::ErrorKind::InvalidData, "it is a database, but not a history").into()
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX)) // a negative version is of another program
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::tests::{at, run, settings, sum};
    use tempfile::TempDir;
    use x_msrv_core::servers::Server;

    /// A run waited two seconds for the lock, as it does for files that messages depend on.
    #[test]
    fn a_locked_history_does_not_delay_a_run() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        let waits: i64 =
            history.connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).expect("a bound");
        assert_eq!(u128::from(waits.cast_unsigned()), BUSY_BOUND.as_millis());
        drop(history);
        let holder = Connection::open(&settings.path).expect("opened");
        holder.pragma_update(None, "locking_mode", "exclusive").expect("set");
        holder.execute_batch("BEGIN EXCLUSIVE").expect("locked");
        assert!(History::open(&settings.path).is_err());
    }

    #[test]
    fn several_processes_can_append_at_the_same_time() {
        let folder = TempDir::new().expect("a folder");
        let settings = Settings { max_runs: NonZeroU64::new(1_000).expect("not zero"), ..settings(&folder) };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for second in 0..25 {
                        History::open(&settings.path)
                            .expect("a file")
                            .append(&run(at(second)), None, &settings)
                            .expect("appended");
                    }
                });
            }
        });
        let history = History::open_existing(&settings.path).expect("readable").expect("there");
        assert_eq!(history.runs(at(0)).expect("rows").len(), 100);
        assert_eq!(sum(&history, totals::MESSAGES, "stored"), "500");
    }

    #[test]
    fn a_file_of_another_kind_or_of_a_newer_version_is_not_changed() {
        let folder = TempDir::new().expect("a folder");
        let path = settings(&folder).path;
        History::open(&path)
            .expect("a file")
            .connection
            .pragma_update(None, "user_version", 4)
            .expect("written");
        for error in [History::open(&path).err(), History::open_existing(&path).err()] {
            assert!(error.expect("refused").to_string().contains("its version is 4"));
        }
        std::fs::remove_file(&path).expect("removed");
        Connection::open(&path)
            .expect("a file")
            .execute_batch("CREATE TABLE mine (id INTEGER)")
            .expect("a table of another program");
        assert!(History::open(&path).err().expect("refused").to_string().contains("not a history"));
        std::fs::write(&path, "these are notes and not a database").expect("written");
        assert!(History::open(&path).is_err());
        assert!(std::fs::read_to_string(&path).expect("still there").starts_with("these are notes"));
    }

    /// After an upgrade, earlier runs were lost, or `status` failed until the next run.
    #[test]
    fn a_file_of_an_earlier_version_is_readable_and_the_next_run_upgrades_it() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let first = Connection::open(&settings.path).expect("a file");
        first.execute_batch(FIRST).expect("its tables");
        let row = "INSERT INTO runs VALUES (1, 1000, 2, 0, 'queue-empty', 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL); PRAGMA user_version = 1";
        first.execute_batch(row).expect("a row");
        let starts = |history: &History| {
            history.last(9).expect("rows").iter().map(|run| run.started).collect::<Vec<_>>()
        };
        let reader = History::open_existing(&settings.path).expect("readable").expect("there");
        assert_eq!((starts(&reader), reader.servers().expect("none")), (vec![time(1_000)], Vec::new()));
        let writer = History::open(&settings.path).expect("upgraded");
        let a = Server { name: "a".to_owned(), is_found: false, is_reached: false };
        writer
            .append(&run(at(0)), Some(&Servers { named: vec![a], scope: None }), &settings)
            .expect("appended");
        assert_eq!(starts(&writer), [time(1_000), at(0)]);
        assert_eq!(writer.last(1).expect("rows")[0].unreached, ["a"]);
        assert_eq!(History::open(&settings.path).expect("opened again").servers().expect("rows").len(), 1);
    }

    #[test]
    fn the_write_ahead_log_stays_short() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let log = || settings.path.with_extension("db-wal").metadata().expect("the log").len();
        let mut lengths = Vec::new();
        for second in 0..200 {
            History::open(&settings.path)
                .expect("a file")
                .append(&run(at(second)), None, &settings)
                .expect("appended");
            lengths.push(log());
        }
        assert!(lengths.iter().all(|length| *length <= LOG), "{lengths:?}");
        let written = lengths.iter().filter(|length| **length == 0).count();
        assert!((1..=20).contains(&written), "not at each run: {lengths:?}");
    }
}
