//! Letters in a file, one JSON object a line, on the disk before the message is finished.
//!
//! Several processes may append to the same file: each writes under an exclusive lock, and what a failed write left behind is cut off again. A file that has grown too large is renamed; nothing is
//! ever deleted here (see [`tidy`](super::tidy)).

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{DeadLetter, DeadLetterError, Kept, Pending, answer_all, letters::open_locked};
use crate::{BoxFuture, state_file};

/// Bytes that are written in one go.
const BUFFER: usize = 64 << 10;

/// How dead letters in a file are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; its folder is created with mode 0750, itself with 0640.
    pub path: PathBuf,
    /// A file of at least this many bytes is renamed before more is written.
    pub max_size: u64,
    /// Of the files that were renamed, at most this many are kept.
    pub max_files: Option<NonZeroU64>,
    /// A file that was renamed is kept for this long after its last letter, and no file is written for longer than that.
    pub max_age: Option<Duration>,
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
            // A new file is durable only when its name is.
            File::open(state_file::folder(path))?.sync_all()?;
        }
        Ok(())
    }
}

/// Renames the file that letters go to, as if it had grown too large.
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
            lines.write_all(b"\n")?; // somebody was killed in the middle of a line: ours begin on a new one
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

/// The files that there are of this name: those that have grown too large, in the order in which they did, and the one that letters go to.
///
/// # Errors
/// We may not look into their folder. One that is not there has none.
pub fn all(path: &Path) -> io::Result<Vec<PathBuf>> {
    let of_folder = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", state_file::folder(path).display()));
    let mut files: Vec<_> = numbers(path).map_err(of_folder)?.into_iter().map(|number| numbered(path, number)).collect();
    if state_file::exists(path).map_err(of_folder)? {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// Those of them that have grown too large: no run writes to them.
pub(super) fn complete(path: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbers(path)?.into_iter().map(|number| numbered(path, number)).collect())
}

/// The numbers behind this name in its folder, the smallest first. A file that is purged empty leaves a gap.
fn numbers(path: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(state_file::folder(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut numbers = Vec::new();
    for entry in entries {
        let found = entry?.file_name();
        let number = found.as_encoded_bytes().strip_prefix(name).and_then(|rest| std::str::from_utf8(rest.strip_prefix(b".")?).ok());
        // Only as we write it: 01 and +1 are another's files.
        numbers.extend(number.and_then(|text| text.parse::<u64>().ok().filter(|number| number.to_string() == text)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// `FILE.1`, or the number behind the highest that is taken: what is newer has the higher one, also where some are gone.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    Ok(numbered(path, numbers(path)?.last().map_or(1, |number| number.saturating_add(1))))
}

impl DeadLetter for FileDeadLetter {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // One write for all of them: they are all on the disk, or none is.
            let kept = self.write(&letters).await.map(|()| Kept::Durably);
            answer_all(letters, &kept.map_err(|cause| self.error(&cause)));
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
