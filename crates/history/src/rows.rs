//! The rows of runs: how they are written, read and deleted.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use x_msrv_core::report::{Counters, Depth, Rejected};

use crate::{History, Run, Settings};

/// The last millisecond that RFC 3339 can express, in the year 9999; a row with a later time is damaged.
const LAST_MOMENT: u64 = 253_402_300_799_999;

/// The most rows that one run deletes, so that a lowered limit does not slow down a run.
const REMOVED_AT_ONCE: u32 = 100;

impl History {
    pub(crate) fn query(&self, condition: &str, parameter: i64) -> rusqlite::Result<Vec<Run>> {
        let mut rejects =
            self.connection.prepare("SELECT reason, messages, detail FROM rejects WHERE run = ?1")?;
        let mut unreached = match self.version {
            ..2 => None,
            _ => Some(self.connection.prepare("SELECT name FROM unreached WHERE run = ?1 ORDER BY name")?),
        };
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, started_at, elapsed, exit_code, stop_reason, received, stored, duplicate, rejected, requeued, dead_lettered, deferred,
                unconfirmed, received_bytes, depth_before, depth_after, error, {} FROM runs {condition}",
            if self.version < 3 { "0, 0" } else { "given_up, behind" }
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

pub(crate) fn time(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.min(LAST_MOMENT))
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis())
        .unwrap_or(i64::MAX)
}

pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
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
            given_up: count(row, 17)?,
            behind: count(row, 18)?,
        },
        reasons: BTreeMap::new(),
        depth: Depth { before: depth(14)?, after: depth(15)? },
        error: row.get(16)?,
        unreached: Vec::new(),
    })
}

/// Inserts a run, and returns its id.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    run: &Run,
    unreached: &[String],
) -> rusqlite::Result<i64> {
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
        given_up,
        behind,
    } = run.counters;
    transaction.execute(
        "INSERT INTO runs (started_at, elapsed, exit_code, stop_reason, received, stored, duplicate, rejected, requeued, dead_lettered, deferred,
            unconfirmed, received_bytes, depth_before, depth_after, error, given_up, behind)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
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
            given_up.cast_signed(),
            behind.cast_signed(),
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
pub(crate) fn remove(
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
    use crate::{
        tests::{at, run, settings, sum},
        totals,
    };
    use tempfile::TempDir;
    use x_msrv_core::exit::Exit;

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
}
