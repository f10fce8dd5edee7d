//! PostgreSQL in a configuration: the section `postgres`.

use std::{sync::Arc, time::Duration};

use x_msrv_core::{
    BoxFuture,
    adapter::{Adapter, Common, ConfiguredStore, Existing, KeySetting, Pointer, StoreRole},
    decode::KeyRule,
    record::{KEY_FIELD, Record},
    store::{Store, StoreError},
};
use x_msrv_net::{
    address::{HostPort, distinct},
    secret::Secret,
    tls,
};
use x_msrv_settings::{
    Key, Kind, Reader, Section as _, Setting as _, Settings as Keys, Table, TextOr, Told, Value, text_setting,
};

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
    store: Some(StoreRole {
        section: Key::section(
            "postgres",
            "The section of a store in PostgreSQL.\n\n\
            A record is a row with the key in the column `gid` and the message as `jsonb` in the column `document`; with \
            `columns`, fields go to columns of their own. The table must exist: \
            `CREATE TABLE orders (gid text PRIMARY KEY, document jsonb NOT NULL);`. `x-msrv check --connect` shows the \
            statement for the configured table, and what is wrong with an existing one.\n\n\
            The table may have its own indexes, constraints and triggers. A message that they refuse becomes a dead letter \
            (`refused`), and so does one with U+0000 in a text, which PostgreSQL cannot store. In `gid`, a key that is text and \
            looks like an integer is in double quotes: 7 and \"7\" are two records.",
            StoreKeys::KEYS,
        ),
        word: "postgres",
        idempotence: "writes the same row",
        limits: "no U+0000 in text, keys of about 2,700 bytes",
        tls: "yes",
        login: "user and password, client certificate",
        read: read_store,
    }),
    letters: None,
};

/// The keys of `postgres`.
#[derive(Debug, Clone, Keys)]
struct StoreKeys {
    /// Servers as `HOST:PORT`; the first one that answers and takes writes is used.
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
    #[setting(example = "x-msrv", flag = "user", ask = "user of the database", suggest = "x-msrv")]
    user: String,
    /// The user's password; a secret. Without `tls` an attacker on the network path can ask for it in plain text.
    #[setting(example = "{credential: postgres}")]
    password: Option<Secret>,
    /// The table as `TABLE` or `SCHEMA.TABLE`, in upper and lower case as the database has it.
    #[setting(example = "orders", flag = "set", ask = "set, or table", subject)]
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

/// A table of a database.
#[derive(Debug)]
struct Database {
    keys: StoreKeys,
    settings: Settings,
}

fn read_store(found: &Value, reader: &mut Reader<'_>, common: &Common) -> Option<Arc<dyn ConfiguredStore>> {
    let mut keys = StoreKeys::read(found, reader)?;
    keys.hosts = distinct(keys.hosts);
    let columns = match &keys.columns {
        Some(table) => Some(columns(table, keys.key_column.as_ref(), reader)?),
        None if keys.key_column.is_some() => {
            reader.fault_at("key-column", "cannot be used without `columns`");
            return None;
        }
        None => None,
    };
    let settings = Settings {
        hosts: keys.hosts.clone(),
        database: keys.database.clone(),
        user: keys.user.clone(),
        password: keys.password.clone(),
        table: keys.table.clone(),
        columns,
        exists: keys.exists,
        timeout: keys.timeout,
        connect_timeout: common.connect_timeout,
        tls: keys.tls.settings(),
    };
    Some(Arc::new(Database { keys, settings }))
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

impl ConfiguredStore for Database {
    fn tell(&self, told: &mut Told) {
        self.keys.tell("postgres", told);
    }

    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Store>, StoreError>> {
        Box::pin(async { Ok(Box::new(PostgresStore::connect(&self.settings).await?) as Box<dyn Store>) })
    }

    fn existing(&self) -> BoxFuture<'_, Result<Existing, StoreError>> {
        Box::pin(async {
            let found = PostgresStore::connect_to_existing(&self.settings).await?;
            let Settings { table, database, .. } = &self.settings;
            let missing = || format!("table {table} in the database {database}");
            Ok(found.map(|store| Box::new(store) as Box<dyn Store>).ok_or_else(missing))
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(PostgresStore::probe(&self.settings))
    }

    fn key(&self) -> KeyRule {
        self.keys.key.rule()
    }

    fn check_record(&self, record: &Record) -> Result<(), String> {
        rows::check(&self.settings, record)
    }
}
