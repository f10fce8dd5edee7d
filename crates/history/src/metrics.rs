//! The metrics for the textfile collector of `node_exporter`: Prometheus' text format 0.0.4, with names and
//! units as in `OpenMetrics`.

use std::{
    fmt::{Display, Write as _},
    fs::Permissions,
    io,
    num::NonZeroU64,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    FAILED, KnownServer, Run,
    totals::{
        BUCKET, BUCKETS, BYTES, DEAD_LETTERED, FAILED_RUNS, MESSAGES, REJECTED, RUNS, SECONDS, Totals,
        UNCONFIRMED,
    },
};
use x_msrv_core::{budget::StopReason, decode::Rejection, exit::Exit};
use x_msrv_state::state_file;

/// The outcomes of messages that are not rejected.
const OUTCOMES: [&str; 4] = ["stored", "duplicate", "deferred", "not-started"];

/// The file of the metrics, and the settings that they include.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; `node_exporter` requires a name that ends in `.prom`.
    pub textfile: PathBuf,
    /// The configuration's name, a label of every metric: a host with several configurations has a file for
    /// each.
    pub pipeline: String,
    /// M.
    pub period: Duration,
    /// N.
    pub max_messages: NonZeroU64,
}

/// Replaces the file; all users can read it.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    state_file::replace(path, text, Some(Permissions::from_mode(0o644)))
}

/// Returns all metrics after `run`, which the totals already include.
pub(super) fn text(settings: &Settings, totals: &Totals, servers: &[KnownServer], run: &Run) -> String {
    let mut page =
        Page { text: String::new(), label: format!("pipeline=\"{}\"", escape(&settings.pipeline)) };
    page.family("x_msrv_build_info", "gauge", "The version; always 1.");
    page.sample("x_msrv_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge(
        "x_msrv_period_seconds",
        "Time between the starts of two runs, as configured.",
        settings.period.as_secs_f64(),
    );
    page.gauge("x_msrv_max_messages", "The most messages that a run takes.", settings.max_messages);
    page.totals(totals);
    page.last_run(totals, run);
    page.servers(servers, run);
    page.text
}

/// The `HELP` text of a metric must never change: if two files differ in it, for instance because a pipeline
/// has not run since an upgrade, `node_exporter` drops one of them (`collector/textfile.go`).
struct Page {
    text: String,
    label: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("text grows");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        write!(self.text, "{name}{{{}", self.label).expect("text grows");
        for (label, text) in labels {
            write!(self.text, ",{label}=\"{}\"", escape(text)).expect("text grows");
        }
        writeln!(self.text, "}} {value}").expect("text grows");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// Includes counters that are still 0, so that the first event is an increase.
    fn totals(&mut self, totals: &Totals) {
        const RUNS_TOTAL: &str = "x_msrv_runs_total";
        const FAILED_TOTAL: &str = "x_msrv_failed_runs_total";
        const FAILURES: [Exit; 4] =
            [Exit::Unavailable, Exit::Software, Exit::TemporaryFailure, Exit::Configuration];
        const MESSAGES_TOTAL: &str = "x_msrv_messages_total";
        self.family(MESSAGES_TOTAL, "counter", "Messages received, by outcome, and by reason if rejected.");
        for outcome in OUTCOMES {
            self.sample(
                MESSAGES_TOTAL,
                &[("outcome", outcome), ("reason", "")],
                totals.get(MESSAGES, outcome),
            );
        }
        for reason in Rejection::REASONS {
            self.sample(
                MESSAGES_TOTAL,
                &[("outcome", "rejected"), ("reason", reason)],
                totals.get(REJECTED, reason),
            );
        }
        self.counter(
            "x_msrv_received_bytes_total",
            "Bytes of the bodies of received messages.",
            totals.get(BYTES, ""),
        );
        self.counter(
            "x_msrv_dead_letters_total",
            "Dead letters that were written and acknowledged.",
            totals.get(DEAD_LETTERED, ""),
        );
        self.counter(
            "x_msrv_unconfirmed_settlements_total",
            "Settlements that the queue refused or may not have received: the messages may be delivered again.",
            totals.get(UNCONFIRMED, ""),
        );
        self.family(RUNS_TOTAL, "counter", "Runs, by stop reason; failed: they could not take messages.");
        for reason in StopReason::ALL.map(StopReason::as_str).into_iter().chain([FAILED]) {
            self.sample(RUNS_TOTAL, &[("stop_reason", reason)], totals.get(RUNS, reason));
        }
        self.family(FAILED_TOTAL, "counter", "Runs that did not exit with 0, by exit code.");
        for code in FAILURES.map(|exit| exit as u8) {
            self.sample(
                FAILED_TOTAL,
                &[("exit_code", &code.to_string())],
                totals.get(FAILED_RUNS, &code.to_string()),
            );
        }
        self.durations(totals);
    }

    fn durations(&mut self, totals: &Totals) {
        self.family(
            "x_msrv_run_duration_seconds",
            "histogram",
            "Duration of runs, starting when the configuration has been read.",
        );
        let mut runs = 0.0;
        for bound in BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]) {
            runs += totals.get(BUCKET, &bound);
            self.sample("x_msrv_run_duration_seconds_bucket", &[("le", &bound)], runs);
        }
        self.sample("x_msrv_run_duration_seconds_sum", &[], totals.get(SECONDS, ""));
        self.sample("x_msrv_run_duration_seconds_count", &[], runs);
    }

    fn last_run(&mut self, totals: &Totals, run: &Run) {
        self.gauge("x_msrv_last_run_timestamp_seconds", "When the last run ended.", seconds(run.ended()));
        if let Some(success) = totals.last_success() {
            self.gauge(
                "x_msrv_last_success_timestamp_seconds",
                "When the last run that exited with 0 ended.",
                seconds(success),
            );
        }
        self.gauge(
            "x_msrv_last_run_duration_seconds",
            "Duration of the last run.",
            run.elapsed.as_secs_f64(),
        );
        self.gauge(
            "x_msrv_last_run_success",
            "Whether the last run exited with 0.",
            u8::from(run.exit_code == 0),
        );
        self.gauge("x_msrv_last_run_exit_code", "The exit code of the last run.", run.exit_code);
        self.gauge(
            "x_msrv_last_run_in_flight",
            "Messages that the last run left, or may have left, unsettled.",
            run.counters.unconfirmed,
        );
        if let Some(depth) = run.depth.before {
            self.gauge(
                "x_msrv_last_run_queue_depth_before",
                "Messages in the queue when the last run started, including delayed and paused ones.",
                depth,
            );
        }
        if let Some(depth) = run.depth.after {
            self.gauge(
                "x_msrv_last_run_queue_depth_after",
                "Messages in the queue when the last run ended, including delayed and paused ones.",
                depth,
            );
        }
    }

    /// An unreached server does not fail a run: the others are drained.
    fn servers(&mut self, servers: &[KnownServer], run: &Run) {
        let missing = || servers.iter().filter_map(|server| server.unreached_since);
        self.gauge(
            "x_msrv_unreached_servers",
            "Known servers of the queue that runs do not reach.",
            missing().count(),
        );
        let longest = missing()
            .min()
            .map_or(Duration::ZERO, |since| run.started.duration_since(since).unwrap_or_default());
        self.gauge(
            "x_msrv_unreached_servers_seconds",
            "How long the server that has been missing the longest has not been reached.",
            longest.as_secs_f64(),
        );
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Escapes a label value.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
