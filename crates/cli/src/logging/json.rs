//! Log lines as JSON, for programs that collect the logs of containers:
//! `{"time":…,"level":…,"message":…,"fields":{…}}`.

use std::collections::BTreeMap;

use log::{
    Level, Record,
    kv::{Error, Key, Value, VisitSource},
};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: String,
    message: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, serde_json::Value>,
}

/// Returns a line without values.
pub(super) fn message(time: String, level: Level, text: &str) -> String {
    line(time, level, text, BTreeMap::new())
}

/// Returns a record as a line; its values keep their types.
pub(super) fn record(time: String, record: &Record) -> String {
    let mut fields = Fields(BTreeMap::new());
    let text = record.args().to_string();
    if record.key_values().visit(&mut fields).is_err() {
        return line(time, record.level(), &format!("{text} (some values cannot be shown)"), fields.0);
    }
    line(time, record.level(), &text, fields.0)
}

fn line(time: String, level: Level, message: &str, fields: BTreeMap<String, serde_json::Value>) -> String {
    let line = Line { time, level: level.as_str().to_ascii_lowercase(), message, fields };
    serde_json::to_string(&line).expect("text keys and finite numbers") + "\n"
}

struct Fields(BTreeMap<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.insert(key.as_str().replace('_', "-"), json(&value));
        Ok(())
    }
}

fn json(value: &Value) -> serde_json::Value {
    let number = || {
        value
            .to_u64()
            .map(Into::into)
            .or_else(|| value.to_i64().map(Into::into))
            .or_else(|| finite(value.to_f64()?))
    };
    value.to_bool().map(Into::into).or_else(number).unwrap_or_else(|| value.to_string().into())
}

fn finite(value: f64) -> Option<serde_json::Value> {
    serde_json::Number::from_f64(value).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a collector that splits text into words reads `detail="a b"` as two words and a number as
    /// text.
    #[test]
    fn a_line_is_one_object_and_all_values_keep_their_types() {
        let values = [
            ("stop_reason", Value::from("queue-empty")),
            ("detail", Value::from("a \"b\"\n{\"level\":\"forged\"}")),
            ("received", Value::from(3_u64)),
            ("delta", Value::from(-3_i64)),
            ("seconds", Value::from(1.5)),
            ("nothing", Value::from(f64::NAN)),
            ("whole", Value::from(true)),
        ];
        let logged = Record::builder()
            .args(format_args!("run finished"))
            .level(Level::Warn)
            .key_values(&values)
            .build();
        let line = record("2026-01-01T00:00:00.000Z".to_owned(), &logged);
        let expected = concat!(
            r#"{"time":"2026-01-01T00:00:00.000Z","level":"warn","message":"run finished","fields":{"delta":-3,"detail":"a \"b\"\n{\"level\":\"forged\"}","#,
            r#""nothing":"NaN","received":3,"seconds":1.5,"stop-reason":"queue-empty","whole":true}}"#,
            "\n"
        );
        assert_eq!(line, expected);
        assert_eq!(
            message("now".to_owned(), Level::Error, "a\nb"),
            "{\"time\":\"now\",\"level\":\"error\",\"message\":\"a\\nb\"}\n"
        );
    }
}
