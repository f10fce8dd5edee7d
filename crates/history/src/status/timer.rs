//! The timer of a pipeline, as systemd reports it.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::{Known, Level};
use crate::{Run, words::span};

/// What is known about a timer and its service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timer {
    /// The timer's unit.
    pub unit: String,
    /// Whether it is active and starts runs.
    pub is_active: bool,
    /// `enabled`, `disabled` or another state of systemctl(1).
    pub unit_file_state: String,
    /// Whether a run is in progress.
    pub is_running: bool,
    /// How the service last ended, if it failed: `exit-code`, `signal`, `timeout` and so on
    /// (systemd.exec(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When it last started a run.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub last: Option<SystemTime>,
    /// When the next run starts.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub next: Option<SystemTime>,
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339_seconds(*time)),
        None => serializer.serialize_none(),
    }
}

/// Returns the time between the starts of two runs: M, or the timer's interval if that is longer, because an
/// administrator may have changed it. `before` is the start of the run before the timer's last one, if it is
/// known.
#[must_use]
pub fn interval(
    period: Duration,
    now: SystemTime,
    timer: Option<&Result<Timer, String>>,
    before: Option<SystemTime>,
) -> Duration {
    let Some(Ok(Timer { last: Some(last), next, .. })) = timer else { return period };
    // While its service runs, a timer reports its past start as the next one (systemd's `src/core/timer.c`).
    let found = match (next.filter(|next| *next > now), before) {
        (Some(next), _) => next.duration_since(*last),
        (None, Some(before)) => last.duration_since(before),
        (None, None) => return period,
    };
    let found = found.unwrap_or_default();
    // A timer is never exactly on time.
    if found > period.mul_f64(1.05) { found } else { period }
}

impl Known<'_> {
    /// Adds the problems that the timer shows.
    pub(super) fn timer_problems(&self, add: &mut impl FnMut(Level, String)) {
        let Some(Ok(timer)) = self.timer else { return };
        if !timer.is_active {
            add(
                Level::Warning,
                format!("{0} is not active, so nothing starts runs (systemctl enable --now {0})", timer.unit),
            );
        } else if timer.next.is_none() && !timer.is_running {
            add(
                Level::Warning,
                format!("{0} is active, but has no next run (systemctl status {0})", timer.unit),
            );
        }
    }

    /// Returns the problem of a run that ended without a report, as systemd or its mark shows it.
    pub(super) fn unreported(&self, last: &Run) -> Option<String> {
        self.failed_service(last).or_else(|| {
            let run = self.unrecorded.filter(|run| !run.is_running)?;
            let ago = span(self.now.duration_since(run.started).unwrap_or_default());
            Some(format!(
                "the run that started {ago} ago has not reported: it was killed, or could not write the history"
            ))
        })
    }

    fn failed_service(&self, last: &Run) -> Option<String> {
        let Some(Ok(timer)) = self.timer else { return None };
        // A run by hand may have succeeded since then, whether or not the failed one left a row.
        let has_reported = timer
            .last
            .is_some_and(|started| self.newest().any(|run| run.exit_code != 0 && run.started >= started));
        let failure = timer.failure.as_deref().filter(|_| last.exit_code == 0 && !has_reported)?;
        let service = timer.unit.replace(".timer", "");
        let is_killed = ["signal", "core-dump", "oom-kill", "timeout", "watchdog"].contains(&failure);
        let ended = if is_killed { "was killed" } else { "ended" };
        Some(format!("the last run {ended} before it could report ({failure}): journalctl -u {service}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{at, judged, known, run, timer},
        *,
    };
    use crate::Unrecorded;
    use x_msrv_core::exit::Exit;

    #[test]
    fn a_timer_that_no_longer_starts_runs_is_reported() {
        let runs = [run(0, "queue-empty", 0)];
        judged(
            &known(&runs, 5_000, &timer(false, None)),
            &[],
            &[(Level::Warning, "systemctl enable --now x-msrv.timer")],
        );
        judged(
            &known(&runs, 5_000, &timer(true, None)),
            &[],
            &[(Level::Warning, "is active, but has no next run")],
        );
    }

    /// A killed run leaves no row. Without systemd's report, the state would be ok until the last row is old.
    #[test]
    fn a_killed_run_is_reported() {
        let (runs, mut killed) = ([run(0, "queue-empty", 0)], timer(true, Some(at(20))));
        let Ok(timer) = &mut killed else { unreachable!("it is a timer") };
        (timer.last, timer.failure) = (Some(at(10)), Some("oom-kill".to_owned()));
        judged(
            &known(&runs, 15, &killed),
            &[],
            &[(
                Level::Warning,
                "the last run was killed before it could report (oom-kill): journalctl -u x-msrv",
            )],
        );
        let failed = Run::of_failure(
            at(10),
            Duration::from_millis(5),
            Exit::Unavailable,
            "cannot reach nsqd".to_owned(),
        );
        let by_hand = run(13, "queue-empty", 0);
        judged(&known(&[runs[0].clone(), failed, by_hand.clone()], 15, &killed), &[], &[]);
        judged(
            &known(&[runs[0].clone(), by_hand], 15, &killed),
            &[],
            &[(Level::Warning, "was killed before it could report (oom-kill)")],
        );
    }

    /// A run that was started by hand and killed did not show at all.
    #[test]
    fn a_run_by_hand_that_has_not_reported_is_a_problem_unless_it_is_in_progress() {
        let (runs, active) = ([run(0, "queue-empty", 0)], timer(true, Some(at(20))));
        let by_hand = |is_running| {
            let unrecorded = Some(Unrecorded { started: at(5), is_running });
            Known { timer: None, unrecorded, ..known(&runs, 15, &active) }
        };
        judged(&by_hand(true), &[], &[]);
        judged(
            &by_hand(false),
            &[],
            &[(Level::Warning, "the run that started 10 s ago has not reported: it was killed, or")],
        );
    }
}
