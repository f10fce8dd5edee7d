//! `x-msrv try`

use std::{
    io::{self, Write as _},
    num::{NonZeroI64, NonZeroU32},
    time::SystemTime,
};

use bytes::Bytes;
use serde::Serialize;

use super::{
    CommandError, records, say,
    send::{LONGEST_LINE, file_error, next_line, open},
    written,
};
use crate::{cli::TryArgs, config::Settings, timer::Now};
use x_msrv_core::{
    decode::{KeyRule, Rejection, Routed},
    message::Message,
    record::{Key, Record, Value},
    store::StoredRecord,
};

/// The outcome of one line.
#[derive(Serialize)]
struct Tried {
    line: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Stored {
        key: Value,
        /// If a field of the message sets it.
        #[serde(skip_serializing_if = "Option::is_none")]
        set: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<NonZeroU32>,
        record: Value,
    },
    Rejected {
        reason: &'static str,
        detail: String,
    },
}

/// Returns the message that `body` would be in this queue if it were published now. Values that only the
/// queue knows are names in angle brackets.
fn sample(settings: &Settings, body: Bytes, now: SystemTime) -> Message {
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let published = i64::try_from(nanos).ok().and_then(NonZeroI64::new);
    Message { published, ..Message::new(settings.source.sample_origin(), "<id>", body) }
}

/// Shows the outcome of each line, without connecting to the queue or the store, and without dead letters.
pub(super) fn try_out(settings: &Settings, arguments: &TryArgs) -> Result<(), CommandError> {
    let decoder = settings.decoder()?;
    let mut lines = open(arguments.input.file())?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    let (mut number, mut total, mut rejected) = (0, 0_u64, 0_u64);
    while let Some(body) = next_line(&mut lines, LONGEST_LINE, &mut number)
        .map_err(|cause| file_error(arguments.input.file(), "read", cause))?
    {
        let message = sample(settings, body, Now::take().realtime);
        let record = decoder.decode(&message).and_then(|Routed { record, .. }| {
            match settings.store.check_record(&record) {
                Ok(()) => Ok(record),
                Err(fault) => Err(Rejection::Refused(fault)),
            }
        });
        let record = record.map(|record| {
            if decoder.key == KeyRule::Message {
                Record { key: placeholder(&message), ..record }
            } else {
                record
            }
        });
        total += 1;
        rejected += u64::from(record.is_err());
        let shown = if arguments.json { json(number, record) } else { text(number, record) };
        written(
            writeln!(output, "{shown}")
                .and_then(|()| if lines.buffer().is_empty() { output.flush() } else { Ok(()) }),
        )?;
    }
    written(output.flush())?;
    if rejected > 0 {
        return Err(CommandError::Rejected { rejected, total });
    }
    say(&format!("lines tried: {total}{}", if total > 0 { ", all of them would be stored" } else { "" }));
    Ok(())
}

/// Returns a key with names for the values that only the queue knows.
fn placeholder(message: &Message) -> Key {
    let time = if message.published.is_some() { "/<time>" } else { "" };
    Key::Text(format!("{}/{}{time}", message.origin, message.id))
}

fn text(line: u64, record: Result<Record, Rejection>) -> String {
    match record {
        Ok(Record { key, fields, set, ttl, .. }) => {
            let set = set.map(|set| format!(", set {set}")).unwrap_or_default();
            let ttl = ttl.map(|ttl| format!(", TTL {ttl} s")).unwrap_or_default();
            format!("line {line}{set}{ttl}: {}", records::line(StoredRecord { key: Some(key), fields }))
        }
        Err(rejection) => format!("line {line}: {}: {rejection}", rejection.reason()),
    }
}

fn json(line: u64, record: Result<Record, Rejection>) -> String {
    let outcome = match record {
        Ok(Record { key, fields, set, ttl, .. }) => Outcome::Stored {
            key: key.into(),
            set: set.map(|set| set.to_string()),
            ttl,
            record: Value::Map(fields),
        },
        Err(rejection) => Outcome::Rejected { reason: rejection.reason(), detail: rejection.to_string() },
    };
    serde_json::to_string(&Tried { line, outcome }).expect("a record has text keys and finite numbers")
}
