//! Sections, choices and values together.

use std::{num::NonZeroU64, time::Duration};

use serde_json::json;

use super::*;

/// How an existing record is treated.
#[derive(Debug, PartialEq, Settings)]
enum Exists {
    /// It is replaced.
    Replace,
    /// It is kept.
    CreateOnly,
}

/// The parts of a key.
#[derive(Debug, PartialEq, Settings)]
enum Made {
    /// The message.
    Message,
    /// A field.
    Field(String),
    /// Several fields.
    #[setting(min = 1)]
    Fields(Vec<String>),
}

#[derive(Debug, PartialEq, Settings)]
struct Inner {
    /// A file with CA certificates.
    #[setting(words = "the system's", unset = "(the system's)")]
    ca_file: Option<ReadFile>,
    /// Whether certificates are not verified.
    #[setting(default = "false")]
    insecure: bool,
}

#[derive(Debug, PartialEq, Settings)]
struct Placed {
    /// Which field.
    field: String,
}

#[derive(Debug, PartialEq, Settings)]
struct Outer {
    /// How long it may take.
    ///
    /// Longer than that is too long.
    #[setting(default = "2s", min = 0, example = "10s")]
    timeout: Duration,
    /// How many there may be.
    #[setting(default = "10")]
    max_messages: NonZeroU64,
    /// How much there may be.
    #[setting(default = "1MiB", min = 1, max = 1 << 30)]
    max_size: Size,
    /// Its name.
    #[setting(flag = "topic", ask = "topic", subject)]
    topic: Option<String>,
    /// The servers.
    #[setting(min = 1)]
    hosts: Option<Vec<String>>,
    /// What happens to an existing record.
    #[setting(default = "replace")]
    exists: Exists,
    /// How keys are made.
    #[setting(default = "message")]
    key: Made,
    /// Whether it is encrypted.
    #[setting(default = "false")]
    tls: OnOr<Inner>,
    /// Where it goes.
    set: TextOr<String, Placed>,
    /// Other names.
    rename: Option<Table<String>>,
}

fn known() -> Known {
    Known(vec![("", Outer::KEYS)])
}

fn read(tree: &Value) -> Result<Outer, Vec<String>> {
    let places = Places { state: "/s".into(), configuration: "/c".into(), ..Places::default() };
    let (origins, known) = (Origins { file: "f".to_owned(), ..Origins::default() }, known());
    let mut reader = Reader::new(&places, &origins, &known);
    let outer = Outer::read(tree, &mut reader);
    let faults: Vec<_> = reader.faults().iter().map(ToString::to_string).collect();
    // An unknown key must not prevent the rest from being parsed.
    if faults.is_empty() { Ok(outer.expect("nothing is wrong")) } else { Err(faults) }
}

fn fault(tree: &Value) -> String {
    let faults = read(tree).expect_err("it is wrong");
    assert_eq!(faults.len(), 1, "{tree}: {faults:?}");
    faults.into_iter().next().expect("one")
}

fn with(more: Value) -> Value {
    let mut tree = json!({"set": "s"});
    let (Value::Object(all), Value::Object(more)) = (&mut tree, more) else { panic!("objects") };
    all.extend(more);
    tree
}

#[test]
fn a_missing_key_has_its_default() {
    let outer = read(&json!({"set": "s"})).expect("right");
    assert_eq!(outer.timeout, Duration::from_secs(2));
    assert_eq!((outer.max_messages.get(), outer.max_size), (10, Size(1 << 20)));
    assert_eq!((outer.exists, outer.key, outer.tls), (Exists::Replace, Made::Message, OnOr(None)));
    assert_eq!((outer.topic, outer.hosts, outer.rename), (None, None, None));
}

/// An environment variable is text.
#[test]
fn values_are_accepted_as_native_types_and_as_text() {
    let text = read(&with(json!({
        "timeout": "1m 30s", "max-messages": "7", "max-size": "2 KiB", "hosts": "a, b", "exists": "create-only",
        "tls": "true", "rename": {"a": "b"},
    })));
    let native = read(&with(json!({
        "timeout": "90s", "max-messages": 7, "max-size": 2048, "hosts": ["a", "b"],
        "exists": {"create-only": null}, "tls": {}, "rename": {"a": "b"},
    })));
    assert_eq!(text, native);
    let outer = text.expect("right");
    assert_eq!(outer.hosts, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(outer.tls, OnOr(Some(Inner { ca_file: None, insecure: false })));
    for (value, key) in [
        (json!("message"), Made::Message),
        (json!({"message": null}), Made::Message),
        (json!({"field": "/a"}), Made::Field("/a".to_owned())),
        (json!({"fields": "/a,/b"}), Made::Fields(vec!["/a".to_owned(), "/b".to_owned()])),
    ] {
        assert_eq!(read(&with(json!({ "key": value }))).expect("right").key, key);
    }
    assert_eq!(
        read(&json!({"set": {"field": "/f"}})).expect("right").set,
        TextOr::Section(Placed { field: "/f".to_owned() })
    );
}

/// Otherwise a user corrects one fault only to see the next.
#[test]
fn all_faults_are_reported_at_once_with_path_value_and_what_is_allowed() {
    let faults = read(&json!({
        "timeout": 2, "max-messages": 0, "max-size": "2GiB", "topc": "t", "hosts": ["a", 7, true], "exists": "replce",
        "tls": {"insecure": "on", "password": 1}, "key": {"fields": []},
    }))
    .expect_err("nearly every key is invalid");
    let wanted = [
        "f: topc: unknown key `topc`; did you mean `topic`?",
        "f: timeout: `2` is not a duration with a unit, such as 2s, 500ms or 1m 30s",
        "f: max-messages: 0 is not allowed, at least 1 is required",
        "f: max-size: 2147483648 bytes is out of range: 1 to 1GiB",
        "f: hosts[1]: `7` is not text; put it in quotes",
        "f: hosts[2]: `true` is not text; put it in quotes",
        "f: exists: unknown word \"replce\", allowed: `replace` or `create-only`; did you mean `replace`?",
        "f: key.fields: the list is empty, at least one element is required",
        "f: tls.password: unknown key `password`; known keys: ca-file, insecure",
        "f: tls.insecure: \"on\" is not true or false",
        "f: `set` is required",
    ];
    assert_eq!(faults, wanted);
}

#[test]
fn each_type_refuses_other_values() {
    for (more, words) in [
        (json!({"max-messages": -1}), "`-1` is not a non-negative whole number"),
        (json!({"max-messages": 2.5}), "`2.5` is not a non-negative whole number"),
        (json!({"max-messages": "ten"}), "\"ten\" is not a non-negative whole number"),
        (json!({"timeout": "soon"}), "\"soon\" is not a duration"),
        (json!({"timeout": "5M"}), "`5M` is in months"),
        (json!({"timeout": "366d"}), "`366d` is out of range: from 0s to 365 days"),
        (json!({"timeout": {"a": 1}}), "a section is not a duration"),
        (json!({"timeout": null}), "has no value; set one or remove the key"),
        (json!({"max-size": "1TiB"}), "\"1TiB\" is not a number of bytes"),
        (json!({"max-size": "1.5MiB"}), "\"1.5MiB\" is not a number of bytes"),
        (json!({"max-size": "99999999999999GiB"}), "is not a number of bytes"),
        (json!({"max-size": 0}), "0 is not allowed"),
        (json!({"topic": 7}), "topic: `7` is not text; put it in quotes"),
        (json!({"hosts": {"a": 1}}), "a section is not a list"),
        (json!({"hosts": []}), "the list is empty"),
        (json!({"exists": ["replace"]}), "a list is not a word"),
        (
            json!({"exists": {"replace": "x"}}),
            "exists.replace: \"x\" is not allowed: this choice takes no value",
        ),
        (json!({"key": "field"}), "key.field: requires a value: `key: {field: VALUE}`"),
        (json!({"key": {"field": null}}), "key.field: has no value"),
        (json!({"key": {"field": "/a", "message": null}}), "key: exactly one choice is required"),
        (json!({"key": {}}), "key: exactly one choice is required"),
        (json!({"tls": "no"}), "tls: \"no\" is not true, false or a section"),
        (json!({"set": 7}), "set: `7` is not text or a section"),
        (json!({"rename": ["a"]}), "rename: a list is not a map of names to values"),
        (json!({"rename": {"a": 1}}), "rename.a: `1` is not text"),
    ] {
        let told = fault(&with(more.clone()));
        assert!(told.contains(words), "{more}: {told}");
    }
    assert!(fault(&json!([])).contains("a list is not a section"));
    assert!(fault(&json!({"set": {}})).contains("set: `field` is required"));
}

#[test]
fn a_key_in_the_wrong_section_is_reported_with_the_right_path() {
    assert!(
        fault(&with(json!({"insecure": true})))
            .ends_with("unknown key `insecure`; did you mean `tls.insecure`?")
    );
    let told = fault(&with(json!({"tls-ca-file": "x"})));
    assert!(told.ends_with("did you mean `tls.ca-file`, X_MSRV__TLS__CA_FILE?"), "{told}");
}

#[test]
fn settings_in_force_are_shown_as_a_user_would_write_them() {
    let mut told = Told::default();
    let tree = with(json!({
        "key": {"fields": ["/a", "/b,c"]}, "set": {"field": "/f"}, "tls": true, "rename": {"a\"": "b"}, "topic": "x\ny",
    }));
    read(&tree).expect("right").tell("", &mut told);
    let wanted = "timeout: 2s\nmax-messages: 10\nmax-size: 1048576\ntopic: \"x\\ny\"\nexists: replace\n\
        key: {fields: [/a, \"/b,c\"]}\ntls.ca-file: (the system's)\ntls.insecure: false\nset: {field: /f}\n\
        rename: {\"a\\\"\":\"b\"}\n";
    assert_eq!(told.to_string(), wanted);
    let mut told = Told::default();
    read(&with(json!({"tls": {"ca-file": "ca.pem"}}))).expect("right").tell("", &mut told);
    let [file] = &told.files[..] else { panic!("{:?}", told.files) };
    assert_eq!(
        (&*file.key, file.path.to_str(), file.access),
        ("tls.ca-file", Some("/c/ca.pem"), Access::Read)
    );
}

#[test]
fn the_description_follows_from_the_types() {
    let known = known();
    assert_eq!(known.paths()[..5], ["timeout", "max-messages", "max-size", "topic", "hosts"]);
    let key = known.find("timeout").expect("a key");
    assert_eq!(key.doc, "How long it may take.\n\nLonger than that is too long.");
    assert_eq!((key.presence, key.example), (Presence::Default("2s"), "10s"));
    assert_eq!(key.bounds, Bounds { min: 0, max: Bounds::LONGEST });
    let key = known.find("tls.ca-file").expect("a key");
    assert_eq!(key.presence, Presence::Words("the system's"));
    assert!(matches!(key.kind, Kind::Path { is_state: false }));
    let ask = known.find("topic").and_then(|key| key.ask).expect("it is asked for");
    assert_eq!((ask.flag, ask.is_subject), ("topic", true));
    assert!(
        matches!(known.find("key").expect("a key").kind, Kind::Choice([_, _, word]) if word.name == "fields")
    );
}

#[test]
fn a_duration_is_shown_as_a_user_would_write_it() {
    let text = |nanos: u64| Span(Duration::from_nanos(nanos)).to_string();
    let second = 1_000_000_000;
    assert_eq!(text(0), "0s");
    assert_eq!(text(365 * 86_400 * second), "365d");
    assert_eq!(text(90 * second), "1m 30s");
    assert_eq!(text(1_500_000_000), "1s 500ms");
    assert_eq!(text(25 * 3_600 * second + 1_001), "1d 1h 1us 1ns");
    for nanos in [1, 999, 60 * second, 86_399 * second + 7_000_000, u64::MAX] {
        assert_eq!(duration::parse(&text(nanos)), Some(Duration::from_nanos(nanos)));
    }
}
