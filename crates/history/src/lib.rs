//! The history: one row for each run in a small SQLite file, and totals since the machine was booted.
//!
//! Users read it later; no run waits for it or fails because of it. A commit is not synced to disk, and the
//! write-ahead log is written into the file only from time to time. A power failure can lose the last rows,
//! but does not damage the file.

mod file;
mod logbook;
mod mark;
pub mod metrics;
mod rows;
mod run;
mod servers;
mod settings;
pub mod status;
pub mod summary;
mod totals;
pub mod words;

pub use file::{AnyError, History};
pub use logbook::Logbook;
pub use mark::Unrecorded;
pub use run::{FAILED, Run};
pub use servers::{KnownServer, REMEMBERED};
pub use settings::{Keys, Settings};

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroU64,
        time::{Duration, SystemTime},
    };

    use tempfile::TempDir;
    use x_msrv_core::report::{Counters, Depth, Rejected};

    use super::{History, Run, Settings, totals};

    pub(crate) fn settings(folder: &TempDir) -> Settings {
        let path = folder.path().join("history.db");
        Settings { path, max_age: Duration::from_secs(100), max_runs: NonZeroU64::new(10).expect("not zero") }
    }

    pub(crate) fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    pub(crate) fn run(started: SystemTime) -> Run {
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

    pub(crate) fn sum(history: &History, name: &str, label: &str) -> String {
        totals::all(&history.connection).expect("totals").get(name, label).to_string()
    }
}
