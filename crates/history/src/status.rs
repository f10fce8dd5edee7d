//! The state of a pipeline, judged by its runs and its timer. Pure: the caller passes what is known, and the
//! time.

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

/// States as monitoring plugins have them, with their exit codes (the guidelines of Nagios and its successors).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Level {
    /// All is well.
    Ok = 0,
    /// Somebody should look at it.
    Warning = 1,
    /// Somebody has to act.
    Critical = 2,
    /// The state is unknown.
    Unknown = 3,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// Unknown may be critical, but critical is worse.
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

/// The periods without a successful run after which the state is a warning, and critical. It becomes critical
/// at twice the time of the warning at the earliest. After the second a server that runs do not reach is
/// critical as well.
const PERIODS: (u32, u32) = (3, 10);

/// Servers that a problem names.
const SERVERS_NAMED: usize = 3;

/// The latest runs, from which the trend of the backlog is calculated.
const RUNS_OF_A_TREND: usize = 30;

/// The most by which a clock that is corrected now and then differs.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// The latest runs that must all have reached N, and know the depth, before a growing backlog is a problem and
/// not a burst.
const FULL_RUNS: usize = 3;

/// Runs after which it is a problem that no message was ever received.
const SILENT_RUNS: usize = 3;

/// What is known of a pipeline.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The configuration's name.
    pub name: &'a str,
    /// Now.
    pub now: SystemTime,
    /// M, as the configuration or the package has it.
    pub period: Duration,
    /// N.
    pub max_messages: u64,
    /// The runs of the time that is looked at, the oldest first.
    pub runs: &'a [Run],
    /// The last run, whenever that was.
    pub last: Option<&'a Run>,
    /// When the last run ended that succeeded, whenever that was, by the clock that it had.
    pub last_success: Option<SystemTime>,
    /// What systemd says; `None` where no timer belongs to it, so that runs are started by hand.
    pub timer: Option<&'a Result<Timer, String>>,
    /// The servers of the queue that runs know.
    pub servers: &'a [KnownServer],
    /// The command that shows the status of this pipeline.
    pub command: &'a str,
    /// The topic, where messages come from one and no run has ever received a message.
    pub silent_topic: Option<&'a str>,
    /// What works in the configuration, and is not wise.
    pub warnings: &'a [String],
}

/// What is known of a timer and its service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timer {
    /// The timer's unit.
    pub unit: String,
    /// Whether it starts runs now.
    pub is_active: bool,
    /// `enabled`, `disabled` and what else systemctl(1) has for it.
    pub unit_file_state: String,
    /// Whether a run is under way.
    pub is_running: bool,
    /// How the service ended the last time, where that was no success: `exit-code`, `signal`, `timeout` and
    /// so on (systemd.exec(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When it started a run the last time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub last: Option<SystemTime>,
    /// When the next run starts.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    pub next: Option<SystemTime>,
}

#[expect(clippy::ref_option, reason = "serde gives the field as it is")]
fn rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339_seconds(*time)),
        None => serializer.serialize_none(),
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// What it is, and what to do.
    pub text: String,
}

/// The worst of the problems.
#[must_use]
pub fn level(problems: &[Problem]) -> Level {
    problems.iter().map(|problem| problem.level).max_by_key(|level| level.severity()).unwrap_or(Level::Ok)
}

/// Returns the time between two starts of runs, as the timer has it where that is longer than M: an
/// administrator may say so. `before` is the start of the run before the timer's last one, where that is
/// known.
#[must_use]
pub fn interval(
    period: Duration,
    now: SystemTime,
    timer: Option<&Result<Timer, String>>,
    before: Option<SystemTime>,
) -> Duration {
    let Some(Ok(Timer { last: Some(last), next, .. })) = timer else { return period };
    // While its service runs, a timer tells the moment that is over (`src/core/timer.c`), as if that were the
    // next.
    let found = match (next.filter(|next| *next > now), before) {
        (Some(next), _) => next.duration_since(*last),
        (None, Some(before)) => last.duration_since(before),
        (None, None) => return period,
    };
    let found = found.unwrap_or_default();
    // A timer is never quite on time.
    if found > period.mul_f64(1.05) { found } else { period }
}

impl Known<'_> {
    fn interval(&self) -> Duration {
        let started = self.timer.and_then(|timer| timer.as_ref().ok()?.last);
        let before =
            started.and_then(|started| self.newest().map(|run| run.started).find(|run| *run < started));
        interval(self.period, self.now, self.timer, before)
    }

    /// Whether a run may be late that nobody gave a limit for: the timer has started one since the last
    /// success. Where systemd cannot be asked, `period` is all that is known.
    fn may_be_late(&self, since: SystemTime) -> bool {
        match self.timer {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(timer)) => timer.is_active && timer.last.is_some_and(|started| started > since),
        }
    }

    /// Returns the end of the last successful run. One in the future proves nothing, but one before it may.
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
                    "the last run began {} in the future: the clock was wrong then, or is wrong now",
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
        // nsqd creates a topic for whoever subscribes: a name that was mistyped is no error there.
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

    /// What the timer shows to be wrong.
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
        // A run by hand may have succeeded since then, whether the one that failed left a row or not.
        let has_told = timer
            .last
            .is_some_and(|started| self.newest().any(|run| run.exit_code != 0 && run.started >= started));
        if let (Some(failure), 0, false) = (&timer.failure, last.exit_code, has_told) {
            let service = timer.unit.replace(".timer", "");
            let is_killed = ["signal", "core-dump", "oom-kill", "timeout", "watchdog"].contains(&&**failure);
            let ended = if is_killed { "was killed" } else { "ended" };
            add(
                Level::Warning,
                format!("the last run {ended} before it could report ({failure}): journalctl -u {service}"),
            );
        }
    }

    /// The thresholds that are exceeded, and those that cannot be checked.
    fn exceeded(
        &self,
        thresholds: &[(Level, Threshold)],
        trend: Option<Trend>,
        add: &mut impl FnMut(Level, String),
    ) {
        let summary = Summary::of(self.runs);
        // What an earlier run knew may have changed.
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

    /// A success that is too long ago.
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
        // With a later warning, critical comes later as well.
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

    /// Servers of the queue that runs know and do not reach. How long that goes on is told by the runs: where
    /// none start, nobody has looked.
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

    /// The runs that are known, the newest first; the last one, which may be all that there is, is there
    /// twice.
    fn newest(&self) -> impl Iterator<Item = &Run> {
        self.last.into_iter().chain(self.runs.iter().rev())
    }

    /// Returns the trend of the backlog.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        Trend::of(&self.runs[self.runs.len().saturating_sub(RUNS_OF_A_TREND)..])
    }

    /// A backlog that grows although the last runs all reached N.
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
        self.told().and_then(|run| run.depth.after)
    }

    /// Returns the last run that knew the depth of the queue.
    fn told(&self) -> Option<&Run> {
        self.newest().find(|run| run.depth.after.is_some())
    }

    /// Returns what the last run left in the queue, as far as it is known, and its trend, in words.
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
        match self.told() {
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

    /// Returns the messages a second that runs can take: N / M.
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

    #[expect(clippy::unnecessary_wraps, reason = "it is what a question to systemd brings")]
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
    fn runs_that_come_and_succeed_are_no_problem() {
        let (runs, active) = (
            [run(0, "queue-empty", 0), run(10, "queue-empty", 0), run(20, "queue-empty", 0)],
            timer(true, Some(at(30))),
        );
        judged(&known(&runs, 25, &active), &[], &[]);
        judged(&known(&runs, 25, &Err("systemd does not answer".to_owned())), &[], &[]);
        assert_eq!(level(&[]), Level::Ok);
    }

    /// A timer that starts a run every ten seconds, the next one a second from now.
    fn ticking(now: u64) -> Result<Timer, String> {
        timer(true, Some(at(now + 1)))
    }

    #[test]
    fn without_a_successful_run_for_some_periods_it_gets_worse() {
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

    /// With `OnCalendar=hourly` in a drop-in it was a warning after 30 s and critical after 100 s, by a
    /// `period` that nobody goes by.
    #[test]
    fn no_run_is_late_before_the_timer_was_to_start_it() {
        let runs = [run(0, "queue-empty", 0), run(3_600, "queue-empty", 0)];
        let hourly = |last: Option<u64>, next: Option<u64>, is_running| {
            let timer = timer(true, next.map(at)).expect("made so");
            Ok(Timer { last: last.map(at), is_running, ..timer })
        };
        let late = (Level::Warning, "(limit 3 h)");
        for (now, timer, expected) in [
            // Before the first start by the timer, and after one by another timer or by hand.
            (7_000, hourly(None, Some(7_200), false), &[][..]),
            (7_000, hourly(Some(3_590), Some(7_200), false), &[]),
            (7_199, hourly(Some(3_600), Some(7_200), false), &[]),
            // While the service runs, the moment that is over counts as the next one.
            (7_201, hourly(Some(7_200), Some(7_200), true), &[]),
            (7_201, hourly(Some(7_200), None, true), &[]),
            // Runs are started, and none comes to its end.
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

    /// Runs by hand have no time at which they are due.
    #[test]
    fn a_pipeline_that_no_timer_starts_is_not_late_unless_somebody_says_so() {
        let runs = [run(0, "queue-empty", 0)];
        let no_answer = Err("systemd does not answer".to_owned());
        let by_hand = Known { timer: None, ..known(&runs, 100_000, &no_answer) };
        judged(&by_hand, &[], &[]);
        judged(&by_hand, &["critical age=1d"], &[(Level::Critical, "limit 1 d)")]);
        judged(&known(&runs, 100_000, &no_answer), &[], &[(Level::Critical, "(limit 1 min 40 s)")]);
    }

    #[test]
    fn a_timer_that_starts_nothing_any_more_is_told() {
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

    /// One of two nsqd was down for ever, with what it held, and each run and `status` said that all was
    /// well.
    #[test]
    fn a_server_that_runs_do_not_reach_is_told_and_is_critical_after_ten_periods() {
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
        let all_well = [server("nsqd at a:1", false, Some(0), None)];
        judged(500, &all_well, &[]);
        let one = [&all_well[..], &[server("nsqd at b:1", false, Some(40), Some(50))]].concat();
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

    /// One that is killed leaves no row; without systemd's word, all would be well until the last row is old.
    #[test]
    fn a_run_that_was_killed_is_told() {
        let (runs, mut killed) = ([run(0, "queue-empty", 0)], timer(true, Some(at(20))));
        let Ok(timer) = &mut killed else { unreachable!("made so") };
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

    /// A run of five hours ago was told as one of the last hour, and its rejects as those of now.
    #[test]
    fn a_run_before_the_time_that_is_looked_at_is_the_last_run_and_no_more() {
        let (mut old, active) = (run(0, "limit-reached", 7), ticking(18_000));
        old.counters.rejected = 10;
        let known = Known { last: Some(&old), last_success: Some(at(0)), ..known(&[], 18_000, &active) };
        judged(&known, &["rejected=5%", "age=6h", "backlog=7"], &[]);
        assert_eq!(known.backlog(), "7 messages left 4 h 59 min ago");
        judged(&known, &[], &[(Level::Critical, "no successful run in the last 5 h")]);
    }

    #[test]
    fn a_run_that_failed_is_told_with_its_error() {
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
    fn a_clock_that_was_ahead_is_told() {
        let (runs, active) = ([run(7_200, "queue-empty", 0)], timer(true, Some(at(15))));
        judged(&known(&runs, 5, &active), &[], &[(Level::Warning, "began 1 h 59 min in the future")]);
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
    fn a_backlog_that_was_known_some_runs_ago_is_told_with_its_age() {
        let mut runs = [run(0, "limit-reached", 40), run(10, "failed", 0)];
        runs[1].depth.after = None;
        let active = timer(true, Some(at(20)));
        assert_eq!(known(&runs, 15, &active).backlog(), "40 messages left 14 s ago; unknown since then");
    }

    #[test]
    fn a_backlog_that_grows_is_a_problem_only_when_runs_are_full() {
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

    /// The burst was taken for growth until it had left the runs that are looked at, and one run's rest for a
    /// backlog without an end.
    #[test]
    fn a_burst_that_is_worked_off_is_no_problem() {
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
    fn thresholds_of_the_user_s_are_held_against_backlog_drain_time_and_rejects() {
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

    /// Nobody saw that they were not judged, or were by what had been an hour ago.
    #[test]
    fn thresholds_that_cannot_be_judged_now_are_unknown() {
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
    fn a_threshold_that_is_none_says_what_is_wanted() {
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
