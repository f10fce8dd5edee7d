//! The history: one row for each run in a small SQLite file, and totals since the machine was booted.
//!
//! Users read it later; no run waits for it or fails because of it. A commit is not synced to disk, and the
//! write-ahead log is written into the file only from time to time. A power failure can lose the last rows,
//! but does not damage the file.

mod logbook;
pub mod metrics;
mod run;
mod servers;
pub mod status;
pub mod summary;
mod totals;
pub mod words;

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

pub use logbook::Logbook;
pub use run::{FAILED, Run};
pub use servers::{KnownServer, REMEMBERED};

use log::debug;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, config::DbConfig,
    params,
};

use x_msrv_core::{
    report::{Counters, Depth, Rejected},
    servers::Servers,
};
use x_msrv_settings::{self as settings, Places, StateFile};
use x_msrv_state::{
    sqlite::{self, Database},
    state_file,
};

/// How long to wait for another process's write, which takes a few milliseconds at most.
const BUSY_BOUND: Duration = Duration::from_millis(250);

/// The size of a page in bytes. A run changes two or three pages, and each is written to the write-ahead log
/// as a whole.
const PAGE: u32 = 1024;

/// The size of the write-ahead log in bytes above which it is written into the file, which waits for the
/// disk: about every fortieth run. A longer log slows down every run, because each one reads it.
const LOG: u64 = 100 << 10;

/// The last millisecond that RFC 3339 can express, in the year 9999; a row with a later time is damaged.
const LAST_MOMENT: u64 = 253_402_300_799_999;

/// The most rows that one run deletes, so that a lowered limit does not slow down a run.
const REMOVED_AT_ONCE: u32 = 100;

/// The statements that upgrade the tables to each version from the one before; the file's `user_version` is
/// its version.
const VERSIONS: [&str; 2] = [FIRST, servers::SCHEMA];

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

/// The settings of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; it is created if it does not exist.
    pub path: PathBuf,
    /// Runs that started longer ago are deleted.
    pub max_age: Duration,
    /// The oldest runs over this number are deleted.
    pub max_runs: NonZeroU64,
}

/// The keys of `history`.
#[derive(Debug, Clone, PartialEq, Eq, settings::Settings)]
pub struct Keys {
    /// The file; it is created by the first run.
    ///
    /// Each configuration needs its own: if two write the same file, `status`, `history` and the metrics mix
    /// the runs of both.
    #[setting(
        words = "`history.db`; `NAME-history.db` beside a configuration `NAME.yml` that is not below `/etc`",
        example = "history.db"
    )]
    path: Option<StateFile<Database>>,
    /// Runs that started longer ago are deleted.
    #[setting(default = "30d")]
    max_age: Duration,
    /// The oldest runs over this number are deleted, at most 100 of them at each run. The default is eleven
    /// days of runs that start every 10 s, about 15 MB.
    #[setting(default = "100000")]
    max_runs: NonZeroU64,
}

impl Keys {
    /// Returns the effective settings; without a path, the file has its default name.
    #[must_use]
    pub fn settings(&mut self, places: &Places) -> Settings {
        let path = self.path.get_or_insert_with(|| StateFile::by_default(places, "history.db"));
        Settings { path: path.0.clone(), max_age: self.max_age, max_runs: self.max_runs }
    }
}

/// An error of the history file, of any kind.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// The open history file.
pub struct History {
    connection: Connection,
    /// The version of its tables: a reader sees those of an earlier version until a run has upgraded them.
    version: usize,
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
    /// deletes the runs that exceed a limit.
    ///
    /// # Errors
    /// The file cannot be written, or another process holds its lock for too long; nothing is changed then.
    pub fn append(&self, run: &Run, servers: Option<&Servers>, settings: &Settings) -> rusqlite::Result<()> {
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
        Ok(())
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
    fn with_totals(
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
    fn last_started(&self) -> rusqlite::Result<Option<SystemTime>> {
        let sql = "SELECT started_at FROM runs ORDER BY id DESC LIMIT 1";
        self.connection.query_row(sql, [], |row| Ok(time(count(row, 0)?))).optional()
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

    fn query(&self, condition: &str, parameter: i64) -> rusqlite::Result<Vec<Run>> {
        let mut rejects =
            self.connection.prepare("SELECT reason, messages, detail FROM rejects WHERE run = ?1")?;
        let mut unreached = match self.version {
            ..2 => None,
            _ => Some(self.connection.prepare("SELECT name FROM unreached WHERE run = ?1 ORDER BY name")?),
        };
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, started_at, elapsed, exit_code, stop_reason, received, stored, duplicate, rejected, requeued, dead_lettered, deferred,
                unconfirmed, received_bytes, depth_before, depth_after, error FROM runs {condition}"
        ))?;
        let runs = statement.query_map([parameter], |row| Ok((row.get::<_, i64>(0)?, run(row)?)))?;
        let whole = |found: rusqlite::Result<(i64, Run)>| {
            let (id, mut run) = found?;
            if let Some(unreached) = &mut unreached {
                run.unreached =
                    unreached.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            }
            if run.counters.rejected > 0 {
                let reasons = rejects.query_map([id], |row| {
                    Ok((row.get(0)?, Rejected { messages: count(row, 1)?, detail: row.get(2)? }))
                })?;
                run.reasons = reasons.collect::<rusqlite::Result<_>>()?;
            }
            Ok(run)
        };
        runs.map(whole).collect()
    }
}

fn not_a_history() -> AnyError {
    io::Error::new(io::ErrorKind::InvalidData, "it is a database, but not a history").into()
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX)) // a negative version is of another program
}

fn time(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.min(LAST_MOMENT))
}

fn millis(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis())
        .unwrap_or(i64::MAX)
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let depth = |column| row.get::<_, Option<i64>>(column).map(|depth| depth.map(i64::cast_unsigned));
    Ok(Run {
        started: time(count(row, 1)?),
        elapsed: Duration::from_micros(count(row, 2)?),
        exit_code: row.get(3)?,
        stop_reason: row.get(4)?,
        counters: Counters {
            received: count(row, 5)?,
            stored: count(row, 6)?,
            duplicate: count(row, 7)?,
            rejected: count(row, 8)?,
            requeued: count(row, 9)?,
            dead_lettered: count(row, 10)?,
            deferred: count(row, 11)?,
            unconfirmed: count(row, 12)?,
            received_bytes: count(row, 13)?,
        },
        reasons: BTreeMap::new(),
        depth: Depth { before: depth(14)?, after: depth(15)? },
        error: row.get(16)?,
        unreached: Vec::new(),
    })
}

/// Inserts a run, and returns its id.
fn insert(transaction: &Transaction<'_>, run: &Run, unreached: &[String]) -> rusqlite::Result<i64> {
    let Counters {
        received,
        stored,
        duplicate,
        rejected,
        requeued,
        dead_lettered,
        deferred,
        unconfirmed,
        received_bytes,
    } = run.counters;
    transaction.execute(
        "INSERT INTO runs (started_at, elapsed, exit_code, stop_reason, received, stored, duplicate, rejected, requeued, dead_lettered, deferred,
            unconfirmed, received_bytes, depth_before, depth_after, error)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            millis(run.started),
            i64::try_from(run.elapsed.as_micros()).unwrap_or(i64::MAX),
            run.exit_code,
            run.stop_reason,
            received.cast_signed(),
            stored.cast_signed(),
            duplicate.cast_signed(),
            rejected.cast_signed(),
            requeued.cast_signed(),
            dead_lettered.cast_signed(),
            deferred.cast_signed(),
            unconfirmed.cast_signed(),
            received_bytes.cast_signed(),
            run.depth.before.map(u64::cast_signed),
            run.depth.after.map(u64::cast_signed),
            run.error,
        ],
    )?;
    let id = transaction.last_insert_rowid();
    for (reason, rejected) in &run.reasons {
        let sql = "INSERT INTO rejects (run, reason, messages, detail) VALUES (?1, ?2, ?3, ?4)";
        transaction.execute(sql, params![id, reason, rejected.messages.cast_signed(), rejected.detail])?;
    }
    for name in unreached {
        transaction
            .execute("INSERT OR IGNORE INTO unreached (run, name) VALUES (?1, ?2)", params![id, name])?;
    }
    Ok(id)
}

/// Deletes the runs that exceed a limit. Only the oldest rows are examined, so that the cost does not depend
/// on the size of the file.
fn remove(
    transaction: &Transaction<'_>,
    newest: i64,
    now: SystemTime,
    settings: &Settings,
) -> rusqlite::Result<()> {
    let too_old = now.checked_sub(settings.max_age).map_or(0, millis);
    // If the clock is ahead during one run, all other runs appear old. The same happens after a long pause;
    // then the next run deletes them.
    let before = "SELECT started_at FROM runs WHERE id < ?1 ORDER BY id DESC LIMIT 1";
    let before: Option<i64> = transaction.query_row(before, [newest], |row| row.get(0)).optional()?;
    let too_old = if before.is_some_and(|before| before < too_old) { 0 } else { too_old };
    let first_kept = newest.saturating_sub(i64::try_from(settings.max_runs.get()).unwrap_or(i64::MAX)) + 1;
    let oldest = "SELECT id, started_at FROM runs ORDER BY id LIMIT 1";
    let (id, started_at) =
        transaction.query_row(oldest, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    if id >= first_kept && started_at >= too_old {
        return Ok(());
    }
    let ids = "SELECT id FROM (SELECT id, started_at FROM runs ORDER BY id LIMIT ?1) WHERE id < ?2 OR started_at < ?3";
    for (table, column) in [("rejects", "run"), ("unreached", "run"), ("runs", "id")] {
        transaction.execute(
            &format!("DELETE FROM {table} WHERE {column} IN ({ids})"),
            params![REMOVED_AT_ONCE, first_kept, too_old],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;
    use x_msrv_core::{exit::Exit, servers::Server};

    fn settings(folder: &TempDir) -> Settings {
        let path = folder.path().join("history.db");
        Settings { path, max_age: Duration::from_secs(100), max_runs: NonZeroU64::new(10).expect("not zero") }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    fn run(started: SystemTime) -> Run {
        let rejected = Rejected { messages: 2, detail: "not JSON: line 1".to_owned() };
        Run {
            started,
            elapsed: Duration::from_micros(12_345),
            exit_code: 0,
            stop_reason: "queue-empty".to_owned(),
            counters: Counters {
                received: 7,
                stored: 5,
                rejected: 2,
                dead_lettered: 2,
                received_bytes: 700,
                ..Counters::default()
            },
            reasons: [("not-json".to_owned(), rejected)].into_iter().collect(),
            depth: Depth { before: Some(7), after: None },
            error: None,
            unreached: Vec::new(),
        }
    }

    fn sum(history: &History, name: &str, label: &str) -> String {
        totals::all(&history.connection).expect("totals").get(name, label).to_string()
    }

    #[test]
    fn a_run_is_read_back_as_it_was_written() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        assert!(
            History::open_existing(&settings.path).expect("no error").is_none(),
            "reading creates nothing"
        );
        let failed =
            Run::of_failure(at(1), Duration::ZERO, Exit::Unavailable, "cannot reach nsqd".to_owned());
        let history = History::open(&settings.path).expect("a file");
        for run in [run(at(0)), failed.clone()] {
            history.append(&run, None, &settings).expect("appended");
        }
        let reader = History::open_existing(&settings.path).expect("readable").expect("there");
        assert_eq!(reader.runs(at(0)).expect("rows"), [run(at(0)), failed.clone()]);
        assert_eq!(reader.runs(at(1)).expect("rows"), std::slice::from_ref(&failed));
        assert_eq!(reader.last(1).expect("rows"), [failed]);
        let last_success = reader.last_success().expect("totals").expect("one succeeded");
        let off =
            last_success.duration_since(run(at(0)).ended()).unwrap_or_else(|earlier| earlier.duration());
        assert!(off < Duration::from_micros(1), "a failed run is not a success: {last_success:?}");
    }

    /// Without limits, a run every second fills the disk within years. Totals calculated from rows would
    /// decrease when rows are deleted.
    #[test]
    fn runs_over_a_limit_are_deleted_and_remain_in_the_totals() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        for second in 0..25 {
            history.append(&run(at(second)), None, &settings).expect("appended");
        }
        let kept = |history: &History| {
            history
                .runs(SystemTime::UNIX_EPOCH)
                .expect("rows")
                .iter()
                .map(|run| run.started)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&history), (15..25).map(at).collect::<Vec<_>>(), "the newest ten");
        history.append(&run(at(122)), None, &settings).expect("appended");
        assert_eq!(kept(&history), [at(22), at(23), at(24), at(122)], "none older than a hundred seconds");
        let rejects: u64 = history
            .connection
            .query_row("SELECT count(*) FROM rejects", [], |row| count(row, 0))
            .expect("a count");
        assert_eq!(rejects, 4, "they are deleted with their runs");
        let sums = [
            (totals::MESSAGES, "stored"),
            (totals::REJECTED, "not-json"),
            (totals::BYTES, ""),
            (totals::RUNS, "queue-empty"),
            (totals::BUCKET, "0.025"),
        ];
        assert_eq!(sums.map(|(name, label)| sum(&history, name, label)), ["130", "52", "18200", "26", "26"]);
    }

    /// One run while the clock was years ahead deleted all others.
    #[test]
    fn a_jump_of_the_clock_deletes_nothing_unless_it_lasts_for_two_runs() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        let kept = |second: u64| {
            history.append(&run(at(second)), None, &settings).expect("appended");
            history.runs(SystemTime::UNIX_EPOCH).expect("rows").len()
        };
        assert_eq!([0, 1, 10_000, 2, 10_000, 10_001].map(kept), [1, 2, 3, 4, 5, 3]);
    }

    /// After one success while the clock was a year ahead, missing successes were not reported for a year.
    #[test]
    fn a_success_in_the_future_counts_only_until_the_next_run() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        let failed = |second| {
            Run::of_failure(at(second), Duration::ZERO, Exit::Unavailable, "cannot reach nsqd".to_owned())
        };
        let last_success = |run: &Run| {
            history.append(run, None, &settings).expect("appended");
            history
                .last_success()
                .expect("totals")
                .map(|time| time.duration_since(at(0)).unwrap_or_default().as_secs())
        };
        for (run, expected) in [
            (failed(1), None),
            (run(at(10_000)), Some(10_000)),
            (failed(9_996), Some(10_000)),
            (failed(20), Some(20)),
            (failed(30), Some(20)),
            (run(at(10_000)), Some(10_000)),
            (run(at(40)), Some(40)),
        ] {
            assert_eq!(last_success(&run), expected, "{run:?}");
        }
    }

    /// A power failure lost the last runs, so the totals decreased, and Prometheus counted everything a
    /// second time.
    #[test]
    fn totals_start_at_0_when_the_machine_is_booted() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        // Clocks are corrected by a few seconds now and then, which is not a boot.
        for (booted, second, stored) in
            [(0, 10, "5"), (3, 20, "10"), (0, 30, "15"), (40, 50, "5"), (41, 60, "10"), (7_200, 7_210, "5")]
        {
            history.count_since(at(booted)).expect("counted");
            history.append(&run(at(second)), None, &settings).expect("appended");
            assert_eq!(sum(&history, totals::MESSAGES, "stored"), stored, "at {second}");
        }
        history.count_since(at(10_000)).expect("counted");
        assert_eq!(sum(&history, totals::RUNS, "queue-empty"), "0");
        assert!(
            history.last_success().expect("totals").is_some_and(|success| success > at(7_209)),
            "it is not a sum"
        );
        assert!(!history.last(1).expect("rows").is_empty(), "rows are kept");
    }

    #[test]
    fn a_time_after_the_year_9999_is_shown_as_the_last_valid_one() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        history.append(&run(at(0)), None, &settings).expect("appended");
        history.connection.execute("UPDATE runs SET started_at = ?1", [i64::MAX]).expect("damaged");
        let runs = history.last(1).expect("rows");
        assert!(
            serde_json::to_string(&runs[0])
                .expect("JSON")
                .contains(r#""started":"9999-12-31T23:59:59.999Z""#)
        );
    }

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
            .pragma_update(None, "user_version", 3)
            .expect("written");
        for error in [History::open(&path).err(), History::open_existing(&path).err()] {
            assert!(error.expect("refused").to_string().contains("its version is 3"));
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
