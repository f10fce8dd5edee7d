//! `x-msrv dead`: letters in files and in the topic for them.

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
    say_what_is_left_alone(settings, command)?;
    match command {
        DeadCommand::List(arguments) => list::list(settings, arguments).await,
        DeadCommand::Show(arguments) => list::show(settings, arguments).await,
        DeadCommand::Replay(arguments) => replay::replay(settings, arguments).await,
        DeadCommand::Purge(arguments) => purge::purge(settings, arguments).await,
    }
}

/// Returns the files that are meant, those that are named or those of the configuration, the oldest first;
/// each with the letters in it that are meant. Of a file that several configurations shared, those of this
/// one's queue: a replay would send the others to the wrong one.
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
    let meant = |file: LetterFile| {
        let source = file.is_shared.then(|| ours.clone().unwrap_or_default());
        (file.path, Filter { source, ..filter.clone() })
    };
    Ok(files.into_iter().map(meant).collect())
}

fn not_found(cause: io::Error) -> CommandError {
    CommandError::File { name: "dead letters".to_owned(), attempt: "look for", cause: cause.into() }
}

/// Letters of others in a file that several configurations shared are neither shown, sent nor removed, and
/// that is said; as is a file that is not there: that none was kept is not the same as that there are none
/// any more.
fn say_what_is_left_alone(settings: &Settings, command: &DeadCommand) -> Result<(), CommandError> {
    let files = files(settings, &command.select(), &Filter::default())?;
    let of_configuration = command.select().files().is_empty();
    let compressed =
        if of_configuration { compressed_letters(settings).map_err(not_found)? } else { Vec::new() };
    for path in compressed {
        warn!(path = path.display().to_string(); "compressed dead letters are not read; decompress the file to include them");
    }
    match (command, &settings.dead_letter) {
        (DeadCommand::List(_), DeadLetterSettings::File(own)) if files.is_empty() => {
            say(&format!("there is no file of dead letters: {}", own.path.display()));
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
                "{path}: letters of other queues, which are left alone: {} (name the file to include them)",
                number(others)
            ));
        }
    }
    Ok(())
}

/// The same filter, and where it names an id, the one source that has it: two nsqd give the same ids, and
/// what is done to letters can't be undone.
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

/// Nothing, if the topic has heard that `done` letters are settled; `what` was done with them.
fn confirmed(closed: &Closed, done: u64, what: &str) -> Result<(), CommandError> {
    match closed.unconfirmed.min(done) {
        0 => Ok(()),
        count => Err(CommandError::Partly {
            done: format!("letters {what}: {done}"),
            cause: Box::new(CommandError::Unconfirmed { count }),
        }),
    }
}

/// Lines that are no letters and are named one by one.
const LINES_NAMED: u64 = 5;

/// The lines of a file that are no letters: a warning for each of the first.
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
            warn!(path = self.path.display().to_string(), line = line; "a line is no dead letter");
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

/// Only one command at a time may change the letters of a folder: two replays would send each letter twice.
fn lock_folder(path: &Path) -> Result<File, CommandError> {
    match letters::lock_folder(path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(CommandError::Busy { name: path.display().to_string() }),
        Err(cause) => Err(file_error(path, "lock the folder of", cause)),
    }
}

/// Looks at every letter of a file. One that holds lines and not one letter is an error: it is another file.
fn each_letter(path: &Path, mut look: impl FnMut(Letter)) -> Result<(), CommandError> {
    let file = state_file::open_to_read(path).map_err(|cause| file_error(path, "open", cause))?;
    let (mut others, mut count) = (NoLetters::new(path), 0);
    for line in letters::lines(&file).map_err(|cause| file_error(path, "look at", cause))? {
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
        Err(file_error(
            path,
            "read",
            "none of its lines is a dead letter, which is one JSON object on a line",
        ))
    } else {
        Ok(())
    }
}
