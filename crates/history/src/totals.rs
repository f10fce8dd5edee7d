//! Sums over all runs since the machine was booted, including deleted runs.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Run;

/// The names of the sums; some have one sum for each label.
pub(super) const MESSAGES: &str = "messages";
pub(super) const REJECTED: &str = "rejected";
pub(super) const BYTES: &str = "bytes";
pub(super) const DEAD_LETTERED: &str = "dead-lettered";
pub(super) const UNCONFIRMED: &str = "unconfirmed";
pub(super) const RUNS: &str = "runs";
pub(super) const FAILED_RUNS: &str = "failed-runs";
pub(super) const SECONDS: &str = "seconds";
pub(super) const BUCKET: &str = "bucket";
/// Not a sum: when the last run that exited with 0 ended, in seconds since the epoch.
const LAST_SUCCESS: &str = "last-success";
/// Not a sum: the boot since which the sums are counted, in seconds since the epoch.
const BOOTED: &str = "booted";

/// How much later an earlier record may have ended than a later one: two runs at once, or a small clock
/// correction.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// Upper bounds of the histogram of run durations, in seconds.
pub(super) const BUCKETS: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Returns the bucket of a duration, by its upper bound.
pub(super) fn bucket(elapsed: Duration) -> String {
    BUCKETS
        .iter()
        .find(|bound| elapsed.as_secs_f64() <= **bound)
        .map_or_else(|| "+Inf".to_owned(), ToString::to_string)
}

/// Returns whether the sums are counted since this boot. Its time is the current time minus the uptime, so it
/// changes when the clock is corrected.
pub(super) fn are_of(connection: &Connection, booted: SystemTime) -> rusqlite::Result<bool> {
    let counted_since = "SELECT value FROM totals WHERE name = ?1 AND label = ''";
    let counted_since: Option<f64> =
        connection.query_row(counted_since, [BOOTED], |row| row.get(0)).optional()?;
    Ok(counted_since.is_some_and(|since| (since - since_epoch(booted)).abs() <= CLOCKS_DIFFER.as_secs_f64()))
}

/// Resets the sums. The time of the last success is kept.
pub(super) fn begin(transaction: &Transaction<'_>, booted: SystemTime) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM totals WHERE name <> ?1", [LAST_SUCCESS])?;
    transaction.execute(
        "INSERT INTO totals (name, label, value) VALUES (?1, '', ?2)",
        params![BOOTED, since_epoch(booted)],
    )?;
    Ok(())
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Adds a run.
#[expect(clippy::cast_precision_loss, reason = "Prometheus stores them in the same way: exact up to 2^53")]
pub(super) fn add(transaction: &Transaction<'_>, run: &Run) -> rusqlite::Result<()> {
    let counters = run.counters;
    let counted = [
        (MESSAGES, "stored", counters.stored),
        (MESSAGES, "duplicate", counters.duplicate),
        (MESSAGES, "deferred", counters.deferred),
        (MESSAGES, "not-started", counters.requeued - counters.deferred),
        (BYTES, "", counters.received_bytes),
        (DEAD_LETTERED, "", counters.dead_lettered),
        (UNCONFIRMED, "", counters.unconfirmed),
        (RUNS, &run.stop_reason, 1),
        (FAILED_RUNS, &run.exit_code.to_string(), u64::from(run.exit_code != 0)),
        (BUCKET, &bucket(run.elapsed), 1),
    ];
    let reasons = run.reasons.iter().map(|(reason, rejects)| (REJECTED, reason.as_str(), rejects.messages));
    let mut add = transaction.prepare(
        "INSERT INTO totals (name, label, value) VALUES (?1, ?2, ?3) ON CONFLICT (name, label) DO UPDATE SET value = value + excluded.value",
    )?;
    for (name, label, number) in counted.into_iter().chain(reasons).filter(|(.., number)| *number > 0) {
        add.execute(params![name, label, number as f64])?;
    }
    add.execute(params![SECONDS, "", run.elapsed.as_secs_f64()])?;
    let ended = since_epoch(run.ended());
    if run.exit_code == 0 {
        let sql = "INSERT INTO totals (name, label, value) VALUES (?1, '', ?2) ON CONFLICT (name, label) DO UPDATE SET value = excluded.value";
        transaction.execute(sql, params![LAST_SUCCESS, ended])?;
    } else {
        // A success while the clock was ahead would hide missing successes until that day. It was before this
        // run's end.
        let sql = "UPDATE totals SET value = ?2 WHERE name = ?1 AND value > ?3";
        transaction.execute(sql, params![LAST_SUCCESS, ended, ended + CLOCKS_DIFFER.as_secs_f64()])?;
    }
    Ok(())
}

/// Returns the sums in the file.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Totals> {
    let mut statement = connection.prepare("SELECT name, label, value FROM totals")?;
    statement
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()
        .map(Totals)
}

/// Sums by name and label.
#[derive(Debug, Default)]
pub(super) struct Totals(BTreeMap<(String, String), f64>);

impl Totals {
    /// Returns a sum; 0 if nothing was counted yet.
    pub(super) fn get(&self, name: &str, label: &str) -> f64 {
        self.0.get(&(name.to_owned(), label.to_owned())).copied().unwrap_or(0.0)
    }

    /// Returns when the last run that exited with 0 ended.
    pub(super) fn last_success(&self) -> Option<SystemTime> {
        let seconds = self.0.get(&(LAST_SUCCESS.to_owned(), String::new()))?;
        Some(SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(*seconds).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use x_msrv_core::exit::Exit;

    use super::*;
    use crate::{
        History,
        tests::{at, run, settings, sum},
    };

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
            assert_eq!(sum(&history, MESSAGES, "stored"), stored, "at {second}");
        }
        history.count_since(at(10_000)).expect("counted");
        assert_eq!(sum(&history, RUNS, "queue-empty"), "0");
        assert!(
            history.last_success().expect("totals").is_some_and(|success| success > at(7_209)),
            "it is not a sum"
        );
        assert!(!history.last(1).expect("rows").is_empty(), "rows are kept");
    }
}
