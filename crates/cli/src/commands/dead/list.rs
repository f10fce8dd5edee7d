//! `x-msrv dead list` and `x-msrv dead show`

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write as _},
};

use serde::Serialize;

use super::{each_letter, files, of_one_source, topic};
use crate::{
    cli::{DeadListArgs, DeadShowArgs},
    commands::{CommandError, say, written},
    config::Settings,
    terminal::{BOLD, styled},
};
use x_msrv_core::{
    dead_letter::{Letter, or_false},
    error_chain::one_line,
};
use x_msrv_history::words::number;
use x_msrv_letters::filter::Filter;

/// The default number of rows of a table.
const ROWS: usize = 100;

/// A letter without its body.
#[derive(Serialize)]
struct Listed {
    #[serde(serialize_with = "or_false")]
    replayed: Option<String>,
    time: String,
    source: String,
    id: String,
    /// If the queue counts deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    reason: String,
    detail: String,
    /// The length of the body.
    bytes: usize,
}

impl Listed {
    fn of(letter: Letter) -> Self {
        let bytes = letter.body.to_bytes().map_or(0, |body| body.len());
        let Letter { replayed, time, source, id, attempts, reason, detail, body: _ } = letter;
        Self { replayed, time, source, id, attempts, reason, detail, bytes }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("text keys and finite numbers")
    }
}

/// The newest letters, and the number of all letters by reason.
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

    fn count(&self) -> u64 {
        self.reasons.values().sum()
    }

    /// Returns the number of letters, in total and by reason, as text.
    pub(super) fn summary(&self) -> String {
        let total = self.count();
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{} {}", number(*count), one_line(reason)))
            .collect();
        if reasons.is_empty() {
            "0".to_owned()
        } else {
            format!("{} ({})", number(total), reasons.join(", "))
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    fn table(&self) -> Vec<String> {
        let cells = |listed: &Listed| {
            let time = if listed.replayed.is_some() {
                format!("{} replayed", listed.time)
            } else {
                listed.time.clone()
            };
            [
                time,
                listed.reason.clone(),
                listed.attempts.map(|attempts| attempts.to_string()).unwrap_or_default(),
                number(listed.bytes as u64),
                listed.source.clone(),
                listed.id.clone(),
                listed.detail.clone(),
            ]
            .map(|cell| one_line(&cell)) // the file may come from anywhere
        };
        let header = ["time", "reason", "attempts", "bytes", "source", "id", "detail"].map(str::to_owned);
        let rows: Vec<_> = self.newest.iter().map(cells).collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let width = |column: usize| {
            rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 7] = std::array::from_fn(width);
        let line = |row: &[String; 7]| {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                2 | 3 => format!("{cell:>width$}"),
                6 => cell.clone(), // the last one needs no width
                _ => format!("{cell:<width$}"),
            });
            cells.collect::<Vec<_>>().join("  ")
        };
        std::iter::once(styled(BOLD, line(&header))).chain(rows.iter().map(line)).collect()
    }
}

pub(super) async fn list(settings: &Settings, arguments: &DeadListArgs) -> Result<(), CommandError> {
    let filter = arguments.which.filter();
    let limit = match arguments.limit {
        Some(limit) => limit.get(),
        None if arguments.json => 0, // each is written at once
        None => ROWS,
    };
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut found = Found::default();
    let mut result = Ok(());
    let whole = look(settings, &arguments.which.select, &filter, |letter| {
        found.add(letter, limit.max(1));
        if limit == 0 && result.is_ok() {
            result = found.newest.drain(..).try_for_each(|listed| writeln!(output, "{}", listed.json()));
        }
    })
    .await?;
    let shown = found.newest.len() as u64;
    written(result.and_then(|()| {
        if arguments.json {
            found.newest.iter().try_for_each(|listed| writeln!(output, "{}", listed.json()))?;
            output.flush()
        } else {
            found.table().iter().try_for_each(|row| writeln!(anstream::stdout(), "{row}"))
        }
    }))?;
    let left_out = if limit > 0 && found.count() > shown {
        format!(", showing the newest {shown}")
    } else {
        String::new()
    };
    say(&format!("letters: {}{left_out}{}", found.summary(), if whole { "" } else { topic::NOT_ALL }));
    Ok(())
}

pub(super) async fn show(settings: &Settings, arguments: &DeadShowArgs) -> Result<(), CommandError> {
    let select = arguments.select();
    let mut filter = Filter { id: Some(arguments.id.clone()), ..Filter::default() };
    if arguments.body {
        filter = of_one_source(settings, &select, filter).await?; // a body alone does not show its source
    }
    let mut found = Vec::new();
    look(settings, &select, &filter, |letter| found.push(letter)).await?;
    let Some(first) = found.first() else { return Err(CommandError::NoLetter { id: arguments.id.clone() }) };
    let mut output = io::BufWriter::new(io::stdout().lock());
    let shown = if arguments.body {
        if found.iter().any(|letter| letter.body != first.body) {
            return Err(CommandError::SeveralBodies { id: first.full_id(), count: found.len() });
        }
        output.write_all(&first.body.to_bytes().unwrap_or_default())
    } else {
        // In the format of the file, with room for the time of a replay, so that the output can be replayed.
        found.iter().try_for_each(|letter| letter.write_line(&mut output))
    };
    written(shown.and_then(|()| output.flush()))
}

/// Calls `see` with all selected letters in files and in the queue, without changing them. Returns whether
/// all were seen.
pub(super) async fn look(
    settings: &Settings,
    arguments: &crate::cli::SelectArgs,
    filter: &Filter,
    mut see: impl FnMut(Letter),
) -> Result<bool, CommandError> {
    for (path, filter) in files(settings, arguments, filter)? {
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
