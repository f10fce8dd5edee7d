//! The history: one row for each run in a small SQLite file, and totals since the machine was booted.
//!
//! It is there for people who look at it later, and no run waits for it or fails because of it: a commit is
//! not on the disk when it returns, and only now and then one is that the log is written into the file. What
//! a power failure takes are the last rows, never the file.

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

/// How long another process's write is waited for; each takes some milliseconds at most.
const BUSY_BOUND: Duration = Duration::from_millis(250);

/// Bytes of a page. A run changes two or three of them, and each goes into the log as a whole.
const PAGE: u32 = 1024;

/// Bytes of the log after which it is written into the file, which waits for the disk: every fortieth run or
/// so. A longer log costs each run the time to read it.
const LOG: u64 = 100 << 10;

/// The last millisecond that can be written as RFC 3339 has it, in the year 9999; a row behind it is damaged.
const LAST_MOMENT: u64 = 253_402_300_799_999;

/// Rows that are removed in one run at most, so that a smaller bound does not make one run slow.
const REMOVED_AT_ONCE: u32 = 100;

/// What makes the tables of each version of those of the one before; the file's `user_version` says which it
/// has.
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
        depth_before INTEGER,                   -- null where it was not known
        depth_after INTEGER,
        error TEXT
    ) STRICT;
    CREATE TABLE rejects (                      -- by reason, for runs that had some
        run INTEGER NOT NULL,
        reason TEXT NOT NULL,
        messages INTEGER NOT NULL,
        detail TEXT NOT NULL,                   -- of the last of them
        PRIMARY KEY (run, reason)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE totals (                       -- of all runs since the machine was booted, those that were removed among them
        name TEXT NOT NULL,
        label TEXT NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (name, label)
    ) STRICT, WITHOUT ROWID;
";

/// How the history is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; created if it is not there.
    pub path: PathBuf,
    /// Rows of runs that began longer ago are removed.
    pub max_age: Duration,
    /// The oldest rows over this number are removed.
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
    /// What is in force; without a path the file has its default name.
    #[must_use]
    pub fn settings(&mut self, places: &Places) -> Settings {
        let path = self.path.get_or_insert_with(|| StateFile::by_default(places, "history.db"));
        Settings { path: path.0.clone(), max_age: self.max_age, max_runs: self.max_runs }
    }
}

/// Whatever is wrong with a file.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// The file, open.
pub struct History {
    connection: Connection,
    /// Of its tables: somebody who only reads meets those of an earlier version until a run has brought them
    /// up to date.
    version: usize,
}

impl History {
    /// Opens or creates the file to append to it.
    ///
    /// # Errors
    /// It can't be opened or created, or is no history, or a newer one than ours.
    pub fn open(path: &Path) -> Result<Self, AnyError> {
        let connection = sqlite::open(path, Some(PAGE), BUSY_BOUND)?;
        connection.pragma_update(None, "synchronous", "normal")?;
        // SQLite would do it again at each run, for it forgets at the end of a process how far it has come.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        if version(&connection)? < VERSIONS.len() {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            let version = version(&transaction)?; // another process may have come first
            let is_new = || {
                transaction
                    .query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get::<_, bool>(0))
            };
            if version == 0 && !is_new()? {
                return Err(no_history());
            }
            for step in VERSIONS.iter().skip(version) {
                transaction.execute_batch(step)?;
            }
            transaction.execute_batch(&format!("PRAGMA user_version = {}", VERSIONS.len()))?;
            transaction.commit()?;
        }
        Self::of_known_version(connection)
    }

    /// Opens the file to read it; `None` where there is none.
    ///
    /// # Errors
    /// It may not be read, or is no history, or a newer one than ours.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, AnyError> {
        if !state_file::exists(path)? {
            return Ok(None);
        }
        std::fs::File::open(path)?; // says why not; SQLite says no more than that it can't
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
            0 => Err(no_history()),
            version @ 1..=NEWEST => Ok(Self { connection, version }),
            newer => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its version is {newer}, and {NEWEST} is known here"),
            )
            .into()),
        }
    }

    /// Lets the totals begin at 0 where the machine has been booted since they did. A power failure takes the
    /// last runs out of them, and whoever saw them go back a little, as Prometheus does, takes that for a
    /// counter that has begun anew, and all of it for new.
    ///
    /// # Errors
    /// The file can't be written, or another process does not let go of it; nothing is changed then.
    pub fn count_since(&self, booted: SystemTime) -> rusqlite::Result<()> {
        if totals::are_of(&self.connection, booted)? {
            return Ok(());
        }
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        // Another process may have come first.
        if !totals::are_of(&transaction, booted)? {
            totals::begin(&transaction, booted)?;
        }
        transaction.commit()
    }

    /// Appends a row, adds to the totals, takes in the servers that the run found if it came so far, and
    /// removes what is too old or too much.
    ///
    /// # Errors
    /// The file can't be written, or another process does not let go of it; nothing is changed then.
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

    /// Writes the log into the file. Where somebody reads it just now, or the disk is full, a later run does
    /// it.
    fn shorten_log(&self) {
        let at_once = self.connection.busy_timeout(Duration::ZERO);
        let written = at_once
            .and_then(|()| self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        let restored = self.connection.busy_timeout(BUSY_BOUND);
        if let Err(cause) = written.and(restored) {
            debug!(cause = cause.to_string(); "the log of the history stays long");
        }
    }

    /// Lets `act` have the totals and the servers while nobody else can change them.
    ///
    /// # Errors
    /// The file can't be read, another process does not let go of it, or `act` fails.
    fn with_totals(
        &self,
        act: impl FnOnce(&totals::Totals, &[KnownServer]) -> io::Result<()>,
    ) -> Result<(), AnyError> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        act(&totals::all(&transaction)?, &servers::all(&transaction)?)?;
        Ok(transaction.rollback()?)
    }

    /// The runs that began at `since` or later, the oldest first.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn runs(&self, since: SystemTime) -> Result<Vec<Run>, AnyError> {
        Ok(self.query("WHERE started_at >= ?1 ORDER BY id", millis(since))?)
    }

    /// The same by the time of day at which they began, which is another order where the clock was put back.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn runs_by_time(&self, since: SystemTime) -> Result<Vec<Run>, AnyError> {
        Ok(self.query("WHERE started_at >= ?1 ORDER BY started_at, id", millis(since))?)
    }

    /// The last runs, the oldest first.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn last(&self, count: u32) -> Result<Vec<Run>, AnyError> {
        let mut runs = self.query("ORDER BY id DESC LIMIT ?1", count.into())?;
        runs.reverse();
        Ok(runs)
    }

    /// When the last run ended that ended with 0.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn last_success(&self) -> Result<Option<SystemTime>, AnyError> {
        Ok(totals::all(&self.connection)?.last_success())
    }

    /// Whether a run has received a message, or may have: of runs that were removed nobody knows.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn may_have_received(&self) -> Result<bool, AnyError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE received > 0) OR (SELECT min(id) > 1 FROM runs)";
        Ok(self.connection.query_row(sql, [], |row| row.get::<_, Option<bool>>(0))?.unwrap_or_default())
    }

    /// When the run began that was remembered last.
    fn last_started(&self) -> rusqlite::Result<Option<SystemTime>> {
        let sql = "SELECT started_at FROM runs ORDER BY id DESC LIMIT 1";
        self.connection.query_row(sql, [], |row| Ok(time(count(row, 0)?))).optional()
    }

    /// The servers of the queue that runs know, by name.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn servers(&self) -> Result<Vec<KnownServer>, AnyError> {
        if self.version < 2 { Ok(Vec::new()) } else { Ok(servers::all(&self.connection)?) }
    }

    /// Forgets the server with this name, or at this address, until a run finds it again. Returns whether
    /// there was one.
    ///
    /// # Errors
    /// The file can't be written, or another process does not let go of it.
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

fn no_history() -> AnyError {
    io::Error::new(io::ErrorKind::InvalidData, "it is a database, and no history").into()
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX)) // below 0 it is none of ours
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

/// Returns the row's number.
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

/// Only the oldest are looked at, so that a run costs the same whatever the file holds.
fn remove(
    transaction: &Transaction<'_>,
    newest: i64,
    now: SystemTime,
    settings: &Settings,
) -> rusqlite::Result<()> {
    let too_old = now.checked_sub(settings.max_age).map_or(0, millis);
    // A clock that is ahead for one run makes all others old; so does a long pause, and then the next run
    // removes them.
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
    fn a_run_comes_back_as_it_was_whatever_is_known_of_it() {
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
        assert!(off < Duration::from_micros(1), "the one that failed is none: {last_success:?}");
    }

    /// Without it, a run every second fills the disk in some years, and totals would fall when rows go.
    #[test]
    fn what_is_too_old_or_too_much_is_removed_and_still_counts() {
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
        assert_eq!(rejects, 4, "they go with their runs");
        let sums = [
            (totals::MESSAGES, "stored"),
            (totals::REJECTED, "not-json"),
            (totals::BYTES, ""),
            (totals::RUNS, "queue-empty"),
            (totals::BUCKET, "0.025"),
        ];
        assert_eq!(sums.map(|(name, label)| sum(&history, name, label)), ["130", "52", "18200", "26", "26"]);
    }

    /// One run under a clock that was years ahead took all others with it.
    #[test]
    fn a_clock_that_jumps_makes_nothing_old_before_it_stays_there() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        let kept = |second: u64| {
            history.append(&run(at(second)), None, &settings).expect("appended");
            history.runs(SystemTime::UNIX_EPOCH).expect("rows").len()
        };
        assert_eq!([0, 1, 10_000, 2, 10_000, 10_001].map(kept), [1, 2, 3, 4, 5, 3]);
    }

    /// One success under a clock that was a year ahead, and for a year nobody was told that there is none any
    /// more.
    #[test]
    fn a_success_that_has_not_come_yet_is_none_for_longer_than_the_next_run() {
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

    /// A power failure took the last runs, the totals went back by them, and Prometheus counted all that
    /// there had ever been a second time.
    #[test]
    fn totals_are_those_since_the_machine_was_booted() {
        let folder = TempDir::new().expect("a folder");
        let settings = settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        // The clock is set right by some seconds now and then, which is no boot.
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
            "it is no sum"
        );
        assert!(!history.last(1).expect("rows").is_empty(), "rows are not counted");
    }

    #[test]
    fn a_moment_that_cannot_be_written_is_the_last_one_that_can() {
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

    /// A run waited two seconds for it, as it does where messages depend on a file.
    #[test]
    fn whoever_keeps_it_locked_holds_nobody_up() {
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
    fn several_processes_may_write_it_at_once() {
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
    fn a_file_of_another_kind_or_of_a_later_version_is_left_alone() {
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
            .expect("somebody else's");
        assert!(History::open(&path).err().expect("refused").to_string().contains("no history"));
        std::fs::write(&path, "these are notes, and no database at all, as everybody can see")
            .expect("written");
        assert!(History::open(&path).is_err());
        assert!(std::fs::read_to_string(&path).expect("still there").starts_with("these are notes"));
    }

    /// After an upgrade, what runs had told before was gone, or `status` failed until the next run.
    #[test]
    fn a_file_of_an_earlier_version_is_read_as_it_is_and_brought_up_to_date_by_the_next_run() {
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
        let writer = History::open(&settings.path).expect("brought up to date");
        let a = Server { name: "a".to_owned(), is_found: false, is_reached: false };
        writer
            .append(&run(at(0)), Some(&Servers { named: vec![a], scope: None }), &settings)
            .expect("appended");
        assert_eq!(starts(&writer), [time(1_000), at(0)]);
        assert_eq!(writer.last(1).expect("rows")[0].unreached, ["a"]);
        assert_eq!(History::open(&settings.path).expect("as it is").servers().expect("rows").len(), 1);
    }

    #[test]
    fn the_log_is_written_into_the_file_before_it_is_long() {
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
