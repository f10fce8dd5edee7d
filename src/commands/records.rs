//! `x-msrv records`

use std::io::{self, Write as _};

use serde_json::{Map, Value};

use super::CommandError;
use crate::{
    cli::RecordsArgs,
    config::Settings,
    record::{KEY_FIELD, Value as Field},
    store::StoredRecord,
    wiring,
};

pub(super) async fn records(settings: &Settings, arguments: &RecordsArgs) -> Result<(), CommandError> {
    let store = wiring::store(&settings.store).await?;
    let records = store.scan(arguments.limit).await?;
    store.close().await;
    let mut output = io::BufWriter::new(io::stdout().lock());
    let written = records.into_iter().try_for_each(|record| writeln!(output, "{}", line(record))).and_then(|()| output.flush());
    match written {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CommandError::output),
    }
}

fn line(StoredRecord { key, fields }: StoredRecord) -> Value {
    let key = key.map(|key| (KEY_FIELD.to_owned(), serde_json::json!(Field::from(&key))));
    let fields = fields.into_iter().map(|(name, value)| (name, serde_json::json!(value)));
    Value::Object(key.into_iter().chain(fields).collect::<Map<_, _>>())
}
