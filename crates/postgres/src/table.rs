//! What the table is like: its columns, their types, and whether our statements can be run on it.

use futures_util::future::join3;
use tokio_postgres::{Client, Error, types::Type};
use x_msrv_core::{record::KEY_FIELD, store::StoreError};

use crate::{
    codes::Verdict,
    connect::Link,
    rows::{self, Row, Source},
    settings::Settings,
    sql::{self, DOCUMENT, Statements, Target},
};

/// How records are written to this table.
pub(crate) struct Plan {
    pub(crate) statements: Statements,
    pub(crate) sources: Vec<Source>,
    /// The column with the key, and those that the sources fill.
    pub(crate) targets: Vec<Target>,
}

impl Plan {
    /// Returns the quoted names of the columns for which a row has this value. The server's error names the type
    /// of the column at fault in most cases, but never the column itself.
    pub(crate) fn columns_with(&self, value: &str, row: &Row, fault: &str) -> Vec<String> {
        let values = std::iter::once(Some(row.key.as_str())).chain(row.values.iter().map(Option::as_deref));
        let with_value = self.targets.iter().zip(values).filter(|(_, found)| *found == Some(value));
        let (of_type, others): (Vec<_>, Vec<_>) = with_value
            .map(|(column, _)| column)
            .partition(|column| fault.contains(&format!("type {}", column.data_type)));
        let found = if of_type.is_empty() { others } else { of_type };
        found.into_iter().map(|column| sql::quoted(&column.name)).collect()
    }
}

/// A column as the server describes it.
struct Found {
    name: String,
    /// Without its length, and for a domain the type below it.
    data_type: String,
    /// Whether a row without it is refused.
    is_required: bool,
    /// Whether it alone is the key of a unique index that `ON CONFLICT` can use.
    is_unique: bool,
    /// Whether it has the configured type, where there is one.
    has_type: Option<bool>,
}

/// Why a table can't be used.
pub(crate) enum Misfit {
    /// There is none of that name.
    Missing,
    /// What is wrong with it, for a person.
    Shape(String),
    /// The server did not say.
    Server(Error),
}

impl From<Error> for Misfit {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl Misfit {
    /// For a person, with what would help.
    pub(crate) fn into_error(self, link: &Link, settings: &Settings) -> StoreError {
        let place = link.place.clone();
        let fault = match self {
            Self::Missing => format!(
                "there is no table {} in the database {}; this makes one: {}",
                sql::table(&settings.table),
                settings.database,
                sql::create_table(settings)
            ),
            Self::Shape(fault) => fault,
            Self::Server(error) => match link.fault(&error) {
                (Verdict::Setup, fault) => fault,
                (_, fault) => return StoreError::Unreachable { place, cause: fault.into() },
            },
        };
        StoreError::Setup { place, fault }
    }
}

/// The columns of `$1`, which is a table's name in quotes. `$2` are names, and `$3` the types that they are to
/// have. A deferrable, partial or invalid index, or one over an expression, is of no use to `ON CONFLICT`.
const COLUMNS: &str = "\
    SELECT a.attname::text, format_type(b.base, -1), \
        a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '', \
        EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique \
            AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
            AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum), \
        (SELECT to_regtype(w.t) IN (a.atttypid, b.base) FROM unnest($2::text[], $3::text[]) AS w(n, t) \
            WHERE w.n = a.attname LIMIT 1) \
    FROM pg_catalog.pg_attribute a, LATERAL (WITH RECURSIVE d(t) AS (SELECT a.atttypid UNION ALL \
        SELECT y.typbasetype FROM d JOIN pg_catalog.pg_type y ON y.oid = d.t WHERE y.typtype = 'd') \
        SELECT d.t FROM d JOIN pg_catalog.pg_type y ON y.oid = d.t WHERE y.typtype <> 'd') AS b(base) \
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

/// Looks at the table.
pub(crate) async fn plan(client: &Client, settings: &Settings) -> Result<Plan, Misfit> {
    let found = columns(client, settings).await?;
    if found.is_empty() {
        return Err(Misfit::Missing);
    }
    let target = |name: &str| {
        let column = found.iter().find(|column| column.name == name);
        let column = column.ok_or_else(|| Misfit::Shape(missing_column(settings, name, &found)))?;
        Ok::<_, Misfit>(Target { name: name.to_owned(), data_type: column.data_type.clone() })
    };
    let key = target(settings.key_column())?;
    let others: Vec<Target> = match &settings.columns {
        None => vec![target(DOCUMENT)?],
        Some(columns) => {
            columns.fields.iter().map(|column| target(column.name.as_str())).collect::<Result<_, _>>()?
        }
    };
    check_types(settings, &found)?;
    if !found.iter().any(|column| column.name == key.name && column.is_unique) {
        return Err(Misfit::Shape(not_unique(client, settings, &key).await?));
    }
    check_filled(settings, &found, &key, &others)?;
    Ok(Plan {
        statements: Statements::new(settings, &key, &others),
        sources: rows::sources(settings.columns.as_ref()),
        targets: std::iter::once(key).chain(others).collect(),
    })
}

/// Whether `$1` is a table, and whether it is partitioned by anything but the column `$2`.
const KIND: &str = "\
    SELECT c.relkind IN ('r', 'p'), EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p \
        WHERE p.partrelid = c.oid AND NOT (p.partnatts = 1 AND p.partattrs[0] = a.attnum)) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
    WHERE c.oid = to_regclass($1) AND a.attname = $2";

/// What is wrong with a key that is not unique, and what helps.
async fn not_unique(client: &Client, settings: &Settings, key: &Target) -> Result<String, Error> {
    let (table, name) = (sql::table(&settings.table), sql::quoted(&key.name));
    let kind = client.query_typed(KIND, &[(&table, Type::TEXT), (&key.name, Type::TEXT)]).await?;
    let (is_table, is_divided) = match kind.first() {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (true, false), // dropped just now
    };
    let help = match (is_table, is_divided) {
        (false, _) => "it is not a table; configure the table that it is based on".to_owned(),
        (true, true) => {
            "it is partitioned, so the key must be the only column of the partition key".to_owned()
        }
        (true, false) => format!("this makes it so: CREATE UNIQUE INDEX ON {table} ({name});"),
    };
    Ok(format!(
        "the column {name} of {table} is not unique by itself, so no record can be found again; {help}"
    ))
}

/// Lets the server plan the statement, which checks privileges as well. This happens in a transaction, because a
/// batch with a row at fault needs one, and a pool may allow none.
pub(crate) async fn explain(client: &Client, plan: &Plan) -> Result<(), Error> {
    let nothing: &[&str] = &[];
    let parameters: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> =
        (0..=plan.sources.len()).map(|_| (&nothing as _, Type::TEXT_ARRAY)).collect();
    let explain = format!("EXPLAIN {}", plan.statements.write);
    let (begun, planned, ended) = join3(
        client.batch_execute("BEGIN"),
        client.execute_typed(&explain, &parameters),
        client.batch_execute("ROLLBACK"),
    )
    .await;
    begun.and(planned).and(ended)
}

async fn columns(client: &Client, settings: &Settings) -> Result<Vec<Found>, Error> {
    let columns = settings.columns.as_ref();
    let configured = columns.into_iter().flat_map(|columns| {
        let key = columns.key_type.as_deref().map(|data_type| (columns.key.as_str(), data_type));
        let fields = columns.fields.iter().map(|column| (column.name.as_str(), column.data_type.as_str()));
        key.into_iter().chain(fields)
    });
    let (names, types): (Vec<&str>, Vec<&str>) = configured.unzip();
    let table = sql::table(&settings.table);
    let rows = client
        .query_typed(COLUMNS, &[(&table, Type::TEXT), (&names, Type::TEXT_ARRAY), (&types, Type::TEXT_ARRAY)])
        .await?;
    let column = |row: &tokio_postgres::Row| {
        Ok(Found {
            name: row.try_get(0)?,
            data_type: row.try_get(1)?,
            is_required: row.try_get(2)?,
            is_unique: row.try_get(3)?,
            has_type: row.try_get(4)?,
        })
    };
    rows.iter().map(column).collect()
}

fn missing_column(settings: &Settings, name: &str, found: &[Found]) -> String {
    let table = sql::table(&settings.table);
    let others: Vec<_> = found.iter().map(|column| column.name.as_str()).collect();
    let hint = if settings.columns.is_none() {
        "; `postgres.columns` names the columns of a table of another shape"
    } else {
        ""
    };
    format!("{table} has no column {}, only {}{hint}", sql::quoted(name), others.join(", "))
}

/// A type that is not the configured one would refuse each record, or store something else than is meant.
fn check_types(settings: &Settings, found: &[Found]) -> Result<(), Misfit> {
    let table = sql::table(&settings.table);
    let wrong = |name: &str, is: &str, wanted: &str| {
        let name = sql::quoted(name);
        Err(Misfit::Shape(format!("the column {name} of {table} is {is}; {wanted}")))
    };
    let Some(columns) = &settings.columns else {
        let is = |name: &str, types: &[&str]| {
            found.iter().find(|column| column.name == name && !types.contains(&column.data_type.as_str()))
        };
        if let Some(column) = is(KEY_FIELD, &["text", "character varying"]) {
            return wrong(KEY_FIELD, &column.data_type, "text is required");
        }
        return match is(DOCUMENT, &["jsonb"]) {
            Some(column) => wrong(DOCUMENT, &column.data_type, "jsonb is required"),
            None => Ok(()),
        };
    };
    let configured = columns.fields.iter().map(|column| (column.name.as_str(), column.data_type.as_str()));
    let key = columns.key_type.as_deref().map(|data_type| (columns.key.as_str(), data_type));
    for (name, data_type) in key.into_iter().chain(configured) {
        if let Some(column) = found.iter().find(|column| column.name == name && column.has_type != Some(true))
        {
            return wrong(name, &column.data_type, &format!("the configuration says {data_type}"));
        }
    }
    Ok(())
}

/// A column that has to be filled, and is not, refuses each record.
fn check_filled(settings: &Settings, found: &[Found], key: &Target, others: &[Target]) -> Result<(), Misfit> {
    let is_filled = |name: &str| key.name == name || others.iter().any(|column| column.name == name);
    match found.iter().find(|column| column.is_required && !is_filled(&column.name)) {
        None => Ok(()),
        Some(column) => Err(Misfit::Shape(format!(
            "the column {} of {} is NOT NULL and has no default, so it takes no record{}",
            sql::quoted(&column.name),
            sql::table(&settings.table),
            if settings.columns.is_some() { "; `postgres.columns` can fill it" } else { "" }
        ))),
    }
}
