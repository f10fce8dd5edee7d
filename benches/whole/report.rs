//! The report, for people and for programs.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::json;

use crate::table::{BEFORE, Figures, REMEMBERED, Row, grouped};

/// Minimum, median and maximum of some figures.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Self { least: figures[0], median, most: figures[figures.len() - 1] }
    }

    /// Formats milliseconds as `12.3 (11.9–14.0)`.
    fn millis(&self) -> String {
        let Self { least, median, most } = self;
        format!("{:.1} ({:.1}–{:.1})", median * 1e3, least * 1e3, most * 1e3)
    }
}

impl Row {
    fn wall(&self) -> Spread {
        Spread::of(self.costs.iter().map(|cost| cost.wall))
    }

    fn cpu(&self) -> Spread {
        Spread::of(self.costs.iter().map(|cost| cost.cpu))
    }

    /// The maximum resident bytes over all runs.
    fn memory(&self) -> u64 {
        self.costs.iter().map(|cost| cost.memory).max().unwrap_or(0)
    }

    #[expect(clippy::cast_precision_loss, reason = "figures of a few digits")]
    fn count(&self) -> f64 {
        self.messages as f64
    }

    /// Messages per second of the median run.
    fn rate(&self) -> f64 {
        self.count() / self.wall().median
    }

    /// Processor time of the whole machine for one message, servers included, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "figures of a few digits")]
    fn busy_each(&self) -> f64 {
        self.busy / (self.count() * self.costs.len() as f64)
    }
}

fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    u32::try_from(processors).expect("a few")
}

/// The maximum rate of this machine, in messages per second: all processors are busy with the cost of the
/// queue alone plus the cost of the store alone.
fn ceiling(figures: &Figures) -> f64 {
    f64::from(processors()) / (figures.consume.busy_each() + figures.stored.busy_each())
}

/// Writes `report.md`, `report.json` and `figures.tsv` into `folder`, and prints the first.
pub(crate) fn write(folder: &Path, figures: &Figures) {
    let text = markdown(figures);
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("report.md"), &text).expect("written");
    fs::write(
        folder.join("report.json"),
        serde_json::to_string_pretty(&machine(figures)).expect("JSON") + "\n",
    )
    .expect("written");
    fs::write(folder.join("figures.tsv"), plot(figures)).expect("written");
    print!("{text}");
}

fn markdown(figures: &Figures) -> String {
    let mut text = format!(
        "x-msrv {}, {}, into {}, on {} processors, {}. Messages have 150 bytes. Wall and CPU are of the whole process, in ms: median (least–most). Memory is the most that \
         any of the runs had resident.\n\n",
        env!("CARGO_PKG_VERSION"),
        figures.nsqd,
        match &figures.aerospike {
            Some(address) => format!("Aerospike at {address}"),
            None => "SQLite (no Aerospike server was available, so no figure is about Aerospike)".to_owned(),
        },
        processors(),
        figures.time
    );
    text += "| | runs | wall | CPU | CPU a message, µs | messages/s | memory, MiB |\n|---|---|---|---|---|---|---|\n";
    let ceilings = [&figures.consume, &figures.stored];
    for row in figures.rows.iter().chain(ceilings) {
        let (each, rate) = match row.messages {
            0 => Default::default(),
            _ => (format!("{:.2}", row.cpu().median * 1e6 / row.count()), grouped(whole(row.rate()))),
        };
        let Row { name, costs, .. } = row;
        let (wall, cpu) = (row.wall().millis(), row.cpu().millis());
        writeln!(
            text,
            "| {name} | {} | {wall} | {cpu} | {each} | {rate} | {:.1} |",
            costs.len(),
            mebibytes(row.memory())
        )
        .expect("a String grows");
    }
    let ceiling = ceiling(figures);
    writeln!(
        text,
        "\nFirst bytes to the queue, from the start of the program: {} ms; `true` is over after {} ms.",
        Spread::of(figures.start_up.iter().copied()).millis(),
        Spread::of(figures.nothing.iter().copied()).millis()
    )
    .expect("a String grows");
    if let Some(least) = series(figures).next() {
        let each = |row: &Row| {
            format!(
                "{:.1} µs for {}",
                (row.wall().median - least.wall().median) * 1e6 / (row.count() - least.count()),
                row.name
            )
        };
        let each: Vec<_> = series(figures).skip(1).map(each).collect();
        writeln!(text, "A message beyond those of {}: {}.", least.name, each.join(", "))
            .expect("a String grows");
    }
    if let [Some(forgotten), Some(remembered), Some(metered)] =
        REMEMBERED.map(|name| figures.rows.iter().find(|row| row.name == name))
    {
        let more = |row: &Row, than: &Row, of: fn(&Row) -> Spread| (of(row).median - of(than).median) * 1e3;
        writeln!(
            text,
            "The history adds {:.1} ms to a run of N = 10 ({:.1} ms of CPU), metrics {:.1} ms to that ({:.1}).",
            more(remembered, forgotten, Row::wall),
            more(remembered, forgotten, Row::cpu),
            more(metered, remembered, Row::wall),
            more(metered, remembered, Row::cpu)
        )
        .expect("a String grows");
    }
    if let Some(row) = figures.rows.iter().find(|row| row.name == "N = 100,000") {
        writeln!(
            text,
            "Ceiling: {} messages/s, from the processor time of the whole machine for a message of the queue alone ({:.2} µs) and of the store alone ({:.2} µs); \
             N = 100,000 reaches {:.2} of it.",
            grouped(whole(ceiling)),
            figures.consume.busy_each() * 1e6,
            figures.stored.busy_each() * 1e6,
            row.rate() / ceiling
        )
        .expect("a String grows");
    }
    if let Some(program) = &figures.before {
        text += &compared(figures, program);
    }
    if !figures.left_out.is_empty() {
        writeln!(text, "\nNot measured: {}.", figures.left_out.join("; ")).expect("a String grows");
    }
    text
}

/// The medians of another build beside those of the program, in the same rounds.
fn compared(figures: &Figures, program: &str) -> String {
    let mut text = format!(
        "\nMedians of {program} (before) and of this build, in ms:\n\n\
         | | wall before | now | difference | ratio | CPU before | now | difference | ratio |\n|---|---|---|---|---|---|---|---|---|\n"
    );
    for now in &figures.rows {
        let Some(before) = figures.rows.iter().find(|row| row.name == format!("{}{BEFORE}", now.name)) else {
            continue;
        };
        let columns = [Row::wall, Row::cpu].map(|of| {
            let [before, now] = [before, now].map(|row| of(row).median * 1e3);
            format!("{before:.2} | {now:.2} | {:+.2} | {:.3}", now - before, now / before)
        });
        writeln!(text, "| {} | {} |", now.name, columns.join(" | ")).expect("a String grows");
    }
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below 2^63"
)]
fn whole(figure: f64) -> u64 {
    figure.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "figures of a few digits")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn machine(figures: &Figures) -> serde_json::Value {
    let row = |row: &Row| {
        let Spread { least, median, most } = row.wall();
        json!({
            "name": row.name, "messages": row.messages, "runs": row.costs.len(),
            "wall-seconds": {"least": least, "median": median, "most": most},
            "cpu-seconds": row.cpu().median, "busy-seconds-a-message": if row.messages == 0 { 0.0 } else { row.busy_each() },
            "memory-bytes": row.memory(),
        })
    };
    json!({
        "x-msrv": env!("CARGO_PKG_VERSION"), "nsqd": figures.nsqd, "time": figures.time, "processors": processors(),
        "store": if figures.aerospike.is_some() { "aerospike" } else { "sqlite" },
        "before": figures.before, "left-out": figures.left_out,
        "rows": figures.rows.iter().map(row).collect::<Vec<_>>(),
        "true-seconds": Spread::of(figures.nothing.iter().copied()).median,
        "first-bytes-seconds": Spread::of(figures.start_up.iter().copied()).median,
        "queue-alone": row(&figures.consume), "store-alone": row(&figures.stored),
        "ceiling-messages-a-second": ceiling(figures),
    })
}

/// The rows that differ only in N.
fn series(figures: &Figures) -> impl Iterator<Item = &Row> {
    figures.rows.iter().filter(|row| row.name == format!("N = {}", grouped(row.messages)))
}

/// N, milliseconds, messages/s and µs a message of these rows.
fn plot(figures: &Figures) -> String {
    series(figures).fold("# N\tms\tmessages/s\tus\n".to_owned(), |mut text, row| {
        let wall = row.wall().median;
        writeln!(
            text,
            "{}\t{:.3}\t{:.0}\t{:.3}",
            row.messages,
            wall * 1e3,
            row.rate(),
            wall * 1e6 / row.count()
        )
        .expect("a String grows");
        text
    })
}
