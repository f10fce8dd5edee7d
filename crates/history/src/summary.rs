//! Sums over runs, and the trend of the backlog. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::Run;
use x_msrv_core::report::{Counters, Rejected};

/// Several runs together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// The number of runs.
    pub runs: u64,
    /// The number of runs that did not exit with 0.
    pub failed: u64,
    /// The outcomes of their messages.
    pub counters: Counters,
    /// Why messages were rejected, each with its newest detail.
    pub reasons: BTreeMap<String, Rejected>,
    /// The duration of the longest run.
    pub longest: Duration,
    /// The depth of the queue after the last run that knew it.
    pub depth: Option<u64>,
}

impl Summary {
    /// Sums up runs, the oldest first.
    #[must_use]
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

    /// Returns the share of the received messages that was rejected, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn rejected_share(&self) -> f64 {
        self.counters.rejected as f64 / self.counters.received.max(1) as f64
    }
}

/// The trend of the backlog.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// The number of waiting messages.
    pub depth: u64,
    /// Their growth per second, negative if they become fewer. `None` if there are too few runs since the
    /// last event.
    pub per_second: Option<f64>,
    /// Messages that arrived per second.
    pub arriving: f64,
    /// The time over which they arrived, up to the last run that knew the depth.
    pub over: Duration,
}

/// The fewest runs that show a trend.
const FEWEST: usize = 3;

/// The share of the variation that a line must explain (the coefficient of determination) to be a trend.
const EXPLAINED: f64 = 0.5;

/// The share above which there was no event in between. A line explains at most three quarters of a step,
/// wherever the step is.
const EXPLAINED_WELL: f64 = 0.9;

/// The largest part of the variation unexplained by one line that two lines, before and after an event, may
/// leave. If they leave more, there was no event. Two lines rarely leave so little of random variation.
const LEFT: f64 = 0.2;

impl Trend {
    /// Returns the trend of runs, the oldest first; `None` if fewer than three of them know the depth of the
    /// queue.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    pub fn of(runs: &[Run]) -> Option<Self> {
        let first = runs.first()?;
        let known = |(index, run): (usize, &Run)| {
            let second = run.ended().duration_since(first.ended()).unwrap_or_default().as_secs_f64();
            Some(Point { index, second, depth: run.depth.after? as f64 })
        };
        let known: Vec<_> = runs.iter().enumerate().filter_map(known).collect();
        if known.len() < FEWEST {
            return None;
        }
        let (depth, empty) = (known.last()?.depth, known.iter().rposition(|point| point.depth == 0.0));
        let newest = match empty {
            _ if depth == 0.0 => Some((&known[..], 0.0)),
            Some(empty) => since_the_last_event(&known[empty + 1..]),
            None => since_the_last_event(&known),
        };
        let points = newest.map_or(&known[..], |(points, _)| points);
        let (from, to) = (points.first()?, points.last()?);
        let span = to.second - from.second;
        // What the first run took had arrived before its end. When the messages of runs after the last point
        // arrived is unknown.
        let taken: u64 = runs[from.index + 1..=to.index]
            .iter()
            .map(|run| run.counters.received - run.counters.requeued)
            .sum();
        let arriving = (taken as f64 + to.depth - from.depth) / span;
        (span > 0.0).then(|| Self {
            depth: runs[to.index].depth.after.unwrap_or_default(),
            per_second: newest.map(|(_, slope)| slope),
            arriving: arriving.max(0.0),
            over: Duration::try_from_secs_f64(span).unwrap_or_default(),
        })
    }

    /// Returns the time until the queue is empty if the trend continues; `None` if it will not be empty, or
    /// that is unknown.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
    pub fn time_to_drain(&self) -> Option<Duration> {
        match (self.depth, self.per_second) {
            (0, _) => Some(Duration::ZERO),
            (depth, Some(per_second)) if per_second < 0.0 => {
                Duration::try_from_secs_f64(depth as f64 / -per_second).ok()
            }
            _ => None,
        }
    }
}

/// The depth of the queue after a run.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// The index of the run.
    index: usize,
    /// When it ended.
    second: f64,
    depth: f64,
}

/// Returns the newest points that one line explains, and its slope; 0 if there is no trend. After a burst, or
/// after an outage of the store, a line through all points mixes the state before, the event, and the trend
/// since then.
fn since_the_last_event(mut points: &[Point]) -> Option<(&[Point], f64)> {
    while points.len() >= FEWEST {
        let line = Line::through(points);
        let explains = |part: f64| line.unexplained <= (1.0 - part) * line.variation;
        if explains(EXPLAINED_WELL) {
            return Some((points, line.slope));
        }
        let two_lines =
            |at: usize| Line::through(&points[..at]).unexplained + Line::through(&points[at..]).unexplained;
        let (at, unexplained) = (1..points.len())
            .map(|at| (at, two_lines(at)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))?;
        if unexplained > LEFT * line.unexplained {
            return Some((points, if explains(EXPLAINED) { line.slope } else { 0.0 }));
        }
        points = &points[at..];
    }
    None
}

/// The straight line that fits points best, by least squares.
struct Line {
    slope: f64,
    /// The sum of the squared distances from the mean, and of those from the line.
    variation: f64,
    unexplained: f64,
}

impl Line {
    #[expect(clippy::cast_precision_loss, reason = "there are a few dozen points")]
    fn through(points: &[Point]) -> Self {
        let count = points.len() as f64;
        // Relative to the first point, so that a constant backlog has a slope of exactly 0.
        let of = |point: &Point| (point.second - points[0].second, point.depth - points[0].depth);
        let (time, mean) = points
            .iter()
            .map(of)
            .fold((0.0, 0.0), |sum, (time, depth)| (sum.0 + time / count, sum.1 + depth / count));
        let (mut of_time, mut variation, mut of_both) = (0.0, 0.0, 0.0);
        for (second, depth) in points.iter().map(of) {
            let (second, depth) = (second - time, depth - mean);
            of_time += second * second;
            variation += depth * depth;
            of_both += second * depth;
        }
        let slope = if of_time > 0.0 { of_both / of_time } else { 0.0 };
        Self { slope, variation, unexplained: (variation - slope * of_both).max(0.0) }
    }
}

/// Divides runs into spans of equal length that start at `from`, and returns each with its start, including
/// those without runs.
///
/// # Panics
/// If `span` is zero.
#[must_use]
pub fn spans(
    runs: &[Run],
    from: SystemTime,
    until: SystemTime,
    span: Duration,
) -> Vec<(SystemTime, Summary)> {
    assert!(!span.is_zero(), "a span must not be zero");
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
    use x_msrv_core::{exit::Exit, report::Depth};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    /// Returns a run that started at `second`, stored `stored` messages, and left `after` messages in the
    /// queue.
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
            unreached: Vec::new(),
        }
    }

    /// Returns runs every 10 s that take ten messages each.
    fn backlog(depths: &[u64]) -> Vec<Run> {
        depths.iter().zip(0..).map(|(depth, number)| run(10 * number, 10, Some(*depth))).collect()
    }

    #[test]
    fn runs_are_summed_up_with_the_newest_detail_of_each_reason() {
        let rejected = |messages, detail: &str| {
            [("not-json".to_owned(), Rejected { messages, detail: detail.to_owned() })].into_iter().collect()
        };
        let mut runs = backlog(&[30, 20]);
        for (run, detail) in runs.iter_mut().zip(["first", "second"]) {
            run.counters.rejected = 2;
            run.reasons = rejected(2, detail);
        }
        runs.push(Run::of_failure(
            at(20),
            Duration::from_secs(2),
            Exit::Unavailable,
            "cannot reach nsqd".to_owned(),
        ));
        let summary = Summary::of(&runs);
        assert_eq!((summary.runs, summary.failed, summary.counters.received), (3, 1, 20));
        assert_eq!(summary.reasons, rejected(4, "second"));
        assert_eq!(
            (summary.longest, summary.depth),
            (Duration::from_secs(2), Some(20)),
            "a run without a known depth keeps the earlier one"
        );
        assert!((summary.rejected_share() - 0.2).abs() < 1e-9);
        assert!(Summary::of(&[]).rejected_share().abs() < 1e-9, "no messages, no share");
    }

    #[test]
    fn only_a_shrinking_backlog_has_a_time_to_drain() {
        let trend = Trend::of(&backlog(&[1_000, 995, 990, 985])).expect("known");
        assert!(
            (trend.per_second.expect("a trend") + 0.5).abs() < 1e-9 && (trend.arriving - 0.5).abs() < 1e-9,
            "{trend:?}"
        );
        assert_eq!(trend.time_to_drain(), Some(Duration::from_secs(1_970)));
        let trend = Trend::of(&backlog(&[10, 20, 30, 40])).expect("known");
        assert!(
            (trend.per_second.expect("a trend") - 1.0).abs() < 1e-9 && (trend.arriving - 2.0).abs() < 1e-9,
            "{trend:?}"
        );
        assert_eq!(trend.time_to_drain(), None);
    }

    /// Returns what runs that take a hundred messages leave in the queue, the newest thirty. At first
    /// `waiting` messages wait; each pair of `coming` is a number of runs, and the messages that arrive
    /// before each of them.
    fn left(waiting: u64, coming: &[(usize, u64)]) -> Vec<u64> {
        let coming = coming.iter().flat_map(|(runs, messages)| std::iter::repeat_n(*messages, *runs));
        let left: Vec<_> = coming
            .scan(waiting, |waiting, messages| {
                *waiting = (*waiting + messages).saturating_sub(100);
                Some(*waiting)
            })
            .collect();
        left[left.len().saturating_sub(30)..].to_vec()
    }

    /// A line through all runs included the step, so that a backlog seemed to grow although it had been
    /// shrinking for twenty runs.
    #[test]
    fn a_trend_covers_the_runs_since_the_last_event() {
        const IDLE: (usize, u64) = (40, 0);
        let teeth = |tooth: &[(usize, u64)]| tooth.repeat(30);
        let wobble =
            |around: u64| [13, 4, 22, 1, 17, 9, 25, 6, 19, 2, 11, 24].map(|more| around + more).to_vec();
        for (what, depths, expected) in [
            ("a burst has just arrived", left(0, &[IDLE, (1, 10_000)]), None),
            ("a burst, one run ago", left(0, &[IDLE, (1, 10_000), (1, 0)]), None),
            ("a burst, 2 runs ago", left(0, &[IDLE, (1, 10_000), (2, 0)]), Some(-10.0)),
            ("a burst, 7 runs ago", left(0, &[IDLE, (1, 10_000), (7, 0)]), Some(-10.0)),
            ("a burst, 20 runs ago", left(0, &[IDLE, (1, 10_000), (20, 0)]), Some(-10.0)),
            ("a burst that took 40 s", left(0, &[IDLE, (4, 2_500)]), Some(240.0)),
            ("a burst that took 40 s, 2 runs ago", left(0, &[IDLE, (4, 2_500), (2, 0)]), Some(-10.0)),
            ("a burst on a constant backlog", left(2_000, &[(40, 100), (1, 8_000)]), None),
            ("the same, 2 runs ago", left(2_000, &[(40, 100), (1, 8_000), (2, 50)]), Some(-5.0)),
            ("the same, 15 runs ago", left(2_000, &[(40, 100), (1, 8_000), (15, 50)]), Some(-5.0)),
            ("a burst on a shrinking backlog", left(20_000, &[(40, 50), (1, 1_400)]), None),
            ("the same, 10 runs ago", left(20_000, &[(40, 50), (1, 1_400), (10, 50)]), Some(-5.0)),
            (
                "a burst on it that took 30 s, 12 runs ago",
                left(20_000, &[(40, 50), (3, 1_400), (12, 50)]),
                Some(-5.0),
            ),
            ("two bursts", left(2_000, &[(20, 100), (1, 8_000), (8, 50), (1, 3_000), (5, 50)]), Some(-5.0)),
            ("growth of an empty queue", left(0, &[IDLE, (3, 130)]), Some(3.0)),
            ("growth", left(500, &[(40, 130)]), Some(3.0)),
            ("growth that ended 10 runs ago", left(500, &[(40, 150), (10, 0)]), Some(-10.0)),
            ("a drain", left(9_000, &[(40, 30)]), Some(-7.0)),
            ("a drain that ended 10 runs ago", left(5_000, &[(40, 50), (10, 150)]), Some(5.0)),
            ("a load that is always drained in 30 s", left(0, &teeth(&[(1, 300), (2, 0)])), Some(0.0)),
            (
                "the same, in the middle",
                left(0, &[teeth(&[(1, 300), (2, 0)]), vec![(1, 300), (1, 0)]].concat()),
                None,
            ),
            ("teeth on a constant backlog", left(800, &teeth(&[(1, 500), (4, 0)])), Some(0.0)),
            ("up and down", left(500, &teeth(&[(1, 200), (1, 0)])), Some(0.0)),
            ("noise around a level", wobble(1_000), Some(0.0)),
        ] {
            let trend = Trend::of(&backlog(&depths)).expect("known");
            let is_expected = match (trend.per_second, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-6,
                (found, expected) => found == expected,
            };
            assert!(is_expected, "{what}: {:?} instead of {expected:?}: {depths:?}", trend.per_second);
        }
        let growing = Trend::of(&backlog(&left(500, &teeth(&[(1, 700), (4, 0)])))).expect("known");
        assert!(
            growing.per_second.is_some_and(|growth| (growth - 4.0).abs() < 0.5),
            "teeth that grow: {growing:?}"
        );
        let noisy: Vec<_> = wobble(1_000).iter().zip(0..).map(|(depth, run)| depth - 6 * run).collect();
        let falling = Trend::of(&backlog(&noisy)).expect("known");
        assert!(
            falling.per_second.is_some_and(|growth| (growth + 0.6).abs() < 0.2),
            "a drain with noise: {falling:?}"
        );
    }

    #[test]
    fn arrivals_are_counted_over_the_time_of_the_trend() {
        let mut runs = backlog(&left(0, &[(40, 0), (1, 10_000), (7, 0)]));
        for run in &mut runs {
            run.counters.received = 100;
        }
        assert_eq!(
            Trend::of(&runs).map(|trend| trend.arriving),
            Some(0.0),
            "nothing arrived after the burst"
        );
        let mut unknown = [
            run(0, 10, Some(50)),
            run(10, 10, Some(50)),
            run(20, 10, Some(50)),
            run(30, 10, None),
            run(40, 10, None),
        ];
        let arriving = |runs: &[Run]| Trend::of(runs).expect("known").arriving;
        assert!((arriving(&unknown) - 1.0).abs() < 1e-9, "when the messages taken later arrived is unknown");
        unknown[4].depth.after = Some(50);
        assert!((arriving(&unknown) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_runs_show_no_trend() {
        assert_eq!(Trend::of(&[]), None);
        assert_eq!(Trend::of(&backlog(&[5, 6])), None);
        assert_eq!(
            Trend::of(&[run(0, 10, None), run(10, 10, None), run(20, 10, Some(1)), run(30, 10, None)]),
            None
        );
        assert_eq!(
            Trend::of(&[run(5, 1, Some(1)), run(5, 1, Some(2)), run(5, 1, Some(3))]),
            None,
            "no time has passed"
        );
        let with_gaps =
            [run(0, 10, Some(30)), run(10, 10, None), run(20, 10, Some(20)), run(30, 10, Some(15))];
        assert!(Trend::of(&with_gaps).and_then(|trend| trend.per_second).is_some_and(|growth| growth < 0.0));
        let nothing = Trend::of(&backlog(&[0, 0, 0])).expect("known");
        assert_eq!((nothing.per_second, nothing.time_to_drain()), (Some(0.0), Some(Duration::ZERO)));
    }

    #[test]
    fn spans_have_no_gaps_and_contain_each_run_once() {
        let runs = [run(0, 1, None), run(9, 2, None), run(10, 4, None), run(35, 8, None)];
        let spans = spans(&runs, at(0), at(40), Duration::from_secs(10));
        let received: Vec<_> =
            spans.iter().map(|(begin, summary)| (*begin, summary.counters.received)).collect();
        assert_eq!(received, [(at(0), 3), (at(10), 4), (at(20), 0), (at(30), 8)]);
    }
}
