//! How the store is set up.

use std::{fmt, str::FromStr, time::Duration};

use x_msrv_core::record::KEY_FIELD;
use x_msrv_net::{address::HostPort, secret::Secret, tls};

/// Bytes of the longest name that the server keeps whole (`NAMEDATALEN` - 1); it cuts longer ones silently.
const LONGEST_NAME: usize = 63;

/// How the store is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Servers; the first one that answers and takes writes is used.
    pub hosts: Vec<HostPort>,
    /// The database.
    pub database: String,
    /// Who we are.
    pub user: String,
    /// What proves it, where the server asks.
    pub password: Option<Secret>,
    /// The table.
    pub table: TableName,
    /// The columns that fields go to; without them the whole document goes to one.
    pub columns: Option<Columns>,
    /// What happens to a row that exists already.
    pub exists: Exists,
    /// How long the server may work on a statement.
    pub timeout: Duration,
    /// How long connecting may take, with all hosts.
    pub connect_timeout: Duration,
    /// How the connection is encrypted.
    pub tls: Option<Box<tls::Settings>>,
}

impl Settings {
    /// The column with the record's key.
    #[must_use]
    pub fn key_column(&self) -> &str {
        self.columns.as_ref().map_or(KEY_FIELD, |columns| columns.key.as_str())
    }
}

/// What happens to a row that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum Exists {
    /// Its document is replaced, or the columns that are listed in `columns`.
    Replace,
    /// It stays as it is, and the message counts as a duplicate.
    CreateOnly,
    /// Fields that the message does not have stay as they are; in columns, also those that are null there.
    Update,
}

/// A name as the server has it, 1 to 63 bytes; it is quoted wherever it is used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier(String);

impl Identifier {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identifier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > LONGEST_NAME || text.contains(char::is_control) {
            return Err(format!(
                "`{text}` is not a name in PostgreSQL: 1 to {LONGEST_NAME} bytes are allowed"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `TABLE` or `SCHEMA.TABLE`, in the case in which the server has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Without one, the first schema of the user's search path that has such a table.
    pub(crate) schema: Option<Identifier>,
    pub(crate) table: Identifier,
}

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema.parse()?), table),
            None => (None, text),
        };
        if table.contains('.') {
            return Err(format!("`{text}` is not TABLE or SCHEMA.TABLE"));
        }
        Ok(Self { schema, table: table.parse()? })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        self.table.fmt(f)
    }
}

/// Which fields go to which columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The column with the record's key; it has to be unique.
    pub key: Identifier,
    /// Its type, where one is configured.
    pub key_type: Option<String>,
    /// The others, at least one.
    pub fields: Vec<Column>,
}

/// A column that a field goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Identifier,
    /// Its type, in the server's language.
    pub data_type: String,
    /// The field, by JSON pointer (RFC 6901).
    pub field: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server cuts a longer name and goes on with what is left, which may be another table's.
    #[test]
    fn names_that_the_server_would_cut_are_refused() {
        assert!("a".repeat(63).parse::<Identifier>().is_ok());
        for text in ["", &"a".repeat(64), "a\0b"] {
            text.parse::<Identifier>().expect_err(text);
        }
        for text in ["", ".", "a.", ".b", "a.b.c"] {
            text.parse::<TableName>().expect_err(text);
        }
        for text in ["events", "app.Events", "a b.\"c\""] {
            assert_eq!(text.parse::<TableName>().expect(text).to_string(), text);
        }
    }
}
