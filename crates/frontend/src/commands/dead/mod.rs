//! `x-msrv dead`: letters in files and in the topic for them.

mod list;
mod purge;
pub mod replay;
mod topic;

use std::{
    error::Error,
    fs::File,
    path::{Path, PathBuf},
};

use log::warn;

use super::CommandError;
use crate::{
    cli::{DeadCommand, SelectArgs},
    config::Settings,
    wiring,
};
use x_msrv_engine::{
    dead_letter::{
        Letter,
        letters::{self, Line},
    },
    state_file,
};

pub(super) async fn dead(settings: &Settings, command: &DeadCommand) -> Result<(), CommandError> {
    match command {
        DeadCommand::List(arguments) => list::list(settings, arguments).await,
        DeadCommand::Show(arguments) => list::show(settings, arguments).await,
        DeadCommand::Replay(arguments) => replay::replay(settings, arguments).await,
        DeadCommand::Purge(arguments) => purge::purge(settings, arguments).await,
    }
}

/// The files that are meant: those that are named, or those of the configuration, the oldest first.
fn files(settings: &Settings, arguments: &SelectArgs) -> Vec<PathBuf> {
    if arguments.files.is_empty() { wiring::letter_files(&settings.dead_letter) } else { arguments.files.clone() }
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

fn file_error(path: &Path, attempt: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> CommandError {
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
    if lines > 0 && no_letters == lines { Err(file_error(path, "read", "none of its lines is a dead letter")) } else { Ok(()) }
}
