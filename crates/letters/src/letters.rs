//! A dead-letter file, one letter a line, used by several processes at once.
//!
//! Runs append under an exclusive lock on the file. A replay or a purge, which changes existing letters, also
//! holds a lock on the folder. So only one of them runs at a time, and it does not block runs for long.

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

/// How long to wait for the lock on the file.
const LOCK_BOUND: Duration = Duration::from_secs(2);

/// The retry interval for the lock: the standard library has no wait with a limit.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// The content of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A complete letter, written by any program: its keys may have any order and spacing, and there may be
    /// others.
    Letter(Letter),
    /// Anything else: a truncated letter of a killed process, or text that is not a letter.
    NoLetter,
}

/// The position of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The offset from the start of the file in bytes.
    pub offset: u64,
    /// The line number; the first is 1.
    pub number: u64,
}

/// Parses a line.
#[must_use]
pub fn parse(line: &[u8]) -> Line {
    let letter = read(line).filter(|letter| letter.body.to_bytes().is_ok());
    letter.map_or(Line::NoLetter, Line::Letter)
}

fn read(line: &[u8]) -> Option<Letter> {
    let letter = serde_json::from_slice(without_mark(line)).ok()?;
    // The last one of duplicate keys counts, as it does when the line is rewritten.
    if has_room(line) {
        Some(letter)
    } else {
        serde_json::from_value(serde_json::from_slice(without_mark(line)).ok()?).ok()
    }
}

/// Editors add a byte order mark before the first line.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Returns whether a line with a letter starts with `replayed`, with enough room for the time of a replay.
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

/// Returns the letter with that room, and with all keys of other programs.
fn with_room(line: &[u8], letter: &Letter) -> io::Result<Vec<u8>> {
    let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(without_mark(line))?;
    keys.remove("replayed");
    let mut new = match &letter.replayed {
        None => NOT_REPLAYED.to_vec(),
        // A value that is not a time still marks a replayed letter.
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

/// Returns the lines up to the current end of the file; runs may append to it meanwhile.
///
/// # Errors
/// The file cannot be read.
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

/// Marks the letters at these offsets as replayed, and syncs the file.
///
/// # Errors
/// The file cannot be written.
pub fn mark_replayed(file: &File, offsets: &[u64], time: SystemTime) -> io::Result<()> {
    let mark = replayed(time);
    offsets.iter().try_for_each(|offset| file.write_all_at(&mark, *offset))?;
    file.sync_data()
}

/// Takes the lock for changing letters in the folder of `path`, for as long as the handle lives. Returns
/// `None` if another process holds it.
///
/// # Errors
/// The folder cannot be opened.
pub fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(state_file::folder(path))?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// Removes lines from a file, atomically. A file that becomes empty is removed. If no line is removed, the
/// file is unchanged.
///
/// # Errors
/// The file cannot be read or replaced, or other processes hold its lock for too long.
///
/// # Cancel safety
/// Dropping the future while it waits for the lock changes nothing.
pub async fn purge(path: &Path, mut goes: impl FnMut(&Place, &[u8]) -> bool) -> io::Result<()> {
    change(path, |place, line| Ok(if goes(place, line) { Change::Goes } else { Change::Stays })).await
}

/// Opens a file for marking letters. Matching letters without room for a mark, written by another program,
/// get it first: the file is replaced atomically, while runs wait.
///
/// # Errors
/// The file cannot be opened, read or replaced, or other processes hold its lock for too long.
///
/// # Cancel safety
/// Dropping the future while it waits for the lock changes nothing.
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

/// The change to a line.
enum Change {
    Stays,
    Goes,
    Becomes(Vec<u8>),
}

/// Replaces a file under the lock that runs use for appending.
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

/// Returns the temporary name for the new version of a file.
pub(super) fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The result of a rewrite.
#[derive(Default)]
struct Rewritten {
    lines: u64,
    /// Whether its content differs from the old file.
    changed: bool,
}

fn rewrite(
    file: &File,
    new: &Path,
    mut change_of: impl FnMut(&Place, &[u8]) -> io::Result<Change>,
) -> io::Result<Rewritten> {
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // a truncated letter of a killed process
    }
    let output = state_file::open_or_create(new)?;
    let before = file.metadata()?;
    if (before.uid(), before.gid()) != (output.metadata()?.uid(), output.metadata()?.gid()) {
        fchown(&output, Some(before.uid()), Some(before.gid()))?; // its writers can continue to write
    }
    output.set_permissions(before.permissions())?; // an administrator may have restricted the permissions
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

/// Opens the file that has this name when the lock is acquired: another process may rename it in between.
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

/// Acquires the exclusive lock, which other processes hold for one write at a time.
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
