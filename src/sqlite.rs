//! Opening SQLite files the same way everywhere: durable, shared with other processes, every wait bounded.

use std::{io, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode};

use crate::state_file;

/// How long another process's write is waited for.
const BUSY_BOUND: Duration = Duration::from_secs(2);

/// Opens or creates the database at `path`: write-ahead log, a commit is on the disk when it returns.
///
/// # Errors
/// The file can't be created or opened, or is no database.
pub fn open(path: &Path) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    // SQLite itself would create it readable for everybody, and its -wal and -shm files take mode and owner from it.
    state_file::open_or_create(path)?;
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
