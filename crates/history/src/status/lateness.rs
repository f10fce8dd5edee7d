//! The time since the last success.

use std::time::{Duration, SystemTime};

use super::{CLOCKS_DIFFER, Known, Level, Threshold, timer};
use crate::{Run, words::span};

/// The numbers of periods without a successful run after which the state is a warning and critical. It
/// becomes critical no earlier than at twice the time of the warning. The second number also applies to
/// servers that runs do not reach.
pub(super) const PERIODS: (u32, u32) = (3, 10);

impl Known<'_> {
    pub(super) fn interval(&self) -> Duration {
        let started = self.timer.and_then(|timer| timer.as_ref().ok()?.last);
        let before =
            started.and_then(|started| self.newest().map(|run| run.started).find(|run| *run < started));
        timer::interval(self.period, self.now, self.timer, before)
    }

    /// Returns whether a run can be late without an explicit limit: the timer has started one since the last
    /// success. If systemd does not answer, only `period` is known.
    fn may_be_late(&self, since: SystemTime) -> bool {
        match self.timer {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(timer)) => timer.is_active && timer.last.is_some_and(|started| started > since),
        }
    }

    /// Returns the end of the last successful run. A success in the future proves nothing, but an earlier one
    /// may.
    #[must_use]
    pub fn success(&self) -> Option<SystemTime> {
        let mut successes = self.newest().filter(|run| run.exit_code == 0).map(Run::ended);
        let has_come = |time: &SystemTime| *time <= self.now + CLOCKS_DIFFER;
        self.last_success.filter(has_come).or_else(|| successes.find(has_come))
    }

    /// Returns the problem of a last success that is too long ago.
    pub(super) fn lateness(&self, last: &Run, thresholds: &[(Level, Threshold)]) -> Option<(Level, String)> {
        let since = self.success().unwrap_or_else(|| self.runs.first().unwrap_or(last).started);
        let age = self.now.duration_since(since).unwrap_or_default();
        let chosen = |wanted| {
            thresholds.iter().find_map(|(level, threshold)| match threshold {
                Threshold::Age(limit) if *level == wanted => Some(*limit),
                _ => None,
            })
        };
        let may_be_late = self.may_be_late(since);
        let by_periods = |periods| may_be_late.then(|| self.interval() * periods);
        let warning = chosen(Level::Warning).or_else(|| by_periods(PERIODS.0));
        // A later warning also delays critical.
        let default_critical = || Some((self.interval() * PERIODS.1).max(warning?.saturating_mul(2)));
        let critical = chosen(Level::Critical).or_else(default_critical);
        let exceeded = [(Level::Critical, critical), (Level::Warning, warning)]
            .into_iter()
            .find(|(_, limit)| limit.is_some_and(|limit| age > limit));
        exceeded.map(|(level, limit)| {
            (
                level,
                format!(
                    "no successful run in the last {} (limit {})",
                    span(age),
                    span(limit.unwrap_or_default())
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Timer,
            tests::{at, judged, known, run, ticking, timer},
        },
        *,
    };

    #[test]
    fn periods_without_a_successful_run_are_a_warning_and_then_critical() {
        let runs = [run(0, "queue-empty", 0)];
        for (now, thresholds, expected) in [
            (30, &[][..], None),
            (31, &[], Some((Level::Warning, "no successful run in the last 31 s (limit 30 s)"))),
            (101, &[], Some((Level::Critical, "in the last 1 min 41 s (limit 1 min 40 s)"))),
            (31, &["age=40s"], None),
            (599, &["age=10m"], None),
            (1_199, &["age=10m"], Some((Level::Warning, "limit 10 min"))),
            (1_201, &["age=10m"], Some((Level::Critical, "limit 20 min"))),
            (101, &["critical age=1h"], Some((Level::Warning, "limit 30 s"))),
            (50, &["age=5s", "critical age=45s"], Some((Level::Critical, "limit 45 s"))),
        ] {
            judged(&known(&runs, now, &ticking(now)), thresholds, expected.as_slice());
        }
        judged(&known(&[], 50, &ticking(50)), &[], &[(Level::Unknown, "no run in the history yet")]);
    }

    /// With `OnCalendar=hourly` in a drop-in, the state was a warning after 30 s and critical after 100 s,
    /// because of a `period` that did not apply.
    #[test]
    fn no_run_is_late_before_the_timer_is_due() {
        let runs = [run(0, "queue-empty", 0), run(3_600, "queue-empty", 0)];
        let hourly = |last: Option<u64>, next: Option<u64>, is_running| {
            let timer = timer(true, next.map(at)).expect("a timer");
            Ok(Timer { last: last.map(at), is_running, ..timer })
        };
        let late = (Level::Warning, "(limit 3 h)");
        for (now, timer, expected) in [
            // Before the first start by the timer, and after one by another timer or by hand.
            (7_000, hourly(None, Some(7_200), false), &[][..]),
            (7_000, hourly(Some(3_590), Some(7_200), false), &[]),
            (7_199, hourly(Some(3_600), Some(7_200), false), &[]),
            // While the service runs, the timer reports its past start as the next one.
            (7_201, hourly(Some(7_200), Some(7_200), true), &[]),
            (7_201, hourly(Some(7_200), None, true), &[]),
            // Runs are started, and none finishes.
            (14_300, hourly(Some(10_800), Some(14_400), false), &[]),
            (14_500, hourly(Some(14_400), Some(18_000), false), &[late]),
            (40_000, hourly(Some(39_600), Some(43_200), false), &[(Level::Critical, "(limit 10 h)")]),
        ] {
            judged(&known(&runs, now, &timer), &[], expected);
        }
        let nightly = hourly(Some(3_600), Some(90_000), false);
        judged(&known(&runs, 89_000, &nightly), &[], &[]);
        judged(&known(&runs, 89_000, &nightly), &["age=1h"], &[(Level::Warning, "limit 1 h")]);
    }

    /// Runs by hand have no due time.
    #[test]
    fn a_pipeline_without_a_timer_is_late_only_by_an_explicit_limit() {
        let runs = [run(0, "queue-empty", 0)];
        let no_answer = Err("systemd does not answer".to_owned());
        let by_hand = Known { timer: None, ..known(&runs, 100_000, &no_answer) };
        judged(&by_hand, &[], &[]);
        judged(&by_hand, &["critical age=1d"], &[(Level::Critical, "limit 1 d)")]);
        judged(&known(&runs, 100_000, &no_answer), &[], &[(Level::Critical, "(limit 1 min 40 s)")]);
    }
}
