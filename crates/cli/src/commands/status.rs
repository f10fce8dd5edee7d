//! `x-msrv status`

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{CommandError, history::read, written};
use crate::{
    cli::StatusArgs,
    config::Settings,
    pipeline::Pipeline,
    terminal::{BAD, BOLD, DIM, GOOD, WARNING, styled},
    timer::{Now, Units},
};
use x_msrv_core::{error_chain::one_line, report::Counters};
use x_msrv_history::{
    History, KnownServer, Run, Unrecorded,
    status::{Known, Level, Problem, Timer, interval, level},
    summary::Summary,
    words::{number, span},
};

/// The time span of recent runs: an hour, or the time of as many runs if that is longer.
const LOOKED_AT: (Duration, u32) = (Duration::from_secs(3_600), 20);

/// The status as JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Status<'a> {
    name: &'a str,
    state: Level,
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<&'a Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timer: Option<&'a Timer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<Backlog>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreached: Vec<Unreached<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    lately: Lately,
}

/// A known server of the queue that runs do not reach.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Unreached<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reached: Option<String>,
    since: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Backlog {
    messages: u64,
    /// When a run found them.
    as_of: String,
    /// Whether no run has started since then.
    is_current: bool,
    /// Its growth in messages per second, if enough runs are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth_per_second: Option<f64>,
    arriving_per_second: f64,
    /// The most messages per second that runs can take: N / M, if a timer starts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drained_in_seconds: Option<u64>,
}

/// The outcomes in the time span.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Lately {
    seconds: u64,
    runs: u64,
    failed: u64,
    #[serde(flatten)]
    counters: Counters,
    reasons: BTreeMap<String, u64>,
}

/// What is known about a pipeline.
pub(super) struct Asked {
    name: String,
    now: SystemTime,
    period: Duration,
    max_messages: u64,
    window: Duration,
    runs: Vec<Run>,
    last: Option<Run>,
    unrecorded: Option<Unrecorded>,
    last_success: Option<SystemTime>,
    timer: Option<Result<Timer, String>>,
    servers: Vec<KnownServer>,
    command: String,
    silent_name: Option<String>,
    warnings: Vec<String>,
}

impl Asked {
    /// Reads the history and queries systemd.
    pub(super) fn of(settings: &Settings, now: Now) -> Result<Self, CommandError> {
        let period = settings.period_or_packaged();
        let timer = Units::of(&settings.file).and_then(|units| units.ask(now).transpose());
        let window =
            LOOKED_AT.0.max(interval(period, now.realtime, timer.as_ref(), None).saturating_mul(LOOKED_AT.1));
        let since = now.realtime.checked_sub(window).unwrap_or(SystemTime::UNIX_EPOCH);
        let path = settings.history.as_ref().map(|history| &history.path);
        let all = |history: &History| {
            Ok((
                path.map(|path| history.unrecorded(path)).transpose()?.flatten(), // before any row
                history.runs(since)?,
                history.last(1)?.pop(),
                history.last_success()?,
                history.servers()?,
                history.may_have_received()?,
            ))
        };
        let (unrecorded, runs, last, last_success, servers, has_received) =
            read(settings, all)?.unwrap_or_default();
        let silent_name = settings.source.created_on_demand().filter(|_| !has_received);
        let (name, max_messages) = (settings.name(), settings.limits.max_messages.get());
        Ok(Self {
            name,
            now: now.realtime,
            period,
            max_messages,
            window,
            runs,
            last,
            unrecorded,
            last_success,
            timer,
            servers,
            command: Pipeline::of(&settings.file).command("status"),
            silent_name,
            warnings: settings.warnings.clone(),
        })
    }

    pub(super) fn known(&self) -> Known<'_> {
        Known {
            name: &self.name,
            now: self.now,
            period: self.period,
            max_messages: self.max_messages,
            runs: &self.runs,
            last: self.last.as_ref(),
            unrecorded: self.unrecorded,
            last_success: self.last_success,
            timer: self.timer.as_ref(),
            servers: &self.servers,
            command: &self.command,
            silent_name: self.silent_name.as_deref(),
            warnings: &self.warnings,
        }
    }
}

pub(super) fn status(settings: &Settings, arguments: &StatusArgs) -> Result<Level, CommandError> {
    if let Some(server) = &arguments.forget {
        forget(settings, server)?;
    }
    let asked = Asked::of(settings, Now::take())?;
    let known = asked.known();
    let problems = known.problems(&arguments.thresholds());
    written(if arguments.json {
        let status = in_full(&known, &problems, asked.window);
        let json = serde_json::to_string(&status).expect("text keys and finite numbers");
        writeln!(io::stdout(), "{json}")
    } else {
        anstream::stdout().write_all(text(&known, &problems, asked.window).as_bytes())
    })?;
    Ok(level(&problems))
}

fn forget(settings: &Settings, server: &str) -> Result<(), CommandError> {
    let path = read(settings, |_| Ok(settings.history.as_ref().map(|history| &history.path)))?.flatten();
    let forgotten = path.map(|path| {
        let forgotten = History::open(path).and_then(|history| history.forget_server(server));
        forgotten.map_err(|cause| CommandError::File {
            name: path.display().to_string(),
            attempt: "write to the history",
            cause,
        })
    });
    if forgotten.transpose()? == Some(true) {
        Ok(())
    } else {
        Err(CommandError::NoServer { name: server.to_owned() })
    }
}

fn in_full<'a>(known: &'a Known<'a>, problems: &'a [Problem], window: Duration) -> Status<'a> {
    let summary = Summary::of(known.runs);
    Status {
        name: known.name,
        state: level(problems),
        problems,
        last_run: known.last,
        last_success: known.success().map(|time| humantime::format_rfc3339_millis(time).to_string()),
        timer: known.timer.and_then(|timer| timer.as_ref().ok()),
        backlog: known.trend().zip(known.waiting()).map(|(trend, waiting)| Backlog {
            messages: waiting.messages,
            as_of: humantime::format_rfc3339_millis(waiting.at).to_string(),
            is_current: waiting.is_current,
            growth_per_second: trend.per_second,
            arriving_per_second: trend.arriving,
            capacity_per_second: known.capacity(),
            drained_in_seconds: trend.time_to_drain().map(|time| time.as_secs()),
        }),
        unreached: known.servers.iter().filter_map(unreached).collect(),
        warnings: known.warnings,
        lately: Lately {
            seconds: window.as_secs(),
            runs: summary.runs,
            failed: summary.failed,
            counters: summary.counters,
            reasons: summary
                .reasons
                .iter()
                .map(|(reason, rejected)| (reason.clone(), rejected.messages))
                .collect(),
        },
    }
}

fn unreached(server: &KnownServer) -> Option<Unreached<'_>> {
    let time = |time: SystemTime| humantime::format_rfc3339_millis(time).to_string();
    Some(Unreached {
        name: &server.name,
        last_reached: server.reached.map(time),
        since: time(server.unreached_since?),
    })
}

fn text(known: &Known<'_>, problems: &[Problem], window: Duration) -> String {
    let (worst, others) =
        problems.split_first().map_or((None, problems), |(worst, others)| (Some(worst), others));
    let state = |level: Level| {
        let style = match level {
            Level::Ok => GOOD,
            Level::Warning | Level::Unknown => WARNING,
            Level::Critical => BAD,
        };
        styled(style, level.as_str())
    };
    let mut text = format!("{}: {}", styled(BOLD, known.name), state(level(problems)));
    if let Some(worst) = worst {
        write!(text, ": {}", one_line(&worst.text)).expect("text grows");
    }
    text.push('\n');
    for problem in others {
        writeln!(text, "  {}: {}", state(problem.level), one_line(&problem.text)).expect("text grows");
    }
    let warnings = known.warnings.iter().map(|warning| ("warning".to_owned(), warning.clone()));
    for (label, words) in lines(known, window).into_iter().chain(warnings) {
        writeln!(text, "  {}{}", styled(DIM, format_args!("{label:<11}")), one_line(&words))
            .expect("text grows");
    }
    text
}

/// Returns the lines below the state, each with a label.
fn lines(known: &Known<'_>, window: Duration) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut add = |label: &str, words: String| lines.push((label.to_owned(), words));
    let Some(last) = known.last else {
        add("next run", next_run(known));
        return lines;
    };
    let ago = match known.now.duration_since(last.started) {
        Ok(ago) => format!("{} ago", span(ago)),
        Err(ahead) => format!("{} in the future", span(ahead.duration())),
    };
    let counters = last.counters;
    let exit = if last.exit_code == 0 { String::new() } else { format!(", exit code {}", last.exit_code) };
    add(
        "last run",
        format!("{ago}: {}, {} in {}{exit}", last.stop_reason, outcomes(&counters), span(last.elapsed)),
    );
    add("next run", next_run(known));
    add("backlog", known.backlog());
    let summary = Summary::of(known.runs);
    let failed =
        if summary.failed > 0 { format!(", {} failed", number(summary.failed)) } else { String::new() };
    let runs = match summary.runs {
        0 => "no runs".to_owned(),
        1 => format!("1 run{failed}; {}", outcomes(&summary.counters)),
        runs => format!("{} runs{failed}; {}", number(runs), outcomes(&summary.counters)),
    };
    add(&format!("last {}", span(window)), runs);
    let mut reasons: Vec<_> = summary.reasons.iter().collect();
    reasons.sort_by_key(|(_, rejected)| std::cmp::Reverse(rejected.messages));
    for (index, (reason, rejected)) in reasons.into_iter().enumerate() {
        add(
            if index == 0 { "rejected" } else { "" },
            format!("{} {reason}, latest: {}", number(rejected.messages), rejected.detail),
        );
    }
    lines
}

/// Returns the outcomes of messages, without those that are zero.
fn outcomes(counters: &Counters) -> String {
    let parts = [
        ("stored", counters.stored),
        ("duplicate", counters.duplicate),
        ("rejected", counters.rejected),
        ("requeued", counters.requeued),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| format!("{} {outcome}", number(*count)))
        .collect();
    if parts.is_empty() {
        "nothing received".to_owned()
    } else {
        format!("{} received: {}", number(counters.received), parts.join(", "))
    }
}

fn next_run(known: &Known<'_>) -> String {
    match known.timer {
        None if known.unrecorded.is_some_and(|run| run.is_running) => "running now, by hand".to_owned(),
        None => "none: this configuration has no timer".to_owned(),
        Some(Err(why)) => format!("unknown: {why}"),
        Some(Ok(timer)) if timer.is_running => format!("running now ({})", timer.unit),
        Some(Ok(timer)) => match timer.next {
            Some(next) => {
                format!("in {} ({})", span(next.duration_since(known.now).unwrap_or_default()), timer.unit)
            }
            None => {
                format!("none ({} is {})", timer.unit, if timer.is_active { "active" } else { "not active" })
            }
        },
    }
}
