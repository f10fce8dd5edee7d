//! `x-msrv dead`: dead letters in files and in a queue.

mod files;
mod list;
mod purge;
pub mod replay;
mod topic;

use std::{
    collections::BTreeSet,
    error::Error,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use log::warn;

use super::{CommandError, say};
use crate::{
    cli::{DeadCommand, SelectArgs},
    config::{DeadLetterSettings, Settings},
};
use x_msrv_core::{dead_letter::Letter, source::Closed};
use x_msrv_history::words::number;
use x_msrv_letters::{
    filter::Filter,
    letters::{self, Line},
};
use x_msrv_state::state_file;

use files::{LetterFile, compressed_letters, letter_files};

pub(super) async fn dead(settings: &Settings, command: &DeadCommand) -> Result<(), CommandError> {
    say_what_is_skipped(settings, command)?;
    match command {
        DeadCommand::List(arguments) => list::list(settings, arguments).await,
        DeadCommand::Show(arguments) => list::show(settings, arguments).await,
        DeadCommand::Replay(arguments) => replay::replay(settings, arguments).await,
        DeadCommand::Purge(arguments) => purge::purge(settings, arguments).await,
    }
}

/// Returns the files that are named, or those of the configuration, oldest first, each with a filter. In a
/// file shared by several configurations the filter selects the letters of this configuration's queue: a
/// replay would send the others to the wrong queue.
fn files(
    settings: &Settings,
    arguments: &SelectArgs,
    filter: &Filter,
) -> Result<Vec<(PathBuf, Filter)>, CommandError> {
    let named = arguments.files();
    if !named.is_empty() {
        return Ok(named.into_iter().map(|path| (path, filter.clone())).collect());
    }
    let files = letter_files(settings).map_err(not_found)?;
    let ours = if files.iter().any(|file| file.is_shared) { settings.source.letter_source()? } else { None };
    let selected = |file: LetterFile| {
        let source = file.is_shared.then(|| ours.clone().unwrap_or_default());
        (file.path, Filter { source, ..filter.clone() })
    };
    Ok(files.into_iter().map(selected).collect())
}

fn not_found(cause: io::Error) -> CommandError {
    CommandError::File { name: "dead letters".to_owned(), attempt: "find", cause: cause.into() }
}

/// Reports what the command skips: letters of other queues in a shared file, and compressed files. Also
/// reports a missing file: no letter was ever kept, which differs from an empty file.
fn say_what_is_skipped(settings: &Settings, command: &DeadCommand) -> Result<(), CommandError> {
    let files = files(settings, &command.select(), &Filter::default())?;
    let of_configuration = command.select().files().is_empty();
    let compressed =
        if of_configuration { compressed_letters(settings).map_err(not_found)? } else { Vec::new() };
    for path in compressed {
        warn!(path = path.display().to_string(); "compressed dead letters are not read; decompress the file to include them");
    }
    match (command, &settings.dead_letter) {
        (DeadCommand::List(_), DeadLetterSettings::File(own)) if files.is_empty() => {
            say(&format!("no dead-letter file: {}", own.path.display()));
        }
        (DeadCommand::List(_), DeadLetterSettings::Log) if files.is_empty() => {
            say("`dead-letter: log` keeps no dead letters");
        }
        _ => {}
    }
    for (path, ours) in files {
        let mut others = 0;
        if ours.source.is_some() {
            each_letter(&path, |letter| others += u64::from(!ours.matches(&letter)))?;
        }
        if others > 0 {
            let path = path.display();
            say(&format!(
                "{path}: skipped letters of other queues: {} (name the file to include them)",
                number(others)
            ));
        }
    }
    Ok(())
}

/// Adds the source to a filter with an id. Two nsqd may assign the same id, and changes to letters cannot be
/// undone.
async fn of_one_source(
    settings: &Settings,
    arguments: &SelectArgs,
    filter: Filter,
) -> Result<Filter, CommandError> {
    let Some(id) = filter.id.clone() else { return Ok(filter) };
    let mut names = BTreeSet::new();
    let of_any = Filter { id: Some(id.clone()), ..Filter::default() };
    let whole = list::look(settings, arguments, &of_any, |letter| names.extend([letter.full_id()])).await?;
    if names.len() > 1 {
        return Err(CommandError::SeveralLetters {
            id,
            which: names.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    match names.pop_first() {
        Some(name) => Ok(Filter { id: Some(name), ..filter }),
        None if whole => Err(CommandError::NoLetter { id }),
        None => Ok(filter),
    }
}

/// Returns an error if the queue has not confirmed the settlement of all `done` letters. `what` was done with
/// them.
fn confirmed(closed: &Closed, done: u64, what: &str) -> Result<(), CommandError> {
    match closed.unconfirmed.min(done) {
        0 => Ok(()),
        count => Err(CommandError::Partly {
            done: format!("letters {what}: {done}"),
            cause: Box::new(CommandError::Unconfirmed { count }),
        }),
    }
}

/// The number of invalid lines that are reported one by one.
const LINES_NAMED: u64 = 5;

/// Counts the lines of a file that are not dead letters, and warns about the first ones.
struct NoLetters<'a> {
    path: &'a Path,
    count: u64,
}

impl<'a> NoLetters<'a> {
    fn new(path: &'a Path) -> Self {
        Self { path, count: 0 }
    }

    fn add(&mut self, line: u64) {
        self.count += 1;
        if self.count <= LINES_NAMED {
            warn!(path = self.path.display().to_string(), line = line; "a line is not a dead letter");
        }
    }
}

fn file_error(
    path: &Path,
    attempt: &'static str,
    cause: impl Into<Box<dyn Error + Send + Sync>>,
) -> CommandError {
    CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() }
}

/// Ensures that only one command at a time changes the letters of a folder: two replays would send each
/// letter twice.
fn lock_folder(path: &Path) -> Result<File, CommandError> {
    match letters::lock_folder(path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(CommandError::Busy { name: path.display().to_string() }),
        Err(cause) => Err(file_error(path, "lock the folder of", cause)),
    }
}

/// Calls `look` with every letter of a file. A file with lines but no letter is an error: it is a different
/// file.
fn each_letter(path: &Path, mut look: impl FnMut(Letter)) -> Result<(), CommandError> {
    let file = state_file::open_to_read(path).map_err(|cause| file_error(path, "open", cause))?;
    let (mut others, mut count) = (NoLetters::new(path), 0);
    for line in letters::lines(&file).map_err(|cause| file_error(path, "read", cause))? {
        let (place, line) = line.map_err(|cause| file_error(path, "read", cause))?;
        count += 1;
        match letters::parse(&line) {
            Line::Letter(letter) => look(letter),
            Line::NoLetter => others.add(place.number),
        }
    }
    none_at_all(path, count, others.count)
}

fn none_at_all(path: &Path, lines: u64, no_letters: u64) -> Result<(), CommandError> {
    if lines > 0 && no_letters == lines {
        Err(file_error(path, "read", "no line is a dead letter (one JSON object per line)"))
    } else {
        Ok(())
    }
}
