//! A file of letters, one a line, as several processes use it at once.
//!
//! Runs append under an exclusive lock on the file. What changes letters that are there (a replay, a purge)
//! also holds a lock on the folder, so that only one of them is at it, and may take its time without holding
//! up runs.

use std::{
    fs::{File, TryLockError},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, fchown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};

use x_msrv_core::dead_letter::{Letter, NOT_REPLAYED, replayed};
use x_msrv_state::state_file;

/// How long the lock on the file is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(2);

/// How often it is asked for meanwhile: the standard library has no wait with a bound.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A letter, whole, whatever wrote it: its keys may have any order and any space between them, and there
    /// may be others.
    Letter(Letter),
    /// Anything else: a truncated letter of a process that was killed, or something that is none.
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
    let letter = read(line).filter(|letter| letter.body.to_bytes().is_ok());
    letter.map_or(Line::NoLetter, Line::Letter)
}

fn read(line: &[u8]) -> Option<Letter> {
    let letter = serde_json::from_slice(without_mark(line)).ok()?;
    // Of a key that is there twice the last one counts, as it does when the line is written anew.
    if has_room(line) {
        Some(letter)
    } else {
        serde_json::from_value(serde_json::from_slice(without_mark(line)).ok()?).ok()
    }
}

/// Editors put a byte order mark in front of the first line.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Whether a line that holds a letter begins with its `replayed` and as much room as the moment of a replay
/// takes.
#[must_use]
pub fn has_room(line: &[u8]) -> bool {
    let Some(value) = line.get(..NOT_REPLAYED.len()).and_then(|begin| begin.strip_prefix(br#"{"replayed":"#))
    else {
        return false;
    };
    match value.trim_ascii_end() {
        [b'"', time @ .., b'"'] => !time.iter().any(|byte| matches!(byte, b'"' | b'\\')),
        value => value == b"false",
    }
}

/// The same letter with that room, and with all that it holds beside what is ours.
fn with_room(line: &[u8], letter: &Letter) -> io::Result<Vec<u8>> {
    let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(without_mark(line))?;
    keys.remove("replayed");
    let mut new = match &letter.replayed {
        None => NOT_REPLAYED.to_vec(),
        // One that is no time stays one that was replayed.
        Some(time) => replayed(humantime::parse_rfc3339_weak(time).unwrap_or(SystemTime::UNIX_EPOCH)),
    };
    let mut rest = serde_json::to_vec(&keys)?;
    rest[0] = b',';
    new.append(&mut rest);
    if line.ends_with(b"\n") {
        new.push(b'\n');
    }
    Ok(new)
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

/// The right to change letters in the folder of `path`, for as long as the handle lives; `None` where
/// somebody else has it.
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

/// Removes lines from a file: what is kept takes its place as a whole, or all stays as it was. A file of
/// which nothing is left is removed, and one of which nothing goes is not touched.
///
/// # Errors
/// The file can't be read or replaced, or runs do not let go of it.
///
/// # Cancel safety
/// Dropping the future while the lock is waited for changes nothing.
pub async fn purge(path: &Path, mut goes: impl FnMut(&Place, &[u8]) -> bool) -> io::Result<()> {
    change(path, |place, line| Ok(if goes(place, line) { Change::Goes } else { Change::Stays })).await
}

/// Opens a file to mark letters in it. Those that are `meant` and have no room for that, because another
/// program wrote them, get it before: the file is replaced as a whole, while runs wait.
///
/// # Errors
/// The file can't be opened, read or replaced, or runs do not let go of it.
///
/// # Cancel safety
/// Dropping the future while the lock is waited for changes nothing.
pub async fn open_to_mark(path: &Path, meant: impl Fn(&Letter) -> bool) -> io::Result<File> {
    let change_of = |line: &[u8]| match parse(line) {
        Line::Letter(letter) if !has_room(line) && meant(&letter) => {
            with_room(line, &letter).map(Change::Becomes)
        }
        _ => Ok(Change::Stays),
    };
    for line in lines(&state_file::open_to_read(path)?)? {
        if matches!(change_of(&line?.1)?, Change::Becomes(_)) {
            change(path, |_, line| change_of(line)).await?;
            break;
        }
    }
    state_file::open_to_overwrite(path)
}

/// What becomes of a line.
enum Change {
    Stays,
    Goes,
    Becomes(Vec<u8>),
}

/// Puts another file in the place of this one, under the lock by which runs append to it.
async fn change(path: &Path, change_of: impl FnMut(&Place, &[u8]) -> io::Result<Change>) -> io::Result<()> {
    let file = open_locked(path).await?;
    let new = new_name(path);
    let rewritten = rewrite(&file, &new, change_of).and_then(|Rewritten { lines, changed }| {
        if lines == 0 || !changed {
            std::fs::remove_file(&new)?;
        }
        match (lines, changed) {
            (_, false) => return Ok(()),
            (0, true) => std::fs::remove_file(path)?,
            _ => std::fs::rename(&new, path)?,
        }
        File::open(state_file::folder(path))?.sync_all()
    });
    rewritten.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

/// Where what is to take the place of the file is written first.
pub(super) fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// What is in the new file.
#[derive(Default)]
struct Rewritten {
    lines: u64,
    /// Whether that differs from what is in the old one.
    changed: bool,
}

fn rewrite(
    file: &File,
    new: &Path,
    mut change_of: impl FnMut(&Place, &[u8]) -> io::Result<Change>,
) -> io::Result<Rewritten> {
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
        let change = change_of(&place, &line)?;
        rewritten.changed |= !matches!(change, Change::Stays);
        let line = match change {
            Change::Stays => line,
            Change::Goes => continue,
            Change::Becomes(line) => line,
        };
        writer.write_all(&line)?;
        rewritten.lines += 1;
    }
    writer.flush()?;
    drop(writer);
    output.sync_all()?;
    Ok(rewritten)
}

/// Opens the file that has this name at the moment at which it is locked: another process may rename it in
/// between.
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
