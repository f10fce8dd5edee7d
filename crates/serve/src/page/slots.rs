//! Divides runs into slots: one for each run if there is room, otherwise one for each span of time.

use std::time::{Duration, SystemTime};

use super::scale::{Seconds, Times, seconds, whole};
use x_msrv_history::{Run, summary::Summary};

/// The most runs that are drawn individually.
const RUNS: usize = 200;

/// The most spans into which more runs are summed up.
const SPANS: u32 = 150;

/// The smallest width of a run's bar as a share of the plot, about 3 pixels on a desktop. Runs with less room
/// are summed up.
const NARROWEST: f64 = 0.0035;
const WIDEST: f64 = 0.025;

/// The share of its room that a bar takes.
const FILLED: f64 = 0.8;

/// The runs of one bar, and its position as a share of the plot.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pub(super) begin: SystemTime,
    pub(super) runs: &'a [Run],
    pub(super) summary: Summary,
    pub(super) left: f64,
    pub(super) width: f64,
}

impl Slot<'_> {
    pub(super) fn middle(&self) -> f64 {
        self.left + self.width / 2.0
    }
}

/// All slots that contain runs.
#[derive(Debug)]
pub(super) struct Slots<'a> {
    pub(super) times: Times,
    /// The length of a span; `None` if runs are drawn individually.
    pub(super) span: Option<Duration>,
    pub(super) all: Vec<Slot<'a>>,
    /// The end of the shown time; a span may end later.
    pub(super) until: Seconds,
    /// After this long without a run, the state is unknown.
    pub(super) silence: Seconds,
}

impl<'a> Slots<'a> {
    /// Creates slots for runs in order of their start times, at least up to `until`. `None` if there are no
    /// runs.
    pub(super) fn of(runs: &'a [Run], until: Option<SystemTime>, period: Duration) -> Option<Self> {
        let (from, last) = (seconds(runs.first()?.started), seconds(runs.last()?.started));
        let end = runs.iter().map(|run| seconds(run.ended())).fold(from + 1.0, f64::max);
        // If the clock was set back, runs may have started in the future.
        let until = until.map_or(end, |until| seconds(until).max(end));
        let closest = runs
            .windows(2)
            .map(|pair| seconds(pair[1].started) - seconds(pair[0].started))
            .fold(until - from, f64::min);
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let usual = (last - from) / runs.len() as f64;
        let silence = 3.0 * usual.max(period.as_secs_f64());
        let slots = Self { times: Times { from, until }, span: None, all: Vec::new(), until, silence };
        let width = closest / slots.times.length() * FILLED;
        Some(if runs.len() <= RUNS && width >= NARROWEST {
            slots.each(runs, width.min(WIDEST))
        } else {
            slots.summed(runs)
        })
    }

    /// Adds room for half a bar on both sides.
    fn each(mut self, runs: &'a [Run], width: f64) -> Self {
        let room = self.times.length() * width / FILLED / 2.0;
        self.times = Times { from: self.times.from - room, until: self.times.until + room };
        for run in runs {
            let left = self.times.place(seconds(run.started)) - width / 2.0;
            self.add(run.started, std::slice::from_ref(run), left, width);
        }
        self
    }

    fn summed(mut self, runs: &'a [Run]) -> Self {
        let step = self.times.round_seconds(SPANS);
        let span = Duration::from_secs(step);
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(whole(self.times.from) / step * step);
        let (mut begin, mut rest) = (first, runs);
        let mut found = Vec::new();
        while seconds(begin) <= self.until {
            let end = begin + span;
            let count = rest.iter().position(|run| run.started >= end).unwrap_or(rest.len());
            let (here, later) = rest.split_at(count);
            found.push((begin, here));
            (begin, rest) = (end, later);
        }
        self.times = Times { from: seconds(first), until: seconds(begin) };
        let room = span.as_secs_f64() / self.times.length();
        for (begin, here) in found.into_iter().filter(|(_, here)| !here.is_empty()) {
            let left = self.times.place(seconds(begin)) + room * (1.0 - FILLED) / 2.0;
            self.add(begin, here, left, room * FILLED);
        }
        self.span = Some(span);
        self.silence += span.as_secs_f64();
        self
    }

    fn add(&mut self, begin: SystemTime, runs: &'a [Run], left: f64, width: f64) {
        self.all.push(Slot { begin, runs, summary: Summary::of(runs), left, width });
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::run, *};

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(millis)
    }

    fn slots(runs: &[Run], until: Option<SystemTime>) -> Slots<'_> {
        Slots::of(runs, until, Duration::from_secs(10)).expect("there are runs")
    }

    /// Asserts that every run is drawn once, within the page, and that bars do not overlap.
    #[track_caller]
    fn holds(slots: &Slots<'_>, runs: usize) {
        assert_eq!(slots.all.iter().map(|slot| slot.runs.len()).sum::<usize>(), runs);
        assert!(slots.all.iter().all(|slot| slot.left >= 0.0 && slot.left + slot.width <= 1.0), "{slots:#?}");
        assert!(
            slots.all.windows(2).all(|pair| pair[0].left + pair[0].width <= pair[1].left + 1e-9),
            "{slots:#?}"
        );
        assert!(slots.all.len() <= RUNS);
    }

    #[test]
    fn few_runs_are_drawn_individually() {
        for (count, every) in [(1, 0), (3, 60), (3, 10_000), (200, 10_000)] {
            let runs: Vec<_> = (0..count).map(|number| run(at(number * every), 1)).collect();
            let slots = slots(&runs, None);
            assert_eq!((slots.span, slots.all.len()), (None, runs.len()));
            holds(&slots, runs.len());
        }
    }

    #[test]
    fn many_runs_are_summed_up_in_round_spans() {
        let day: Vec<_> = (0..8_640).map(|number| run(at(number * 10_000), 1)).collect();
        let slots = slots(&day, Some(at(86_400_000)));
        assert_eq!(slots.span, Some(Duration::from_secs(600)));
        holds(&slots, day.len());
        let first = slots.all[0].begin.duration_since(SystemTime::UNIX_EPOCH).expect("after it").as_secs();
        assert_eq!(first % 600, 0, "a span starts at a round time");
    }

    /// Bars would overlap.
    #[test]
    fn few_runs_that_are_too_close_are_also_summed_up() {
        let runs = [run(at(0), 1), run(at(50), 1), run(at(3_600_000), 1)];
        let slots = slots(&runs, None);
        assert_eq!(
            (slots.span, slots.all.len(), slots.all[0].runs.len()),
            (Some(Duration::from_secs(30)), 2, 2)
        );
        holds(&slots, 3);
    }

    #[test]
    fn no_run_is_lost_if_the_clock_was_set_back() {
        let mut runs: Vec<_> = (0..600).map(|number| run(at(number / 2 * 10_000), 1)).collect();
        holds(&slots(&runs, Some(at(5))), 600);
        runs.truncate(20);
        holds(&slots(&runs, Some(at(0))), 20);
    }

    #[test]
    fn the_last_moment_belongs_to_a_span() {
        let runs: Vec<_> =
            (0..=600).map(|number| Run { elapsed: Duration::ZERO, ..run(at(number * 1_000), 1) }).collect();
        holds(&slots(&runs, None), 601);
    }
}
