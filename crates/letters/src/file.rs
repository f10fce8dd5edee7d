//! Dead letters in a file, one JSON object a line, on disk before the message is acknowledged.
//!
//! Several processes may append to the same file: each writes under an exclusive lock, and removes what a
//! failed write left behind. A file that has grown too large is renamed. Nothing is deleted here (see
//! [`tidy`](crate::tidy)).

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use x_msrv_settings::{self as settings, FileKind, Places, Size, StateFile};

use crate::letters::{new_name, open_locked};
use x_msrv_core::{
    BoxFuture,
    dead_letter::{DeadLetter, DeadLetterError, Kept, Pending, answer_all},
};
use x_msrv_state::state_file;

/// The size of one write in bytes.
const BUFFER: usize = 64 << 10;

/// The settings of a dead-letter file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file, created with mode 0640; its folder is created with mode 0750.
    pub path: PathBuf,
    /// A file of at least this many bytes is renamed before the next write.
    pub max_size: u64,
    /// The most renamed files to keep.
    pub max_files: Option<NonZeroU64>,
    /// How long a renamed file is kept after its last letter. The current file is renamed when its first
    /// letter is this old.
    pub max_age: Option<Duration>,
}

/// The default name of the file. It has a prefix if several configurations share a folder.
pub const DEFAULT_NAME: &str = "dead-letter.ndjson";

/// The file kind of dead-letter files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters;

impl FileKind for Letters {
    fn is_beside(place: &Path, other: &Path) -> bool {
        is_beside(place, other)
    }
}

/// The keys of `dead-letter.file`.
#[derive(Debug, Clone, PartialEq, Eq, settings::Settings)]
pub struct Keys {
    /// The file; it is created for the first letter.
    ///
    /// From a `dead-letter.ndjson` that several configurations in a folder shared, `x-msrv dead` takes the
    /// letters of this configuration's queue.
    #[setting(
        words = "`dead-letter.ndjson`; `NAME-dead-letter.ndjson` beside a configuration `NAME.yml` that is not below `/etc`",
        example = "dead-letter.ndjson"
    )]
    pub path: Option<StateFile<Letters>>,
    /// A file that has reached this size is renamed before the next write, to `.1` or the number after the
    /// highest existing one.
    ///
    /// Nothing is deleted unless `max-files` or `max-age` is set. `x-msrv dead` reads these files, and those
    /// that `logrotate(8)` has renamed by date; it names compressed files and does not read them.
    #[setting(default = "100MiB", min = 1)]
    max_size: Size,
    /// The most renamed files to keep; a run deletes the oldest at its end, at most ten of them.
    ///
    /// The current file is never deleted. Each deleted file is logged with the number of its letters and of
    /// those that were not replayed; such letters make it a warning.
    #[setting(example = "10")]
    max_files: Option<NonZeroU64>,
    /// Renamed files that were last written this long ago are deleted, in the same way.
    ///
    /// The current file is renamed when its first letter reaches this age, so a letter is kept for at least
    /// this long, and, while runs take place, for at most twice as long.
    #[setting(example = "30d")]
    max_age: Option<Duration>,
}

impl Keys {
    /// Returns the effective settings; without a path, the file has its default name.
    #[must_use]
    pub fn settings(&mut self, places: &Places) -> Settings {
        let path = self.path.get_or_insert_with(|| StateFile::by_default(places, DEFAULT_NAME));
        Settings {
            path: path.0.clone(),
            max_size: self.max_size.0,
            max_files: self.max_files,
            max_age: self.max_age,
        }
    }
}

/// A file as a [`DeadLetter`] destination.
#[derive(Debug, Clone)]
pub struct FileDeadLetter {
    settings: Settings,
}

impl FileDeadLetter {
    /// Creates a destination; the file is created for the first letter.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn error(&self, cause: &io::Error) -> DeadLetterError {
        DeadLetterError {
            place: self.settings.path.display().to_string(),
            cause: cause.to_string(),
            is_setup: state_file::is_setup_fault(cause),
        }
    }

    async fn write(&self, letters: &[Pending<'_>]) -> io::Result<()> {
        let path = &self.settings.path;
        let mut file = open_locked(path).await?;
        if file.metadata()?.len() >= self.settings.max_size {
            std::fs::rename(path, free_name(path)?)?;
            file = open_locked(path).await?;
        }
        let is_new = file.metadata()?.len() == 0;
        append(&mut file, letters)?;
        if is_new {
            // A new file is durable only after its folder is synced.
            File::open(state_file::folder(path))?.sync_all()?;
        }
        Ok(())
    }
}

/// Renames the current file, as if it had grown too large.
pub(super) async fn rename(path: &Path) -> io::Result<()> {
    let _no_run_appends = open_locked(path).await?;
    std::fs::rename(path, free_name(path)?)
}

fn append(file: &mut File, letters: &[Pending<'_>]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let torn = before > 0 && last_byte(file)? != b'\n';
    let write = || {
        let mut lines = BufWriter::with_capacity(BUFFER, &*file);
        if torn {
            lines.write_all(b"\n")?; // a process was killed in the middle of a line: start a new one
        }
        letters.iter().try_for_each(|letter| letter.item.write_line(&mut lines))?;
        lines.flush()?;
        drop(lines);
        file.sync_data()
    };
    write().inspect_err(|_| {
        if let Err(error) = file.set_len(before) {
            log::warn!(cause = error.to_string(); "a truncated dead letter remains in the file");
        }
    })
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Returns the existing files of this name, the oldest first: those that were rotated by date, the renamed
/// ones, and the current one.
///
/// # Errors
/// The folder cannot be read. A missing folder is empty.
pub fn all(path: &Path) -> io::Result<Vec<PathBuf>> {
    let beside = beside(path).map_err(|error| of_folder(path, &error))?;
    let with = |wanted: fn(&Rotated) -> bool| {
        beside.iter().filter(move |(rotated, _)| wanted(rotated)).map(|(_, file)| file.clone())
    };
    let mut files: Vec<_> = with(|rotated| *rotated == Rotated::Dated).collect();
    files.extend(with(|rotated| matches!(rotated, Rotated::Numbered(_))));
    if state_file::exists(path).map_err(|error| of_folder(path, &error))? {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// Returns the renamed files: no run writes to them.
pub(super) fn complete(path: &Path) -> io::Result<Vec<PathBuf>> {
    let numbered = beside(path)?.into_iter().filter(|(rotated, _)| matches!(rotated, Rotated::Numbered(_)));
    Ok(numbered.map(|(_, file)| file).collect())
}

/// Returns the files of this name that were rotated and compressed. They are never read.
///
/// # Errors
/// As with [`all`].
pub fn compressed(path: &Path) -> io::Result<Vec<PathBuf>> {
    let beside = beside(path).map_err(|error| of_folder(path, &error))?;
    Ok(beside
        .into_iter()
        .filter(|(rotated, _)| *rotated == Rotated::Compressed)
        .map(|(_, file)| file)
        .collect())
}

/// Returns whether a file of this name would be read as dead letters of `path`, or be replaced by a purge.
#[must_use]
pub fn is_beside(path: &Path, other: &Path) -> bool {
    let (name, found) = (path.file_name().unwrap_or_default(), other.file_name().unwrap_or_default());
    path.parent() == other.parent() && (other == new_name(path) || rotated(name, found).is_some())
}

fn of_folder(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", state_file::folder(path).display()))
}

/// How a rotated file was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rotated {
    /// By this program: `FILE.7`. A file that is purged empty leaves a gap.
    Numbered(u64),
    /// By logrotate(8) with `dateext`: `FILE-20261128`, or with `extension` before the extension.
    Dated,
    /// Either of them, compressed.
    Compressed,
}

/// The extensions of compressed files.
const COMPRESSED: [&[u8]; 8] = [b".gz", b".bz2", b".xz", b".zst", b".lz4", b".lzma", b".Z", b".zip"];

fn rotated(name: &OsStr, found: &OsStr) -> Option<Rotated> {
    let (name, found) = (name.as_encoded_bytes(), found.as_encoded_bytes());
    if let Some(plain) = COMPRESSED.iter().find_map(|end| found.strip_suffix(*end)) {
        return (plain == name || rotated_plain(name, plain).is_some()).then_some(Rotated::Compressed);
    }
    rotated_plain(name, found)
}

fn rotated_plain(name: &[u8], found: &[u8]) -> Option<Rotated> {
    let number = |rest: &[u8]| {
        // Only in the exact form that this program writes: 01 and +1 belong to other programs.
        let text = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?;
        text.parse::<u64>().ok().filter(|number| number.to_string() == text).map(Rotated::Numbered)
    };
    // A date has at least six digits. It may have separators, and be followed by a time.
    let date = |rest: &[u8]| {
        let is_date = rest.iter().all(|byte| byte.is_ascii_digit() || b"-_.T".contains(byte));
        (is_date
            && b"-_.".contains(rest.first()?)
            && rest.iter().filter(|byte| byte.is_ascii_digit()).count() >= 6)
            .then_some(Rotated::Dated)
    };
    if let Some(rest) = found.strip_prefix(name) {
        return number(rest).or_else(|| date(rest));
    }
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let (stem, extension) = name.split_at(dot);
    date(found.strip_prefix(stem)?.strip_suffix(extension)?)
}

/// Returns the files in the same folder whose names extend this name: by number, the smallest first, then by
/// name.
fn beside(path: &Path) -> io::Result<Vec<(Rotated, PathBuf)>> {
    let folder = state_file::folder(path);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = path.file_name().unwrap_or_default();
    let mut found = Vec::new();
    for entry in entries {
        let other = entry?.file_name();
        // With the configured folder name, not the one that `read_dir` returns.
        found.extend(rotated(name, &other).map(|rotated| (rotated, path.with_file_name(&other))));
    }
    found.sort_unstable();
    Ok(found)
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Returns `FILE.1`, or the number after the highest existing one: newer files have higher numbers, even if
/// some are gone.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    let numbers = beside(path)?.into_iter().filter_map(|(rotated, _)| match rotated {
        Rotated::Numbered(number) => Some(number),
        Rotated::Dated | Rotated::Compressed => None,
    });
    Ok(numbered(path, numbers.max().map_or(1, |number| number.saturating_add(1))))
}

impl DeadLetter for FileDeadLetter {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // One write for all letters: all of them are on disk, or none.
            let kept = self.write(&letters).await.map(|()| Kept::Durably);
            answer_all(letters, &kept.map_err(|cause| self.error(&cause)));
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>> {
        let tried = state_file::try_to_write(&self.settings.path);
        Box::pin(std::future::ready(tried.map_err(|cause| self.error(&cause))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_rotated_by_other_programs_are_recognized() {
        use Rotated::{Compressed, Dated, Numbered};
        let cases = [
            ("d.ndjson.7", Some(Numbered(7))),
            ("d.ndjson-20261128", Some(Dated)),
            ("d.ndjson-2026-11-28", Some(Dated)),
            ("d.ndjson_20261128-04", Some(Dated)),
            ("d.ndjson-1795838400", Some(Dated)),
            ("d-20261128.ndjson", Some(Dated)),
            ("d.ndjson.1.gz", Some(Compressed)),
            ("d.ndjson-20261128.gz", Some(Compressed)),
            ("d-20261128.ndjson.zst", Some(Compressed)),
            ("d.ndjson.gz", Some(Compressed)),
            ("d.ndjson", None),
            ("d.ndjson.01", None),
            ("d.ndjson.+1", None),
            ("d.ndjson.new", None),
            ("d.ndjson.bak", None),
            ("d.ndjson~", None),
            ("d.ndjson-7", None),
            ("d-7.ndjson", None),
            ("e.ndjson-20261128", None),
            ("orders-d.ndjson.gz", None),
        ];
        for (found, expected) in cases {
            assert_eq!(rotated(OsStr::new("d.ndjson"), OsStr::new(found)), expected, "{found}");
        }
        assert_eq!(
            rotated(OsStr::new("letters"), OsStr::new("letters-20261128")),
            Some(Dated),
            "a name without an extension"
        );
    }
}
