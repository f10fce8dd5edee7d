//! The state of a pipeline, derived from its runs and its timer. Pure: the caller passes what is known, and
//! the time.

mod again;
mod backlog;
mod lateness;
mod servers;
mod threshold;
mod timer;

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{KnownServer, Run, Unrecorded, words::span};

pub use backlog::Waiting;
pub use threshold::Threshold;
pub use timer::{Timer, interval};

/// The states of monitoring plugins, with their exit codes (the guidelines of Nagios and its successors).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Level {
    /// No problem is known.
    Ok = 0,
    /// Attention is advisable.
    Warning = 1,
    /// Action is required.
    Critical = 2,
    /// The state is unknown.
    Unknown = 3,
}

impl Level {
    /// Returns the level's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// Unknown is worse than a warning, because it may be critical.
    fn severity(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        }
    }
}

impl From<Level> for ExitCode {
    fn from(level: Level) -> Self {
        Self::from(level as u8)
    }
}

/// The largest difference of a clock that is corrected regularly.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// The number of runs after which it is a problem that no message was ever received.
const SILENT_RUNS: usize = 3;

/// What is known about a pipeline.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The configuration's name.
    pub name: &'a str,
    /// The current time.
    pub now: SystemTime,
    /// M, from the configuration or the package.
    pub period: Duration,
    /// N.
    pub max_messages: u64,
    /// The runs of the requested time, the oldest first.
    pub runs: &'a [Run],
    /// The last run, even if it is older.
    pub last: Option<&'a Run>,
    /// The newest run, if it has started and is not in the history.
    pub unrecorded: Option<Unrecorded>,
    /// When the last successful run ended by its own clock, even if it is older.
    pub last_success: Option<SystemTime>,
    /// What systemd reports; `None` if the pipeline has no timer, so that runs are started by hand.
    pub timer: Option<&'a Result<Timer, String>>,
    /// The known servers of the queue.
    pub servers: &'a [KnownServer],
    /// The command that shows the status of this pipeline.
    pub command: &'a str,
    /// The setting that may be mistyped, if no run has ever received a message.
    pub silent_name: Option<&'a str>,
    /// Settings that work but are not advisable.
    pub warnings: &'a [String],
}

/// A problem of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// What it is, and what to do.
    pub text: String,
}

/// Returns the level of the worst problem.
#[must_use]
pub fn level(problems: &[Problem]) -> Level {
    problems.iter().map(|problem| problem.level).max_by_key(|level| level.severity()).unwrap_or(Level::Ok)
}

impl Known<'_> {
    /// Returns the problems, the worst first.
    #[must_use]
    pub fn problems(&self, thresholds: &[(Level, Threshold)]) -> Vec<Problem> {
        let Some(last) = self.last else {
            return vec![Problem { level: Level::Unknown, text: "no run in the history yet".to_owned() }];
        };
        let trend = self.trend();
        let mut problems = Vec::new();
        let mut add = |level, text: String| problems.push(Problem { level, text });
        if let Some(ahead) = last.started.duration_since(self.now).ok().filter(|ahead| *ahead > CLOCKS_DIFFER)
        {
            add(
                Level::Warning,
                format!(
                    "the last run started {} in the future: the clock was wrong then, or is wrong now",
                    span(ahead)
                ),
            );
        }
        if let Some((level, text)) = self.lateness(last, thresholds) {
            add(level, text);
        }
        if last.exit_code != 0 {
            let error = last.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            add(Level::Warning, format!("the last run ended with exit code {}{error}", last.exit_code));
        }
        self.timer_problems(&mut add);
        if let Some(text) = self.unreported(last) {
            add(Level::Warning, text);
        }
        if let Some(text) = self.come_again() {
            add(Level::Warning, text);
        }
        if let Some((level, text)) = self.unreached(last) {
            add(level, text);
        }
        // A queue that creates what a consumer asks for does not report a mistyped name.
        if let Some(name) = self.silent_name.filter(|_| self.runs.len() >= SILENT_RUNS) {
            add(Level::Warning, format!("no run has received a message yet: is `{name}` correct?"));
        }
        if let Some(trend) = trend
            && let Some(text) = self.falls_behind(&trend)
        {
            add(Level::Warning, text);
        }
        self.exceeded(thresholds, trend, &mut add);
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.level.severity()));
        problems
    }

    /// Returns the known runs, the newest first. The last run may be the only one; otherwise it occurs twice.
    fn newest(&self) -> impl Iterator<Item = &Run> {
        self.last.into_iter().chain(self.runs.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x_msrv_core::{
        exit::Exit,
        report::{Counters, Depth},
    };

    pub(super) fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    pub(super) fn run(second: u64, stop_reason: &str, after: u64) -> Run {
        Run {
            started: at(second),
            elapsed: Duration::from_millis(20),
            exit_code: 0,
            stop_reason: stop_reason.to_owned(),
            counters: Counters { received: 10, stored: 10, ..Counters::default() },
            reasons: std::collections::BTreeMap::new(),
            depth: Depth { before: None, after: Some(after) },
            error: None,
            unreached: Vec::new(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it has the type of systemd's answers")]
    pub(super) fn timer(is_active: bool, next: Option<SystemTime>) -> Result<Timer, String> {
        let (unit, unit_file_state) = ("x-msrv.timer".to_owned(), "enabled".to_owned());
        Ok(Timer {
            unit,
            is_active,
            unit_file_state,
            is_running: false,
            failure: None,
            last: next.map(|next| next - Duration::from_secs(10)),
            next,
        })
    }

    pub(super) fn known<'a>(runs: &'a [Run], now: u64, timer: &'a Result<Timer, String>) -> Known<'a> {
        let last_success = runs.iter().rev().find(|run| run.exit_code == 0).map(|run| run.started);
        let (period, last) = (Duration::from_secs(10), runs.last());
        Known {
            name: "x-msrv",
            now: at(now),
            period,
            max_messages: 10,
            runs,
            last,
            unrecorded: None,
            last_success,
            timer: Some(timer),
            servers: &[],
            command: "x-msrv status",
            silent_name: None,
            warnings: &[],
        }
    }

    #[track_caller]
    pub(super) fn judged(known: &Known, thresholds: &[&str], expected: &[(Level, &str)]) {
        let thresholds: Vec<_> = thresholds
            .iter()
            .map(|text| match text.strip_prefix("critical ") {
                Some(text) => (Level::Critical, text.parse().expect("a threshold")),
                None => (Level::Warning, text.parse().expect("a threshold")),
            })
            .collect();
        let problems = known.problems(&thresholds);
        let is_expected = problems.len() == expected.len()
            && problems
                .iter()
                .zip(expected)
                .all(|(problem, (level, words))| problem.level == *level && problem.text.contains(words));
        assert!(is_expected, "{problems:#?}");
    }

    #[test]
    fn regular_successful_runs_are_no_problem() {
        let (runs, active) = (
            [run(0, "queue-empty", 0), run(10, "queue-empty", 0), run(20, "queue-empty", 0)],
            timer(true, Some(at(30))),
        );
        judged(&known(&runs, 25, &active), &[], &[]);
        judged(&known(&runs, 25, &Err("systemd does not answer".to_owned())), &[], &[]);
        assert_eq!(level(&[]), Level::Ok);
    }

    /// `is the topic … correct?` was asked of queues that have no topics.
    #[test]
    fn after_some_runs_without_a_message_the_setting_that_may_be_mistyped_is_named() {
        let empty = |second| {
            let counters = Counters::default();
            Run { counters, ..run(second, "queue-empty", 0) }
        };
        let (runs, active) = ([empty(0), empty(10), empty(20)], timer(true, Some(at(30))));
        let named = |runs| Known { silent_name: Some("redis.stream: odrers"), ..known(runs, 25, &active) };
        let expected = "no run has received a message yet: is `redis.stream: odrers` correct?";
        judged(&named(&runs), &[], &[(Level::Warning, expected)]);
        judged(&named(&runs[1..]), &[], &[]);
    }

    /// Returns a timer that starts a run every ten seconds, the next one a second from now.
    pub(super) fn ticking(now: u64) -> Result<Timer, String> {
        timer(true, Some(at(now + 1)))
    }

    /// A run of five hours ago was reported as one of the last hour, and its rejected messages as current.
    #[test]
    fn a_run_before_the_requested_time_counts_only_as_the_last_run() {
        let (mut old, active) = (run(0, "limit-reached", 7), ticking(18_000));
        old.counters.rejected = 10;
        let known = Known { last: Some(&old), last_success: Some(at(0)), ..known(&[], 18_000, &active) };
        judged(&known, &["rejected=5%", "age=6h", "backlog=7"], &[]);
        assert_eq!(known.backlog(), "7 messages left 4 h 59 min ago; unknown since then");
        assert_eq!(Known { timer: None, ..known.clone() }.backlog(), "7 messages left 4 h 59 min ago");
        judged(&known, &[], &[(Level::Critical, "no successful run in the last 5 h")]);
    }

    #[test]
    fn a_failed_run_is_reported_with_its_error() {
        let failed = Run::of_failure(
            at(10),
            Duration::ZERO,
            Exit::Unavailable,
            "cannot reach nsqd at queue:4150".to_owned(),
        );
        let (runs, active) = ([run(0, "queue-empty", 0), failed.clone()], timer(true, Some(at(20))));
        judged(
            &known(&runs, 15, &active),
            &[],
            &[(Level::Warning, "ended with exit code 69: cannot reach nsqd at queue:4150")],
        );
        judged(
            &known(&[failed], 45, &ticking(45)),
            &[],
            &[
                (Level::Warning, "no successful run in the last 35 s"),
                (Level::Warning, "ended with exit code 69"),
            ],
        );
    }

    #[test]
    fn a_run_in_the_future_is_reported() {
        let (runs, active) = ([run(7_200, "queue-empty", 0)], timer(true, Some(at(15))));
        judged(&known(&runs, 5, &active), &[], &[(Level::Warning, "started 1 h 59 min in the future")]);
        let failed = |second| {
            Run::of_failure(at(second), Duration::ZERO, Exit::Unavailable, "cannot reach nsqd".to_owned())
        };
        let runs = [run(0, "queue-empty", 0), run(7_200, "queue-empty", 0), failed(20), failed(110)];
        let ticking = ticking(115);
        let known = Known { last_success: Some(at(7_200)), ..known(&runs, 115, &ticking) };
        judged(
            &known,
            &[],
            &[
                (Level::Critical, "no successful run in the last 1 min 54 s"),
                (Level::Warning, "ended with exit code 69"),
            ],
        );
    }
}
