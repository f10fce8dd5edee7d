//! Records in an SQLite file: a table for each set, with the key and the document as JSON, for queries with
//! the `sqlite3` shell.

use std::path::{Path, PathBuf};

use rusqlite::{
    Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior,
    ffi::SQLITE_CONSTRAINT_UNIQUE, params, types::Value as Column,
};

use x_msrv_core::{
    BoxFuture,
    decode::BigIntegers,
    fault::{Blame, Fault},
    record::{KEY_FIELD, Key, Record, Value},
    store::{BatchLimits, Pending, Put, Reader, See, Store, StoreError, StoreTraits, StoredRecord},
};
use x_msrv_json::parse_object;
use x_msrv_state::{sqlite, state_file};

/// Records in one transaction. Each transaction waits for the disk once.
const RECORDS_AT_ONCE: usize = 1_000;

/// The settings of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; created if it does not exist.
    pub path: PathBuf,
    /// The table.
    pub set: TableName,
}

/// The name of a table: 1 to 63 of `a-zA-Z0-9_.-`, without SQLite's reserved prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(String);

impl std::str::FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if text.is_empty()
            || text.len() > 63
            || !text.bytes().all(allowed)
            || text.to_ascii_lowercase().starts_with("sqlite_")
        {
            return Err(format!(
                "`{text}` is not a valid table name: 1 to 63 of a-zA-Z0-9_.-, not starting with sqlite_"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// SQLite as a [`Store`].
pub struct SqliteStore {
    connection: Connection,
    settings: Settings,
}

impl SqliteStore {
    /// Opens the file, and creates the table if it does not exist.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a database.
    pub fn connect(settings: &Settings) -> Result<Self, StoreError> {
        let prepare = || {
            let connection = sqlite::open(&settings.path, None, sqlite::BUSY_BOUND)?;
            let set = &settings.set;
            connection.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS \"{set}\" ({KEY_FIELD} ANY PRIMARY KEY NOT NULL, document TEXT NOT NULL) STRICT"
            ))?;
            check_shape(&connection, set)?;
            Ok(connection)
        };
        match prepare() {
            Ok(connection) => Ok(Self { connection, settings: settings.clone() }),
            Err(cause) => Err(connect_error(&settings.path, cause)),
        }
    }

    /// Opens the file if it exists and has the table. Creates neither.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a database.
    pub fn connect_to_existing(settings: &Settings) -> Result<Option<Self>, StoreError> {
        if !Self::is_there(settings)? {
            return Ok(None);
        }
        let find = || {
            let connection = sqlite::open(&settings.path, None, sqlite::BUSY_BOUND)?;
            let is_there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
            let is_there = connection.query_row(is_there, [settings.set.to_string()], |row| row.get(0))?;
            Ok((connection, is_there))
        };
        match find() {
            Ok((connection, true)) => Ok(Some(Self { connection, settings: settings.clone() })),
            Ok((_, false)) => Ok(None),
            Err(cause) => Err(connect_error(&settings.path, cause)),
        }
    }

    /// Checks that the file can be created or written, that its disk has room, and that its table, if it
    /// exists, has the right shape. Creates no file. Returns what that proves, as text for the user.
    ///
    /// # Errors
    /// One of these checks fails.
    pub fn probe(settings: &Settings) -> Result<String, StoreError> {
        let path = &settings.path;
        let proven = state_file::try_to_write(path).map_err(|cause| connect_error(path, cause.into()))?;
        if Self::is_there(settings)? {
            Self::connect(settings)?;
        }
        Ok(proven)
    }

    fn is_there(settings: &Settings) -> Result<bool, StoreError> {
        state_file::exists(&settings.path).map_err(|cause| connect_error(&settings.path, cause.into()))
    }

    /// Writes records in one transaction, unless one of them makes it fail.
    ///
    /// The table may have rules of its own: unique indexes, constraints, foreign keys, triggers. A record
    /// that they refuse does not affect the others.
    fn write_batch(&self, records: &[Record]) -> rusqlite::Result<Vec<Result<Put, Fault>>> {
        let cause = match self.write_together(records, Guard::Nothing) {
            Err(Failed::Record(cause)) => cause,
            Err(Failed::Store(cause)) => return Err(cause),
            Ok(results) => return Ok(results),
        };
        if records.len() == 1 {
            return Ok(vec![Err(verdict(&cause))]);
        }
        match self.write_together(records, Guard::EachRecord) {
            Err(Failed::Record(_)) => {}
            Err(Failed::Store(cause)) => return Err(cause),
            Ok(results) => return Ok(results),
        }
        // A trigger rolled everything back, or a foreign key was checked only at the end.
        let (first, second) = records.split_at(records.len() / 2);
        let mut results = self.write_batch(first)?;
        results.append(&mut self.write_batch(second)?);
        Ok(results)
    }

    fn write_together(&self, records: &[Record], guard: Guard) -> Result<Vec<Result<Put, Fault>>, Failed> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let mut results = Vec::with_capacity(records.len());
        {
            let mut upsert = transaction.prepare(&upsert(&self.settings.set))?;
            for record in records {
                if guard == Guard::EachRecord {
                    transaction.execute_batch("SAVEPOINT record")?;
                }
                let key = match &record.key {
                    Key::Int(number) => Column::Integer(*number),
                    Key::Text(text) => Column::Text(text.clone()),
                };
                let document = serde_json::to_string(&Document(&record.fields))
                    .expect("a document has text keys and finite numbers");
                let written = match upsert.execute(params![key, document]).map_err(blamed) {
                    Ok(0) => Err(Fault::new(Blame::Suspect, NOT_TAKEN.to_owned())),
                    Ok(_) => Ok(Put::Stored),
                    Err(Failed::Record(cause))
                        if guard == Guard::EachRecord && !self.connection.is_autocommit() =>
                    {
                        transaction.execute_batch("ROLLBACK TO record")?;
                        Err(verdict(&cause))
                    }
                    Err(failed) => return Err(failed),
                };
                if guard == Guard::EachRecord {
                    transaction.execute_batch("RELEASE record")?;
                }
                results.push(written);
            }
        }
        transaction.commit().map_err(blamed)?;
        Ok(results)
    }

    fn read(&self, limit: usize, see: See<'_>) -> rusqlite::Result<()> {
        let sql =
            format!("SELECT {KEY_FIELD}, document FROM \"{}\" ORDER BY rowid LIMIT ?1", self.settings.set);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            let key = match row.get(0)? {
                Column::Integer(number) => Some(Key::Int(number)),
                Column::Text(text) => Some(Key::Text(text)),
                _ => None,
            };
            let document: String = row.get(1)?;
            let fields = parse_object(document.as_bytes(), BigIntegers::Text)
                .unwrap_or_else(|fault| vec![("unreadable".into(), Value::Text(fault.to_string()))]);
            Ok(StoredRecord { key, fields })
        })?;
        while let Some(record) = rows.next().transpose()?
            && see(record).is_continue()
        {}
        Ok(())
    }
}

/// What happens when one record fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The transaction fails.
    Nothing,
    /// The record's changes are rolled back, and the transaction continues.
    EachRecord,
}

/// Why a transaction failed, and what is to blame. Nothing of it was written.
enum Failed {
    Record(rusqlite::Error),
    Store(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Store(cause)
    }
}

/// Assigns the blame if the statement matches the table and still fails. SQLite's general error then comes
/// from an expression in an index or a trigger that cannot use a value.
fn blamed(cause: rusqlite::Error) -> Failed {
    use ErrorCode::{ConstraintViolation, TooBig, TypeMismatch, Unknown};
    match cause.sqlite_error_code() {
        Some(ConstraintViolation | TooBig | TypeMismatch | Unknown) => Failed::Record(cause),
        _ => Failed::Store(cause),
    }
}

/// Returns the fault of a record that failed alone. No record may be able to satisfy a rule of the table, or
/// the type of its `gid`. But a value that another row already has, or a size limit, is the record's fault.
fn verdict(cause: &rusqlite::Error) -> Fault {
    let unique =
        matches!(cause.sqlite_error(), Some(error) if error.extended_code == SQLITE_CONSTRAINT_UNIQUE);
    match cause.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) if unique => Fault::new(Blame::Record, rule(cause)),
        Some(ErrorCode::ConstraintViolation) => Fault::new(Blame::Suspect, rule(cause)),
        Some(ErrorCode::TypeMismatch) => Fault::new(Blame::Suspect, cause.to_string()),
        Some(ErrorCode::Unknown) => Fault::new(Blame::Unknown, cause.to_string()),
        _ => Fault::new(Blame::Record, cause.to_string()),
    }
}

fn rule(cause: &rusqlite::Error) -> String {
    format!("a constraint of the table refused it: {cause}")
}

/// A statement that succeeds and changes no row.
const NOT_TAKEN: &str = "the table did not accept it: a trigger ignored it, or the gid of an existing row is equal in its collation";

/// Returns the statement that overwrites only the row with the same `gid`. `OR ABORT` overrides the table's
/// conflict clauses: its `ON CONFLICT REPLACE` would delete rows of other messages, and its `ON CONFLICT
/// IGNORE` would lose this record. The last condition is for a `gid` with a collation such as `NOCASE`.
fn upsert(set: &TableName) -> String {
    format!(
        "INSERT OR ABORT INTO \"{set}\" ({KEY_FIELD}, document) VALUES (?1, ?2) ON CONFLICT ({KEY_FIELD}) \
         DO UPDATE SET document = excluded.document WHERE {KEY_FIELD} = excluded.{KEY_FIELD} COLLATE BINARY"
    )
}

/// Checks that a table of that name, which may have existed before, can accept records.
fn check_shape(
    connection: &Connection,
    set: &TableName,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    sqlite::check(connection, &upsert(set)).map_err(|error| match error {
        rusqlite::Error::SqliteFailure(code, Some(text))
            if text.starts_with("ON CONFLICT clause does not match") =>
        {
            let fault =
                format!("column {KEY_FIELD} of the table {set} is neither its primary key nor unique");
            rusqlite::Error::SqliteFailure(code, Some(fault))
        }
        other => other,
    })?;
    let never_filled = format!(
        "SELECT name FROM pragma_table_xinfo(?1) WHERE \"notnull\" AND dflt_value IS NULL AND pk = 0 AND hidden = 0 \
         AND name COLLATE NOCASE NOT IN ('{KEY_FIELD}', 'document')"
    );
    match connection.query_row(&never_filled, [set.to_string()], |row| row.get::<_, String>(0)).optional()? {
        None => Ok(()),
        Some(column) => {
            let fault = format!(
                "column {column} of the table {set} is NOT NULL without a default, so no record can be stored"
            );
            Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, fault).into())
        }
    }
}

struct Document<'a>(&'a x_msrv_core::record::Fields);

impl serde::Serialize for Document<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn connect_error(path: &Path, cause: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    let place = format!("the database {}", path.display());
    if sqlite::is_open_fault(&*cause) {
        StoreError::Setup { place, fault: cause.to_string() }
    } else {
        StoreError::Unreachable { place, cause: sqlite::in_plain_words(path, cause) }
    }
}

impl Store for SqliteStore {
    fn traits(&self) -> StoreTraits {
        StoreTraits::default()
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits::new(RECORDS_AT_ONCE, 1)
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        let (records, answers): (Vec<_>, Vec<_>) =
            records.into_iter().map(|Pending { item, answer }| (item, answer)).unzip();
        // One transaction: if it fails, nothing was written.
        let results = self.write_batch(&records).unwrap_or_else(|cause| {
            let text = format!("{}: {cause}", self.settings.path.display());
            let error = if sqlite::is_setup_fault(&cause) {
                Fault::new(Blame::Setup, text)
            } else {
                Fault::new(Blame::Outage, text)
            };
            vec![Err(error); records.len()]
        });
        for (answer, result) in answers.into_iter().zip(results) {
            answer.give(result);
        }
        Box::pin(std::future::ready(()))
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Self { connection, settings } = *self;
        let closed = connection.close().map_err(|(_, cause)| connect_error(&settings.path, cause.into()));
        Box::pin(std::future::ready(closed))
    }
}

impl Reader for SqliteStore {
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        let read = self.read(limit, see).map_err(|cause| connect_error(&self.settings.path, cause.into()));
        Box::pin(std::future::ready(read))
    }
}
