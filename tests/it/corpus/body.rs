//! A message's body: decoding, the schema, selected and renamed fields, and the records that Aerospike and
//! SQLite store.

use std::{io::Write as _, iter::zip, sync::Arc, time::SystemTime};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use x_msrv_aerospike::values;
use x_msrv_config::JsonSchema;
use x_msrv_core::{
    dead_letter::Letter,
    decode::{
        BigIntegers, ContentEncoding, Decoder, KeyRule, Metadata, OnLongName, Rejection, Rules, Schema,
        Shape, Target,
    },
    message::{Message, Origin},
    record::{Fields, Record, Value},
};
use x_msrv_json::{Json, parse_object};

use super::grammar::{self, Node};

/// The longest text that a user sees, in characters.
const LONGEST_DETAIL: usize = 600;

/// A schema that uses every feature of schemas.
const SCHEMA: &str = r##"{
    "properties": {
        "id": {"type": ["integer", "string"], "minimum": -5, "exclusiveMaximum": 1e300, "multipleOf": 0.01},
        "s": {"type": "string", "pattern": "^(a+)+$", "minLength": 1, "maxLength": 10, "format": "date-time"},
        "l": {"uniqueItems": true, "contains": {"const": 1}, "maxContains": 2, "items": {"anyOf": [{"type": "number"}, {"$ref": "#"}]}},
        "t": {"prefixItems": [{"type": "null"}, {"multipleOf": 7}], "unevaluatedItems": false},
        "e": {"enum": [1, 1.5, null, "a", {"x": []}, 9007199254740993]},
        "n": {"not": {"type": "null"}, "oneOf": [{"type": "integer"}, {"type": "number"}]},
        "p": {"propertyNames": {"maxLength": 3}, "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": false},
        "u": {"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false, "dependentRequired": {"a": ["b"]}, "maxProperties": 3}
    },
    "if": {"required": ["kind"]}, "then": {"required": ["id"]}
}"##;

/// A body is stored exactly if the grammar says that it is an object that can be stored, and then as it was
/// sent. Otherwise the reason is the first fault that the grammar finds, in readable words on one line.
pub(crate) fn check(body: &[u8]) {
    DECODERS.with(|decoders| decoders.iter().for_each(|decoders| decoders.check(body)));
}

thread_local! {
    static DECODERS: [Decoders; 2] = [BigIntegers::Reject, BigIntegers::Text].map(Decoders::new);
}

/// The decoders, with each choice for large integers.
struct Decoders {
    big_integers: BigIntegers,
    plain: Decoder,
    /// For compressed bodies.
    inflating: Decoder,
    with_schema: Decoder,
    with_keys: [Decoder; 3],
    with_shapes: [Decoder; 4],
}

/// Rules, each of which changes a document of a few fields with short names.
fn rules() -> [Rules; 4] {
    let path = |text: &str| text.parse().expect("a path");
    let selected = Rules {
        include: Some(["a", "b", "/l/a", "/id/x"].map(path).into()),
        exclude: vec![path("/a/b")],
        ..Rules::default()
    };
    let hashed = Rules { on_long_name: OnLongName::Hash, ..Rules::default() };
    let flat = Rules { flatten: Some("_".to_owned()), on_long_name: OnLongName::Hash, ..Rules::default() };
    let all = Rules {
        exclude: vec![path("s")],
        flatten: Some("/".to_owned()),
        rename: vec![
            (path("gid"), "guid".to_owned()),
            (path("a"), "b".to_owned()),
            (path("/"), "none".to_owned()),
        ],
        constant: vec![("c".to_owned(), Value::Float(1.5))],
        metadata: vec![("attempts".to_owned(), Metadata::Attempts)],
        on_long_name: OnLongName::Hash,
        ..Rules::default()
    };
    [selected, hashed, flat, all]
}

fn record(decoder: &Decoder, message: &Message) -> Result<Record, Rejection> {
    decoder.decode(message).map(|routed| routed.record)
}

impl Decoders {
    fn new(big_integers: BigIntegers) -> Self {
        let schema = JsonSchema::compile(SCHEMA.as_bytes()).expect("a schema");
        let decoder = |key, schema: Option<Box<dyn Schema>>| Decoder {
            max_size: 8 << 20,
            encoding: ContentEncoding::Identity,
            codec: Box::new(Json { big_integers }),
            key,
            schema,
            router: None,
            targets: vec![Target::default()],
        };
        let shape = |rules| {
            Shape::new(rules, Some(values::MAX_BIN_NAME), values::check_name).expect("rules that make sense")
        };
        Self {
            big_integers,
            plain: decoder(KeyRule::Message, None),
            inflating: Decoder { encoding: ContentEncoding::Gzip, ..decoder(KeyRule::Message, None) },
            with_schema: decoder(KeyRule::Message, Some(Box::new(schema))),
            with_shapes: rules().map(|rules| Decoder {
                targets: vec![Target { shape: Some(Arc::new(shape(rules))), ..Target::default() }],
                ..decoder(KeyRule::Message, None)
            }),
            with_keys: [KeyRule::BodyHash, KeyRule::Field("/id".into()), KeyRule::Field("/l/0/~1".into())]
                .map(|key| decoder(key, None)),
        }
    }

    fn check(&self, body: &[u8]) {
        let message = Message {
            origin: Origin::new("t@h:1"),
            id: "0a".into(),
            body: Bytes::copy_from_slice(body),
            attempts: std::num::NonZeroU32::new(1),
            last: false,
            details: None,
            published: None,
        };
        let decoded = record(&self.plain, &message);
        let expected = grammar::object(body, self.big_integers == BigIntegers::Text);
        match (&decoded, expected) {
            (Ok(record), Ok(fields)) => {
                assert!(is_object(&record.fields, &fields), "{:?}\nis not\n{fields:?}", record.fields);
                comes_back_from_stores(record);
            }
            (Err(Rejection::ReservedField), Ok(fields)) => {
                assert!(fields.iter().any(|(name, _)| name == "gid"));
            }
            (Err(rejection), Err(reason)) => {
                assert_eq!(rejection.reason(), reason, "{rejection}");
                has_a_readable_reason(&message, rejection);
            }
            (decoded, expected) => panic!("{decoded:?}\nis not\n{expected:?}"),
        }
        match (&decoded, record(&self.with_schema, &message)) {
            (Ok(_) | Err(Rejection::ReservedField), Err(rejection @ Rejection::Schema { .. })) => {
                has_a_readable_reason(&message, &rejection);
            }
            (before, after) => assert_eq!(*before, after, "a schema changes nothing"),
        }
        for decoder in &self.with_keys {
            match (&decoded, record(decoder, &message)) {
                (Ok(record), Ok(other)) => {
                    assert_eq!((&record.fields, record.size), (&other.fields, other.size));
                }
                (Ok(_) | Err(Rejection::ReservedField), Err(rejection @ Rejection::NoKey { .. })) => {
                    has_a_readable_reason(&message, &rejection);
                }
                (Err(Rejection::ReservedField), Ok(record)) => {
                    assert!(record.fields.contains(&("gid".to_owned(), (&record.key).into())));
                }
                (Ok(record), Err(Rejection::ReservedField)) => {
                    assert!(record.fields.iter().any(|(name, _)| name == "gid"));
                }
                (before, after) => assert_eq!(*before, after, "a key changes nothing"),
            }
        }
        self.check_shapes(&message, &decoded);
        self.check_compressed(&message, &decoded);
    }
}

/// The first bytes of a body compressed with gzip.
const GZIP: &[u8] = b"\x1f\x8b";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("a Vec takes it");
    encoder.finish().expect("a Vec takes it")
}

impl Decoders {
    /// A compressed body gives the same record, an uncompressed body is unchanged, and a body that only
    /// starts like gzip is refused with a readable reason.
    fn check_compressed(&self, message: &Message, decoded: &Result<Record, Rejection>) {
        let is_gzip = message.body.starts_with(GZIP);
        match record(&self.inflating, message) {
            Err(rejection) if is_gzip => has_a_readable_reason(message, &rejection),
            Ok(_) if is_gzip => {}
            same => assert_eq!(same, *decoded),
        }
        let compressed = Message { body: gzip(&message.body).into(), ..message.clone() };
        match record(&self.inflating, &compressed) {
            Err(Rejection::NotJson(fault)) if is_gzip => assert!(fault.ends_with("twice"), "{fault}"),
            same => assert_eq!(same, *decoded),
        }
    }

    /// The rest of a document is a record that both stores can hold, or that Aerospike refuses for a name
    /// that no rule made longer.
    fn check_shapes(&self, message: &Message, decoded: &Result<Record, Rejection>) {
        for decoder in &self.with_shapes {
            let shape = decoder.targets[0].shape.as_ref().expect("it has rules");
            match (decoded, record(decoder, message)) {
                (Ok(_) | Err(Rejection::ReservedField), Ok(record)) => {
                    comes_back_from_stores(&record);
                    let is_short = |(name, _): &(String, Value)| name.len() <= values::MAX_BIN_NAME;
                    assert!(
                        shape.rules().on_long_name == OnLongName::Reject
                            || record.fields.iter().all(is_short),
                        "{:?}",
                        record.fields
                    );
                }
                (
                    Ok(_) | Err(Rejection::ReservedField),
                    Err(
                        rejection @ (Rejection::OneName(_)
                        | Rejection::LongNames { .. }
                        | Rejection::ReservedField),
                    ),
                ) => has_a_readable_reason(message, &rejection),
                (before, after) => {
                    assert_eq!(*before, after, "a body without fields is no document");
                }
            }
        }
    }
}

fn is_object(fields: &Fields, nodes: &[(String, Node)]) -> bool {
    let same = |((name, value), (other, node)): (&(String, Value), &(String, Node))| {
        name == other && is(value, node)
    };
    fields.len() == nodes.len() && zip(fields, nodes).all(same)
}

fn is(value: &Value, node: &Node) -> bool {
    match (value, node) {
        (Value::Null, Node::Null) => true,
        (Value::Bool(value), Node::Bool(other)) => value == other,
        (Value::Int(value), Node::Number(literal)) => literal.parse() == Ok(*value),
        (Value::Float(value), Node::Number(literal)) => {
            literal.contains(['.', 'e', 'E'])
                && literal.parse().is_ok_and(|other: f64| value.to_bits() == other.to_bits())
        }
        (Value::Text(value), Node::Text(other)) => value == other,
        (Value::List(values), Node::List(nodes)) => {
            values.len() == nodes.len() && zip(values, nodes).all(|(value, node)| is(value, node))
        }
        (Value::Map(fields), Node::Map(nodes)) => is_object(fields, nodes),
        _ => false,
    }
}

/// SQLite keeps the document as JSON, Aerospike as bins, which have other names and numbers.
fn comes_back_from_stores(record: &Record) {
    let text = serde_json::to_string(&Value::Map(record.fields.clone())).expect("JSON");
    let nodes = grammar::object(text.as_bytes(), true).expect("what is written is JSON");
    assert!(is_object(&record.fields, &nodes), "{text}");
    assert_eq!(parse_object(text.as_bytes(), BigIntegers::Text).as_ref(), Ok(&record.fields));
    let is_name = |name: &str| (1..=15).contains(&name.len()) && !name.contains('\0');
    match values::bins(record.clone()) {
        Ok(bins) => {
            let found = values::fields(bins.into_iter().map(|bin| (bin.name, bin.value)));
            let kept =
                record.fields.iter().filter(|(name, value)| name != "gid" && *value != Value::Null).cloned();
            let expected: Fields =
                [("gid".to_owned(), Value::from(&record.key))].into_iter().chain(kept).collect();
            // As text, which distinguishes the two zeros.
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            assert!(expected.iter().all(|(name, _)| is_name(name)) && expected.len() <= 32_767);
        }
        Err(fault) => {
            is_a_line(&Rejection::Refused(fault).to_string());
            assert!(record.fields.len() > 32_766 || record.fields.iter().any(|(name, _)| !is_name(name)));
        }
    }
}

/// The dead letter contains the whole body and a readable reason.
fn has_a_readable_reason(message: &Message, rejection: &Rejection) {
    is_a_line(&rejection.to_string());
    let mut line = Vec::new();
    Letter::new(message, rejection, SystemTime::UNIX_EPOCH).write_line(&mut line).expect("a Vec takes it");
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let letter: Letter = serde_json::from_slice(&line).expect("a letter");
    assert_eq!(letter.body.to_bytes().as_deref(), Ok(&message.body[..]));
}

#[track_caller]
fn is_a_line(text: &str) {
    assert!(!text.contains(char::is_control) && text.chars().count() <= LONGEST_DETAIL, "{text:?}");
}
