//! Reading the table, a page of rows at a time.

use std::{ops::ControlFlow, time::Duration};

use tokio::time::timeout;
use tokio_postgres::{Row, types::Type};
use x_msrv_core::record::{Fields, Key};

use crate::{
    connect::Link,
    rows::{self, Source},
    table::Plan,
};

/// The number of rows in one answer, all of which memory holds at once.
const ROWS_AT_ONCE: usize = 100;

/// Shows at most `limit` rows in the order of their keys. Each page is a statement of its own, so that a reader who
/// takes his time holds up no statement, transaction or standby.
///
/// # Errors
/// What went wrong, for a person.
pub(crate) async fn read(
    link: &Link,
    plan: &Plan,
    bound: Duration,
    limit: usize,
    see: &mut dyn FnMut(Key, Fields) -> ControlFlow<()>,
) -> Result<(), String> {
    let is_document = matches!(plan.sources[..], [Source::Document]);
    let (mut left, mut after) = (limit, None::<String>);
    loop {
        let rows = page(link, plan, bound, after.as_deref(), left.min(ROWS_AT_ONCE)).await?;
        for row in &rows {
            let (key, fields) = cells(row).map_err(|error| link.fault(&error).1)?;
            let key = if is_document { rows::key_of(key) } else { Key::Text(key.to_owned()) };
            if see(key, fields.map(rows::fields_of).unwrap_or_default()).is_break() {
                return Ok(());
            }
        }
        left -= rows.len();
        match rows.last() {
            Some(last) if left > 0 && rows.len() == ROWS_AT_ONCE => {
                after = Some(last.get::<_, &str>(0).to_owned());
            }
            _ => return Ok(()),
        }
    }
}

/// The rows after a key.
async fn page(
    link: &Link,
    plan: &Plan,
    bound: Duration,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, String> {
    let limit = i64::try_from(limit).expect("a page is small");
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&after, Type::TEXT), (&limit, Type::INT8)];
    let rows = timeout(bound, link.client.query_typed(&plan.statements.read, &parameters)).await;
    let rows = rows.map_err(|_| "the server did not answer in time".to_owned())?;
    rows.map_err(|error| link.fault(&error).1)
}

/// A row's key, and its fields as JSON. A row that another program wrote may have none.
fn cells(row: &Row) -> Result<(&str, Option<&str>), tokio_postgres::Error> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}
