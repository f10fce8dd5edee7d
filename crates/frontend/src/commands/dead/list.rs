//! `x-msrv dead list` and `x-msrv dead show`

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write as _},
};

use serde::Serialize;

use super::{each_letter, files, topic};
use crate::{
    cli::{DeadListArgs, DeadShowArgs},
    commands::{CommandError, say, written},
    config::Settings,
    terminal::{Paint, Style, number},
};
use x_msrv_engine::{
    dead_letter::{Letter, filter::Filter, or_false},
    error_chain::one_line,
};

/// A letter without its body.
#[derive(Serialize)]
struct Listed {
    #[serde(serialize_with = "or_false")]
    replayed: Option<String>,
    time: String,
    source: String,
    id: String,
    attempts: u32,
    reason: String,
    detail: String,
    /// Of the body.
    bytes: usize,
}

impl Listed {
    fn of(letter: Letter) -> Self {
        let bytes = letter.body.to_bytes().map_or(0, |body| body.len());
        let Letter { replayed, time, source, id, attempts, reason, detail, body: _ } = letter;
        Self { replayed, time, source, id, attempts, reason, detail, bytes }
    }
}

/// The newest letters that were found, and how many there are in all.
#[derive(Default)]
pub(super) struct Found {
    newest: VecDeque<Listed>,
    reasons: BTreeMap<String, u64>,
}

impl Found {
    pub(super) fn add(&mut self, letter: Letter, limit: usize) {
        *self.reasons.entry(letter.reason.clone()).or_default() += 1;
        self.newest.push_back(Listed::of(letter));
        if self.newest.len() > limit {
            self.newest.pop_front();
        }
    }

    /// In a few words, for a person.
    pub(super) fn summary(&self) -> String {
        let total: u64 = self.reasons.values().sum();
        let reasons: Vec<_> = self.reasons.iter().map(|(reason, count)| format!("{} {}", number(*count), one_line(reason))).collect();
        if reasons.is_empty() { "0".to_owned() } else { format!("{} ({})", number(total), reasons.join(", ")) }
    }

    /// As a table, or one JSON object a line.
    pub(super) fn show(&self, as_json: bool) -> Result<(), CommandError> {
        let stdout = io::stdout();
        let paint = Paint::for_output(&stdout);
        let mut output = io::BufWriter::new(stdout.lock());
        let written_all = if as_json {
            let line = |listed: &Listed| serde_json::to_string(listed).expect("text keys and finite numbers");
            self.newest.iter().try_for_each(|listed| writeln!(output, "{}", line(listed)))
        } else {
            self.table(paint).iter().try_for_each(|row| writeln!(output, "{row}"))
        };
        written(written_all.and_then(|()| output.flush()))
    }

    fn table(&self, paint: Paint) -> Vec<String> {
        let cells = |listed: &Listed| {
            let time = if listed.replayed.is_some() { format!("{} replayed", listed.time) } else { listed.time.clone() };
            [
                time,
                listed.reason.clone(),
                listed.attempts.to_string(),
                number(listed.bytes as u64),
                listed.source.clone(),
                listed.id.clone(),
                listed.detail.clone(),
            ]
            .map(|cell| one_line(&cell)) // anybody may have written the file
        };
        let header = ["time", "reason", "attempts", "bytes", "source", "id", "detail"].map(str::to_owned);
        let rows: Vec<_> = self.newest.iter().map(cells).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let width = |column: usize| rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        let line = |row: &[String; 7]| {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                2 | 3 => format!("{cell:>width$}"),
                6 => cell.clone(), // the last one needs no width
                _ => format!("{cell:<width$}"),
            });
            cells.collect::<Vec<_>>().join("  ")
        };
        std::iter::once(paint.paint(Style::Bold, &line(&header))).chain(rows.iter().map(line)).collect()
    }
}

pub(super) async fn list(settings: &Settings, arguments: &DeadListArgs) -> Result<(), CommandError> {
    let (filter, limit) = (arguments.which.filter(), arguments.limit.get());
    let mut found = Found::default();
    let whole = look(settings, &arguments.which.select, &filter, |letter| found.add(letter, limit)).await?;
    found.show(arguments.json)?;
    let shown = if found.reasons.values().sum::<u64>() > found.newest.len() as u64 {
        format!(", the newest {limit} are shown")
    } else {
        String::new()
    };
    say(&format!("letters: {}{shown}{}", found.summary(), if whole { "" } else { topic::NOT_ALL }));
    Ok(())
}

pub(super) async fn show(settings: &Settings, arguments: &DeadShowArgs) -> Result<(), CommandError> {
    let filter = Filter { id: Some(arguments.id.clone()), ..Filter::default() };
    let mut found = Vec::new();
    look(settings, &arguments.select(), &filter, |letter| found.push(letter)).await?;
    if found.is_empty() {
        return Err(CommandError::NoLetter { id: arguments.id.clone() });
    }
    let mut output = io::BufWriter::new(io::stdout().lock());
    let one = |letter: &Letter, output: &mut io::BufWriter<io::StdoutLock<'_>>| {
        // As it is kept, with room for the moment of a replay, so that a file of what was shown can be replayed.
        if arguments.body { output.write_all(&letter.body.to_bytes().unwrap_or_default()) } else { letter.write_line(output) }
    };
    written(found.iter().try_for_each(|letter| one(letter, &mut output)).and_then(|()| output.flush()))
}

/// Looks at all letters that are meant, wherever they are; nothing is changed. Whether that was all of them.
pub(super) async fn look(
    settings: &Settings,
    arguments: &crate::cli::SelectArgs,
    filter: &Filter,
    mut see: impl FnMut(Letter),
) -> Result<bool, CommandError> {
    for path in files(settings, arguments) {
        each_letter(&path, |letter| {
            if filter.matches(&letter) {
                see(letter);
            }
        })?;
    }
    match topic::open(settings, arguments).await? {
        Some(source) => topic::look(source, filter, see).await,
        None => Ok(true),
    }
}
