//! The dead-letter files of a configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::config::{self, Overrides, Settings};
use x_msrv_letters::file;

/// A dead-letter file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LetterFile {
    /// Its path.
    pub(super) path: PathBuf,
    /// Whether it may contain letters of other configurations.
    pub(super) is_shared: bool,
}

/// Returns the existing dead-letter files, oldest first: the file that the configurations of a folder
/// formerly shared, and the configuration's own.
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

/// Returns whether the folder contains other configurations.
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

/// Returns the dead-letter files that were compressed and are therefore not read.
pub(super) fn compressed_letters(settings: &Settings) -> io::Result<Vec<PathBuf>> {
    let Some(own) = settings.dead_letter.file() else { return Ok(Vec::new()) };
    let shared = settings.shared_letters.iter().filter(|shared| **shared != own.path);
    let files: io::Result<Vec<_>> = shared.chain([&own.path]).map(|path| file::compressed(path)).collect();
    Ok(files?.concat())
}
