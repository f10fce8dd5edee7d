//! The record of one run.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

use x_msrv_core::{
    error_chain,
    exit::Exit,
    report::{Counters, Depth, Rejected, RunReport},
    servers::Servers,
};

/// The stop reason of a run that failed before it could request a message.
pub const FAILED: &str = "failed";

/// A run in the history.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// When it started.
    #[serde(serialize_with = "rfc3339")]
    pub started: SystemTime,
    /// How long it took, starting when the configuration had been read.
    #[serde(rename = "elapsed-seconds", serialize_with = "x_msrv_core::report::seconds")]
    pub elapsed: Duration,
    /// Its exit code.
    pub exit_code: u8,
    /// Why it stopped taking messages, see [`StopReason`](x_msrv_core::budget::StopReason); [`FAILED`] if it
    /// could not take any.
    pub stop_reason: String,
    /// The outcomes of its messages.
    #[serde(flatten)]
    pub counters: Counters,
    /// Why messages were rejected.
    pub reasons: BTreeMap<String, Rejected>,
    /// The depth of the queue.
    #[serde(flatten)]
    pub depth: Depth,
    /// The error, as in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The names of the queue's known servers that were not reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<String>,
}

impl Run {
    /// Creates the record of a run that finished.
    #[must_use]
    pub fn of_report(started: SystemTime, report: &RunReport) -> Self {
        let rejects = |(reason, rejected): (&&str, &Rejected)| ((*reason).to_owned(), rejected.clone());
        Self {
            started,
            elapsed: report.elapsed,
            exit_code: report.exit() as u8,
            stop_reason: report.stop_reason.as_str().to_owned(),
            counters: report.counters,
            reasons: report.reasons.iter().map(rejects).collect(),
            depth: report.depth,
            error: report.fault.as_deref().or(report.cause.as_deref()).map(error_chain::one_line),
            unreached: report.servers.iter().flat_map(Servers::unreached).map(str::to_owned).collect(),
        }
    }

    /// Returns when it ended.
    #[must_use]
    pub fn ended(&self) -> SystemTime {
        self.started + self.elapsed
    }

    /// Creates the record of a run that failed before it could take a message.
    #[must_use]
    pub fn of_failure(started: SystemTime, elapsed: Duration, exit: Exit, error: String) -> Self {
        Self {
            started,
            elapsed,
            exit_code: exit as u8,
            stop_reason: FAILED.to_owned(),
            counters: Counters::default(),
            reasons: BTreeMap::new(),
            depth: Depth::default(),
            error: Some(error),
            unreached: Vec::new(),
        }
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}
