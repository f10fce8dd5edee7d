//! Opening SQLite files the same way everywhere: durable, shared with other processes, every wait bounded.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};

/// How long another process's write is waited for.
const BUSY_BOUND: Duration = Duration::from_secs(2);

/// Creates the folders on the way to `path`, for us and our group only.
///
/// # Errors
/// One of them can't be created.
pub fn create_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => DirBuilder::new().recursive(true).mode(0o750).create(parent),
        _ => Ok(()),
    }
}

/// Opens or creates the database at `path`: write-ahead log, a commit is on the disk when it returns.
///
/// # Errors
/// The file can't be created or opened, or is no database.
pub fn open(path: &Path) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    create_parent(path)?;
    // SQLite itself would create it readable for everybody, and its -wal and -shm files take their mode from it.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_BOUND)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// The same for an error of [`open`].
#[must_use]
pub fn is_open_fault(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(io, Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::IsADirectory))
        || error.downcast_ref::<rusqlite::Error>().is_some_and(is_setup_fault)
}

/// Whether an error can't pass by itself: the file is no database, damaged, not ours to write, or a table in it has another shape (SQLite's
/// general error).
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
