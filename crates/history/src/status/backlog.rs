//! The backlog: how large it is, how it changes, and whether runs keep up.

use std::time::{Duration, SystemTime};

use super::{CLOCKS_DIFFER, Known};
use crate::{
    Run,
    summary::Trend,
    words::{number, rate, span},
};

/// The number of latest runs from which the trend of the backlog is calculated.
const RUNS_OF_A_TREND: usize = 30;

/// The number of latest runs that must all have reached N and know the depth before a growing backlog is a
/// problem, not a burst.
const FULL_RUNS: usize = 3;

/// Why the depth is unknown if no run in the history has asked for messages.
pub(super) const NEVER_ASKED: &str = "every recent run failed before it asked the queue for messages";

/// The newest known number of messages that wait in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub messages: u64,
    /// When a run found them.
    pub at: SystemTime,
    /// Whether that was at the start of a run, before it took any.
    is_before: bool,
    /// Whether no run has started or ended since then.
    pub is_current: bool,
}

impl Known<'_> {
    /// Returns the trend of the backlog.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        Trend::of(&self.runs[self.runs.len().saturating_sub(RUNS_OF_A_TREND)..])
    }

    /// Returns the problem of a backlog that grows although the last runs all reached N.
    pub(super) fn falls_behind(&self, trend: &Trend) -> Option<String> {
        let is_full = |run: &&Run| run.stop_reason == "limit-reached" && run.depth.after.is_some();
        let full = self.runs.iter().rev().take(FULL_RUNS).filter(is_full).count() == FULL_RUNS;
        (full && trend.per_second.is_some_and(|growth| growth > 0.0)).then(|| {
            let room = self.capacity().map_or("`max-messages` each".to_owned(), |room| format!("at most {}", rate(room)));
            format!("the backlog is growing: {} arrive, runs take {room} (raise `max-messages`, or run more often)", rate(trend.arriving))
        })
    }

    /// Returns the newest known depth of the queue.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        let found = |run: &Run| {
            let after = run.depth.after.map(|messages| (messages, run.ended(), false));
            after.or_else(|| run.depth.before.map(|messages| (messages, run.started, true)))
        };
        let (messages, at, is_before) = self.newest().find_map(found)?;
        let is_current = !is_before && self.last_change().is_none_or(|last| last <= at);
        Some(Waiting { messages, at, is_before, is_current })
    }

    /// Returns when the depth may have changed because of a run: when the newest one started or ended, by the
    /// timer, the mark of a run without a row, and the history. A time in the future proves nothing.
    fn last_change(&self) -> Option<SystemTime> {
        let by_timer = self.timer.and_then(|timer| timer.as_ref().ok()?.last);
        let by_mark = self.unrecorded.map(|run| run.started);
        let times = [by_timer, by_mark, self.last.map(Run::ended)].into_iter().flatten();
        times.filter(|time| *time <= self.now + CLOCKS_DIFFER).max()
    }

    fn why_unknown(&self) -> &'static str {
        match self.newest().find(|run| run.asked_queue()) {
            None => NEVER_ASKED,
            Some(run) if !run.unreached.is_empty() => "the last run did not reach all servers of the queue",
            Some(_) => "runs could not determine it",
        }
    }

    /// Returns in words what the last run left in the queue, if that is known, and its trend.
    #[must_use]
    pub fn backlog(&self) -> String {
        let Some(Waiting { messages, at, is_before, is_current }) = self.waiting() else {
            return format!("unknown: {}", self.why_unknown());
        };
        let waiting = match messages {
            0 => "nothing".to_owned(),
            1 => "1 message".to_owned(),
            _ => format!("{} messages", number(messages)),
        };
        let ago = span(self.now.duration_since(at).unwrap_or_default());
        if is_before {
            return format!("{waiting} waiting when a run started {ago} ago; unknown since then");
        }
        let waiting = format!("{waiting} left");
        if !is_current {
            return format!("{waiting} {ago} ago; unknown since then");
        }
        if self.runs.is_empty() {
            return format!("{waiting} {ago} ago");
        }
        let Some(trend) = self.trend() else { return waiting };
        let arrived = if trend.arriving > 0.0 { rate(trend.arriving) } else { "nothing".to_owned() };
        let capacity = self.capacity().map(|room| format!(", runs take at most {}", rate(room)));
        let flow = format!(
            "{arrived} arrived in the {} up to the last run{}",
            span(trend.over),
            capacity.unwrap_or_default()
        );
        match (trend.per_second, trend.time_to_drain()) {
            (None, _) | (_, Some(Duration::ZERO)) => format!("{waiting}; {flow}"),
            (Some(growth), Some(time)) => {
                format!("{waiting}, shrinking by {}, drained in {}; {flow}", rate(-growth), span(time))
            }
            (Some(growth), None) if growth > 0.0 => format!("{waiting}, growing by {}; {flow}", rate(growth)),
            (Some(_), None) => format!("{waiting}, stable; {flow}"),
        }
    }

    /// Returns how many messages per second runs can take: N / M. `None` if no timer starts them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    pub fn capacity(&self) -> Option<f64> {
        match self.timer? {
            Ok(timer) if !timer.is_active => None,
            _ => Some(self.max_messages as f64 / self.interval().as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Known, Level,
        tests::{at, judged, known, run, timer},
    };
    use crate::{FAILED, Run, Unrecorded};
    use x_msrv_core::report::{Counters, Depth};

    #[test]
    fn a_backlog_known_from_an_earlier_run_is_shown_with_its_age() {
        let mut runs = [run(0, "limit-reached", 40), run(10, "failed", 0)];
        runs[1].depth.after = None;
        let active = timer(true, Some(at(20)));
        assert_eq!(known(&runs, 15, &active).backlog(), "40 messages left 14 s ago; unknown since then");
    }

    /// Runs were killed, or were in progress, and the backlog before them was shown as the current one.
    #[test]
    fn a_backlog_is_unknown_since_the_start_of_a_run_without_a_row() {
        let runs = [run(0, "queue-empty", 0)];
        let none = timer(true, None);
        let unrecorded = Some(Unrecorded { started: at(10), is_running: false });
        let killed = Known { unrecorded, ..known(&runs, 15, &none) };
        assert_eq!(killed.backlog(), "nothing left 14 s ago; unknown since then");
        let by_timer = timer(true, Some(at(20)));
        let started = known(&runs, 15, &by_timer); // by the timer, at second 10
        assert_eq!(started.backlog(), "nothing left 14 s ago; unknown since then");
        assert_eq!(known(&runs, 5, &timer(true, Some(at(10)))).backlog(), "nothing left");
    }

    /// After the connection to the queue was lost, the figure of the run before was shown.
    #[test]
    fn a_run_that_lost_the_queue_shows_what_waited_at_its_start() {
        let mut runs = [run(0, "queue-empty", 0), run(10, "queue-closed", 0)];
        runs[1].depth = Depth { before: Some(20_000), after: None };
        let text = "20,000 messages waiting when a run started 5 s ago; unknown since then";
        assert_eq!(known(&runs, 15, &timer(true, Some(at(20)))).backlog(), text);
    }

    /// Runs that failed in the store were said to drain a queue that does not report its depth.
    #[test]
    fn an_unknown_backlog_has_the_true_reason() {
        let active = timer(true, Some(at(20)));
        let mut unknown = run(0, "queue-empty", 0);
        unknown.depth.after = None;
        let failed = Run { stop_reason: FAILED.to_owned(), exit_code: 69, ..unknown.clone() };
        let stopped =
            Run { stop_reason: "signal".to_owned(), counters: Counters::default(), ..unknown.clone() };
        let missing = Run { unreached: vec!["nsqd at a:1".to_owned()], ..unknown.clone() };
        for (run, text) in [
            (&failed, "unknown: every recent run failed before it asked the queue for messages"),
            (&stopped, "unknown: every recent run failed before it asked the queue for messages"),
            (&missing, "unknown: the last run did not reach all servers of the queue"),
            (&unknown, "unknown: runs could not determine it"),
        ] {
            assert_eq!(known(std::slice::from_ref(run), 15, &active).backlog(), text);
        }
    }

    /// Long after the last message, "719/s arrive" was shown. A pipeline without a timer has no capacity.
    #[test]
    fn the_flow_names_its_time_and_what_runs_take_only_with_a_timer() {
        let runs = [run(0, "queue-empty", 0), run(10, "queue-empty", 0), run(20, "queue-empty", 0)];
        let ticking = timer(true, Some(at(30)));
        let text = "nothing left; 1.0/s arrived in the 20 s up to the last run";
        let with_timer = known(&runs, 25, &ticking);
        assert_eq!(with_timer.backlog(), format!("{text}, runs take at most 1.0/s"));
        let inactive = timer(false, None);
        assert_eq!(Known { timer: None, ..known(&runs, 25, &ticking) }.backlog(), text);
        assert_eq!(known(&runs, 25, &inactive).backlog(), text);
    }

    #[test]
    fn a_growing_backlog_is_a_problem_only_if_runs_reach_n() {
        let backlog = |reason: &str| {
            [100, 120, 140, 160]
                .iter()
                .zip(0..)
                .map(|(depth, at)| run(10 * at, reason, *depth))
                .collect::<Vec<_>>()
        };
        let active = timer(true, Some(at(40)));
        judged(
            &known(&backlog("limit-reached"), 35, &active),
            &[],
            &[(Level::Warning, "3.0/s arrive, runs take at most 1.0/s")],
        );
        judged(&known(&backlog("deadline"), 35, &active), &[], &[]);
    }

    /// A burst counted as growth until it was older than the examined runs, and what a single run left as a
    /// backlog that does not shrink.
    #[test]
    fn a_burst_that_is_being_drained_is_no_problem() {
        let active = timer(true, Some(at(100_000)));
        for after in [1, 2, 3, 7, 10, 15, 20] {
            let burst = (0..after).map(|done| ("limit-reached", 9_900 - 100 * done));
            let runs: Vec<_> = std::iter::repeat_n(("queue-empty", 0), 30)
                .chain(burst)
                .zip(0..)
                .map(|((reason, left), at)| run(10 * at, reason, left))
                .collect();
            judged(&known(&runs, 300 + 10 * after, &active), &["critical drain=1h"], &[]);
        }
        let runs: Vec<_> = (0..200)
            .map(|number| run(10 * number, "queue-empty", if number == 199 { 50 } else { 0 }))
            .collect();
        judged(&known(&runs, 1_995, &active), &["critical drain=1h"], &[]);
    }
}
