//! The PostgreSQL store on a real server: the meaning of each of its errors, the requirements on a table, and
//! the rows written.

mod hosts;
mod pooled;
mod program;
mod reading;
mod refused;
mod setup;
mod trouble;
mod written;

use x_msrv_core::{
    decode::BigIntegers,
    fault::Fault,
    record::{Key, Record},
    store::{Put, Store, StoreError},
};
use x_msrv_json::parse_object;
use x_msrv_postgres::{Column, Columns, PostgresStore, Settings};

use crate::support;

fn record(key: &str, document: &str) -> Record {
    let fields = parse_object(document.as_bytes(), BigIntegers::Reject).expect(document);
    Record {
        key: Key::Text(key.to_owned()),
        fields,
        size: document.len(),
        set: None,
        ttl: None,
        message: None,
    }
}

/// Columns by name and type; each stores the field of its name.
fn columns(key: &str, fields: &[(&str, &str)]) -> Columns {
    let column = |(name, data_type): &(&str, &str)| Column {
        name: name.parse().expect("a name"),
        data_type: (*data_type).to_owned(),
        field: format!("/{name}"),
    };
    Columns { key: key.parse().expect("a name"), key_type: None, fields: fields.iter().map(column).collect() }
}

async fn connect(settings: &Settings) -> Box<dyn Store> {
    Box::new(PostgresStore::connect(settings).await.unwrap_or_else(|error| panic!("{}", chain(&error))))
}

/// The error of a failed connection.
async fn refusal(settings: &Settings) -> StoreError {
    PostgresStore::connect(settings).await.err().expect("this cannot work")
}

fn chain(error: &StoreError) -> String {
    x_msrv_core::error_chain::text(error)
}

async fn put(store: &dyn Store, records: Vec<Record>) -> Vec<Result<Put, Fault>> {
    support::put(store, records).await
}
