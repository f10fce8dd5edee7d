//! `x-msrv history`

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::{Duration, SystemTime},
};

use super::{CommandError, say, status::Asked, written};
use crate::{
    cli::HistoryArgs,
    config::Settings,
    terminal::{BAD, BOLD, DIM, WARNING, styled},
    timer::Now,
};
use x_msrv_history::{
    AnyError, History, Run,
    summary::{Summary, spans},
    words::{number, span, sparkline},
};
use x_msrv_serve::page::Page;
use x_msrv_state::{sqlite, state_file};

/// The most rows of the table.
const LINES: u32 = 24;

/// The possible time spans of a row, in seconds.
const SPANS: [u64; 14] = [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800];

/// The most columns of a sparkline.
const COLUMNS: usize = 60;

/// Reads the history. Returns `None` if there is none yet.
pub(super) fn read<T>(
    settings: &Settings,
    act: impl FnOnce(&History) -> Result<T, AnyError>,
) -> Result<Option<T>, CommandError> {
    let Some(history) = &settings.history else {
        return Err(CommandError::NoHistory { file: settings.file.display().to_string() });
    };
    let acted = History::open_existing(&history.path).and_then(|opened| opened.as_ref().map(act).transpose());
    acted.map_err(|cause| {
        let cause = sqlite::in_plain_words(&history.path, cause);
        CommandError::File { name: history.path.display().to_string(), attempt: "read the history", cause }
    })
}

pub(super) fn history(settings: &Settings, arguments: &HistoryArgs) -> Result<(), CommandError> {
    let now = Now::take();
    let runs = read(settings, |history| history.runs_by_time(arguments.since))?.unwrap_or_default();
    let whole = now.realtime.duration_since(arguments.since).unwrap_or_default();
    if let Some(file) = &arguments.html {
        if let Some(name) = settings.name_of_file(file) {
            let cause = format!("it is {name}").into();
            return Err(CommandError::File {
                name: file.display().to_string(),
                attempt: "write the page to",
                cause,
            });
        }
        write_page(&page(settings, &runs, whole, now)?, file)?;
        if file != Path::new("-") {
            say(&format!("written: {}", file.display()));
        }
        return Ok(());
    }
    if arguments.json {
        let mut output = io::BufWriter::new(io::stdout().lock());
        let line = |run: &Run| serde_json::to_string(run).expect("text keys and finite numbers");
        return written(
            runs.iter().try_for_each(|run| writeln!(output, "{}", line(run))).and_then(|()| output.flush()),
        );
    }
    if runs.is_empty() {
        say(&format!("no runs in the last {}", span(whole)));
        return Ok(());
    }
    written(anstream::stdout().write_all(table(&runs, arguments.since, now.realtime).as_bytes()))
}

/// Returns the web page.
fn page(settings: &Settings, runs: &[Run], since: Duration, now: Now) -> Result<String, CommandError> {
    let asked = Asked::of(settings, now)?;
    let known = asked.known();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let page = Page {
        known: &known,
        problems: &known.problems(&[]),
        runs,
        since,
        host: host.as_deref().map(str::trim),
        file: &settings.file.display().to_string(),
        settings: &settings.to_string(),
    };
    Ok(page.html())
}

/// Writes the page to the file: completely or not at all.
fn write_page(page: &str, file: &Path) -> Result<(), CommandError> {
    if file == Path::new("-") {
        let mut output = io::stdout().lock();
        return written(output.write_all(page.as_bytes()).and_then(|()| output.flush()));
    }
    // A symlink is kept and points to the page. A special file, such as a pipe, is not replaced.
    let place = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let is_special = place.metadata().is_ok_and(|found| !found.is_file());
    let result = if is_special {
        File::options().write(true).open(&place).and_then(|mut special| special.write_all(page.as_bytes()))
    } else {
        // The new page keeps the permissions of the old one.
        state_file::replace(&place, page, place.metadata().ok().map(|old| old.permissions()))
    };
    result.map_err(|cause| CommandError::File {
        name: file.display().to_string(),
        attempt: "write the page",
        cause: cause.into(),
    })
}

/// Returns sparklines of the received and the waiting messages, and a row for each time span with a run.
fn table(runs: &[Run], since: SystemTime, now: SystemTime) -> String {
    // The time before the first run in the history is not shown as a time without runs.
    let from = runs.first().map_or(since, |run| run.started.max(since));
    // A run that started while the clock was ahead is shown at its recorded time. The end of a span is
    // exclusive.
    let until = runs.last().map_or(now, |run| now.max(run.started + Duration::from_millis(1)));
    let whole = until.duration_since(from).unwrap_or_default().max(Duration::from_secs(1));
    let mut text = String::new();
    let columns = u32::try_from(runs.len().clamp(1, COLUMNS)).expect("a small number");
    let columns = spans(runs, from, until, whole / columns);
    let lines: [(&str, Vec<Option<u64>>); 2] = [
        ("received", columns.iter().map(|(_, summary)| Some(summary.counters.received)).collect()),
        ("waiting", columns.iter().map(|(_, summary)| summary.depth).collect()),
    ];
    for (label, values) in lines {
        let Some(most) = values.iter().flatten().max() else { continue };
        let label = styled(DIM, format_args!("{label:<10}"));
        match most {
            0 => writeln!(text, "{label}none"),
            _ => writeln!(text, "{label}{}  up to {}", sparkline(values.iter().copied()), number(*most)),
        }
        .expect("text grows");
    }
    let wanted = whole.as_secs() / u64::from(LINES);
    let length = SPANS.iter().copied().find(|length| *length > wanted).unwrap_or(SPANS[SPANS.len() - 1]);
    let header = format!(
        "\n{:<20} {:>7} {:>6} {:>10} {:>10} {:>9} {:>9} {:>9} {:>10} {:>9}",
        "from (UTC)",
        "runs",
        "failed",
        "received",
        "stored",
        "duplicate",
        "rejected",
        "requeued",
        "waiting",
        "longest"
    );
    writeln!(text, "{}", styled(BOLD, header)).expect("text grows");
    for (begin, summary) in spans(runs, round_down(from, length), until, Duration::from_secs(length)) {
        if summary.runs > 0 {
            writeln!(text, "{}", row(begin, &summary)).expect("text grows");
        }
    }
    text
}

fn row(begin: SystemTime, summary: &Summary) -> String {
    let counters = summary.counters;
    let time = humantime::format_rfc3339_seconds(begin).to_string().replace('T', " ").replace('Z', "");
    let painted = |style, width: usize, count: u64| {
        let cell = format!("{:>width$}", number(count));
        if count > 0 { styled(style, cell) } else { cell }
    };
    format!(
        "{time:<20} {:>7} {} {:>10} {:>10} {:>9} {} {:>9} {:>10} {:>9}",
        number(summary.runs),
        painted(BAD, 6, summary.failed),
        number(counters.received),
        number(counters.stored),
        number(counters.duplicate),
        painted(WARNING, 9, counters.rejected),
        number(counters.requeued),
        summary.depth.map_or_else(|| "-".to_owned(), number),
        span(summary.longest),
    )
}

/// Rounds a time down to a multiple of the span.
fn round_down(time: SystemTime, seconds: u64) -> SystemTime {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch / seconds * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use x_msrv_core::report::{Counters, Depth};

    /// Otherwise runs recorded in the future by a wrong clock are in the JSON, but not in the table and the
    /// sparklines.
    #[test]
    fn each_run_is_in_the_table_even_if_the_clock_was_wrong() {
        let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + second);
        let run = |second| Run {
            started: at(second),
            elapsed: Duration::from_millis(20),
            exit_code: 0,
            stop_reason: "limit-reached".to_owned(),
            counters: Counters { received: 10, stored: 10, ..Counters::default() },
            reasons: BTreeMap::new(),
            depth: Depth::default(),
            error: None,
            unreached: Vec::new(),
        };
        for begun in [&[0, 10, 20][..], &[0, 10, 7_200], &[0, 100_000_000], &[7_200], &[30]] {
            let runs: Vec<_> = begun.iter().copied().map(run).collect();
            let table = table(&runs, at(0) - Duration::from_secs(86_400), at(30));
            let table = anstream::adapter::strip_str(&table).to_string();
            let cells = table.lines().skip_while(|line| !line.starts_with("from (UTC)")).skip(1);
            let shown: u64 = cells
                .map(|line| line.split_whitespace().nth(2).expect("runs").parse::<u64>().expect("a number"))
                .sum();
            assert_eq!(shown, runs.len() as u64, "{begun:?}: {table}");
            assert!(!table.contains("received  none"), "{begun:?}: {table}");
        }
    }
}
