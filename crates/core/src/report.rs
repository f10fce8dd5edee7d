//! The report of a run: counters that must add up, and how they are displayed.

use std::{collections::BTreeMap, fmt, time::Duration};

use log::info;
use serde::Serialize;

use crate::{
    budget::StopReason, decode::Rejection, exit::Exit, message::Settlement, outcome::Outcome,
    servers::Servers, source::Closed,
};

/// Messages by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counters {
    /// Deliveries that arrived, counted by the source on arrival.
    pub received: u64,
    /// Written to the store.
    pub stored: u64,
    /// Already in the store, and left unchanged.
    pub duplicate: u64,
    /// Cannot be stored: kept as a dead letter, or only logged if so configured.
    pub rejected: u64,
    /// Returned to the queue: retried or released.
    pub requeued: u64,
    /// Dead letters that were acknowledged.
    pub dead_lettered: u64,
    /// Of the requeued messages: those that the store or the dead-letter destination failed on, and those
    /// that arrived after the run had inferred that the queue was empty.
    pub deferred: u64,
    /// Settlements that the queue refused, or that may not have reached it: the message may be delivered
    /// again.
    pub unconfirmed: u64,
    /// Bytes of the bodies of received messages.
    pub received_bytes: u64,
    /// Of the rejected messages: those that would have been retried or released if the queue delivered them
    /// again.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_up: u64,
    /// Messages that are stored and are delivered again anyway, because an earlier one pins the queue's
    /// position.
    #[serde(skip_serializing_if = "is_zero")]
    pub behind: u64,
}

/// The progress of a run, for display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Messages with an outcome.
    pub done: u64,
    /// The expected total: the queue's depth at the start, or N; `None` if unknown.
    pub expected: Option<u64>,
}

/// The messages that were rejected for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// How many.
    pub messages: u64,
    /// The full reason of the last one; it contains nothing of the body.
    pub detail: String,
}

/// The outcomes of the messages, and the reasons of the rejected ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Counters of all messages.
    pub counters: Counters,
    /// The rejected messages by [`Rejection::reason`](crate::decode::Rejection::reason).
    pub reasons: BTreeMap<&'static str, Rejected>,
}

/// The queue's depth, if it is known: messages that no consumer holds, including delayed and paused ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Before the first message was taken.
    #[serde(rename = "depth-before", skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// After the last message was settled.
    #[serde(rename = "depth-after", skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

impl Tally {
    /// Counts one received message of `bytes` bytes with its outcome.
    pub fn count(&mut self, bytes: usize, outcome: &Outcome) {
        self.counters.count(outcome);
        self.counters.received_bytes += bytes as u64;
        if let Outcome::Rejected(rejection) = outcome {
            self.counters.given_up += u64::from(matches!(rejection, Rejection::LastDelivery { .. }));
            let rejected = self.reasons.entry(rejection.reason()).or_default();
            rejected.messages += 1;
            rejected.detail = rejection.to_string();
        }
    }
}

impl Counters {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Stored => self.stored += 1,
            Outcome::Duplicate => self.duplicate += 1,
            Outcome::Rejected(_) => self.rejected += 1,
            Outcome::Deferred { .. } | Outcome::NotStarted => {
                debug_assert_ne!(
                    outcome.settlement(),
                    Settlement::Done,
                    "only a safe message is acknowledged"
                );
                self.requeued += 1;
                self.deferred += u64::from(matches!(outcome, Outcome::Deferred { .. }));
            }
        }
    }

    /// Adds the source's count of received messages, and what it settled while closing.
    pub fn count_closed(&mut self, closed: &Closed) {
        self.received += closed.received;
        self.requeued += closed.returned;
        self.unconfirmed += closed.unconfirmed;
        self.behind += closed.behind;
    }

    /// Adds the counters of another run.
    pub fn add(&mut self, other: &Self) {
        let Self {
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
        } = other;
        self.received += received;
        self.stored += stored;
        self.duplicate += duplicate;
        self.rejected += rejected;
        self.requeued += requeued;
        self.dead_lettered += dead_lettered;
        self.deferred += deferred;
        self.unconfirmed += unconfirmed;
        self.received_bytes += received_bytes;
        self.given_up += given_up;
        self.behind += behind;
    }

    /// Returns the number of messages with an outcome.
    #[must_use]
    pub fn accounted_for(&self) -> u64 {
        self.stored + self.duplicate + self.rejected + self.requeued
    }

    /// Returns whether every received message is accounted for.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.received == self.accounted_for() && self.deferred <= self.requeued
    }
}

/// The report of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunReport {
    /// Why it stopped taking messages.
    pub stop_reason: StopReason,
    /// The outcomes of the messages.
    #[serde(flatten)]
    pub counters: Counters,
    /// The reasons of rejected messages.
    #[serde(serialize_with = "messages")]
    pub reasons: BTreeMap<&'static str, Rejected>,
    /// The depth of the queue.
    #[serde(flatten)]
    pub depth: Depth,
    /// The time since the configuration was read, including the time to connect.
    #[serde(rename = "elapsed-seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Messages received per second of that time.
    pub messages_per_second: u64,
    /// The setup fault that stopped the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why the queue was lost, or else the first cause of requeued messages. Set only if the exit code reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The queue's servers as the run found them, if it asked for messages.
    #[serde(skip)]
    pub servers: Option<Servers>,
    /// The names of the queue's known servers that were not reached. The history adds those that earlier runs
    /// found and this one did not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Serializes a duration as seconds with microseconds.
///
/// # Errors
/// Errors of the serializer.
pub fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e6)
}

fn messages<S: serde::Serializer>(
    reasons: &BTreeMap<&'static str, Rejected>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(reasons.iter().map(|(reason, rejected)| (reason, rejected.messages)))
}

impl RunReport {
    /// Creates a report. If the counters do not add up, that is the report's fault and exit code, whatever
    /// else happened: a message was dropped or counted twice.
    #[must_use]
    pub fn new(
        stop_reason: StopReason,
        tally: Tally,
        depth: Depth,
        elapsed: Duration,
        fault: Option<String>,
    ) -> Self {
        let Tally { counters, reasons } = tally;
        let fault = if counters.add_up() {
            fault
        } else {
            let (received, accounted_for) = (counters.received, counters.accounted_for());
            Some(format!(
                "this is a bug in x-msrv: {received} messages were received, but {accounted_for} are accounted for"
            ))
        };
        let report = Self {
            stop_reason,
            counters,
            reasons,
            depth,
            elapsed,
            messages_per_second: 0,
            fault,
            cause: None,
            servers: None,
            unreached: Vec::new(),
        };
        report.took(elapsed)
    }

    /// Sets the servers of the queue.
    #[must_use]
    pub fn found(self, servers: Servers) -> Self {
        Self { unreached: servers.unreached().map(str::to_owned).collect(), servers: Some(servers), ..self }
    }

    /// Sets the duration of the run.
    #[must_use]
    pub fn took(self, elapsed: Duration) -> Self {
        let per_second = u128::from(self.counters.received) * 1_000_000 / elapsed.as_micros().max(1);
        Self { elapsed, messages_per_second: u64::try_from(per_second).unwrap_or(u64::MAX), ..self }
    }

    /// Sets the cause of the exit code: of the first retry or of the trouble with the queue, whichever caused
    /// it. Nothing is set if the run succeeded, or if `fault` describes the cause.
    #[must_use]
    pub fn because(self, retry: Option<String>, trouble: Option<String>) -> Self {
        let cause = match self.stop_reason {
            StopReason::QueueClosed => trouble,
            _ => retry.or(trouble),
        };
        let is_wanted = self.exit() != Exit::Success && self.fault.is_none();
        let otherwise = || match self.stop_reason {
            StopReason::QueueClosed => "the connection to the queue was lost",
            _ => "settlements may not have reached the queue",
        };
        Self { cause: is_wanted.then(|| cause.unwrap_or_else(|| otherwise().to_owned())), ..self }
    }

    /// Returns the exit code of the run.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.stop_reason {
            _ if !self.counters.add_up() => Exit::Software,
            StopReason::StoreSetup => Exit::Configuration,
            StopReason::QueueClosed => Exit::Unavailable,
            _ if self.counters.deferred + self.counters.unconfirmed + self.counters.given_up > 0 => {
                Exit::TemporaryFailure
            }
            _ => Exit::Success,
        }
    }

    /// Returns a short summary, for the unit's status.
    #[must_use]
    pub fn summary(&self) -> String {
        let Counters { received, stored, duplicate, rejected, requeued, .. } = self.counters;
        let elapsed = self.elapsed.as_secs_f64() * 1e3;
        let reason = self.stop_reason.as_str();
        format!(
            "{reason}: received {received}, stored {stored}, duplicate {duplicate}, rejected {rejected}, requeued {requeued} in {elapsed:.0} ms"
        )
    }

    /// Logs the one summary line of the run.
    pub fn log(&self) {
        let Counters {
            received,
            stored,
            duplicate,
            rejected,
            requeued,
            dead_lettered,
            deferred,
            unconfirmed,
            ..
        } = self.counters;
        info!(
            stop_reason = self.stop_reason.as_str(), received, stored, duplicate, rejected, requeued, dead_lettered, deferred, unconfirmed,
            elapsed_ms = format!("{:.1}", self.elapsed.as_secs_f64() * 1e3), per_second = self.messages_per_second;
            "run finished"
        );
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).expect("a report has text keys and finite numbers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Rejection;

    fn report(stop_reason: StopReason, deferred: u64) -> RunReport {
        let counters = Counters { received: deferred, requeued: deferred, deferred, ..Counters::default() };
        let tally = Tally { counters, ..Tally::default() };
        RunReport::new(
            stop_reason,
            tally,
            Depth { before: Some(3), after: None },
            Duration::from_millis(2),
            None,
        )
    }

    #[test]
    fn every_outcome_is_counted_once_and_the_counters_add_up() {
        let mut tally = Tally::default();
        let deferred = Outcome::Deferred { attempts: Some(1), cause: "down".into() };
        let refused = |detail: &str| Outcome::Rejected(Rejection::Refused(detail.into()));
        for (count, outcome) in (1..).zip([
            Outcome::Stored,
            Outcome::Duplicate,
            refused("first"),
            deferred,
            Outcome::NotStarted,
            refused("last"),
        ]) {
            tally.count(7, &outcome);
            assert_eq!(tally.counters.accounted_for(), count, "{tally:?}");
        }
        let rejected = tally.reasons.get("refused").expect("counted");
        assert_eq!((rejected.messages, rejected.detail.ends_with("last")), (2, true), "{rejected:?}");
        let mut counters = tally.counters;
        assert_eq!((counters.received_bytes, counters.rejected), (42, 2));
        counters.count_closed(&Closed { received: 8, returned: 2, unconfirmed: 1, ..Closed::default() });
        assert!(counters.add_up(), "{counters:?}");
        assert_eq!(
            (counters.received, counters.requeued, counters.deferred, counters.unconfirmed),
            (8, 4, 1, 1)
        );
    }

    #[test]
    fn the_exit_code_depends_on_the_stop_reason_and_the_outage() {
        use StopReason::{Deadline, LimitReached, QueueClosed, QueueEmpty, Signal, StoreSetup};
        for reason in [Deadline, LimitReached, QueueEmpty, Signal] {
            assert_eq!(report(reason, 0).exit(), Exit::Success, "{reason:?}");
            assert_eq!(report(reason, 1).exit(), Exit::TemporaryFailure, "{reason:?}");
        }
        assert_eq!(report(QueueClosed, 1).exit(), Exit::Unavailable);
        assert_eq!(report(StoreSetup, 1).exit(), Exit::Configuration);
    }

    /// The sum was checked only in debug builds, against a number that was counted together with its parts: a
    /// dropped message went unnoticed.
    /// An outage of the store before the queue was lost was reported as the cause of exit code 69.
    #[test]
    fn a_lost_queue_has_its_own_cause_and_not_that_of_an_earlier_retry() {
        for (reason, cause) in
            [(StopReason::QueueClosed, "queue gone"), (StopReason::StoreUnavailable, "store down")]
        {
            let (retry, trouble) = ("store down".to_owned(), "queue gone".to_owned());
            assert_eq!(report(reason, 1).because(Some(retry), Some(trouble)).cause.as_deref(), Some(cause));
        }
    }

    #[test]
    fn a_message_that_is_not_accounted_for_is_reported_as_a_bug_in_every_build() {
        for (received, stored) in [(5, 4), (4, 5)] {
            let tally =
                Tally { counters: Counters { received, stored, ..Counters::default() }, ..Tally::default() };
            let report = RunReport::new(
                StopReason::StoreSetup,
                tally,
                Depth::default(),
                Duration::ZERO,
                Some("no such table".into()),
            );
            assert_eq!(report.exit(), Exit::Software);
            let fault = format!("{received} messages were received, but {stored} are accounted for");
            assert!(report.fault.as_ref().is_some_and(|text| text.contains(&fault)), "{:?}", report.fault);
        }
    }

    #[test]
    fn as_json_a_report_is_one_flat_object() {
        let json: serde_json::Value =
            serde_json::from_str(&report(StopReason::QueueEmpty, 3).to_string()).expect("JSON");
        assert_eq!(json["stop-reason"], "queue-empty");
        assert_eq!(json["dead-lettered"], 0);
        assert_eq!(json["elapsed-seconds"], 0.002);
        assert_eq!(json["messages-per-second"], 1_500);
        assert_eq!(
            (&json["depth-before"], json.get("depth-after")),
            (&serde_json::json!(3), None),
            "an unknown value is omitted"
        );
        assert_eq!(json["reasons"], serde_json::json!({}));
    }
}
