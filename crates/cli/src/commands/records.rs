//! `x-msrv records`

use std::{
    io::{self, Write as _},
    ops::ControlFlow,
};

use super::{CommandError, close, say, written};
use crate::{cli::RecordsArgs, config::Settings};
use x_msrv_core::{
    record::{KEY_FIELD, Value},
    store::StoredRecord,
};

pub(super) async fn records(settings: &Settings, arguments: &RecordsArgs) -> Result<(), CommandError> {
    let store = match settings.store.existing().await? {
        Ok(store) => store,
        Err(missing) => {
            say(&format!("nothing is stored: there is no {missing}"));
            return Ok(());
        }
    };
    let mut output = io::BufWriter::new(io::stdout().lock());
    let (mut count, mut shown) = (0_u64, Ok(()));
    // Each record is written as it arrives: there may be more than fit in memory, or than the reader wants.
    let mut see = |record| {
        count += 1;
        shown = writeln!(output, "{}", line(record));
        if shown.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let Some(reader) = store.reader() else { return Err(CommandError::NotReadable) };
    let scanned = reader.scan(arguments.limit.get(), &mut see).await;
    close(store).await;
    written(shown.and_then(|()| output.flush()))?;
    scanned?;
    if count == 0 {
        say("the store answers, but contains no records");
    }
    Ok(())
}

/// Returns the key, then the fields in the order of the store. A document may contain its key under the same
/// name.
pub(super) fn line(StoredRecord { key, fields }: StoredRecord) -> String {
    let key = key.map(|key| (KEY_FIELD.to_owned(), Value::from(&key)));
    let fields = fields.into_iter().filter(|(name, _)| name != KEY_FIELD);
    let document = Value::Map(key.into_iter().chain(fields).collect());
    serde_json::to_string(&document).expect("a record has text keys and finite numbers")
}
