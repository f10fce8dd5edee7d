//! Limits that a user sets.

use std::{str::FromStr, time::Duration};

use x_msrv_settings::duration;

use super::{Known, Level, backlog::NEVER_ASKED};
use crate::{
    summary::{Summary, Trend},
    words::{number, span},
};

/// A limit beyond which something is a problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Time since the end of the last successful run.
    Age(Duration),
    /// Messages waiting.
    Backlog(u64),
    /// Estimated time until no message waits.
    Drain(Duration),
    /// Share of the received messages that is rejected, 0 to 1.
    Rejected(f64),
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MEASURES: &str = "expected age=DURATION, backlog=MESSAGES, drain=DURATION or rejected=PERCENT%";
        let (measure, value) = text.split_once('=').ok_or(MEASURES)?;
        let wrong = || {
            duration::calendar(value)
                .unwrap_or_else(|| format!("`{value}` is not a duration such as 90s or 10m"))
        };
        let duration = || duration::parse(value).ok_or_else(wrong);
        match measure {
            "age" => duration().map(Self::Age),
            "drain" => duration().map(Self::Drain),
            "backlog" => {
                value.parse().map(Self::Backlog).map_err(|_| format!("`{value}` is not a number of messages"))
            }
            "rejected" => {
                let percent: Option<f64> = value.strip_suffix('%').and_then(|percent| percent.parse().ok());
                let share =
                    percent.filter(|percent| (0.0..=100.0).contains(percent)).map(|percent| percent / 100.0);
                share.map(Self::Rejected).ok_or_else(|| format!("`{value}` is not a percentage such as 5%"))
            }
            _ => Err(format!("unknown measure `{measure}`: {MEASURES}")),
        }
    }
}

impl Known<'_> {
    /// Adds the thresholds that are exceeded, and those that cannot be checked.
    pub(super) fn exceeded(
        &self,
        thresholds: &[(Level, Threshold)],
        trend: Option<Trend>,
        add: &mut impl FnMut(Level, String),
    ) {
        let summary = Summary::of(self.runs);
        // What an earlier run reported may have changed.
        let newest = self.newest().find(|run| run.asked_queue());
        let depth = newest.and_then(|run| run.depth.after);
        if depth.is_none()
            && thresholds
                .iter()
                .any(|(_, threshold)| matches!(threshold, Threshold::Backlog(_) | Threshold::Drain(_)))
        {
            let why = match newest {
                Some(_) => {
                    "the last run could not determine it (not every queue reports it; with `log.level: debug` a run may log why)"
                }
                None => NEVER_ASKED,
            };
            add(
                Level::Unknown,
                format!("depth of the queue unknown, so `backlog` and `drain` are not checked: {why}"),
            );
        }
        for (level, threshold) in thresholds {
            match *threshold {
                Threshold::Backlog(limit) => {
                    if let Some(depth) = depth.filter(|depth| *depth > limit) {
                        add(*level, format!("{} messages waiting (limit {})", number(depth), number(limit)));
                    }
                }
                Threshold::Drain(limit) => {
                    if let Some(trend) = trend.filter(|trend| depth.is_some() && trend.per_second.is_some())
                        && trend.time_to_drain().is_none_or(|time| time > limit)
                    {
                        let time = trend
                            .time_to_drain()
                            .map_or("never, the backlog is not shrinking".to_owned(), span);
                        let depth = number(trend.depth);
                        let limit = span(limit);
                        add(
                            *level,
                            format!("estimated time to drain {depth} messages: {time} (limit {limit})"),
                        );
                    }
                }
                Threshold::Rejected(limit) if summary.rejected_share() > limit => {
                    let (share, limit) = (summary.rejected_share() * 100.0, limit * 100.0);
                    add(*level, format!("{share:.1}% of the received messages rejected (limit {limit}%)"));
                }
                Threshold::Rejected(_) | Threshold::Age(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{at, judged, known, run, ticking, timer},
        *,
    };
    use crate::Run;
    use x_msrv_core::{exit::Exit, report::Depth};

    #[test]
    fn thresholds_apply_to_backlog_drain_time_and_rejected_messages() {
        let mut runs: Vec<_> = [100, 80, 60, 40]
            .iter()
            .zip(0..)
            .map(|(depth, at)| run(10 * at, "limit-reached", *depth))
            .collect();
        runs[3].counters.rejected = 2;
        let active = timer(true, Some(at(40)));
        let known = known(&runs, 35, &active);
        judged(&known, &["backlog=40", "drain=20s", "rejected=5%"], &[]);
        judged(
            &known,
            &["backlog=39", "drain=19s", "critical rejected=4.9%"],
            &[
                (Level::Critical, "5.0% of the received messages rejected (limit 4.9%)"),
                (Level::Warning, "40 messages waiting (limit 39)"),
                (Level::Warning, "estimated time to drain 40 messages: 20 s (limit 19 s)"),
            ],
        );
    }

    /// Thresholds were silently not checked, or checked against figures of an hour ago.
    #[test]
    fn thresholds_that_cannot_be_checked_are_unknown() {
        let backlog = |depths: &[Option<u64>]| -> Vec<_> {
            let run = |(depth, number): (&Option<u64>, u64)| Run {
                depth: Depth { before: None, after: *depth },
                ..run(10 * number, "limit-reached", 0)
            };
            depths.iter().zip(0..).map(run).collect()
        };
        let (active, asked) = (timer(true, Some(at(310))), ["critical backlog=1", "critical drain=1s"]);
        let not_known = [(
            Level::Unknown,
            "depth of the queue unknown, so `backlog` and `drain` are not checked: the last run could not",
        )];
        let never = backlog(&[None; 30]);
        judged(&known(&never, 300, &active), &asked, &not_known);
        judged(&known(&never, 300, &active), &["age=1h", "rejected=5%"], &[]);
        let once = backlog(&[&[Some(5_000), Some(5_100), Some(5_200)][..], &[None; 27]].concat());
        judged(&known(&once, 300, &active), &asked, &not_known);
        judged(&known(&once, 300, &active), &[], &[]);
        let mut unreached = backlog(&[Some(5), Some(5), Some(5), None]);
        unreached[3] =
            Run::of_failure(at(30), Duration::ZERO, Exit::Unavailable, "cannot reach nsqd".to_owned());
        judged(
            &known(&unreached, 35, &active),
            &["critical backlog=1"],
            &[(Level::Critical, "5 messages waiting"), (Level::Warning, "ended with exit code 69")],
        );
        judged(
            &known(&unreached[3..], 35, &active),
            &["backlog=1"],
            &[(Level::Unknown, NEVER_ASKED), (Level::Warning, "ended with exit code 69")],
        );
        judged(
            &known(&never, 3_000, &ticking(3_000)),
            &["backlog=1"],
            &[(Level::Critical, "no successful run"), (Level::Unknown, "depth of the queue unknown")],
        );
    }

    #[test]
    fn an_invalid_threshold_is_refused_with_what_is_allowed() {
        for (text, words) in [
            ("age", "age=DURATION"),
            ("age=soon", "not a duration"),
            ("backlog=many", "not a number"),
            ("rejected=5", "not a percentage such as 5%"),
            ("rejected=101%", "5%"),
            ("load=1", "unknown measure `load`"),
        ] {
            let error = text.parse::<Threshold>().expect_err("refused");
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
