//! `x-msrv replay`
//!
//! A letter that was published is marked where it stands: `false` becomes `true `, of the same length, so that the file may be appended to or
//! renamed meanwhile. The mark is written, and synced, after the queue has acknowledged its batch; whoever is killed between the two sends that
//! batch again.

use std::{
    error::Error,
    fs::{File, TryLockError},
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use bytes::Bytes;
use log::warn;

use super::{CommandError, say};
use crate::{
    cli::ReplayArgs,
    config::Settings,
    dead_letter::{Letter, REPLAYED_MARK},
    source::Publisher,
    state_file, wiring,
};

/// Letters that are published, and then marked, in one go.
const LETTERS_AT_ONCE: usize = 100;

/// Lines that are no letters and are named one by one.
const LINES_NAMED: usize = 5;

/// Bytes of bodies that are published in one go; nsqd takes 5 MiB by default.
const BYTES_AT_ONCE: usize = 1 << 20;

pub(super) async fn replay(settings: &Settings, arguments: &ReplayArgs) -> Result<(), CommandError> {
    let path = &arguments.file;
    let file = state_file::open_to_overwrite(path).map_err(|cause| file_error(path, "open", cause))?;
    let _one_at_a_time = lock_folder(path)?;
    let mut publisher = wiring::publisher(&settings.source).await?;
    let Replayed { sent, before, no_letters } = letters(&file, path, &mut *publisher).await?;
    let skipped = if no_letters > 0 { format!(", {no_letters} lines are no letters") } else { String::new() };
    say(&format!("letters sent: {sent}, sent before: {before}{skipped}"));
    Ok(())
}

/// What a replay found, and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that were published, and marked.
    pub sent: usize,
    /// Letters that were marked before.
    pub before: usize,
    /// Lines that are no letters.
    pub no_letters: usize,
}

/// Publishes the letters in `file` that are not marked, and marks them; `path` is its name, for messages.
///
/// # Errors
/// The file can't be read or written, holds lines and not one letter, or the queue does not take what is in it.
pub async fn letters(file: &File, path: &Path, publisher: &mut dyn Publisher) -> Result<Replayed, CommandError> {
    let mut replay = Replay { publisher, file, path, batch: Batch::default(), replayed: Replayed::default() };
    // Only what is there now: a run may be writing new letters meanwhile, of these very messages.
    let length = file.metadata().map_err(|cause| file_error(path, "look at", cause))?.len();
    let mut lines = BufReader::new(file.take(length));
    let (mut offset, mut number) = (0, 0);
    loop {
        let mut line = Vec::new();
        let length = lines.read_until(b'\n', &mut line).map_err(|cause| file_error(path, "read", cause))?;
        if length == 0 {
            break;
        }
        number += 1;
        match serde_json::from_slice::<Letter>(&line).ok().and_then(|letter| Some((letter.replayed, letter.body.to_bytes().ok()?))) {
            Some((true, _)) => replay.replayed.before += 1,
            Some((false, body)) if line.starts_with(REPLAYED_MARK.0) => replay.add(offset, body.into()).await?,
            _ => {
                replay.replayed.no_letters += 1;
                if replay.replayed.no_letters <= LINES_NAMED {
                    warn!(path = path.display().to_string(), line = number; "a line is no dead letter");
                }
            }
        }
        offset += length as u64;
    }
    replay.flush().await?;
    if number > 0 && replay.replayed.no_letters == number {
        return Err(file_error(path, "read", "none of its lines is a dead letter"));
    }
    Ok(replay.replayed)
}

fn file_error(path: &Path, attempt: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> CommandError {
    CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() }
}

/// Two replays of one file would send each letter twice. The file itself can't be locked for so long: runs append to it.
fn lock_folder(path: &Path) -> Result<File, CommandError> {
    let error = |cause: io::Error| file_error(path, "lock its folder", cause);
    let folder = File::open(state_file::folder(path)).map_err(error)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(CommandError::Busy { name: path.display().to_string() }),
        Err(TryLockError::Error(cause)) => Err(error(cause)),
    }
}

#[derive(Default)]
struct Batch {
    bodies: Vec<Bytes>,
    /// Where each letter's line begins.
    offsets: Vec<u64>,
    bytes: usize,
}

struct Replay<'a> {
    publisher: &'a mut dyn Publisher,
    file: &'a File,
    path: &'a Path,
    batch: Batch,
    replayed: Replayed,
}

impl Replay<'_> {
    async fn add(&mut self, offset: u64, body: Bytes) -> Result<(), CommandError> {
        if self.batch.bodies.len() == LETTERS_AT_ONCE || self.batch.bytes + body.len() > BYTES_AT_ONCE {
            self.flush().await?;
        }
        self.batch.bytes += body.len();
        self.batch.bodies.push(body);
        self.batch.offsets.push(offset);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), CommandError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.bodies.is_empty() {
            return Ok(());
        }
        let sent = self.replayed.sent;
        let partly =
            |cause: CommandError| CommandError::Partly { done: format!("letters sent: {sent}, then it failed"), cause: Box::new(cause) };
        self.publisher.publish(&batch.bodies).await.map_err(|error| partly(error.into()))?;
        self.replayed.sent += batch.bodies.len();
        let marked = self.mark(&batch.offsets);
        marked.map_err(|cause| partly(file_error(self.path, "mark letters that were sent; they will be sent again", cause)))
    }

    fn mark(&self, offsets: &[u64]) -> io::Result<()> {
        for offset in offsets {
            self.file.write_all_at(REPLAYED_MARK.1, *offset)?;
        }
        self.file.sync_data()
    }
}
