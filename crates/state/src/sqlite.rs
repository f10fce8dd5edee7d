//! Opens all SQLite files the same way: durable, shared with other processes, with bounded waits.

use std::{
    io,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::time::Instant;
use x_msrv_settings::FileKind;

use crate::state_file;

/// How long to wait for another process's write if messages depend on it.
pub const BUSY_BOUND: Duration = Duration::from_secs(2);

/// The retry interval for operations in which SQLite does not wait itself.
const BUSY_POLL: Duration = Duration::from_millis(2);

/// Opens or creates the database at `path`, with a write-ahead log; a commit is on disk when it returns. A
/// new database has pages of `page` bytes, or of SQLite's default size. Each step waits at most `busy_bound`
/// for another process.
///
/// # Errors
/// The file cannot be created or opened, or is not a database.
pub fn open(
    path: &Path,
    page: Option<u32>,
    busy_bound: Duration,
) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    // SQLite itself would create it readable for all users. Its -wal and -shm files take mode and owner from
    // it.
    state_file::open_or_create(path)?;
    // SQLite opens the file by its name again; if that has become a symlink meanwhile, SQLite refuses it as
    // well.
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let folder = state_file::folder(path).canonicalize()?;
    let connection = Connection::open_with_flags(
        folder.join(name),
        OpenFlags::default() | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )?;
    connection.busy_timeout(busy_bound)?;
    if let Some(page) = page {
        connection.pragma_update(None, "page_size", page)?; // before there is a log, or it has no effect
    }
    retry_while_busy(busy_bound, || connection.pragma_update(None, "journal_mode", "wal"))?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Returns the files that SQLite creates beside a database (<https://www.sqlite.org/tempfiles.html>).
pub fn companions(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["-wal", "-shm", "-journal"].into_iter().map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        name.into()
    })
}

/// A configured file that is an SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database;

impl FileKind for Database {
    fn is_beside(place: &Path, other: &Path) -> bool {
        companions(place).any(|companion| companion == other)
    }
}

/// If two connections enable the write-ahead log of a new file, SQLite does not wait: one of them fails with
/// "busy" at once.
#[expect(clippy::disallowed_methods, reason = "there is nothing to wait on, and it is bounded")]
fn retry_while_busy(
    bound: Duration,
    mut attempt: impl FnMut() -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let until = Instant::now() + bound;
    loop {
        match attempt() {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until =>
            {
                sleep(BUSY_POLL);
            }
            other => return other,
        }
    }
}

/// Checks that a statement matches the tables.
///
/// # Errors
/// It does not match, which is a setup fault; the error does not contain the statement.
pub fn check(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare(sql).map(drop).map_err(|error| match error {
        rusqlite::Error::SqlInputError { error, msg, .. } => rusqlite::Error::SqliteFailure(error, Some(msg)),
        other => other,
    })
}

/// Returns whether an error of [`open`] is permanent.
#[must_use]
pub fn is_open_fault(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(state_file::is_setup_fault)
        || error.downcast_ref::<rusqlite::Error>().is_some_and(is_setup_fault)
}

/// Returns whether an error is permanent: the file is not a database, damaged, not writable for this user, or
/// one of its tables has another shape (SQLite's general error).
#[must_use]
pub fn is_setup_fault(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::Unknown
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::PermissionDenied
        )
    )
}

/// Returns the error, and states that the disk is full if it is. In some situations, for instance when it
/// creates the shared-memory file, SQLite reports only an I/O error.
#[must_use]
pub fn in_plain_words(
    path: &Path,
    error: Box<dyn std::error::Error + Send + Sync>,
) -> Box<dyn std::error::Error + Send + Sync> {
    let fails = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
    let full = || rustix::fs::statvfs(state_file::folder(path)).is_ok_and(|disk| disk.f_bavail == 0);
    if error.downcast_ref::<rusqlite::Error>().is_some_and(fails) && full() {
        return format!("no space left on its disk ({error})").into();
    }
    error
}
