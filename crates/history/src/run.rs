//! The record of one run.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

use x_msrv_core::{
    budget::StopReason,
    error_chain,
    exit::Exit,
    report::{Counters, Depth, Rejected, RunReport},
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
            unreached: report.unreached.clone(),
        }
    }

    /// Returns whether it got as far as to ask the queue for messages.
    #[must_use]
    pub fn asked_queue(&self) -> bool {
        let was_stopped_before = self.stop_reason == StopReason::Signal.as_str()
            && self.counters.received == 0
            && self.depth == Depth::default();
        self.stop_reason != FAILED && !was_stopped_before
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use x_msrv_core::{
        report::Tally,
        servers::{Server, Servers},
    };

    /// The report had no `unreached` where the history had it. What differs is listed in docs/runs.md.
    #[test]
    fn the_history_has_every_field_of_the_report_except_the_listed_ones() {
        let counters =
            Counters { received: 3, stored: 2, rejected: 1, given_up: 1, behind: 1, ..Counters::default() };
        let rejected = Rejected { messages: 1, detail: "the last delivery".to_owned() };
        let tally = Tally { counters, reasons: [("last-delivery", rejected)].into_iter().collect() };
        let servers = Servers {
            named: vec![Server { name: "a".to_owned(), is_found: true, is_reached: false }],
            scope: None,
        };
        let depth = Depth { before: Some(3), after: Some(1) };
        let report = RunReport::new(StopReason::QueueEmpty, tally, depth, Duration::from_secs(1), None);
        let report = report.found(servers).because(Some("no space left".to_owned()), None);
        let run = Run::of_report(SystemTime::UNIX_EPOCH, &report);
        let (report, run) = (report.to_string(), serde_json::to_string(&run).expect("JSON"));
        let fields = |json: &str| -> BTreeMap<String, serde_json::Value> {
            serde_json::from_str(json).expect("an object")
        };
        let (report, run) = (fields(&report), fields(&run));
        let only_in = |one: &BTreeMap<String, _>, other: &BTreeMap<String, _>| -> BTreeSet<String> {
            one.keys().filter(|key| !other.contains_key(*key)).cloned().collect()
        };
        assert_eq!(only_in(&report, &run), ["cause", "messages-per-second"].map(str::to_owned).into());
        assert_eq!(only_in(&run, &report), ["error", "exit-code", "started"].map(str::to_owned).into());
        let differ = report.iter().filter(|(key, value)| run.get(*key).is_some_and(|other| other != *value));
        assert_eq!(differ.map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["reasons"]);
        assert_eq!(run["error"], report["cause"]);
    }
}
