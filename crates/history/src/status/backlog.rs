//! The backlog: how large it is, how it changes, and whether runs keep up.

use std::time::Duration;

use super::Known;
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
            let room = rate(self.capacity());
            format!("the backlog is growing: {} arrive, runs take at most {room} (raise `max-messages`, or run more often)", rate(trend.arriving))
        })
    }

    /// Returns the last known depth of the queue.
    #[must_use]
    pub fn depth(&self) -> Option<u64> {
        self.last_with_depth().and_then(|run| run.depth.after)
    }

    /// Returns the last run that knew the depth of the queue.
    fn last_with_depth(&self) -> Option<&Run> {
        self.newest().find(|run| run.depth.after.is_some())
    }

    /// Returns in words what the last run left in the queue, if that is known, and its trend.
    #[must_use]
    pub fn backlog(&self) -> String {
        let Some(depth) = self.depth() else {
            return "unknown: the queue does not report its depth".to_owned();
        };
        let waiting = match depth {
            0 => "nothing left".to_owned(),
            1 => "1 message left".to_owned(),
            _ => format!("{} messages left", number(depth)),
        };
        let ago = |run: &Run| span(self.now.duration_since(run.ended()).unwrap_or_default());
        match self.last_with_depth() {
            Some(run) if self.last.is_some_and(|last| last.started != run.started) => {
                return format!("{waiting} {} ago; unknown since then", ago(run));
            }
            Some(run) if self.runs.is_empty() => return format!("{waiting} {} ago", ago(run)),
            _ => {}
        }
        let Some(trend) = self.trend() else { return waiting };
        let arriving = if trend.arriving > 0.0 {
            format!("{} arrive", rate(trend.arriving))
        } else {
            "nothing arrives".to_owned()
        };
        let flow = format!("{arriving}, runs take at most {}", rate(self.capacity()));
        match (trend.per_second, trend.time_to_drain()) {
            (None, _) | (_, Some(Duration::ZERO)) => format!("{waiting}; {flow}"),
            (Some(growth), Some(time)) => {
                format!("{waiting}, shrinking by {}, drained in {}; {flow}", rate(-growth), span(time))
            }
            (Some(growth), None) if growth > 0.0 => format!("{waiting}, growing by {}; {flow}", rate(growth)),
            (Some(_), None) => format!("{waiting}, stable; {flow}"),
        }
    }

    /// Returns how many messages per second runs can take: N / M.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    pub fn capacity(&self) -> f64 {
        self.max_messages as f64 / self.interval().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Level,
        tests::{at, judged, known, run, timer},
    };

    #[test]
    fn a_backlog_known_from_an_earlier_run_is_shown_with_its_age() {
        let mut runs = [run(0, "limit-reached", 40), run(10, "failed", 0)];
        runs[1].depth.after = None;
        let active = timer(true, Some(at(20)));
        assert_eq!(known(&runs, 15, &active).backlog(), "40 messages left 14 s ago; unknown since then");
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
