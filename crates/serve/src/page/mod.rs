//! The report page: the state of a pipeline and its runs, as one self-contained HTML file. Pure: it turns
//! what is known into text.
//!
//! Only literals are markup, which `Html` ensures. The page's content security policy forbids everything that
//! is not in this file, so that even a bug here could not make a browser load or run anything else.

mod backlog;
mod chart;
mod durations;
mod html;
mod messages;
mod plot;
mod scale;
mod slots;
mod tables;

use std::time::Duration;

use backlog::number_or_dash;
use html::{By, Html};
use scale::stamp;
use slots::Slots;
use x_msrv_core::report::Counters;
use x_msrv_history::{
    Run,
    status::{Known, Level, Problem},
    summary::Summary,
    words::{number, rate, span},
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The hashes by which the page's policy allows them (Content Security Policy Level 3, 2.3.1). If they are
/// wrong, a test shows the right ones.
const STYLE_HASH: &str = "sha256-DS42iMOrzYiq4n5/rgskz9K+DeUTEKkM6jZyF1oKIuY=";
const SCRIPT_HASH: &str = "sha256-zrgNaiJcTjkOiPh2/wZGB33Qq2En1OumwpAbLCKkajc=";

/// The content of the page.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// The current state of the pipeline.
    pub known: &'a Known<'a>,
    /// Its problems, the worst first.
    pub problems: &'a [Problem],
    /// The runs to show, by their start times.
    pub runs: &'a [Run],
    /// The requested time before now.
    pub since: Duration,
    /// The name of the machine.
    pub host: Option<&'a str>,
    /// The path of the configuration.
    pub file: &'a str,
    /// The settings in force, one per line.
    pub settings: &'a str,
}

impl Page<'_> {
    /// Returns the whole page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut html = Html::default();
        self.head(&mut html);
        // Without a timer, no next run is expected.
        let until = self.known.timer.map(|_| self.known.now);
        match Slots::of(self.runs, until, self.known.period) {
            None => {
                html.put("<p class=\"empty\">No run started in the last {}.</p>\n", &[&By(span, self.since)]);
            }
            Some(slots) => {
                let sum = Summary::of(self.runs);
                self.figures(&mut html, &slots, &sum);
                self.messages(&mut html, &slots, &sum);
                self.backlog(&mut html, &slots);
                self.durations(&mut html, &slots, &sum);
                self.rejects(&mut html);
                self.stop_reasons(&mut html);
                self.failed_runs(&mut html);
            }
        }
        html.put("<details class=\"settings\"><summary>Configuration in force</summary>\n<p class=\"note\">{}</p>\n", &[&self.file]);
        html.put("<pre id=\"settings\">{}</pre></details>\n</main>\n<script>", &[&self.settings]);
        html.file(SCRIPT);
        html.put("</script>\n</body>\n</html>\n", &[]);
        html.into_text()
    }

    fn head(&self, html: &mut Html) {
        let (name, level) = (self.known.name, self.problems.first().map_or(Level::Ok, |worst| worst.level));
        let colour = match level {
            Level::Ok => "2a8a4a",
            Level::Warning => "b07d00",
            Level::Critical => "c22f2f",
            Level::Unknown => "6b7683",
        };
        let state = level.as_str();
        html.put(
            include_str!("head.html"),
            &[&STYLE_HASH, &SCRIPT_HASH, &env!("CARGO_PKG_VERSION"), &colour, &name, &state],
        );
        html.put("<style>", &[]);
        html.file(STYLE);
        html.put("</style>\n</head>\n<body>\n", &[]);
        html.file(include_str!("symbols.svg"));
        html.put(
            "<main>\n<header>\n<h1>{}</h1>\n<p class=\"state {}\" id=\"state\">{}</p>\n",
            &[&name, &state, &state],
        );
        html.put("<p class=\"about\">Runs of the last {}", &[&By(span, self.since)]);
        if let Some(host) = self.host {
            html.put(" on <b>{}</b>", &[&host]);
        }
        html.put(", written <time>{}</time> UTC", &[&By(stamp, self.known.now)]);
        if let Some(first) = self.runs.first() {
            html.put("; the first one started <time>{}</time>", &[&By(stamp, first.started)]);
        }
        html.put("</p>\n", &[]);
        if !self.problems.is_empty() {
            html.put("<ul class=\"problems\" id=\"problems\">\n", &[]);
            for problem in self.problems {
                let level = problem.level.as_str();
                html.put("<li class=\"{}\"><b>{}</b> {}</li>\n", &[&level, &level, &problem.text]);
            }
            html.put("</ul>\n", &[]);
        }
        html.put("</header>\n", &[]);
    }

    /// Writes the most important figures, each with a short explanation.
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with two or three digits")]
    fn figures(&self, html: &mut Html, slots: &Slots<'_>, sum: &Summary) {
        let Counters { received, stored, rejected, .. } = sum.counters;
        let class = |class: &'static str, count| if count > 0 { class } else { "" };
        html.put(
            include_str!("figures.html"),
            &[
                &By(number, sum.runs),
                &By(span, self.known.period),
                &By(number, self.known.max_messages),
                &class("bad", sum.failed),
                &By(number, sum.failed),
                &By(share, (sum.failed, sum.runs)),
                &By(number, received),
                &By(rate, received as f64 / slots.times.length()),
                &By(number, stored),
                &By(share, (stored, received)),
                &class("odd", rejected),
                &By(number, rejected),
                &By(share, (rejected, received)),
                &By(number_or_dash, self.known.waiting().map(|waiting| waiting.messages)),
                &self.prospect(),
            ],
        );
    }

    /// Returns the expected development of the backlog.
    fn prospect(&self) -> String {
        let (trend, waiting) = (self.known.trend(), self.known.waiting());
        if let Some(waiting) = waiting.filter(|waiting| !waiting.is_current) {
            let ago = self.known.now.duration_since(waiting.at).unwrap_or_default();
            return format!("{} ago; unknown since then", span(ago));
        }
        match (
            waiting.map(|waiting| waiting.messages),
            trend.and_then(|trend| trend.per_second),
            trend.and_then(|trend| trend.time_to_drain()),
        ) {
            (None, ..) => "unknown".to_owned(),
            (Some(0), ..) => "nothing left".to_owned(),
            (_, None, _) => "waiting".to_owned(),
            (.., Some(time)) => format!("drained in {}", span(time)),
            (_, Some(growth), None) if growth > 0.0 => format!("growing by {}", rate(growth)),
            _ => "stable".to_owned(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64 * 100.0
}

/// Formats a share: `12.5%`, and `under 0.1%` for less than a thousandth.
fn share((part, whole): (u64, u64)) -> String {
    match percent(part, whole) {
        none if none <= 0.0 => "0%".to_owned(),
        little if little < 0.1 => "under 0.1%".to_owned(),
        nearly if (99.95..100.0).contains(&nearly) => "over 99.9%".to_owned(),
        all if all >= 100.0 => "100%".to_owned(),
        some => format!("{some:.1}%"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::SystemTime};

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use x_msrv_core::{
        exit::Exit,
        report::{Depth, Rejected},
    };

    /// Returns a run that stored so many messages.
    pub(super) fn run(started: SystemTime, stored: u64) -> Run {
        Run {
            started,
            elapsed: Duration::from_millis(15),
            exit_code: 0,
            stop_reason: "queue-empty".to_owned(),
            counters: Counters { received: stored, stored, ..Counters::default() },
            reasons: BTreeMap::new(),
            depth: Depth::default(),
            error: None,
            unreached: Vec::new(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn page(runs: &[Run], name: &str, settings: &str) -> String {
        let (now, period, last) = (at(1_000_000), Duration::from_secs(10), runs.last());
        let known = Known {
            name,
            now,
            period,
            max_messages: 10,
            runs,
            last,
            unrecorded: None,
            last_success: None,
            timer: None,
            servers: &[],
            command: "x-msrv status",
            silent_name: None,
            warnings: &[],
        };
        let (problems, since) = (known.problems(&[]), Duration::from_secs(86_400));
        Page {
            known: &known,
            problems: &problems,
            runs,
            since,
            host: Some("host"),
            file: "/etc/x-msrv/x-msrv.yml",
            settings,
        }
        .html()
    }

    /// Text that a publisher sends is part of a rejection's detail, and would run in the browser of a user
    /// who opens the page.
    #[test]
    fn foreign_text_never_becomes_markup() {
        let hostile = "</pre><script>alert(1)</script>\" onload='x' &amp;";
        let mut rejected = run(at(0), 1);
        rejected.counters.rejected = 1;
        rejected.reasons.insert(hostile.to_owned(), Rejected { messages: 1, detail: hostile.to_owned() });
        rejected.stop_reason = hostile.to_owned();
        let failed = Run::of_failure(at(10), Duration::from_secs(1), Exit::Unavailable, hostile.to_owned());
        let html = page(&[rejected, failed], hostile, hostile);
        assert!(
            !html.contains("<script>alert") && !html.contains("onload='x'") && !html.contains("\" onload"),
            "{html}"
        );
        let escaped = "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp;amp;";
        // Title, heading, the problem, the stop reason twice, reason and detail of the rejection, the error,
        // the settings.
        assert_eq!(html.matches(escaped).count(), 9);
    }

    /// A browser would refuse the page's own style and script, or run foreign ones.
    #[test]
    fn the_policy_allows_this_style_and_this_script_and_no_others() {
        let html = page(&[run(at(0), 1)], "x-msrv", "");
        let between = |from: &str, to: &str| {
            assert_eq!(html.matches(from).count(), 1, "one {from}");
            html.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("both are there").0
        };
        for (kind, content) in
            [("style", between("<style>", "</style>")), ("script", between("<script>", "</script>"))]
        {
            let hash = STANDARD.encode(Sha256::digest(content));
            let allowed = format!("{kind}-src 'sha256-{hash}'");
            assert!(between("Content-Security-Policy", ">").contains(&allowed), "{allowed}");
        }
        let html = html.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !html.contains(" style=")
                && !html.contains("http:")
                && !html.contains("https:")
                && !html.contains("url(\""),
            "{html}"
        );
    }

    #[test]
    fn a_history_without_runs_is_a_page_that_reports_it() {
        let html = page(&[], "x-msrv", "max-messages: 10");
        assert!(
            html.contains("No run started in the last 1 d.")
                && html.contains("no run in the history yet")
                && html.contains("max-messages: 10")
        );
        assert!(!html.contains("<section") && html.ends_with("</html>\n"));
    }

    /// A browser takes seconds for a megabyte of SVG.
    #[test]
    fn the_page_of_a_hundred_thousand_runs_is_small() {
        let detail = "a word of some length ".repeat(100);
        let runs: Vec<_> = (0..100_000)
            .map(|number| {
                let mut run = run(at(number * 10), number % 700);
                run.counters.rejected = number % 7;
                run.counters.received += run.counters.rejected;
                run.reasons
                    .insert("schema".to_owned(), Rejected { messages: number % 7, detail: detail.clone() });
                (run.depth.after, run.exit_code) = (Some(number * 7_919 % 12_345), u8::from(number % 3 == 0));
                run.error = Some(detail.clone());
                run
            })
            .collect();
        let size = page(&runs, "x-msrv", "").len();
        assert!(size < 300_000, "{size}");
        let size = page(&runs[..200], "x-msrv", "").len();
        assert!(size < 300_000, "{size}");
    }

    #[test]
    fn shares_have_few_digits() {
        for (part, whole, text) in [
            (0, 0, "0%"),
            (0, 9, "0%"),
            (1, 8, "12.5%"),
            (9, 9, "100%"),
            (1, 100_000, "under 0.1%"),
            (99_999, 100_000, "over 99.9%"),
        ] {
            assert_eq!(share((part, whole)), text);
        }
    }
}
