//! Letters in a file, one JSON object a line, on the disk before the message is finished.
//!
//! Several processes may append to the same file: each writes under an exclusive lock, and what a failed write left behind is cut off again. A file that has grown too large is renamed; nothing is ever deleted here.

use std::{
    fs::{File, TryLockError},
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{DeadLetter, DeadLetterError, Kept, Letter};
use crate::{BoxFuture, state_file};

/// How long the lock on the file is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(2);

/// How often it is asked for meanwhile: the standard library has no wait with a bound.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// Bytes that are written in one go.
const BUFFER: usize = 64 << 10;

/// How dead letters in a file are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; its folder is created with mode 0750, itself with 0640.
    pub path: PathBuf,
    /// A file of at least this many bytes is renamed before more is written.
    pub max_size: u64,
}

/// A file as a [`DeadLetter`].
#[derive(Debug, Clone)]
pub struct FileDeadLetter {
    settings: Settings,
}

impl FileDeadLetter {
    /// A file that is created when the first letter comes.
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

    async fn write(&self, letters: &[Letter]) -> io::Result<()> {
        let path = &self.settings.path;
        let mut file = open_locked(path).await?;
        if file.metadata()?.len() >= self.settings.max_size {
            std::fs::rename(path, free_name(path))?;
            file = open_locked(path).await?;
        }
        let is_new = file.metadata()?.len() == 0;
        append(&mut file, letters)?;
        if is_new {
            // A new file is durable only when its name is.
            File::open(state_file::folder(path))?.sync_all()?;
        }
        Ok(())
    }
}

/// Opens the file that has this name at the moment at which it is locked: another process may rename it in between.
async fn open_locked(path: &Path) -> io::Result<File> {
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

fn append(file: &mut File, letters: &[Letter]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let torn = before > 0 && last_byte(file)? != b'\n';
    let write = || {
        let mut lines = BufWriter::with_capacity(BUFFER, &*file);
        if torn {
            lines.write_all(b"\n")?; // somebody was killed in the middle of a line: ours begin on a new one
        }
        letters.iter().try_for_each(|letter| letter.write_line(&mut lines))?;
        lines.flush()?;
        drop(lines);
        file.sync_data()
    };
    write().inspect_err(|_| {
        if let Err(error) = file.set_len(before) {
            log::warn!(cause = error.to_string(); "half a dead letter stays in the file");
        }
    })
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// The first of `FILE.1`, `FILE.2`, … that is not taken.
fn free_name(path: &Path) -> PathBuf {
    let mut number = 1_u64;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        if !Path::new(&name).exists() {
            return name.into();
        }
        number += 1;
    }
}

impl DeadLetter for FileDeadLetter {
    fn keep<'a>(&'a mut self, letters: &'a [Letter]) -> BoxFuture<'a, Vec<Result<Kept, DeadLetterError>>> {
        Box::pin(async move {
            // One write for all of them: they are all on the disk, or none is.
            let kept = self.write(letters).await.map(|()| Kept::Durably);
            let kept = kept.map_err(|cause| self.error(&cause));
            vec![kept; letters.len()]
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        let opened = match state_file::open(&self.settings.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // it is created when the first letter comes
            other => other.map(drop),
        };
        Box::pin(std::future::ready(opened.map_err(|cause| self.error(&cause))))
    }
}
