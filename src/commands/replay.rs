//! `x-msrv replay`
//!
//! A letter that was published is marked where it stands: `false` becomes `true `, of the same length, so that the file may be appended to or
//! renamed meanwhile. The mark is written, and synced, after the queue has acknowledged its batch; whoever is killed between the two sends that
//! batch again.

use std::{
    fs::{File, OpenOptions, TryLockError},
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
    wiring,
};

/// Letters that are published, and then marked, in one go.
const LETTERS_AT_ONCE: usize = 100;

/// Lines that are no letters and are named one by one.
const LINES_NAMED: u64 = 5;

/// Bytes of bodies that are published in one go; nsqd takes 5 MiB by default.
const BYTES_AT_ONCE: usize = 1 << 20;

pub(super) async fn replay(settings: &Settings, arguments: &ReplayArgs) -> Result<(), CommandError> {
    let path = &arguments.file;
    let file_error =
        |attempt| move |cause: io::Error| CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(file_error("open"))?;
    let _one_at_a_time = lock_folder(path)?;
    let mut replay = Replay { publisher: wiring::publisher(&settings.source).await?, file: &file, batch: Batch::default(), sent: 0 };
    // Only what is there now: a run may be writing new letters meanwhile, of these very messages.
    let length = file.metadata().map_err(file_error("look at"))?.len();
    let mut lines = BufReader::new((&file).take(length));
    let (mut offset, mut number, mut marked, mut unreadable) = (0, 0_u64, 0_u64, 0_u64);
    loop {
        let mut line = Vec::new();
        let length = lines.read_until(b'\n', &mut line).map_err(file_error("read"))?;
        if length == 0 {
            break;
        }
        number += 1;
        match serde_json::from_slice::<Letter>(&line).ok().and_then(|letter| Some((letter.replayed, letter.body.to_bytes().ok()?))) {
            Some((true, _)) => marked += 1,
            Some((false, body)) if line.starts_with(REPLAYED_MARK.0) => replay.add(offset, body.into(), path).await?,
            _ => {
                unreadable += 1;
                if unreadable <= LINES_NAMED {
                    warn!(path = path.display().to_string(), line = number; "a line is no dead letter");
                }
            }
        }
        offset += length as u64;
    }
    replay.flush(path).await?;
    if unreadable > 0 && unreadable == number {
        let cause = "none of its lines is a dead letter".into();
        return Err(CommandError::File { name: path.display().to_string(), attempt: "read", cause });
    }
    let skipped = if unreadable > 0 { format!(", {unreadable} lines are no letters") } else { String::new() };
    say(&format!("letters sent: {}, sent before: {marked}{skipped}", replay.sent));
    Ok(())
}

/// Two replays of one file would send each letter twice. The file itself can't be locked for so long: runs append to it.
fn lock_folder(path: &Path) -> Result<File, CommandError> {
    let name = || path.display().to_string();
    let error = |cause: io::Error| CommandError::File { name: name(), attempt: "lock its folder", cause: cause.into() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder).map_err(error)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(CommandError::Busy { name: name() }),
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
    publisher: Box<dyn Publisher>,
    file: &'a File,
    batch: Batch,
    sent: usize,
}

impl Replay<'_> {
    async fn add(&mut self, offset: u64, body: Bytes, path: &Path) -> Result<(), CommandError> {
        if self.batch.bodies.len() == LETTERS_AT_ONCE || self.batch.bytes + body.len() > BYTES_AT_ONCE {
            self.flush(path).await?;
        }
        self.batch.bytes += body.len();
        self.batch.bodies.push(body);
        self.batch.offsets.push(offset);
        Ok(())
    }

    async fn flush(&mut self, path: &Path) -> Result<(), CommandError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.bodies.is_empty() {
            return Ok(());
        }
        let sent = self.sent;
        let partly = |cause: CommandError| CommandError::Partly { done: format!("{sent} letters were sent"), cause: Box::new(cause) };
        self.publisher.publish(&batch.bodies).await.map_err(|error| partly(error.into()))?;
        self.sent += batch.bodies.len();
        self.mark(&batch.offsets).map_err(|cause| {
            let attempt = "mark letters that were sent; they will be sent again";
            partly(CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() })
        })
    }

    fn mark(&self, offsets: &[u64]) -> io::Result<()> {
        for offset in offsets {
            self.file.write_all_at(REPLAYED_MARK.1, *offset)?;
        }
        self.file.sync_data()
    }
}
