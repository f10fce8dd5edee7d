//! Records as the texts that the server makes values of, and what no row can hold. Pure.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use serde_json::ser::{CharEscape, CompactFormatter, Formatter};
use x_msrv_core::{
    decode::{BigIntegers, find},
    record::{Fields, Key, Record, Value},
};
use x_msrv_json::parse_object;

use crate::settings::{Columns, Settings};

/// What no text in PostgreSQL can hold.
const NUL: &str = "it holds U+0000, which PostgreSQL does not store";

/// What a column is filled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// All fields, as one JSON object.
    Document,
    /// The field at this JSON pointer.
    Field(String, Kind),
}

/// How a value is written as text for a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Array,
    Other,
}

impl Kind {
    /// By the type's name.
    pub(crate) fn of(data_type: &str) -> Self {
        match data_type {
            "json" | "jsonb" => Self::Json,
            array if array.ends_with("[]") => Self::Array,
            _ => Self::Other,
        }
    }
}

/// A row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The record's place in the batch.
    pub(crate) index: usize,
    pub(crate) key: String,
    /// One for each column behind the key's.
    pub(crate) values: Vec<Option<String>>,
}

impl Row {
    /// The row of a record, or why there can be none.
    pub(crate) fn of(index: usize, record: &Record, sources: &[Source]) -> Result<Self, String> {
        let key = match sources {
            [Source::Document] => key_text(&record.key),
            _ => record.key.to_string(),
        };
        if key.contains('\0') {
            return Err(format!("the key cannot be stored: {NUL}"));
        }
        let value = |source: &Source| match source {
            Source::Document => json(&Document(&record.fields)).map(Some),
            Source::Field(pointer, kind) => {
                let text = find(&record.fields, pointer).map_or(Ok(None), |value| text(value, *kind));
                text.map_err(|fault| format!("the field {pointer} cannot be stored: {fault}"))
            }
        };
        Ok(Self { index, key, values: sources.iter().map(value).collect::<Result<_, _>>()? })
    }
}

/// Whether the store can hold a record, as far as that is known without asking it.
///
/// # Errors
/// Why it can't, for a person.
pub(crate) fn check(settings: &Settings, record: &Record) -> Result<(), String> {
    Row::of(0, record, &sources(settings.columns.as_ref())).map(drop)
}

/// What columns are filled from, by their configured types.
pub(crate) fn sources(columns: Option<&Columns>) -> Vec<Source> {
    let Some(columns) = columns else { return vec![Source::Document] };
    let fields = columns.fields.iter();
    fields.map(|column| Source::Field(column.field.clone(), Kind::of(&column.data_type))).collect()
}

/// A key as `gid` has it. Text that would be read as a number, or begins with a quote, is in quotes as in JSON:
/// 7 and "7" are two records.
fn key_text(key: &Key) -> String {
    match key {
        Key::Text(text) if text.starts_with('"') || is_integer(text) => {
            serde_json::to_string(text).expect("text is JSON")
        }
        key => key.to_string(),
    }
}

/// The key that `gid` shows.
pub(crate) fn key_of(text: &str) -> Key {
    if is_integer(text)
        && let Ok(number) = text.parse()
    {
        return Key::Int(number);
    }
    Key::Text(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()))
}

/// Whether text is an integer as we write it.
fn is_integer(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// The fields of a row that was read as JSON.
pub(crate) fn fields_of(json: &str) -> Fields {
    parse_object(json.as_bytes(), BigIntegers::Text)
        .unwrap_or_else(|fault| vec![("unreadable".into(), Value::Text(fault.to_string()))])
}

/// A value as text that the server casts; `None` is NULL.
fn text(value: &Value, kind: Kind) -> Result<Option<String>, String> {
    let text = match (value, kind) {
        (Value::Null, _) => return Ok(None),
        (value, Kind::Json) => json(value)?,
        (Value::List(values), Kind::Array) => array(values)?,
        (Value::Bool(value), _) => value.to_string(),
        (Value::Int(value), _) => value.to_string(),
        (Value::UInt(value), _) => value.to_string(),
        (Value::Timestamp(value), _) => value.to_string(),
        // As `bytea` reads it (PostgreSQL's documentation, 8.4.1).
        (Value::Bytes(value), _) => {
            value.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
        }
        // Without a fraction that is zero: a column of integers takes it.
        (Value::Float(value), _) => value.to_string(),
        (Value::Text(value), _) => value.clone(),
        (Value::List(_) | Value::Map(_), _) => json(value)?,
    };
    if text.contains('\0') { Err(NUL.to_owned()) } else { Ok(Some(text)) }
}

/// A list as the literal of an array.
fn array(values: &[Value]) -> Result<String, String> {
    let mut literal = "{".to_owned();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            literal.push(',');
        }
        match (value, text(value, Kind::Array)?) {
            (Value::List(_), Some(inner)) => literal.push_str(&inner),
            (_, Some(element)) => {
                let escaped = element.replace('\\', "\\\\").replace('"', "\\\"");
                write!(literal, "\"{escaped}\"").expect("text takes text");
            }
            (_, None) => literal.push_str("NULL"),
        }
    }
    literal.push('}');
    Ok(literal)
}

/// JSON as `jsonb` takes it.
fn json(value: &impl serde::Serialize) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Jsonb);
    value.serialize(&mut serializer).map_err(|_| NUL.to_owned())?;
    Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
}

/// Writes JSON of which `jsonb` loses nothing.
struct Jsonb;

impl Formatter for Jsonb {
    /// `jsonb` keeps numbers as decimals, without exponents: a large one keeps its fraction only where it is
    /// written with all of its digits.
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value.abs() >= 1e16 {
            write!(writer, "{value}.0")
        } else {
            CompactFormatter.write_f64(writer, value)
        }
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::AsciiControl(0) => Err(io::ErrorKind::InvalidData.into()),
            other => CompactFormatter.write_char_escape(writer, other),
        }
    }
}

struct Document<'a>(&'a Fields);

impl serde::Serialize for Document<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Key, document: &str) -> Record {
        let fields = parse_object(document.as_bytes(), BigIntegers::Text).expect(document);
        Record { key, fields, size: document.len(), set: None, ttl: None, message: None }
    }

    /// `gid` is text, and a record whose key is 7 would write over the one whose key is "7".
    #[test]
    fn keys_that_only_look_alike_are_two_texts_and_come_back_as_they_were() {
        let text = |text: &str| Key::Text(text.to_owned());
        let table = [
            (Key::Int(7), "7"),
            (Key::Int(-7), "-7"),
            (text("7"), "\"7\""),
            (text("07"), "07"),
            (text("a"), "a"),
            (text("\"7\""), r#""\"7\"""#),
            (text("\"a"), r#""\"a""#),
            (text("null"), "null"),
            (text("[1]"), "[1]"),
            (text(""), ""),
            (text("9223372036854775808"), "9223372036854775808"),
        ];
        for (key, text) in table {
            assert_eq!(key_text(&key), text);
            assert_eq!(key_of(text), key);
        }
    }

    #[test]
    fn numbers_keep_their_fraction_however_large_they_are() {
        let document = r#"{"a":1e16,"b":-1e16,"c":2.0,"d":0.1,"e":9223372036854775807,"f":1e-7}"#;
        let row = Row::of(0, &record(Key::Int(1), document), &[Source::Document]).expect("a row");
        let json = row.values[0].as_deref().expect("a document");
        assert_eq!(
            json,
            r#"{"a":10000000000000000.0,"b":-10000000000000000.0,"c":2.0,"d":0.1,"e":9223372036854775807,"f":1e-7}"#
        );
    }

    /// The server refuses the statement, and with it all records that are in it.
    #[test]
    fn a_record_with_nul_is_refused_before_anything_is_sent() {
        for document in [r#"{"a":"\u0000"}"#, r#"{"\u0000":1}"#, r#"{"a":[{"b":"x\u0000"}]}"#] {
            Row::of(0, &record(Key::Int(1), document), &[Source::Document]).expect_err(document);
        }
        Row::of(0, &record(Key::Text("\0".into()), "{}"), &[Source::Document]).expect_err("a key");
        let field = [Source::Field("/a".into(), Kind::Other)];
        Row::of(0, &record(Key::Int(1), r#"{"a":"\u0000"}"#), &field).expect_err("a field");
        let row = Row::of(0, &record(Key::Int(1), r#"{"b":"\\u0000"}"#), &[Source::Document]);
        assert_eq!(row.expect("no NUL").values[0].as_deref(), Some(r#"{"b":"\\u0000"}"#));
    }

    #[test]
    fn fields_are_text_that_the_column_s_type_can_be_made_of() {
        let fields = record(
            Key::Text("k".into()),
            r#"{"n":null,"b":true,"i":-5,"f":2.0,"t":"a\"b","l":["a\\\"",null,[1,2]],"m":{"x":[1]}}"#,
        );
        let table = [
            ("/n", Kind::Other, None),
            ("/none", Kind::Other, None),
            ("/n", Kind::Json, None),
            ("/b", Kind::Other, Some("true")),
            ("/i", Kind::Other, Some("-5")),
            ("/f", Kind::Other, Some("2")),
            ("/t", Kind::Other, Some("a\"b")),
            ("/t", Kind::Json, Some(r#""a\"b""#)),
            ("/l", Kind::Array, Some(r#"{"a\\\"",NULL,{"1","2"}}"#)),
            ("/l", Kind::Other, Some(r#"["a\\\"",null,[1,2]]"#)),
            ("/m", Kind::Other, Some(r#"{"x":[1]}"#)),
            ("/m/x", Kind::Json, Some("[1]")),
        ];
        for (pointer, kind, expected) in table {
            let row = Row::of(0, &fields, &[Source::Field(pointer.into(), kind)]).expect("a row");
            assert_eq!((row.key.as_str(), row.values[0].as_deref()), ("k", expected), "{pointer} {kind:?}");
        }
    }
}
