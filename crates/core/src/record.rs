//! Records: a key and fields. Knows no store.

use std::{fmt, num::NonZeroU32, sync::Arc};

use base64::{display::Base64Display, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use x_msrv_settings::{Kind, Reader, Setting, Told};

pub use crate::timestamp::Timestamp;
use crate::{decode::hex, message::Message};

/// The bin or column that contains a record's key, beside its fields.
pub const KEY_FIELD: &str = "gid";

/// Identifies a record. The same message always has the same key, so a redelivery or a repeated write in
/// doubt hits the same record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A key that is an integer in the document.
    Int(i64),
    /// Any other key.
    Text(String),
}

impl Key {
    /// Returns a name for the record that every store can hold, of 64 hexadecimal digits. An integer and the same
    /// digits as text have different names.
    #[must_use]
    pub fn digest(&self) -> String {
        let kind = if matches!(self, Self::Int(_)) { "int" } else { "text" };
        hex(&Sha256::digest(format!("{kind} {self}")))
    }

    /// Removes [`KEY_FIELD`] from the fields of a stored record. Returns the key that it holds, if it is one.
    #[must_use]
    pub fn take_from(fields: &mut Fields) -> Option<Self> {
        let index = fields.iter().position(|(name, _)| name == KEY_FIELD)?;
        match fields.remove(index).1 {
            Value::Int(number) => Some(Self::Int(number)),
            Value::Text(text) => Some(Self::Text(text)),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<Key> for Value {
    fn from(key: Key) -> Self {
        match key {
            Key::Int(number) => Self::Int(number),
            Key::Text(text) => Self::Text(text),
        }
    }
}

impl From<&Key> for Value {
    fn from(key: &Key) -> Self {
        match key {
            Key::Int(number) => Self::Int(*number),
            Key::Text(text) => Self::Text(text.clone()),
        }
    }
}

/// The fields of an object in their original order; names are unique.
pub type Fields = Vec<(String, Value)>;

/// Returns a duplicate name.
#[must_use]
pub fn repeated_name(fields: &Fields) -> Option<&str> {
    /// Up to this many names, comparing all pairs is cheaper than sorting.
    const FEW_NAMES: usize = 16;
    if fields.len() <= FEW_NAMES {
        let repeated = |(index, (name, _)): (usize, &(String, Value))| {
            fields[..index].iter().any(|(other, _)| other == name).then_some(index)
        };
        return fields.iter().enumerate().find_map(repeated).map(|index| fields[index].0.as_str());
    }
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// The value of a field. JSON provides the JSON types, with integers separate from floats; other codecs and
/// conversions provide the rest. A store without one of the types writes it as JSON would.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without fraction and exponent.
    Int(i64),
    /// An integer that fits only in an unsigned 64-bit integer.
    UInt(u64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// Bytes that are not text; base64 in JSON (RFC 4648 section 4).
    Bytes(Bytes),
    /// A point in time; RFC 3339 in JSON.
    Timestamp(Timestamp),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Map(Fields),
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::UInt(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.collect_str(&Base64Display::new(value, &BASE64)),
            Self::Timestamp(value) => serializer.collect_str(value),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
        }
    }
}

/// A scalar value in a configuration. Text stays text, even if it looks like a number.
impl Setting for Value {
    const KIND: Kind = Kind::Scalar;

    fn read(found: &x_msrv_settings::Value, reader: &mut Reader<'_>) -> Option<Self> {
        use x_msrv_settings::Value as Found;
        let value = match found {
            Found::Bool(value) => Some(Self::Bool(*value)),
            Found::Number(number) if number.is_f64() => number.as_f64().map(Self::Float),
            Found::Number(number) => number.as_i64().map(Self::Int),
            Found::String(text) => Some(Self::Text(text.clone())),
            _ => None,
        };
        if value.is_none() {
            reader.wrong(found, "text, a signed 64-bit number, true or false");
        }
        value
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, serde_json::to_string(self).expect("text keys and finite numbers"));
    }
}

/// One message, ready to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The key under which it is stored.
    pub key: Key,
    /// The top-level fields of the document.
    pub fields: Fields,
    /// The length of the original document in bytes, plus what was added to it. Stores size their batches by
    /// it.
    pub size: usize,
    /// The set that it is stored in, if a field selects it.
    pub set: Option<Arc<str>>,
    /// Its lifetime in seconds, if a field sets it.
    pub ttl: Option<NonZeroU32>,
    /// The message that it was made from, for stores that request it
    /// ([`StoreTraits::wants_message`](crate::store::StoreTraits)).
    pub message: Option<Message>,
}
