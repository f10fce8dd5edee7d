//! The statements. Pure.

use std::fmt::Write as _;

use x_msrv_core::record::KEY_FIELD;

use crate::settings::{Exists, Settings, TableName};

/// The column with the document, where the whole of it goes to one.
pub(crate) const DOCUMENT: &str = "document";

/// A name in double quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name in double quotes.
pub(crate) fn table(name: &TableName) -> String {
    let table = quoted(name.table.as_str());
    match &name.schema {
        Some(schema) => format!("{}.{table}", quoted(schema.as_str())),
        None => table,
    }
}

/// A column to write, and the type that text is cast to before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// Its type in the server's own words, without a length, and for a domain the type below it: a cast to
    /// `varchar(3)` would cut in silence, where the assignment refuses.
    pub(crate) data_type: String,
}

/// Statements for one table, made when its columns are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statements {
    /// Writes rows: keys and each column's values as arrays of text. With `exists: create-only` it returns the
    /// keys that are written.
    pub(crate) write: String,
    /// Returns those of the keys that have a row.
    pub(crate) present: String,
    /// Returns keys and rows as JSON in the order of their keys: those after a key, if one is given, up to a limit.
    pub(crate) read: String,
}

impl Statements {
    pub(crate) fn new(settings: &Settings, key: &Target, others: &[Target]) -> Self {
        let table = table(&settings.table);
        let name = quoted(&key.name);
        let all = || std::iter::once(key).chain(others);
        let columns = join(all().map(|column| quoted(&column.name)));
        let values =
            join(all().enumerate().map(|(index, column)| format!("r.c{index}::{}", column.data_type)));
        let arrays = join((1..=all().count()).map(|index| format!("${index}::text[]")));
        let aliases = join((0..all().count()).map(|index| format!("c{index}")));
        let insert = format!("INSERT INTO {table} AS t ({columns}) SELECT {values}");
        let rows = format!("FROM unnest({arrays}) AS r({aliases})");
        let write = match settings.exists {
            // The key is returned as it was sent: a cast back may spell it in another way.
            Exists::CreateOnly => format!(
                "WITH i AS ({insert} {rows} ON CONFLICT ({name}) DO NOTHING RETURNING {name} AS key) \
                 SELECT r.c0 {rows} JOIN i ON i.key = r.c0::{}",
                key.data_type
            ),
            exists => {
                let merge = exists == Exists::Update;
                let sets = join(others.iter().map(|column| set(&quoted(&column.name), settings, merge)));
                format!("{insert} {rows} ON CONFLICT ({name}) DO UPDATE SET {sets}")
            }
        };
        let present = format!(
            "SELECT r.c0 FROM unnest($1::text[]) AS r(c0) \
             WHERE EXISTS (SELECT FROM {table} AS t WHERE t.{name} = r.c0::{})",
            key.data_type
        );
        let rows = if settings.columns.is_none() {
            format!("t.{DOCUMENT}::text FROM {table} AS t")
        } else {
            let fields = join(others.iter().map(|column| format!("t.{}", quoted(&column.name))));
            format!("row_to_json(r.*)::text FROM {table} AS t, LATERAL (SELECT {fields}) AS r")
        };
        let read = format!(
            "SELECT t.{name}::text, {rows} WHERE t.{name} IS NOT NULL AND ($1::text IS NULL OR t.{name} > $1::{}) \
             ORDER BY t.{name} LIMIT $2",
            key.data_type
        );
        Self { write, present, read }
    }
}

/// What becomes of a column of a row that exists.
fn set(name: &str, settings: &Settings, merge: bool) -> String {
    match (&settings.columns, merge) {
        (_, false) => format!("{name} = excluded.{name}"),
        // NULL would stay NULL, and another value would become an array.
        (None, true) => format!(
            "{name} = CASE jsonb_typeof(t.{name}) WHEN 'object' THEN t.{name} || excluded.{name} ELSE excluded.{name} END"
        ),
        (Some(_), true) => format!("{name} = COALESCE(excluded.{name}, t.{name})"),
    }
}

/// The statement that makes a table which would do.
pub(crate) fn create_table(settings: &Settings) -> String {
    let mut columns = match &settings.columns {
        None => format!("{KEY_FIELD} text PRIMARY KEY, {DOCUMENT} jsonb NOT NULL"),
        Some(columns) => {
            let data_type = columns.key_type.as_deref().unwrap_or("text");
            format!("{} {data_type} PRIMARY KEY", quoted(columns.key.as_str()))
        }
    };
    for column in settings.columns.iter().flat_map(|columns| &columns.fields) {
        write!(columns, ", {} {}", quoted(column.name.as_str()), column.data_type).expect("text takes text");
    }
    format!("CREATE TABLE {} ({columns});", table(&settings.table))
}

/// Returns the statement that grants a denied permission on our table or on a schema, from the server's message.
pub(crate) fn grant(settings: &Settings, message: &str) -> Option<String> {
    let user = quoted(&settings.user);
    match message.strip_prefix("permission denied for ")?.split_once(' ')? {
        ("schema", name) => Some(format!("GRANT USAGE ON SCHEMA {} TO {user};", quoted(name))),
        // Any other table is one that a trigger uses.
        ("table" | "view", name) if name == settings.table.table.as_str() => {
            let update = if settings.exists == Exists::CreateOnly { "" } else { ", UPDATE" };
            Some(format!("GRANT SELECT, INSERT{update} ON {} TO {user};", table(&settings.table)))
        }
        _ => None,
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
