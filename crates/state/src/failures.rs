//! Failures of unknown cause by record, over runs, for queues that do not count deliveries.
//!
//! A small SQLite file, which is created with the first such failure. A problem with the file is a warning: a
//! message is then retried more often than allowed, and never rejected too early.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use log::warn;
use rusqlite::{Connection, params};
use x_msrv_core::{record::Key, run::Failures};

use crate::{sqlite, state_file};

/// How long a failure is remembered. A message that has not failed for this long is gone, or was stored by
/// another pipeline.
const MOST_DAYS: u64 = 30;

/// The most records that are remembered; the oldest are forgotten first.
const MOST_RECORDS: i64 = 100_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS failures (
        key TEXT PRIMARY KEY,
        count INTEGER NOT NULL,
        last INTEGER NOT NULL      -- seconds since the epoch
    ) STRICT, WITHOUT ROWID";

const COUNT: &str = "
    INSERT INTO failures (key, count, last) VALUES (?1, 1, ?2)
    ON CONFLICT (key) DO UPDATE SET count = count + 1, last = excluded.last RETURNING count";

/// Failures that are counted in a file.
pub struct FailureFile {
    path: PathBuf,
    now: fn() -> SystemTime,
    file: File,
}

/// The state of the file.
enum File {
    Unopened,
    /// It does not exist, and is not needed so far.
    Missing,
    Open(Connection, BTreeMap<String, u32>),
    /// It cannot be used, which was reported.
    Unusable,
}

impl FailureFile {
    /// Creates a counter; nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf, now: fn() -> SystemTime) -> Self {
        Self { path, now, file: File::Unopened }
    }

    fn seconds(&self) -> i64 {
        let since = (self.now)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// Returns the file, if it can be used. A missing file is created only if `creates` is true.
    fn file(&mut self, creates: bool) -> Option<(&Connection, &mut BTreeMap<String, u32>)> {
        let is_needed = match self.file {
            File::Unopened => creates || state_file::exists(&self.path).unwrap_or(true),
            File::Missing => creates,
            File::Open(..) | File::Unusable => false,
        };
        if is_needed {
            self.file = self.open().map_or_else(
                |cause| {
                    warn!(path = self.path.display().to_string(), cause = cause.to_string(); "failures cannot be counted");
                    File::Unusable
                },
                |(connection, counts)| File::Open(connection, counts),
            );
        } else if matches!(self.file, File::Unopened) {
            self.file = File::Missing;
        }
        match &mut self.file {
            File::Open(connection, counts) => Some((connection, counts)),
            File::Unopened | File::Missing | File::Unusable => None,
        }
    }

    fn open(&self) -> Result<(Connection, BTreeMap<String, u32>), Box<dyn std::error::Error + Send + Sync>> {
        let connection = sqlite::open(&self.path, None, sqlite::BUSY_BOUND)?;
        connection.execute_batch(SCHEMA)?;
        let oldest = Duration::from_secs(MOST_DAYS * 24 * 3600).as_secs();
        let oldest = self.seconds().saturating_sub(i64::try_from(oldest).unwrap_or(i64::MAX));
        connection.execute("DELETE FROM failures WHERE last < ?1", params![oldest])?;
        connection.execute(
            "DELETE FROM failures WHERE key IN (SELECT key FROM failures ORDER BY last DESC LIMIT -1 OFFSET ?1)",
            params![MOST_RECORDS],
        )?;
        let counts = {
            let mut statement = connection.prepare("SELECT key, count FROM failures")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        Ok((connection, counts))
    }
}

/// Returns a key as text; 7 and "7" are two records.
fn text(key: &Key) -> String {
    match key {
        Key::Int(number) => format!("i{number}"),
        Key::Text(text) => format!("t{text}"),
    }
}

impl Failures for FailureFile {
    fn count(&mut self, key: &Key) -> u32 {
        let (key, now) = (text(key), self.seconds());
        let Some((connection, counts)) = self.file(true) else { return 0 };
        match connection.query_row(COUNT, params![key, now], |row| row.get(0)) {
            Ok(count) => {
                counts.insert(key, count);
                count
            }
            Err(cause) => {
                warn!(cause = cause.to_string(); "a failure cannot be counted");
                0
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        let key = text(key);
        let Some((connection, counts)) = self.file(false) else { return };
        if counts.remove(&key).is_some()
            && let Err(cause) = connection.execute("DELETE FROM failures WHERE key = ?1", params![key])
        {
            warn!(cause = cause.to_string(); "a counted failure cannot be forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn early() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn late() -> SystemTime {
        early() + Duration::from_secs((MOST_DAYS + 1) * 24 * 3600)
    }

    /// If failures were counted in memory, a message that fails once in each run would be retried forever.
    #[test]
    fn failures_are_counted_over_runs_by_key_and_forgotten_with_the_record() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("failures.db");
        let (number, digits) = (Key::Int(7), Key::Text("7".to_owned()));
        FailureFile::new(path.clone(), early).forget(&number);
        assert!(!path.exists(), "without a failure there is no file");
        for count in 1..=3 {
            assert_eq!(FailureFile::new(path.clone(), early).count(&number), count);
        }
        let mut file = FailureFile::new(path.clone(), early);
        assert_eq!(file.count(&digits), 1);
        file.forget(&number);
        assert_eq!(FailureFile::new(path.clone(), early).count(&number), 1);
        assert_eq!(FailureFile::new(path.clone(), early).count(&digits), 2);
        assert_eq!(FailureFile::new(path, late).count(&digits), 1, "after a month nothing is remembered");
    }

    /// A message must not be rejected because its failures cannot be counted.
    #[test]
    fn a_file_that_cannot_be_used_counts_nothing() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("failures.db");
        std::fs::write(&path, "not a database, but long enough to have a header").expect("written");
        let mut file = FailureFile::new(path, early);
        assert_eq!((file.count(&Key::Int(7)), file.count(&Key::Int(7))), (0, 0));
        file.forget(&Key::Int(7));
    }
}
