//! PostgreSQL in a configuration: the section `postgres`.

use std::time::Duration;

use x_msrv_core::{
    adapter::{Adapter, Common, Existing, KeySetting, Pointer, StoreFacts, StoreRole, section::StoreSection},
    record::{KEY_FIELD, Record},
    store::{Store, StoreError},
};
use x_msrv_net::{
    address::{HostPort, distinct},
    secret::Secret,
    tls,
};
use x_msrv_settings::{Kind, Reader, Settings as Keys, Table, TextOr, text_setting};

use crate::{
    PostgresStore, rows,
    settings::{Column, Columns, Exists, Identifier, Settings, TableName},
};

text_setting!(Identifier, Kind::Text);
text_setting!(TableName, Kind::Text);

/// PostgreSQL as store.
pub static ADAPTER: Adapter = Adapter {
    name: "PostgreSQL",
    feature: "postgres",
    summary: "A table of a PostgreSQL database: the message as `jsonb`, or its fields in columns.",
    source: None,
    store: Some(StoreRole::of::<StoreKeys>()),
    letters: None,
};

/// The section of a store in PostgreSQL.
///
/// A record is a row with the key in the column `gid` and the message as `jsonb` in the column `document`; with
/// `columns`, fields go to columns of their own. The table must exist:
/// `CREATE TABLE orders (gid text PRIMARY KEY, document jsonb NOT NULL);`. `x-msrv check --connect` shows the
/// statement for the configured table, and what is wrong with an existing one.
///
/// The table may have its own indexes, constraints and triggers. A message that they refuse becomes a dead letter
/// (`refused`), and so does one with U+0000 in a text, which PostgreSQL cannot store. In `gid`, a key that is text
/// and looks like an integer is in double quotes: 7 and "7" are two records.
///
/// The connection may go through pgbouncer: `pool_mode` must be transaction or session, and
/// `ignore_startup_parameters` must contain `options`. The time limits in the server are then those of the user:
/// `ALTER ROLE "x-msrv" SET statement_timeout = '2s'`.
#[derive(Debug, Clone, Keys)]
#[setting(section = "postgres")]
struct StoreKeys {
    /// Servers as `HOST:PORT`; the first one that answers and takes writes is used. `x-msrv records` uses the first one
    /// that answers, which may be a hot standby.
    #[setting(
        min = 1,
        example = "[\"db:5432\"]",
        flag = "postgres",
        ask = "PostgreSQL, as HOST:PORT; several with commas between them",
        suggest = "localhost:5432"
    )]
    hosts: Vec<HostPort>,
    /// The database; it must exist.
    #[setting(example = "app", flag = "database", ask = "database; it must exist", suggest = "postgres")]
    database: String,
    /// The user to log in as. It needs the privileges SELECT, INSERT and UPDATE on the table, without UPDATE if
    /// `exists` is `create-only`.
    #[setting(
        example = "x-msrv",
        flag = "user",
        ask = "user of the database; a password is set in the file afterwards",
        suggest = "x-msrv"
    )]
    user: String,
    /// The user's password; a secret. Without `tls` an attacker on the network path can ask for it in plain text.
    #[setting(example = "{file: postgres.secret}")]
    password: Option<Secret>,
    /// The table as `TABLE` or `SCHEMA.TABLE`, in upper and lower case as the database has it. It must exist;
    /// `x-msrv check --connect` shows the statement that creates it.
    #[setting(example = "orders", flag = "set", ask = "table in PostgreSQL (it must exist)", subject)]
    table: TableName,
    /// What a record's key is made of.
    #[setting(default = "message", example = "{field: /id}")]
    key: KeySetting,
    /// What happens to an existing row.
    #[setting(default = "replace")]
    exists: Exists,
    /// Columns of an existing table, each with its type: `NAME: TYPE` takes the field of the same name, and
    /// `NAME: {type: TYPE, field: /json/pointer}` any other. A field that is missing or null is NULL.
    ///
    /// The types are PostgreSQL's, and PostgreSQL converts the values: `bigint`, `numeric`, `timestamptz`, `uuid`,
    /// `text[]`, `jsonb` and so on. A message with a value that cannot be converted becomes a dead letter (`refused`).
    /// Columns that are not listed keep their defaults.
    #[setting(example = "{name: text, amount: {type: numeric, field: /order/amount}}")]
    columns: Option<Table<TextOr<String, ColumnKeys>>>,
    /// With `columns`: the column with the record's key. It must be the primary key or unique by itself. If it is
    /// listed in `columns`, it has that type; it always contains the key.
    #[setting(words = "`gid`", example = "id")]
    key_column: Option<Identifier>,
    /// Time limit for a statement in the server, and half of that for a lock (`statement_timeout`,
    /// `lock_timeout`, `idle_in_transaction_session_timeout`).
    #[setting(default = "2s")]
    timeout: Duration,
    /// Whether the connection is encrypted: `true`, `false` or a section. If it is, the server's certificate is
    /// verified, and a server without TLS is refused.
    #[setting(default = "false", example = "{ca-file: ca.pem}")]
    tls: tls::Section,
}

/// The keys of a column in `postgres.columns`.
#[derive(Debug, Clone, PartialEq, Keys)]
struct ColumnKeys {
    /// The column's type in PostgreSQL.
    #[setting(name = "type", example = "numeric")]
    data_type: String,
    /// A JSON pointer to the field, after `fields` has been applied.
    #[setting(words = "the field with the column's name", example = "/order/amount")]
    field: Option<Pointer>,
}

impl StoreSection for StoreKeys {
    const FACTS: StoreFacts = StoreFacts {
        word: "postgres",
        idempotence: "writes the same row",
        limits: "no U+0000 in text, keys of about 2,700 bytes",
        tls: "yes",
        login: "user and password, client certificate",
    };

    type Settings = Settings;

    fn settings(&mut self, reader: &mut Reader<'_>, common: &Common) -> Option<Settings> {
        self.hosts = distinct(std::mem::take(&mut self.hosts));
        let columns = match &self.columns {
            Some(table) => Some(columns(table, self.key_column.as_ref(), reader)?),
            None if self.key_column.is_some() => {
                reader.fault_at("key-column", "cannot be used without `columns`");
                return None;
            }
            None => None,
        };
        Some(Settings {
            hosts: self.hosts.clone(),
            database: self.database.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            table: self.table.clone(),
            columns,
            exists: self.exists,
            timeout: self.timeout,
            connect_timeout: common.connect_timeout,
            tls: self.tls.settings(),
        })
    }

    fn key(&self) -> &KeySetting {
        &self.key
    }

    async fn connect(settings: &Settings) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(PostgresStore::connect(settings).await?))
    }

    async fn existing(settings: &Settings) -> Result<Existing, StoreError> {
        let missing = || format!("table {} in the database {}", settings.table, settings.database);
        let found = PostgresStore::connect_to_existing(settings).await?;
        Ok(found.map(|store| Box::new(store) as Box<dyn Store>).ok_or_else(missing))
    }

    async fn probe(settings: &Settings) -> Result<String, StoreError> {
        let store = PostgresStore::connect(settings).await?;
        let proven = format!("{} accepts the statement that stores records; it was planned", store.place());
        Box::new(store).close().await?;
        Ok(proven)
    }

    fn check_record(settings: &Settings, record: &Record) -> Result<(), String> {
        rows::check(settings, record)
    }
}

fn columns(
    Table(entries): &Table<TextOr<String, ColumnKeys>>,
    key: Option<&Identifier>,
    reader: &mut Reader<'_>,
) -> Option<Columns> {
    let key = key.cloned().unwrap_or_else(|| KEY_FIELD.parse().expect("a name"));
    let (mut key_type, mut fields, mut is_right) = (None, Vec::new(), true);
    for (name, column) in entries {
        let place = format!("columns.{name}");
        let Ok(identifier) = name.parse::<Identifier>().map_err(|fault| reader.fault_at(&place, fault))
        else {
            is_right = false;
            continue;
        };
        let (data_type, field) = match column {
            TextOr::Text(data_type) => (data_type, None),
            TextOr::Section(ColumnKeys { data_type, field }) => (data_type, field.as_ref()),
        };
        if identifier != key {
            let own = || format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let field = field.map_or_else(own, |Pointer(field)| field.clone());
            fields.push(Column { name: identifier, data_type: data_type.clone(), field });
        } else if field.is_none() {
            key_type = Some(data_type.clone());
        } else {
            reader.fault_at(&place, "is the column with the record's key, and takes no field");
            is_right = false;
        }
    }
    if fields.is_empty() && is_right {
        reader.fault_at("columns", "at least one column beside the one with the record's key is required");
    }
    (is_right && !fields.is_empty()).then_some(Columns { key, key_type, fields })
}
