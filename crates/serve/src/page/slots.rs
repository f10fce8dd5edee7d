//! Which runs are drawn as one: each for itself where there is room, else those of a span of time.

use std::time::{Duration, SystemTime};

use super::scale::{Seconds, Times, seconds, whole};
use x_msrv_history::{Run, summary::Summary};

/// Runs that are drawn each for itself, at most.
const RUNS: usize = 200;

/// Spans in which they are summed up otherwise, at most.
const SPANS: u32 = 150;

/// The least width of a run's bar, of all there is, which is some 3 pixels on a desktop: closer ones are
/// summed up.
const NARROWEST: f64 = 0.0035;
const WIDEST: f64 = 0.025;

/// The part of its room that a bar takes.
const FILLED: f64 = 0.8;

/// The runs of one bar, and where it stands, of all there is.
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

/// All of them, without those in which there was no run.
#[derive(Debug)]
pub(super) struct Slots<'a> {
    pub(super) times: Times,
    /// How long a span is; `None` where each run is drawn for itself.
    pub(super) span: Option<Duration>,
    pub(super) all: Vec<Slot<'a>>,
    /// Up to when it is told; a span may end later.
    pub(super) until: Seconds,
    /// After this long without a run nobody knows how it was.
    pub(super) silence: Seconds,
}

impl<'a> Slots<'a> {
    /// Of these runs, by the time at which they began, up to `until` at least. `None` where there are none.
    pub(super) fn of(runs: &'a [Run], until: Option<SystemTime>, period: Duration) -> Option<Self> {
        let (from, last) = (seconds(runs.first()?.started), seconds(runs.last()?.started));
        let end = runs.iter().map(|run| seconds(run.ended())).fold(from + 1.0, f64::max);
        // A clock that was put back has runs begin in the future.
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

    /// With room for half a bar on both sides.
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

    /// No run is left out or drawn twice, and all are on the page, beside each other.
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
    fn few_runs_are_drawn_each_for_itself() {
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
        assert_eq!(first % 600, 0, "a span begins where one would expect it");
    }

    /// Bars would lie upon each other.
    #[test]
    fn few_runs_that_are_close_in_a_long_time_are_summed_up_too() {
        let runs = [run(at(0), 1), run(at(50), 1), run(at(3_600_000), 1)];
        let slots = slots(&runs, None);
        assert_eq!(
            (slots.span, slots.all.len(), slots.all[0].runs.len()),
            (Some(Duration::from_secs(30)), 2, 2)
        );
        holds(&slots, 3);
    }

    #[test]
    fn a_clock_that_was_put_back_costs_no_run() {
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
