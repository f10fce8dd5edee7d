//! The state of a pipeline, derived from its runs and its timer. Pure: the caller passes what is known, and
//! the time.

use std::{
    process::ExitCode,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

use x_msrv_settings::duration;

use crate::{
    FAILED, KnownServer, Run,
    summary::{Summary, Trend},
    words::{number, rate, span},
};

/// The states of monitoring plugins, with their exit codes (the guidelines of Nagios and its successors).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Level {
    /// No problem is known.
    Ok = 0,
    /// Attention is advisable.
    Warning = 1,
    /// Action is required.
    Critical = 2,
    /// The state is unknown.
    Unknown = 3,
}

impl Level {
    /// Returns the level's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// Unknown is worse than a warning, because it may be critical.
    fn severity(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        }
    }
}

impl From<Level> for ExitCode {
    fn from(level: Level) -> Self {
        Self::from(level as u8)
    }
}

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

/// The numbers of periods without a successful run after which the state is a warning and critical. It
/// becomes critical no earlier than at twice the time of the warning. The second number also applies to
/// servers that runs do not reach.
const PERIODS: (u32, u32) = (3, 10);

/// The most servers that a problem names.
const SERVERS_NAMED: usize = 3;

/// The number of latest runs from which the trend of the backlog is calculated.
const RUNS_OF_A_TREND: usize = 30;

/// The largest difference of a clock that is corrected regularly.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// The number of latest runs that must all have reached N and know the depth before a growing backlog is a
/// problem, not a burst.
const FULL_RUNS: usize = 3;

/// The number of runs after which it is a problem that no message was ever received.
const SILENT_RUNS: usize = 3;

/// What is known about a pipeline.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The configuration's name.
    pub name: &'a str,
    /// The current time.
    pub now: SystemTime,
    /// M, from the configuration or the package.
    pub period: Duration,
    /// N.
    pub max_messages: u64,
    /// The runs of the requested time, the oldest first.
    pub runs: &'a [Run],
    /// The last run, even if it is older.
    pub last: Option<&'a Run>,
    /// When the last successful run ended by its own clock, even if it is older.
    pub last_success: Option<SystemTime>,
    /// What systemd reports; `None` if the pipeline has no timer, so that runs are started by hand.
    pub timer: Option<&'a Result<Timer, String>>,
    /// The known servers of the queue.
    pub servers: &'a [KnownServer],
    /// The command that shows the status of this pipeline.
    pub command: &'a str,
    /// The topic, if messages come from one and no run has ever received a message.
    pub silent_topic: Option<&'a str>,
    /// Settings that work but are not advisable.
    pub warnings: &'a [String],
}

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

/// A problem of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// What it is, and what to do.
    pub text: String,
}

/// Returns the level of the worst problem.
#[must_use]
pub fn level(problems: &[Problem]) -> Level {
    problems.iter().map(|problem| problem.level).max_by_key(|level| level.severity()).unwrap_or(Level::Ok)
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
    fn interval(&self) -> Duration {
        let started = self.timer.and_then(|timer| timer.as_ref().ok()?.last);
        let before =
            started.and_then(|started| self.newest().map(|run| run.started).find(|run| *run < started));
        interval(self.period, self.now, self.timer, before)
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

    /// Returns the problems, the worst first.
    #[must_use]
    pub fn problems(&self, thresholds: &[(Level, Threshold)]) -> Vec<Problem> {
        let Some(last) = self.last else {
            return vec![Problem { level: Level::Unknown, text: "no run in the history yet".to_owned() }];
        };
        let trend = self.trend();
        let mut problems = Vec::new();
        let mut add = |level, text: String| problems.push(Problem { level, text });
        if let Some(ahead) = last.started.duration_since(self.now).ok().filter(|ahead| *ahead > CLOCKS_DIFFER)
        {
            add(
                Level::Warning,
                format!(
                    "the last run started {} in the future: the clock was wrong then, or is wrong now",
                    span(ahead)
                ),
            );
        }
        if let Some((level, text)) = self.lateness(last, thresholds) {
            add(level, text);
        }
        if last.exit_code != 0 {
            let error = last.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            add(Level::Warning, format!("the last run ended with exit code {}{error}", last.exit_code));
        }
        self.timer_problems(last, &mut add);
        if let Some((level, text)) = self.unreached(last) {
            add(level, text);
        }
        // nsqd creates a topic when a consumer subscribes, so a mistyped name is not an error there.
        if let Some(topic) = self.silent_topic.filter(|_| self.runs.len() >= SILENT_RUNS) {
            add(
                Level::Warning,
                format!("no run has received a message yet: is the topic `{topic}` correct?"),
            );
        }
        if let Some(trend) = trend
            && let Some(text) = self.falls_behind(&trend)
        {
            add(Level::Warning, text);
        }
        self.exceeded(thresholds, trend, &mut add);
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.level.severity()));
        problems
    }

    /// Adds the problems that the timer shows.
    fn timer_problems(&self, last: &Run, add: &mut impl FnMut(Level, String)) {
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
        // A run by hand may have succeeded since then, whether or not the failed one left a row.
        let has_reported = timer
            .last
            .is_some_and(|started| self.newest().any(|run| run.exit_code != 0 && run.started >= started));
        if let (Some(failure), 0, false) = (&timer.failure, last.exit_code, has_reported) {
            let service = timer.unit.replace(".timer", "");
            let is_killed = ["signal", "core-dump", "oom-kill", "timeout", "watchdog"].contains(&&**failure);
            let ended = if is_killed { "was killed" } else { "ended" };
            add(
                Level::Warning,
                format!("the last run {ended} before it could report ({failure}): journalctl -u {service}"),
            );
        }
    }

    /// Adds the thresholds that are exceeded, and those that cannot be checked.
    fn exceeded(
        &self,
        thresholds: &[(Level, Threshold)],
        trend: Option<Trend>,
        add: &mut impl FnMut(Level, String),
    ) {
        let summary = Summary::of(self.runs);
        // What an earlier run reported may have changed.
        let newest = self.newest().find(|run| run.stop_reason != FAILED);
        let depth = newest.and_then(|run| run.depth.after);
        if depth.is_none()
            && thresholds
                .iter()
                .any(|(_, threshold)| matches!(threshold, Threshold::Backlog(_) | Threshold::Drain(_)))
        {
            let why = match newest {
                Some(_) => {
                    "the last run could not determine it (nsqd reports it in its HTTP statistics; with `log.level: debug` a run logs why they are unavailable)"
                }
                None => "no recent run reached the queue",
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

    /// Returns the problem of a last success that is too long ago.
    fn lateness(&self, last: &Run, thresholds: &[(Level, Threshold)]) -> Option<(Level, String)> {
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

    /// Returns the problem of known servers that runs do not reach. How long they have been missing is
    /// measured between runs: without runs, nothing was checked.
    fn unreached(&self, last: &Run) -> Option<(Level, String)> {
        let missing: Vec<_> =
            self.servers.iter().filter_map(|server| Some((server, server.unreached_since?))).collect();
        let longest = missing
            .iter()
            .filter_map(|(_, since)| last.started.duration_since(*since).ok())
            .max()
            .unwrap_or_default();
        let level = if longest > self.interval() * PERIODS.1 { Level::Critical } else { Level::Warning };
        let name = |(server, _): &(&KnownServer, SystemTime)| {
            let reached = server.reached.map(|reached| self.now.duration_since(reached).unwrap_or_default());
            format!(
                "{} ({})",
                server.name,
                reached.map_or("never reached".to_owned(), |ago| format!("last reached {} ago", span(ago)))
            )
        };
        let named: Vec<_> = missing.iter().take(SERVERS_NAMED).map(name).collect();
        let more = if missing.len() > SERVERS_NAMED {
            format!(", and {} more", missing.len() - SERVERS_NAMED)
        } else {
            String::new()
        };
        let forget =
            missing.iter().find(|(server, _)| server.is_found).map_or(String::new(), |(server, _)| {
                let address = server.name.rsplit(' ').next().unwrap_or_default();
                format!("; to forget one that is gone for good: {} --forget {address}", self.command)
            });
        (!missing.is_empty()).then(|| {
            let counts = format!("{} of {} queue servers not reached", missing.len(), self.servers.len());
            (level, format!("{counts}, messages may be waiting there: {}{more}{forget}", named.join(", ")))
        })
    }

    /// Returns the known runs, the newest first. The last run may be the only one; otherwise it occurs twice.
    fn newest(&self) -> impl Iterator<Item = &Run> {
        self.last.into_iter().chain(self.runs.iter().rev())
    }

    /// Returns the trend of the backlog.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        Trend::of(&self.runs[self.runs.len().saturating_sub(RUNS_OF_A_TREND)..])
    }

    /// Returns the problem of a backlog that grows although the last runs all reached N.
    fn falls_behind(&self, trend: &Trend) -> Option<String> {
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
    use super::*;
    use x_msrv_core::{
        exit::Exit,
        report::{Counters, Depth},
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    fn run(second: u64, stop_reason: &str, after: u64) -> Run {
        Run {
            started: at(second),
            elapsed: Duration::from_millis(20),
            exit_code: 0,
            stop_reason: stop_reason.to_owned(),
            counters: Counters { received: 10, stored: 10, ..Counters::default() },
            reasons: std::collections::BTreeMap::new(),
            depth: Depth { before: None, after: Some(after) },
            error: None,
            unreached: Vec::new(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it has the type of systemd's answers")]
    fn timer(is_active: bool, next: Option<SystemTime>) -> Result<Timer, String> {
        let (unit, unit_file_state) = ("x-msrv.timer".to_owned(), "enabled".to_owned());
        Ok(Timer {
            unit,
            is_active,
            unit_file_state,
            is_running: false,
            failure: None,
            last: next.map(|next| next - Duration::from_secs(10)),
            next,
        })
    }

    fn known<'a>(runs: &'a [Run], now: u64, timer: &'a Result<Timer, String>) -> Known<'a> {
        let last_success = runs.iter().rev().find(|run| run.exit_code == 0).map(|run| run.started);
        let (period, last) = (Duration::from_secs(10), runs.last());
        Known {
            name: "x-msrv",
            now: at(now),
            period,
            max_messages: 10,
            runs,
            last,
            last_success,
            timer: Some(timer),
            servers: &[],
            command: "x-msrv status",
            silent_topic: None,
            warnings: &[],
        }
    }

    #[track_caller]
    fn judged(known: &Known, thresholds: &[&str], expected: &[(Level, &str)]) {
        let thresholds: Vec<_> = thresholds
            .iter()
            .map(|text| match text.strip_prefix("critical ") {
                Some(text) => (Level::Critical, text.parse().expect("a threshold")),
                None => (Level::Warning, text.parse().expect("a threshold")),
            })
            .collect();
        let problems = known.problems(&thresholds);
        let is_expected = problems.len() == expected.len()
            && problems
                .iter()
                .zip(expected)
                .all(|(problem, (level, words))| problem.level == *level && problem.text.contains(words));
        assert!(is_expected, "{problems:#?}");
    }

    #[test]
    fn regular_successful_runs_are_no_problem() {
        let (runs, active) = (
            [run(0, "queue-empty", 0), run(10, "queue-empty", 0), run(20, "queue-empty", 0)],
            timer(true, Some(at(30))),
        );
        judged(&known(&runs, 25, &active), &[], &[]);
        judged(&known(&runs, 25, &Err("systemd does not answer".to_owned())), &[], &[]);
        assert_eq!(level(&[]), Level::Ok);
    }

    /// Returns a timer that starts a run every ten seconds, the next one a second from now.
    fn ticking(now: u64) -> Result<Timer, String> {
        timer(true, Some(at(now + 1)))
    }

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

    /// One of two nsqd was down for good, with the messages in it, and neither runs nor `status` reported it.
    #[test]
    fn an_unreached_server_is_reported_and_is_critical_after_ten_periods() {
        let server = |name: &str, is_found, reached: Option<u64>, since: Option<u64>| KnownServer {
            name: name.to_owned(),
            is_found,
            reached: reached.map(at),
            unreached_since: since.map(at),
        };
        let judged = |second, servers: &[KnownServer], expected: &[(Level, &str)]| {
            let (runs, timer) = ([run(second, "queue-empty", 0)], ticking(second + 5));
            judged(&Known { servers, ..known(&runs, second + 5, &timer) }, &[], expected);
        };
        let reached = [server("nsqd at a:1", false, Some(0), None)];
        judged(500, &reached, &[]);
        let one = [&reached[..], &[server("nsqd at b:1", false, Some(40), Some(50))]].concat();
        let text =
            "1 of 2 queue servers not reached, messages may be waiting there: nsqd at b:1 (last reached ";
        judged(50, &one, &[(Level::Warning, text)]);
        judged(150, &one, &[(Level::Warning, text)]);
        judged(151, &one, &[(Level::Critical, text)]);
        judged(
            50,
            &[server("nsqd at c:1", false, None, Some(50))],
            &[(Level::Warning, "nsqd at c:1 (never reached)")],
        );
        let found = [server("nsqd at d:1", true, Some(40), Some(50))];
        judged(
            50,
            &found,
            &[(Level::Warning, "to forget one that is gone for good: x-msrv status --forget d:1")],
        );
        let many: Vec<_> =
            ('a'..='e').map(|name| server(&format!("nsqd at {name}:1"), false, None, Some(50))).collect();
        judged(50, &many, &[(Level::Warning, "nsqd at c:1 (never reached), and 2 more")]);
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

    /// A run of five hours ago was reported as one of the last hour, and its rejected messages as current.
    #[test]
    fn a_run_before_the_requested_time_counts_only_as_the_last_run() {
        let (mut old, active) = (run(0, "limit-reached", 7), ticking(18_000));
        old.counters.rejected = 10;
        let known = Known { last: Some(&old), last_success: Some(at(0)), ..known(&[], 18_000, &active) };
        judged(&known, &["rejected=5%", "age=6h", "backlog=7"], &[]);
        assert_eq!(known.backlog(), "7 messages left 4 h 59 min ago");
        judged(&known, &[], &[(Level::Critical, "no successful run in the last 5 h")]);
    }

    #[test]
    fn a_failed_run_is_reported_with_its_error() {
        let failed = Run::of_failure(
            at(10),
            Duration::ZERO,
            Exit::Unavailable,
            "cannot reach nsqd at queue:4150".to_owned(),
        );
        let (runs, active) = ([run(0, "queue-empty", 0), failed.clone()], timer(true, Some(at(20))));
        judged(
            &known(&runs, 15, &active),
            &[],
            &[(Level::Warning, "ended with exit code 69: cannot reach nsqd at queue:4150")],
        );
        judged(
            &known(&[failed], 45, &ticking(45)),
            &[],
            &[
                (Level::Warning, "no successful run in the last 35 s"),
                (Level::Warning, "ended with exit code 69"),
            ],
        );
    }

    #[test]
    fn a_run_in_the_future_is_reported() {
        let (runs, active) = ([run(7_200, "queue-empty", 0)], timer(true, Some(at(15))));
        judged(&known(&runs, 5, &active), &[], &[(Level::Warning, "started 1 h 59 min in the future")]);
        let failed = |second| {
            Run::of_failure(at(second), Duration::ZERO, Exit::Unavailable, "cannot reach nsqd".to_owned())
        };
        let runs = [run(0, "queue-empty", 0), run(7_200, "queue-empty", 0), failed(20), failed(110)];
        let ticking = ticking(115);
        let known = Known { last_success: Some(at(7_200)), ..known(&runs, 115, &ticking) };
        judged(
            &known,
            &[],
            &[
                (Level::Critical, "no successful run in the last 1 min 54 s"),
                (Level::Warning, "ended with exit code 69"),
            ],
        );
    }

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
            &[
                (Level::Unknown, "no recent run reached the queue"),
                (Level::Warning, "ended with exit code 69"),
            ],
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
