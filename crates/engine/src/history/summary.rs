//! What the rows of a history say together: sums, and whether runs keep up. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::Run;
use crate::report::{Counters, Rejected};

/// Some runs taken together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// How many.
    pub runs: u64,
    /// Of them, how many ended with another code than 0.
    pub failed: u64,
    /// What became of their messages.
    pub counters: Counters,
    /// Why messages were rejected, each with the newest reason in full.
    pub reasons: BTreeMap<String, Rejected>,
    /// How long the longest took.
    pub longest: Duration,
    /// How much waited at the end of the last one where that was known.
    pub depth: Option<u64>,
}

impl Summary {
    /// Of these, the oldest first.
    #[must_use]
    #[inline(never)] // it is large, and asked for in many places that are no part of a run
    pub fn of(runs: &[Run]) -> Self {
        let mut summary = Self::default();
        for run in runs {
            summary.runs += 1;
            summary.failed += u64::from(run.exit_code != 0);
            summary.counters.add(&run.counters);
            for (reason, rejected) in &run.reasons {
                let sum = summary.reasons.entry(reason.clone()).or_default();
                sum.messages += rejected.messages;
                sum.detail.clone_from(&rejected.detail);
            }
            summary.longest = summary.longest.max(run.elapsed);
            summary.depth = run.depth.after.or(summary.depth);
        }
        summary
    }

    /// The part of what was received that was rejected, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn rejected_share(&self) -> f64 {
        self.counters.rejected as f64 / self.counters.received.max(1) as f64
    }
}

/// How the backlog moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Messages that wait.
    pub depth: u64,
    /// How many more they become in a second; negative where they become less.
    pub per_second: f64,
    /// Messages that come in a second.
    pub arriving: f64,
}

/// The part of the ups and downs that a line has to explain (the coefficient of determination) to be a trend.
const EXPLAINED: f64 = 0.5;

impl Trend {
    /// Of these runs, the oldest first: the straight line that fits the depths at their ends best. `None` where fewer than three are known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    pub fn of(runs: &[Run]) -> Option<Self> {
        let known = || runs.iter().filter_map(|run| Some((run, run.depth.after?)));
        let ((first, _), (last, depth)) = (known().next()?, known().next_back()?);
        let seconds =
            |run: &Run| (run.started + run.elapsed).duration_since(first.started + first.elapsed).unwrap_or_default().as_secs_f64();
        let (count, span) = (known().count(), seconds(last));
        if count < 3 || span <= 0.0 {
            return None;
        }
        let count = count as f64;
        let (time, mean) =
            known().fold((0.0, 0.0), |(time, mean), (run, depth)| (time + seconds(run) / count, mean + depth as f64 / count));
        let (mut of_time, mut of_depth, mut of_both) = (0.0, 0.0, 0.0);
        for (run, depth) in known() {
            let (seconds, depth) = (seconds(run) - time, depth as f64 - mean);
            of_time += seconds * seconds;
            of_depth += depth * depth;
            of_both += seconds * depth;
        }
        // What the first run took came before its end.
        let taken: u64 =
            runs.iter().filter(|run| run.started > first.started).map(|run| run.counters.received - run.counters.requeued).sum();
        let first_depth = known().next().map_or(0, |(_, depth)| depth);
        let arriving = (taken as f64 + depth as f64 - first_depth as f64) / span;
        let is_trend = of_time > 0.0 && of_both * of_both > EXPLAINED * of_time * of_depth;
        Some(Self { depth, per_second: if is_trend { of_both / of_time } else { 0.0 }, arriving: arriving.max(0.0) })
    }

    /// When nothing will wait any more if it goes on like this; `None` where it will not.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
    pub fn time_to_drain(&self) -> Option<Duration> {
        match self.depth {
            0 => Some(Duration::ZERO),
            depth if self.per_second < 0.0 => Duration::try_from_secs_f64(depth as f64 / -self.per_second).ok(),
            _ => None,
        }
    }
}

/// The runs in spans of equal length from `from` on, each with its beginning; those without runs are there as well.
///
/// # Panics
/// `span` is not zero.
#[must_use]
pub fn spans(runs: &[Run], from: SystemTime, until: SystemTime, span: Duration) -> Vec<(SystemTime, Summary)> {
    assert!(!span.is_zero(), "a span takes some time");
    let (mut spans, mut begin, mut rest) = (Vec::new(), from, runs);
    while begin < until {
        let end = begin + span;
        let count = rest.iter().position(|run| run.started >= end).unwrap_or(rest.len());
        let (here, later) = rest.split_at(count);
        spans.push((begin, Summary::of(here)));
        (begin, rest) = (end, later);
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit::Exit, report::Depth};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    /// One that began then, took so many messages, and left so many.
    fn run(second: u64, stored: u64, after: Option<u64>) -> Run {
        Run {
            started: at(second),
            elapsed: Duration::from_millis(100),
            exit_code: 0,
            stop_reason: "limit-reached".to_owned(),
            counters: Counters { received: stored, stored, ..Counters::default() },
            reasons: BTreeMap::new(),
            depth: Depth { before: None, after },
            error: None,
        }
    }

    /// Runs every 10 s that take ten each.
    fn backlog(depths: &[u64]) -> Vec<Run> {
        depths.iter().zip(0..).map(|(depth, number)| run(10 * number, 10, Some(*depth))).collect()
    }

    #[test]
    fn runs_are_summed_up_with_the_newest_reason_of_each_kind() {
        let rejected =
            |messages, detail: &str| [("not-json".to_owned(), Rejected { messages, detail: detail.to_owned() })].into_iter().collect();
        let mut runs = backlog(&[30, 20]);
        for (run, detail) in runs.iter_mut().zip(["first", "second"]) {
            run.counters.rejected = 2;
            run.reasons = rejected(2, detail);
        }
        runs.push(Run::of_failure(at(20), Duration::from_secs(2), Exit::Unavailable, "cannot reach nsqd".to_owned()));
        let summary = Summary::of(&runs);
        assert_eq!((summary.runs, summary.failed, summary.counters.received), (3, 1, 20));
        assert_eq!(summary.reasons, rejected(4, "second"));
        assert_eq!((summary.longest, summary.depth), (Duration::from_secs(2), Some(20)), "a run that does not know leaves what was known");
        assert!((summary.rejected_share() - 0.2).abs() < 1e-9);
        assert!(Summary::of(&[]).rejected_share().abs() < 1e-9, "no share of nothing");
    }

    #[test]
    fn a_backlog_that_falls_has_an_end_and_one_that_grows_has_none() {
        let trend = Trend::of(&backlog(&[1_000, 995, 990, 985])).expect("known");
        assert!((trend.per_second + 0.5).abs() < 1e-9 && (trend.arriving - 0.5).abs() < 1e-9, "{trend:?}");
        assert_eq!(trend.time_to_drain(), Some(Duration::from_secs(1_970)));
        let trend = Trend::of(&backlog(&[10, 20, 30, 40])).expect("known");
        assert!((trend.per_second - 1.0).abs() < 1e-9 && (trend.arriving - 2.0).abs() < 1e-9, "{trend:?}");
        assert_eq!(trend.time_to_drain(), None);
    }

    #[test]
    fn what_comes_and_goes_is_no_trend() {
        let trend = Trend::of(&backlog(&[1_000, 1_003, 998, 1_001, 1_002])).expect("known");
        assert_eq!((trend.per_second, trend.time_to_drain()), (0.0, None));
        let trend = Trend::of(&backlog(&[0, 0, 0])).expect("known");
        assert_eq!((trend.per_second, trend.time_to_drain()), (0.0, Some(Duration::ZERO)));
    }

    #[test]
    fn too_little_is_no_trend() {
        assert_eq!(Trend::of(&[]), None);
        assert_eq!(Trend::of(&backlog(&[5, 6])), None);
        assert_eq!(Trend::of(&[run(0, 10, None), run(10, 10, None), run(20, 10, Some(1)), run(30, 10, None)]), None);
        assert_eq!(Trend::of(&[run(5, 1, Some(1)), run(5, 1, Some(2)), run(5, 1, Some(3))]), None, "no time has passed");
        let with_gaps = [run(0, 10, Some(30)), run(10, 10, None), run(20, 10, Some(20)), run(30, 10, Some(15))];
        assert!(Trend::of(&with_gaps).is_some_and(|trend| trend.per_second < 0.0));
    }

    #[test]
    fn spans_have_no_holes_and_each_run_once() {
        let runs = [run(0, 1, None), run(9, 2, None), run(10, 4, None), run(35, 8, None)];
        let spans = spans(&runs, at(0), at(40), Duration::from_secs(10));
        let received: Vec<_> = spans.iter().map(|(begin, summary)| (*begin, summary.counters.received)).collect();
        assert_eq!(received, [(at(0), 3), (at(10), 4), (at(20), 0), (at(30), 8)]);
    }
}
