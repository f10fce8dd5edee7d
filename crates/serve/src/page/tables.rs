//! The tables below the charts.

use std::time::SystemTime;

use super::{
    Page,
    html::{At, By, Cut, Html},
    percent, share, stamp,
};
use x_msrv_history::Run;
use x_msrv_history::words::number;

/// The most lines of failed runs.
const FAILURES: usize = 20;

/// The most characters of an error or a detail.
const WORDS: usize = 600;

/// The most different details of one reason.
const DETAILS: usize = 3;

/// What was counted for one reason.
struct Counted<'a> {
    reason: &'a str,
    count: u64,
    newest: SystemTime,
    /// The newest first, without duplicates.
    details: Vec<&'a str>,
}

/// Consecutive runs that failed for the same reason.
struct Failure<'a> {
    first: SystemTime,
    last: SystemTime,
    runs: u64,
    exit_code: u8,
    words: &'a str,
    deferred: u64,
    unconfirmed: u64,
}

impl Page<'_> {
    pub(super) fn rejects(&self, html: &mut Html) {
        let mut reasons = Vec::new();
        for run in self.runs {
            for (reason, rejected) in &run.reasons {
                count(&mut reasons, reason, rejected.messages, run.started, &rejected.detail);
            }
        }
        html.put("<section>\n<h2>Rejected messages</h2>\n", &[]);
        if reasons.is_empty() {
            html.put("<p class=\"note\">None.</p>\n</section>\n", &[]);
            return;
        }
        html.put("<p class=\"note\"><code>x-msrv explain REASON</code> shows what a reason means and what to do.</p>\n", &[]);
        by_count(html, "rejects", ["reason", "messages", "details, newest first"], reasons);
    }

    pub(super) fn stop_reasons(&self, html: &mut Html) {
        let mut reasons = Vec::new();
        for run in self.runs {
            count(&mut reasons, &run.stop_reason, 1, run.started, "");
        }
        html.put("<section>\n<h2>Why runs ended</h2>\n", &[]);
        by_count(html, "stop-reasons", ["stop reason", "runs", ""], reasons);
    }

    pub(super) fn failed_runs(&self, html: &mut Html) {
        html.put("<section>\n<h2>Failed runs</h2>\n", &[]);
        let failures = failures(self.runs);
        if failures.is_empty() {
            html.put("<p class=\"note\">None.</p>\n</section>\n", &[]);
            return;
        }
        html.put("<p class=\"note\">Consecutive runs that failed for the same reason share a line.", &[]);
        if failures.len() > FAILURES {
            html.put(" The newest {} of {}.", &[&FAILURES, &By(number, failures.len() as u64)]);
        }
        html.put(
            "</p>\n<table class=\"worded\" id=\"failures\">\n<thead><tr><th scope=\"col\">from (UTC)</th>",
            &[],
        );
        html.put("<th scope=\"col\" class=\"extra\">last started</th><th scope=\"col\">runs</th><th scope=\"col\">exit code</th>", &[]);
        html.put("<th scope=\"col\" class=\"words\">error</th></tr></thead>\n<tbody>\n", &[]);
        for failure in failures.iter().rev().take(FAILURES) {
            html.put("<tr><th scope=\"row\">", &[]);
            time(html, failure.first);
            html.put("</th><td class=\"extra\">", &[]);
            time(html, failure.last);
            html.put("</td><td>{}</td><td>{}</td>", &[&By(number, failure.runs), &failure.exit_code]);
            html.put("<td class=\"words\">{}", &[&Cut(failure.words, WORDS)]);
            for (name, count) in [("deferred", failure.deferred), ("unconfirmed", failure.unconfirmed)] {
                if count > 0 {
                    html.put(", {} {}", &[&By(number, count), &name]);
                }
            }
            html.put("</td></tr>\n", &[]);
        }
        html.put("</tbody></table>\n</section>\n", &[]);
    }
}

/// Returns the failed runs, the oldest first; consecutive ones with the same reason are combined.
fn failures(runs: &[Run]) -> Vec<Failure<'_>> {
    let mut failures: Vec<Failure<'_>> = Vec::new();
    let mut continues = false;
    for run in runs {
        let words = run.error.as_deref().unwrap_or(&run.stop_reason);
        continues = match failures.last_mut() {
            _ if run.exit_code == 0 => false,
            Some(failure) if continues && (failure.exit_code, failure.words) == (run.exit_code, words) => {
                failure.add(run);
                true
            }
            _ => {
                let (first, last, exit_code) = (run.started, run.started, run.exit_code);
                let mut failure =
                    Failure { first, last, runs: 0, exit_code, words, deferred: 0, unconfirmed: 0 };
                failure.add(run);
                failures.push(failure);
                true
            }
        };
    }
    failures
}

impl Failure<'_> {
    fn add(&mut self, run: &Run) {
        self.last = run.started;
        self.runs += 1;
        self.deferred += run.counters.deferred;
        self.unconfirmed += run.counters.unconfirmed;
    }
}

/// Adds to the count of a reason. There are at most a dozen reasons.
fn count<'a>(
    reasons: &mut Vec<Counted<'a>>,
    reason: &'a str,
    number: u64,
    newest: SystemTime,
    detail: &'a str,
) {
    let at = reasons.iter().position(|counted| counted.reason == reason).unwrap_or_else(|| {
        reasons.push(Counted { reason, count: 0, newest, details: Vec::new() });
        reasons.len() - 1
    });
    let counted = &mut reasons[at];
    (counted.count, counted.newest) = (counted.count + number, newest);
    counted.details.retain(|known| *known != detail);
    counted.details.insert(0, detail);
    counted.details.truncate(DETAILS);
}

/// Writes a table of counts, the most frequent first. Without a detail, a bar shows the share.
fn by_count(
    html: &mut Html,
    id: &'static str,
    [reason, what, detail]: [&'static str; 3],
    mut reasons: Vec<Counted<'_>>,
) {
    let all = reasons.iter().map(|counted| counted.count).sum();
    html.put(
        "<table class=\"worded\" id=\"{}\">\n<thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}</th>",
        &[&id, &reason, &what],
    );
    html.put("<th scope=\"col\" class=\"extra\">share</th><th scope=\"col\">newest (UTC)</th>", &[]);
    html.put("<th scope=\"col\" class=\"words\">{}</th></tr></thead>\n<tbody>\n", &[&detail]);
    reasons.sort_by_key(|counted| std::cmp::Reverse(counted.count));
    for Counted { reason, count, newest, details } in reasons {
        html.put("<tr><th scope=\"row\">{}</th><td>{}</td>", &[&reason, &By(number, count)]);
        html.put("<td class=\"extra\">{}</td><td>", &[&By(share, (count, all))]);
        time(html, newest);
        html.put("</td><td class=\"words\">", &[]);
        for detail in details.iter().filter(|detail| !detail.is_empty()) {
            html.put("<p>{}</p>", &[&Cut(detail, WORDS)]);
        }
        if details[0].is_empty() {
            let width = At(percent(count, all));
            html.put(
                "<svg class=\"bar\" aria-hidden=\"true\"><rect width=\"{}%\" height=\"100%\"/></svg>",
                &[&width],
            );
        }
        html.put("</td></tr>\n", &[]);
    }
    html.put("</tbody></table>\n</section>\n", &[]);
}

/// Writes a time, without the year if there is little room.
fn time(html: &mut Html, time: SystemTime) {
    let stamp = stamp(time);
    let (year, rest) = stamp.split_at(5);
    html.put("<time><span class=\"extra\">{}</span>{}</time>", &[&year, &rest]);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::tests::run, *};

    #[test]
    fn each_reason_has_its_newest_details_without_duplicates() {
        let mut reasons = Vec::new();
        for (second, detail) in (0..).zip(["a", "b", "a", "c", "d", "d"]) {
            count(&mut reasons, "schema", 2, SystemTime::UNIX_EPOCH + Duration::from_secs(second), detail);
        }
        let [Counted { count, newest, details, .. }] = &reasons[..] else { panic!("one reason") };
        assert_eq!(
            (*count, *newest, &details[..]),
            (12, SystemTime::UNIX_EPOCH + Duration::from_secs(5), &["d", "c", "a"][..])
        );
    }

    /// An outage of an hour would fill the table with hundreds of equal lines.
    #[test]
    fn an_outage_is_one_line_until_a_run_succeeds_or_fails_differently() {
        let runs: Vec<_> = [0, 69, 69, 0, 69, 75, 75]
            .into_iter()
            .zip(0..)
            .map(|(exit_code, second)| {
                let mut run = run(SystemTime::UNIX_EPOCH + Duration::from_secs(second), 0);
                run.exit_code = exit_code;
                run.error = (exit_code == 69).then(|| "cannot reach nsqd".to_owned());
                run.counters.deferred = u64::from(exit_code == 75) * 4;
                run
            })
            .collect();
        let failures = failures(&runs);
        let found: Vec<_> = failures
            .iter()
            .map(|failure| (failure.first, failure.last, failure.runs, failure.words, failure.deferred))
            .collect();
        let at = |index: usize| runs[index].started;
        let expected = [
            (at(1), at(2), 2, "cannot reach nsqd", 0),
            (at(4), at(4), 1, "cannot reach nsqd", 0),
            (at(5), at(6), 2, "queue-empty", 8),
        ];
        assert_eq!(found, expected);
    }
}
