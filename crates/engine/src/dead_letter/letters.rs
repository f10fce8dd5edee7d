//! A file of letters, one a line, as several processes use it at once.
//!
//! Runs append under an exclusive lock on the file. What changes letters that are there (a replay, a purge) also holds a lock on the folder, so that only
//! one of them is at it, and may take its time without holding up runs.

use std::{
    fs::{File, TryLockError},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, fchown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};

use super::{Letter, NOT_REPLAYED, replayed};
use crate::state_file;

/// How long the lock on the file is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(2);

/// How often it is asked for meanwhile: the standard library has no wait with a bound.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A letter, whole, that can be marked where it stands.
    Letter(Letter),
    /// Anything else: half a letter, which somebody left who was killed, or something that is none.
    NoLetter,
}

/// A line and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the beginning of the file.
    pub offset: u64,
    /// Lines from the beginning; the first is 1.
    pub number: u64,
}

/// What is in a line.
#[must_use]
pub fn parse(line: &[u8]) -> Line {
    let letter = serde_json::from_slice::<Letter>(line).ok().filter(|letter| letter.body.to_bytes().is_ok());
    letter.filter(|letter| can_be_marked(line, letter)).map_or(Line::NoLetter, Line::Letter)
}

/// Whether a mark is as long as what the line begins with.
fn can_be_marked(line: &[u8], letter: &Letter) -> bool {
    let Some(time) = &letter.replayed else { return line.starts_with(NOT_REPLAYED) };
    let begins = format!(r#"{{"replayed":"{time}""#);
    begins.len() == NOT_REPLAYED.len() && line.starts_with(begins.as_bytes())
}

/// The lines of a file as far as it goes now, for runs may append to it meanwhile.
///
/// # Errors
/// The file can't be read.
pub fn lines(file: &File) -> io::Result<impl Iterator<Item = io::Result<(Place, Vec<u8>)>>> {
    let mut input = BufReader::new(file.take(file.metadata()?.len()));
    let mut next = Place { offset: 0, number: 1 };
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(length) => {
                let place = next.clone();
                next = Place { offset: next.offset + length as u64, number: next.number + 1 };
                Some(Ok((place, line)))
            }
            Err(error) => Some(Err(error)),
        }
    }))
}

/// Marks the letters that begin at these offsets as published again, and brings that to the disk.
///
/// # Errors
/// The file can't be written.
pub fn mark_replayed(file: &File, offsets: &[u64], time: SystemTime) -> io::Result<()> {
    let mark = replayed(time);
    offsets.iter().try_for_each(|offset| file.write_all_at(&mark, *offset))?;
    file.sync_data()
}

/// The right to change letters in the folder of `path`, for as long as the handle lives; `None` where somebody else has it.
///
/// # Errors
/// The folder can't be opened.
pub fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(state_file::folder(path))?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// Removes lines from a file: what is kept takes its place as a whole, or all stays as it was. A file of which nothing is left is removed, and one of
/// which nothing goes is not touched.
///
/// # Errors
/// The file can't be read or replaced, or runs do not let go of it.
///
/// # Cancel safety
/// Dropping the future while the lock is waited for changes nothing.
pub async fn purge(path: &Path, mut goes: impl FnMut(&Place, &[u8]) -> bool) -> io::Result<()> {
    let file = open_locked(path).await?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let rewritten = rewrite(&file, &new, &mut goes).and_then(|Rewritten { kept, gone }| {
        if kept == 0 || gone == 0 {
            std::fs::remove_file(&new)?;
        }
        match (kept, gone) {
            (_, 0) => return Ok(()),
            (0, _) => std::fs::remove_file(path)?,
            _ => std::fs::rename(&new, path)?,
        }
        File::open(state_file::folder(path))?.sync_all()
    });
    rewritten.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

/// Lines that are in the new file, and that are not.
#[derive(Default)]
struct Rewritten {
    kept: u64,
    gone: u64,
}

fn rewrite(file: &File, new: &Path, goes: &mut impl FnMut(&Place, &[u8]) -> bool) -> io::Result<Rewritten> {
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // somebody was killed in the middle of this
    }
    let output = state_file::open_or_create(new)?;
    let before = file.metadata()?;
    if (before.uid(), before.gid()) != (output.metadata()?.uid(), output.metadata()?.gid()) {
        fchown(&output, Some(before.uid()), Some(before.gid()))?; // whoever writes to it goes on writing
    }
    output.set_permissions(before.permissions())?; // an administrator may let fewer people read it
    let mut writer = BufWriter::new(&output);
    let mut rewritten = Rewritten::default();
    for line in lines(file)? {
        let (place, line) = line?;
        if goes(&place, &line) {
            rewritten.gone += 1;
        } else {
            writer.write_all(&line)?;
            rewritten.kept += 1;
        }
    }
    writer.flush()?;
    drop(writer);
    output.sync_all()?;
    Ok(rewritten)
}

/// Opens the file that has this name at the moment at which it is locked: another process may rename it in between.
pub(super) async fn open_locked(path: &Path) -> io::Result<File> {
    loop {
        let file = state_file::open_or_create(path)?;
        lock_within(&file, LOCK_BOUND).await?;
        match std::fs::symlink_metadata(path) {
            Ok(named) if named.ino() == file.metadata()?.ino() => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes the exclusive lock, which others hold for one write at a time.
async fn lock_within(file: &File, bound: Duration) -> io::Result<()> {
    let until = Instant::now() + bound;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds the lock"));
            }
            Err(TryLockError::WouldBlock) => sleep(LOCK_POLL).await,
        }
    }
}
