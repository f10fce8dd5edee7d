//! Decodes bytes into a [`Record`], or returns the reason for rejection. Pure: no clock, no I/O, and no input
//! causes a panic.

mod gzip;
mod placing;
mod rules;
mod selection;
mod shape;

pub use gzip::ContentEncoding;
pub use placing::{Placing, SetRule, TtlRule};
pub use rules::{Metadata, OnLongName, RuleFault, Rules};
pub use selection::{Path, escaped};
pub use shape::{NAMES_TO_BODY, Shape};

use std::sync::Arc;

use selection::unescaped;
use sha2::{Digest, Sha256};

use crate::{
    message::Message,
    record::{Fields, KEY_FIELD, Key, Record, Value},
};

/// The nesting limit of arrays and objects; the document itself is level 1.
pub const MAX_DEPTH: usize = 128;

/// Why a message can never be stored. The text is for the user who reads the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The body exceeds the configured size.
    #[error("the body has {size} bytes (limit {limit})")]
    TooLarge {
        /// The size of the body in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The decompressed document exceeds that size.
    #[error("the decompressed body has more than {limit} bytes")]
    InflatedTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The gzip body is damaged.
    #[error("gzip: {0}")]
    BadEncoding(&'static str),
    /// The body is not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The body is JSON, but an array, a number, a string, a boolean or null.
    #[error("expected a JSON object, found {0}")]
    NotObject(&'static str),
    /// An object has a duplicate field, so one of the two would be lost.
    #[error("duplicate field `{}`", short(.0))]
    DuplicateField(String),
    /// The configuration gives two fields the same name, so one of the two would be lost.
    #[error("two fields get the same name `{}`", short(.0))]
    OneName(String),
    /// The flattened field names are much longer than the body.
    #[error("the flattened field names have more than {limit} bytes, {NAMES_TO_BODY} times the body")]
    LongNames {
        /// The limit in bytes.
        limit: usize,
    },
    /// Arrays and objects are nested too deeply.
    #[error("field {} is nested deeper than {MAX_DEPTH} levels", short(path))]
    TooDeep {
        /// The path at which the limit is exceeded.
        path: String,
    },
    /// An integer does not fit in a signed 64-bit integer.
    #[error("field {} holds an integer outside the signed 64-bit range", short(path))]
    BigInteger {
        /// The path of the field.
        path: String,
    },
    /// A number is too large for a 64-bit float. A number that is too small becomes zero.
    #[error("field {} holds a number that is too large for a 64-bit float", short(path))]
    HugeNumber {
        /// The path of the field.
        path: String,
    },
    /// A field has the name that is reserved for the record's key.
    #[error("field `{KEY_FIELD}` is reserved for the record's key")]
    ReservedField,
    /// The key field is missing, or it is neither text nor an integer.
    #[error("the key field {pointer} {fault}")]
    NoKey {
        /// The configured JSON pointer.
        pointer: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The field that selects the record's set is missing, or its value is not allowed.
    #[error("the set field {pointer} {fault}")]
    NoSet {
        /// The configured JSON pointer.
        pointer: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The field that sets the record's lifetime is missing, or the store does not accept its value.
    #[error("the TTL field {pointer} {fault}")]
    NoTtl {
        /// The configured JSON pointer.
        pointer: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The document does not match the configured schema.
    #[error("schema: {}: {}", short(path), short(fault))]
    Schema {
        /// JSON pointer to the value at fault.
        path: String,
        /// The fault.
        fault: String,
    },
    /// The store will never accept this record.
    #[error("refused by the store: {}", short(.0))]
    Refused(String),
    /// The queue expects a reply as settlement, and the message has no reply subject.
    #[error("the request has no reply subject")]
    NoReply,
    /// The queue drops the message after this delivery, and it could not be stored.
    #[error("the queue drops it after this delivery: {}", short(cause))]
    LastDelivery {
        /// Why it could not be stored.
        cause: String,
    },
    /// No route matches the message.
    #[error("no route matches this message")]
    NoRoute,
    /// The message reached the limit on attempts.
    #[error("attempt {attempts} of at most {limit} failed: {}", short(cause))]
    TooManyAttempts {
        /// Deliveries so far.
        attempts: u32,
        /// The configured limit.
        limit: u32,
        /// The cause of the last failure.
        cause: String,
    },
}

/// Shortens a name for a one-line reason. Names come from the message: they have any length and any content.
fn short(text: &str) -> String {
    const LONGEST: usize = 160;
    let mut letters = text.chars().flat_map(|letter| match letter {
        letter if letter.is_control() => letter.escape_debug().collect(),
        letter => vec![letter],
    });
    let mut shown: String = letters.by_ref().take(LONGEST).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

impl Rejection {
    /// All values of [`reason`](Self::reason).
    pub const REASONS: [&str; 18] = [
        "too-large",
        "bad-encoding",
        "not-json",
        "not-object",
        "duplicate-field",
        "too-deep",
        "big-integer",
        "huge-number",
        "reserved-field",
        "no-key",
        "no-set",
        "no-ttl",
        "schema",
        "refused",
        "no-reply",
        "no-route",
        "last-delivery",
        "too-many-attempts",
    ];

    /// Returns a short fixed word, for logs, counters and filters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        let reason = match self {
            Self::TooLarge { .. } | Self::InflatedTooLarge { .. } | Self::LongNames { .. } => "too-large",
            Self::BadEncoding(_) => "bad-encoding",
            Self::NotJson(_) => "not-json",
            Self::NotObject(_) => "not-object",
            Self::DuplicateField(_) | Self::OneName(_) => "duplicate-field",
            Self::TooDeep { .. } => "too-deep",
            Self::BigInteger { .. } => "big-integer",
            Self::HugeNumber { .. } => "huge-number",
            Self::ReservedField => "reserved-field",
            Self::NoKey { .. } => "no-key",
            Self::NoSet { .. } => "no-set",
            Self::NoTtl { .. } => "no-ttl",
            Self::Schema { .. } => "schema",
            Self::Refused(_) => "refused",
            Self::NoReply => "no-reply",
            Self::NoRoute => "no-route",
            Self::LastDelivery { .. } => "last-delivery",
            Self::TooManyAttempts { .. } => "too-many-attempts",
        };
        debug_assert!(Self::REASONS.contains(&reason), "{reason}");
        reason
    }
}

/// How a record's key is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRule {
    /// The message's origin, its id, and its publish time, if the queue reports it. A redelivery hits the
    /// same record; two equal documents are two records. Several servers behind one address may give one id
    /// to different messages, but not at the same time. The low 32 bits of the nanoseconds are enough and
    /// keep the key short: nsqd also makes its ids from the time (`nsqd/guid.go`), so equal ids are from the
    /// same millisecond.
    Message,
    /// A field of the document, as a JSON pointer (RFC 6901).
    Field(String),
    /// Several fields, as JSON pointers: the compact JSON array of their values. Joined text would be the
    /// same for ("a", "b:c") and ("a:b", "c").
    Fields(Vec<String>),
    /// SHA-256 of the published body, in hexadecimal: equal bodies are one record.
    BodyHash,
}

/// How an integer beyond signed 64 bits is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum BigIntegers {
    /// The message is rejected.
    Reject,
    /// The integer is stored as text with all its digits.
    Text,
}

/// Decodes messages into records.
pub struct Decoder {
    /// The limit on the size of a body, and of the document in it, in bytes.
    pub max_size: usize,
    /// The encoding of bodies.
    pub encoding: ContentEncoding,
    /// The format of documents.
    pub codec: Box<dyn Codec>,
    /// How keys are made.
    pub key: KeyRule,
    /// What every document must match.
    pub schema: Option<Box<dyn Schema>>,
    /// Selects the store of a record; without a router, the first store.
    pub router: Option<Box<dyn Router>>,
    /// What each store receives of a document; at least one.
    pub targets: Vec<Target>,
}

/// What a store receives of a document. Schema, key and route use the published document.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Which fields are stored, and under which names; without it, all fields unchanged.
    pub shape: Option<Arc<Shape>>,
    /// Which fields control the storage; they too are read from the published document.
    pub placing: Placing,
}

/// A document format: converts bytes to fields and back.
pub trait Codec {
    /// Decodes a document.
    ///
    /// # Errors
    /// The bytes are not a document in this format.
    fn decode(&self, document: &[u8]) -> Result<Fields, Rejection>;

    /// Encodes a document.
    ///
    /// # Errors
    /// The fields do not fit the format; the text says why.
    fn encode(&self, fields: &Fields) -> Result<Vec<u8>, String>;
}

/// A schema for documents.
pub trait Schema {
    /// Checks a document as it was published.
    ///
    /// # Errors
    /// It does not match ([`Rejection::Schema`]).
    fn check(&self, fields: &Fields) -> Result<(), Rejection>;
}

/// Selects the store of a record.
pub trait Router {
    /// Returns the index of exactly one store.
    ///
    /// # Errors
    /// No route matches ([`Rejection::NoRoute`]), or a route's condition fails.
    fn route(&self, message: &Message, fields: &Fields) -> Result<usize, Rejection>;
}

/// A record and its destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Routed {
    /// The index of its store.
    pub store: usize,
    /// The record.
    pub record: Record,
}

impl Decoder {
    /// Returns the record to store for `message`.
    ///
    /// # Errors
    /// The message is at fault, and another attempt would fail the same way.
    pub fn decode(&self, message: &Message) -> Result<Routed, Rejection> {
        self.check_size(message)?;
        let document = self.encoding.decode(&message.body, self.max_size)?;
        let mut fields = self
            .codec
            .decode(&document)
            .map_err(|rejection| self.encoding.still_compressed(&document).unwrap_or(rejection))?;
        if let Some(schema) = &self.schema {
            schema.check(&fields)?;
        }
        let key = self.key(message, &fields)?;
        let store = self.router.as_ref().map_or(Ok(0), |router| router.route(message, &fields))?;
        let Target { shape, placing } = &self.targets[store];
        let set = placing.set.as_ref().map(|rule| rule.of(&fields)).transpose()?;
        let ttl = placing.ttl.as_ref().map(|rule| rule.of(&fields)).transpose()?.flatten();
        let mut size = document.len();
        if let Some(shape) = shape {
            fields = shape.apply(fields, message, size)?;
            size += shape.added();
        }
        // The key would overwrite a field of that name, and its value would be lost; unless it is the key.
        if fields.iter().any(|(name, value)| name == KEY_FIELD && *value != Value::from(&key)) {
            return Err(Rejection::ReservedField);
        }
        Ok(Routed { store, record: Record { key, fields, size, set, ttl, message: None } })
    }

    /// Checks that `message` is small enough to be decoded.
    ///
    /// # Errors
    /// It is too large.
    pub fn check_size(&self, message: &Message) -> Result<(), Rejection> {
        let (size, limit) = (message.body.len(), self.max_size);
        if size > limit { Err(Rejection::TooLarge { size, limit }) } else { Ok(()) }
    }

    fn key(&self, message: &Message, fields: &Fields) -> Result<Key, Rejection> {
        match &self.key {
            KeyRule::Message => {
                let Message { origin, id, published, .. } = message;
                if id.is_empty() {
                    let (pointer, fault) = ("message".to_owned(), "is missing: its publisher gave it no id");
                    return Err(Rejection::NoKey { pointer, fault });
                }
                // Concatenated, because formatting costs a thousand instructions more for each key.
                Ok(Key::Text(match published {
                    Some(time) => {
                        [origin.as_str(), "/", id, "/", &hex(&time.get().to_be_bytes()[4..])].concat()
                    }
                    None => [origin.as_str(), "/", id].concat(),
                }))
            }
            KeyRule::BodyHash => Ok(Key::Text(hex(&Sha256::digest(&message.body)))),
            KeyRule::Field(pointer) => part_of_key(fields, pointer),
            KeyRule::Fields(pointers) => {
                let parts = pointers.iter().map(|pointer| part_of_key(fields, pointer).map(Value::from));
                let parts = Value::List(parts.collect::<Result<_, _>>()?);
                Ok(Key::Text(serde_json::to_string(&parts).expect("texts and integers")))
            }
        }
    }
}

/// Returns a field's value as a key or as a part of one: an integer, or text that is not empty.
fn part_of_key(fields: &Fields, pointer: &str) -> Result<Key, Rejection> {
    let fault = |fault| Rejection::NoKey { pointer: pointer.to_owned(), fault };
    match find(fields, pointer).ok_or_else(|| fault("is missing"))? {
        Value::Int(number) => Ok(Key::Int(*number)),
        Value::Text(text) if text.is_empty() => Err(fault("is empty")),
        Value::Text(text) => Ok(Key::Text(text.clone())),
        _ => Err(fault("is neither text nor an integer")),
    }
}

/// Returns the value at a JSON pointer (RFC 6901) that starts with `/`.
pub fn find<'a>(fields: &'a Fields, pointer: &str) -> Option<&'a Value> {
    let field = |fields: &'a Fields, name: &str| {
        fields.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    };
    let mut steps = pointer.split('/').skip(1).map(unescaped);
    let first = field(fields, &steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Value::Map(fields) => field(fields, &step),
        Value::List(values) => values.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}
