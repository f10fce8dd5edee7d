//! What the rows of a history say together: sums, and whether runs keep up. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::Run;
use x_msrv_core::report::{Counters, Rejected};

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
    /// How many more they become in a second; negative where they become less. `None` where that goes on for
    /// fewer runs than tell.
    pub per_second: Option<f64>,
    /// Messages that come in a second.
    pub arriving: f64,
}

/// Runs that tell how the backlog moves, at least.
const FEWEST: usize = 3;

/// The part of the ups and downs that a line has to explain (the coefficient of determination) to be a trend.
const EXPLAINED: f64 = 0.5;

/// The part with which nobody has to ask whether something happened on the way. A step, wherever it is, is
/// explained by three quarters at most.
const EXPLAINED_WELL: f64 = 0.9;

/// What is left unexplained by a line before something happened and another line after it, as a part of what
/// one line leaves: where it is more, nothing happened. Of ups and downs without any rule, two lines seldom
/// leave so little.
const LEFT: f64 = 0.2;

impl Trend {
    /// Of these runs, the oldest first. `None` where fewer than three of them know what they left.
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
        let (depth, nothing) = (known.last()?.depth, known.iter().rposition(|point| point.depth == 0.0));
        let newest = match nothing {
            _ if depth == 0.0 => Some((&known[..], 0.0)),
            Some(nothing) => since_the_last_event(&known[nothing + 1..]),
            None => since_the_last_event(&known),
        };
        let points = newest.map_or(&known[..], |(points, _)| points);
        let (from, to) = (points.first()?, points.last()?);
        let span = to.second - from.second;
        // What the first run took came before its end, and what those behind the last one took, nobody knows
        // when.
        let taken: u64 = runs[from.index + 1..=to.index]
            .iter()
            .map(|run| run.counters.received - run.counters.requeued)
            .sum();
        let arriving = (taken as f64 + to.depth - from.depth) / span;
        (span > 0.0).then(|| Self {
            depth: runs[to.index].depth.after.unwrap_or_default(),
            per_second: newest.map(|(_, slope)| slope),
            arriving: arriving.max(0.0),
        })
    }

    /// When nothing will wait any more if it goes on like this; `None` where it will not, or nobody knows.
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

/// What a run left.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Which run.
    index: usize,
    /// When it ended.
    second: f64,
    depth: f64,
}

/// The newest of the points that one line explains, and its slope; 0 where there is no trend. Where a burst
/// comes in, or a store that stood still goes on, a line through all points shows how it was before and what
/// happened, and neither is how it goes on.
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

/// The straight line that fits points best: the least squares.
struct Line {
    slope: f64,
    /// The squares of the distances from the mean, and what is left of them from the line.
    variation: f64,
    unexplained: f64,
}

impl Line {
    #[expect(clippy::cast_precision_loss, reason = "there are some dozens")]
    fn through(points: &[Point]) -> Self {
        let count = points.len() as f64;
        // From the first one on, so that a backlog that stands still is exactly 0.
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

/// The runs in spans of equal length from `from` on, each with its beginning; those without runs are there as
/// well.
///
/// # Panics
/// `span` is not zero.
#[must_use]
pub fn spans(
    runs: &[Run],
    from: SystemTime,
    until: SystemTime,
    span: Duration,
) -> Vec<(SystemTime, Summary)> {
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
    use x_msrv_core::{exit::Exit, report::Depth};

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
            unreached: Vec::new(),
        }
    }

    /// Runs every 10 s that take ten each.
    fn backlog(depths: &[u64]) -> Vec<Run> {
        depths.iter().zip(0..).map(|(depth, number)| run(10 * number, 10, Some(*depth))).collect()
    }

    #[test]
    fn runs_are_summed_up_with_the_newest_reason_of_each_kind() {
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
            "a run that does not know leaves what was known"
        );
        assert!((summary.rejected_share() - 0.2).abs() < 1e-9);
        assert!(Summary::of(&[]).rejected_share().abs() < 1e-9, "no share of nothing");
    }

    #[test]
    fn a_backlog_that_falls_has_an_end_and_one_that_grows_has_none() {
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

    /// What runs that take a hundred leave of so many that wait and of so many that come before each, the
    /// newest thirty.
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

    /// A line through all runs was drawn through the step as well, and a backlog grew that had become less
    /// for twenty runs.
    #[test]
    fn a_trend_is_what_goes_on_since_something_happened() {
        const IDLE: (usize, u64) = (40, 0);
        let teeth = |tooth: &[(usize, u64)]| tooth.repeat(30);
        let wobble =
            |around: u64| [13, 4, 22, 1, 17, 9, 25, 6, 19, 2, 11, 24].map(|more| around + more).to_vec();
        for (what, depths, expected) in [
            ("a burst has just come", left(0, &[IDLE, (1, 10_000)]), None),
            ("a burst, one run ago", left(0, &[IDLE, (1, 10_000), (1, 0)]), None),
            ("a burst, 2 runs ago", left(0, &[IDLE, (1, 10_000), (2, 0)]), Some(-10.0)),
            ("a burst, 7 runs ago", left(0, &[IDLE, (1, 10_000), (7, 0)]), Some(-10.0)),
            ("a burst, 20 runs ago", left(0, &[IDLE, (1, 10_000), (20, 0)]), Some(-10.0)),
            ("a burst that took 40 s", left(0, &[IDLE, (4, 2_500)]), Some(240.0)),
            ("a burst that took 40 s, 2 runs ago", left(0, &[IDLE, (4, 2_500), (2, 0)]), Some(-10.0)),
            ("a burst on a backlog that stands still", left(2_000, &[(40, 100), (1, 8_000)]), None),
            ("the same, 2 runs ago", left(2_000, &[(40, 100), (1, 8_000), (2, 50)]), Some(-5.0)),
            ("the same, 15 runs ago", left(2_000, &[(40, 100), (1, 8_000), (15, 50)]), Some(-5.0)),
            ("a burst on a backlog that falls", left(20_000, &[(40, 50), (1, 1_400)]), None),
            ("the same, 10 runs ago", left(20_000, &[(40, 50), (1, 1_400), (10, 50)]), Some(-5.0)),
            (
                "a burst on it that took 30 s, 12 runs ago",
                left(20_000, &[(40, 50), (3, 1_400), (12, 50)]),
                Some(-5.0),
            ),
            ("two bursts", left(2_000, &[(20, 100), (1, 8_000), (8, 50), (1, 3_000), (5, 50)]), Some(-5.0)),
            ("growth from nothing on", left(0, &[IDLE, (3, 130)]), Some(3.0)),
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
            ("teeth on a backlog that stands still", left(800, &teeth(&[(1, 500), (4, 0)])), Some(0.0)),
            ("up and down", left(500, &teeth(&[(1, 200), (1, 0)])), Some(0.0)),
            ("noise around a level", wobble(1_000), Some(0.0)),
        ] {
            let trend = Trend::of(&backlog(&depths)).expect("known");
            let is_expected = match (trend.per_second, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-6,
                (found, expected) => found == expected,
            };
            assert!(is_expected, "{what}: {:?}, and not {expected:?}: {depths:?}", trend.per_second);
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
    fn what_arrives_is_counted_over_the_time_in_which_it_came() {
        let mut runs = backlog(&left(0, &[(40, 0), (1, 10_000), (7, 0)]));
        for run in &mut runs {
            run.counters.received = 100;
        }
        assert_eq!(Trend::of(&runs).map(|trend| trend.arriving), Some(0.0), "nothing came after the burst");
        let mut unknown = [
            run(0, 10, Some(50)),
            run(10, 10, Some(50)),
            run(20, 10, Some(50)),
            run(30, 10, None),
            run(40, 10, None),
        ];
        let arriving = |runs: &[Run]| Trend::of(runs).expect("known").arriving;
        assert!((arriving(&unknown) - 1.0).abs() < 1e-9, "what was taken later, came nobody knows when");
        unknown[4].depth.after = Some(50);
        assert!((arriving(&unknown) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_little_is_no_trend() {
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
    fn spans_have_no_holes_and_each_run_once() {
        let runs = [run(0, 1, None), run(9, 2, None), run(10, 4, None), run(35, 8, None)];
        let spans = spans(&runs, at(0), at(40), Duration::from_secs(10));
        let received: Vec<_> =
            spans.iter().map(|(begin, summary)| (*begin, summary.counters.received)).collect();
        assert_eq!(received, [(at(0), 3), (at(10), 4), (at(20), 0), (at(30), 8)]);
    }
}
