//! Decoding with the JSON codec.

mod placing;
mod selection;
mod shape;

use std::{num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use x_msrv_core::{
    decode::{
        BigIntegers, ContentEncoding, Decoder, KeyRule, Placing, Rejection, Rules, Schema, Shape, Target,
    },
    message::{Message, Origin},
    record::{Fields, Key, Record, Value},
};
use x_msrv_json::{Json, parse_object};

fn fields(document: &str) -> Fields {
    parse_object(document.as_bytes(), BigIntegers::Reject).expect(document)
}

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
    let rejection = decoder(KeyRule::Message).decode(&message(r#"{"gid":1}"#)).expect_err("gid is reserved");
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
        text.chars().count() < 300 && text.ends_with("… holds an integer outside the signed 64-bit range"),
        "{text}"
    );
}

#[test]
fn the_size_limit_itself_is_allowed() {
    let decoder = Decoder { max_size: 2, ..decoder(KeyRule::Message) };
    decoder.decode(&message("{}")).expect("two bytes are allowed");
    assert_eq!(decoder.decode(&message("{} ")), Err(Rejection::TooLarge { size: 3, limit: 2 }));
}
