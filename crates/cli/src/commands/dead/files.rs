//! The files of dead letters that a configuration has.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::config::{self, Overrides, Settings};
use x_msrv_letters::file;

/// A file of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LetterFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether letters of other configurations may be in it.
    pub(super) is_shared: bool,
}

/// Returns the files of dead letters that there are, the oldest first: the one that configurations of a
/// folder shared once, and their own.
pub(super) fn letter_files(settings: &Settings) -> io::Result<Vec<LetterFile>> {
    let Some(own) = settings.dead_letter.file() else { return Ok(Vec::new()) };
    let all = |path: &Path, is_shared| {
        let files = file::all(path)?.into_iter();
        io::Result::Ok(files.map(|path| LetterFile { path, is_shared }).collect::<Vec<_>>())
    };
    match &settings.shared_letters {
        Some(shared) if *shared == own.path => all(shared, has_neighbours(settings)),
        Some(shared) => Ok([all(shared, true)?, all(&own.path, false)?].concat()),
        None => all(&own.path, false),
    }
}

/// Whether there are other configurations in the folder.
fn has_neighbours(settings: &Settings) -> bool {
    let entries = settings.file.parent().and_then(|folder| fs::read_dir(folder).ok());
    let mut others = entries
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| *path != settings.file);
    let has_format = |path: &Path| {
        path.extension().is_some_and(|extension| config::FORMATS.iter().any(|format| extension == *format))
    };
    let loads = |path: &Path| config::load(settings.adapters, Some(path), &Overrides::default()).is_ok();
    others.any(|path| has_format(&path) && loads(&path))
}

/// The files of dead letters that somebody has compressed, and that nobody reads.
pub(super) fn compressed_letters(settings: &Settings) -> io::Result<Vec<PathBuf>> {
    let Some(own) = settings.dead_letter.file() else { return Ok(Vec::new()) };
    let shared = settings.shared_letters.iter().filter(|shared| **shared != own.path);
    let files: io::Result<Vec<_>> = shared.chain([&own.path]).map(|path| file::compressed(path)).collect();
    Ok(files?.concat())
}
