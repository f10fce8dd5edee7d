//! Reading the table, a row at a time.

use std::{ops::ControlFlow, pin::pin};

use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, Error, types::Type};
use x_msrv_core::record::{Fields, Key};

use crate::{
    rows::{self, Source},
    table::Plan,
};

/// Shows at most `limit` rows. Where not all of them are wanted in the end, the rest still comes.
pub(crate) async fn read(
    client: &Client,
    plan: &Plan,
    limit: usize,
    see: &mut dyn FnMut(Key, Fields) -> ControlFlow<()>,
) -> Result<(), Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = client.query_typed_raw(&plan.statements.read, [(limit, Type::INT8)]).await?;
    let mut found = pin!(found);
    let is_document = matches!(plan.sources[..], [Source::Document]);
    while let Some(row) = found.try_next().await? {
        let (key, fields): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let key = if is_document { rows::key_of(key) } else { Key::Text(key.to_owned()) };
        if see(key, rows::fields_of(fields)).is_break() {
            break;
        }
    }
    Ok(())
}
