//! Decodes bytes into a [`Record`], or returns the reason for rejection. Pure: no clock, no I/O, and no input
//! causes a panic.

mod gzip;
mod json;
mod placing;
mod rules;
mod selection;
mod shape;

pub use gzip::ContentEncoding;
pub use json::{Json, MAX_DEPTH, parse_object};
pub use placing::{Placing, SetRule, TtlRule};
pub use rules::{Metadata, OnLongName, RuleFault, Rules};
pub use selection::Path;
pub use shape::{NAMES_TO_BODY, Shape};

use std::{borrow::Cow, sync::Arc};

use selection::unescaped;
use sha2::{Digest, Sha256};

use crate::{
    message::Message,
    record::{Fields, KEY_FIELD, Key, Record, Value},
};

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
        let mut fields = self.codec.decode(&document).map_err(|rejection| match document {
            Cow::Owned(_) if gzip::is_gzip(&document) => {
                Rejection::NotJson("it is compressed with gzip twice".to_owned())
            }
            _ => rejection,
        })?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Origin;
    use bytes::Bytes;
    use std::num::NonZeroU32;

    fn message(body: &str) -> Message {
        Message::new(Origin::new("t@h:1"), "0a", Bytes::copy_from_slice(body.as_bytes()))
    }

    fn decoder(key: KeyRule) -> Decoder {
        Decoder {
            max_size: 1 << 20,
            encoding: ContentEncoding::Identity,
            codec: Box::new(Json { big_integers: BigIntegers::Reject }),
            key,
            schema: None,
            router: None,
            targets: vec![Target::default()],
        }
    }

    fn several(pointers: &[&str]) -> KeyRule {
        KeyRule::Fields(pointers.iter().map(|pointer| (*pointer).to_owned()).collect())
    }

    fn field(pointer: &str) -> KeyRule {
        KeyRule::Field(pointer.to_owned())
    }

    #[test]
    fn the_key_is_made_by_its_rule() {
        let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"; // printf '{}' | sha256sum
        let cases = [
            (KeyRule::Message, "{}", Key::Text("t@h:1/0a".into())),
            (KeyRule::BodyHash, "{}", Key::Text(hash.into())),
            (field("/id"), r#"{"id":7}"#, Key::Int(7)),
            (field("/a/1/b~1c~0"), r#"{"a":[0,{"b/c~":"x"}]}"#, Key::Text("x".into())),
            (field("/gid"), r#"{"gid":7}"#, Key::Int(7)),
            // Joined by a colon, the next two keys would be equal.
            (several(&["/a", "/b"]), r#"{"a":"a","b":"b:c"}"#, Key::Text(r#"["a","b:c"]"#.into())),
            (several(&["/a", "/b"]), r#"{"a":"a:b","b":"c"}"#, Key::Text(r#"["a:b","c"]"#.into())),
            (several(&["/b", "/a/x"]), r#"{"a":{"x":-7},"b":"7\"ä"}"#, Key::Text(r#"["7\"ä",-7]"#.into())),
            (several(&["/a"]), r#"{"a":7}"#, Key::Text("[7]".into())),
        ];
        for (rule, body, key) in cases {
            assert_eq!(decoder(rule).decode(&message(body)).expect(body).record.key, key, "{body}");
        }
    }

    /// Two nsqd behind one address gave two messages the same id, and one record overwrote the other.
    #[test]
    fn messages_with_one_origin_and_id_differ_by_publish_time() {
        let published = |time| Message { published: std::num::NonZeroI64::new(time), ..message("{}") };
        let key = |message| decoder(KeyRule::Message).decode(&message).expect("a record").record.key;
        assert_eq!(key(published(1_700_000_000_123_456_789)), Key::Text("t@h:1/0a/3d85cd15".into()));
        assert_eq!(
            key(Message { attempts: NonZeroU32::new(9), ..published(7) }),
            key(published(7)),
            "whichever delivery it is"
        );
    }

    #[test]
    fn a_message_without_its_key_is_rejected() {
        for (pointer, body) in [
            ("/id", "{}"),
            ("/id", r#"{"id":null}"#),
            ("/id", r#"{"id":""}"#),
            ("/id/x", r#"{"id":1}"#),
            ("/l/9", r#"{"l":[]}"#),
        ] {
            let rejection = decoder(field(pointer)).decode(&message(body)).expect_err(body);
            assert_eq!(rejection.reason(), "no-key", "{body}");
            let body = body.replacen('{', "{\"here\":1,", 1).replace(",}", "}");
            assert_eq!(
                decoder(several(&["/here", pointer])).decode(&message(&body)),
                Err(rejection),
                "one of two is the same fault"
            );
        }
    }

    /// Accepts documents whose only field is `id`.
    struct OnlyId;

    impl Schema for OnlyId {
        fn check(&self, fields: &Fields) -> Result<(), Rejection> {
            match &fields[..] {
                [(name, _)] if name == "id" => Ok(()),
                _ => Err(Rejection::Schema { path: "/".into(), fault: "not the only field".into() }),
            }
        }
    }

    /// A key field that is excluded or renamed is still a valid key, and the schema applies to the document
    /// that the publisher sends.
    #[test]
    fn key_and_schema_use_the_published_document() {
        let rules = Rules {
            exclude: vec!["id".parse().expect("a path")],
            constant: vec![("more".into(), Value::Bool(true))],
            ..Rules::default()
        };
        let shape = Shape::new(rules, None, |_| Ok(())).expect("rules that make sense");
        let targets = vec![Target { shape: Some(Arc::new(shape)), ..Target::default() }];
        let decoder = Decoder { schema: Some(Box::new(OnlyId)), targets, ..decoder(field("/id")) };
        let record = decoder.decode(&message(r#"{"id":7}"#)).expect("a record").record;
        assert_eq!(
            record,
            Record {
                key: Key::Int(7),
                fields: vec![("more".into(), Value::Bool(true))],
                size: 8 + 4 + 8,
                set: None,
                ttl: None,
                message: None,
            }
        );
        assert_eq!(
            decoder.decode(&message(r#"{"id":7,"more":1}"#)).expect_err("not in the schema").reason(),
            "schema"
        );
        assert_eq!(decoder.decode(&message("{}")).expect_err("not in the schema").reason(), "schema");
    }

    #[test]
    fn the_key_field_is_reserved_in_stored_fields_and_not_in_published_ones() {
        let path = |text: &str| text.parse().expect("a path");
        let renamed = Rules { rename: vec![(path("gid"), "guid".into())], ..Rules::default() };
        let left_out = Rules { exclude: vec![path("gid")], ..Rules::default() };
        let joined = Rules { flatten: Some("i".into()), ..Rules::default() };
        let shaped = |rules| Decoder {
            targets: vec![Target {
                shape: Some(Arc::new(Shape::new(rules, None, |_| Ok(())).expect("rules"))),
                ..Target::default()
            }],
            ..decoder(KeyRule::Message)
        };
        for rules in [renamed, left_out] {
            shaped(rules).decode(&message(r#"{"gid":1}"#)).expect("no field of that name is stored");
        }
        assert_eq!(shaped(joined).decode(&message(r#"{"g":{"d":1}}"#)), Err(Rejection::ReservedField));
    }

    #[test]
    fn a_field_that_the_key_would_overwrite_is_rejected() {
        let rejection =
            decoder(KeyRule::Message).decode(&message(r#"{"gid":1}"#)).expect_err("gid is reserved");
        assert_eq!(rejection, Rejection::ReservedField);
    }

    /// The sender chooses the names: a name with a line end forged a log line, and a long name hid the text
    /// after it.
    #[test]
    fn a_reason_is_one_line_of_bounded_length_for_any_names() {
        let forged = "a\n\u{1b}[2J".to_owned();
        assert_eq!(Rejection::DuplicateField(forged).to_string(), r"duplicate field `a\n\u{1b}[2J`");
        let rejection = Rejection::BigInteger { path: "ä\0".repeat(1 << 20) };
        let text = rejection.to_string();
        assert!(
            text.chars().count() < 300
                && text.ends_with("… holds an integer outside the signed 64-bit range"),
            "{text}"
        );
    }

    #[test]
    fn the_size_limit_itself_is_allowed() {
        let decoder = Decoder { max_size: 2, ..decoder(KeyRule::Message) };
        decoder.decode(&message("{}")).expect("two bytes are allowed");
        assert_eq!(decoder.decode(&message("{} ")), Err(Rejection::TooLarge { size: 3, limit: 2 }));
    }
}
