//! `etc/x-msrv.schema.json`, a JSON Schema for editors: its shape is that of the types that read a
//! configuration, its words are those of the table in docs/configuration.md.
//!
//! `make man` writes it anew; a test holds the file against the types.

use std::{borrow::Cow, collections::BTreeMap, fs, path::Path};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};

use super::{
    file::{FileShape, TtlFieldShape},
    scalar::{Flag, List, OnOrSection, Parsed, PlaceShape, SecretShape, Size, Span, Table, TextOr, Whole},
};

/// The schema of a value that is text in the end.
macro_rules! scalar {
    ($name:literal, $type:ident$(<$parameter:ident>)?, $schema:tt) => {
        impl$(<$parameter>)? JsonSchema for $type$(<$parameter>)? {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// `aerospike.ttl`, which is text until it is known what it means.
pub(super) struct Ttl;

/// What `duration` reads: numbers, each with its unit; a bare zero needs none.
const DURATION: &str = concat!(
    r"^(0|\s*([0-9][0-9\s]*(\.\s*[0-9][0-9\s]*)?",
    "(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h",
    "|days|day|d|weeks|week|wks|wk|w)",
    r"\s*)+)$"
);

scalar!("whole", Whole, { "type": ["integer", "string"], "minimum": 0, "pattern": r"^\+?[0-9]+$" });
scalar!("span", Span, { "type": "string", "pattern": DURATION, "examples": ["2s", "500ms", "1m 30s"] });
scalar!("size", Size, {
    "type": ["integer", "string"],
    "minimum": 0,
    "pattern": r"^\+?[0-9]+ *([bB]|[kKmMgG]([iI][bB])?)? *$",
    "examples": ["1MiB", "512KiB"]
});
scalar!("ttl", Ttl, { "type": "string", "pattern": format!("^(namespace|never)$|{DURATION}") });
/// The same, or a section that names a field.
pub(super) struct TtlOrField;

impl JsonSchema for TtlOrField {
    fn schema_name() -> Cow<'static, str> {
        "ttl-or-field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either(&Ttl::json_schema(generator), &TtlFieldShape::json_schema(generator))
    }
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("text-or-{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either(&json_schema!({ "type": "string", "minLength": 1 }), &T::json_schema(generator))
    }
}

fn either(text: &Schema, section: &Schema) -> Schema {
    json_schema!({ "anyOf": [text, section] })
}

scalar!("flag", Flag, { "type": ["boolean", "string"], "enum": [true, false, "true", "false"] });
scalar!("list", List<T>, { "type": ["array", "string"], "items": { "type": "string" } });
scalar!("parsed", Parsed<T>, { "type": "string", "minLength": 1 });
scalar!("table", Table, { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } });
scalar!("secret", SecretShape, {
    "anyOf": [
        { "type": "string", "minLength": 1 },
        { "type": "object", "properties": { "credential": { "type": "string" } }, "required": ["credential"], "additionalProperties": false },
        { "type": "object", "properties": { "file": { "type": "string" } }, "required": ["file"], "additionalProperties": false }
    ]
});

impl JsonSchema for PlaceShape {
    fn schema_name() -> Cow<'static, str> {
        SecretShape::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SecretShape::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for OnOrSection<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("on-or-{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut section = T::json_schema(generator).to_value();
        section["type"] = json!(["object", "boolean", "string"]);
        section["pattern"] = json!("^(true|false)$");
        section.try_into().expect("an object is a schema")
    }
}

fn schema() -> Value {
    let generator =
        SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<FileShape>().to_value();
    without_null(&mut schema);
    describe(&mut schema, "", &words());
    schema["title"] = json!("x-msrv.yml");
    schema
}

/// An empty value is no value; that a key can be left out is said by its absence from `required`.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for name in ["type", "anyOf", "oneOf", "enum"] {
                let Some(Value::Array(choices)) = map.get_mut(name) else { continue };
                choices.retain(|choice| {
                    !choice.is_null() && choice != "null" && choice.get("type") != Some(&json!("null"))
                });
                if let [only] = &choices[..] {
                    let only = only.clone();
                    match (name, only) {
                        ("anyOf" | "oneOf", Value::Object(inner)) => {
                            map.remove(name);
                            map.extend(inner);
                        }
                        ("type", only) => drop(map.insert(name.to_owned(), only)),
                        _ => {}
                    }
                }
            }
            map.remove("description");
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Puts each key's meaning and default where the key is.
fn describe(schema: &mut Value, path: &str, words: &BTreeMap<String, String>) {
    for name in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.get_mut(name) {
            for choice in choices {
                describe(choice, path, words);
            }
        }
    }
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (key, schema) in properties {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        describe(schema, &path, words);
        if let Some(words) = words.get(&path) {
            schema["description"] = json!(words);
        }
    }
}

/// The keys of the table in docs/configuration.md, each with its meaning, and its default if it has one.
fn words() -> BTreeMap<String, String> {
    let mut words = BTreeMap::new();
    for row in include_str!("../../../../docs/configuration.md")
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| **`"))
    {
        let [_, keys, default, meaning, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            continue;
        };
        let default =
            if default.is_empty() { String::new() } else { format!(" Default: {}.", plain(default)) };
        let meaning = plain(meaning);
        for key in keys.split('`').skip(1).step_by(2).filter(|_| !meaning.is_empty()) {
            words.insert(key.to_owned(), format!("{meaning}.{default}"));
        }
    }
    words
}

/// Without Markdown: a link is its text.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        if let Some((words, target)) = link.split_once("](") {
            plain.push_str(words);
            rest = target.split_once(')').map_or("", |(_, rest)| rest);
        } else {
            plain.push('[');
            rest = link;
        }
    }
    plain.push_str(rest);
    plain.replace(['`', '*'], "")
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc/x-msrv.schema.json")
}

#[test]
fn the_shipped_schema_is_that_of_the_types() {
    if std::env::var_os("X_MSRV_TEST_WRITES_SCHEMA").is_some() {
        fs::write(path(), serde_json::to_string_pretty(&schema()).expect("JSON") + "\n").expect("written"); // `make man`
    }
    let shipped: Value =
        serde_json::from_str(&fs::read_to_string(path()).expect("it is shipped")).expect("JSON");
    assert!(shipped == schema(), "`make man` is needed");
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft7::new(&schema()).expect("a schema")
}

fn parsed(text: &str) -> Value {
    super::yaml::parse(text).expect("YAML")
}

#[test]
fn every_shipped_configuration_fits_it_and_every_key_has_its_words() {
    let validator = validator();
    for entry in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc")).expect("configurations")
    {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "yml") {
            let faults: Vec<_> = validator
                .iter_errors(&parsed(&fs::read_to_string(&path).expect("text")))
                .map(|fault| fault.to_string())
                .collect();
            assert_eq!(faults, Vec::<String>::new(), "{}", path.display());
        }
    }
    let schema = schema();
    let described = |path: &str| {
        let place = path.split('.').fold(&schema, |place, key| &place["properties"][key]);
        place["description"].as_str().is_some_and(|words| words.len() > 5)
    };
    for key in [
        "aerospike.use-alternate-addresses",
        "timeout",
        "nsq.topic",
        "nsq.tls.ca-file",
        "aerospike.exists",
        "history.max-age",
        "metrics.textfile",
        "log.level",
    ] {
        assert!(described(key), "{key}");
    }
}

/// What the program refuses by its shape, an editor underlines.
#[test]
fn what_is_wrong_is_found_by_an_editor_as_well() {
    let validator = validator();
    let rest = "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n";
    let fits = |more: &str| validator.is_valid(&parsed(&format!("{rest}{more}\n")));
    let right = [
        "timeout: 2s",
        "max-messages: 10",
        "max-messages: '10'",
        "history: false",
        "history: {max-age: 3d}",
        "dead-letter: log",
        "dead-letter: {nsq: {topic: t, auth-secret: {file: x}}}",
        "nsq: {topic: t, nsqd-tcp-address: 'a:1,b:2', tls: true}",
        "aerospike: {namespace: prod, set: s, key: {field: /id}, exists: create-only, address: {host: h, port: 3000}}",
        "aerospike: {namespace: prod, set: s, ttl: never}",
        "aerospike: {namespace: prod, set: s, ttl: 1.5h}",
        "aerospike: {namespace: prod, set: {field: /type, allowed: [a, b]}, ttl: {field: /expires-in, default: never}}",
        "aerospike: {namespace: prod, set: {field: /type, allowed: 'a,b'}, key: {fields: [/tenant, /id]}, use-alternate-addresses: true}",
    ];
    let wrong = [
        "timeouts: 2s",
        "timeout: 2",
        "max-messages: -1",
        "history: {max-ages: 3d}",
        "dead-letter: none",
        "nsq: {nsqd-tcp-address: ['a:1']}",
        "aerospike: {namespace: prod, set: s, exists: never}",
        "aerospike: {namespace: prod, set: s, ttl: nevr}",
        "aerospike: {namespace: prod, set: s, ttl: {field: /t, default: nevr}}",
        "aerospike: {namespace: prod, set: s, ttl: {default: never}}",
        "aerospike: {namespace: prod, set: {field: /type}}",
        "aerospike: {namespace: prod, set: s, key: {fields: 7}}",
        "aerospike: {namespace: prod, set: s, ttl: 2x}",
        "log: {level: loud}",
        "history: no",
        "metrics: {}",
    ];
    assert_eq!(right.iter().filter(|text| !fits(text)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(wrong.iter().filter(|text| fits(text)).collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// An editor underlined `1.5s`, which the program takes, and let `1TiB` pass, which it does not.
#[test]
fn a_text_fits_its_pattern_if_and_only_if_the_program_reads_it() {
    /// The texts on which the two do not agree.
    fn apart<T: JsonSchema + serde::de::DeserializeOwned>(texts: &str) -> Vec<&str> {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        let validator = jsonschema::draft7::new(schema.as_value()).expect("a schema");
        texts
            .split(',')
            .filter(|text| {
                validator.is_valid(&json!(text)) != serde_json::from_value::<T>(json!(text)).is_ok()
            })
            .collect()
    }
    let durations = "2s,1.5s,1. 5 s,500ms,1m 30s,1m30s, 1h , 1 h 2 min,1 000s,0,00, 0,0s,1M,1µs,1us,7nsec,2days,1week,3wks,2yrs,1y,1months,30d\n,\
        ,2,2x,2S,1m 30,1.s,.5s,1..5s,1.5.2s,-1s,+1s,1s 2x,1mm,s,1s;,1m s,1μs,soon,1_000s,0x1s,1 5";
    assert_eq!(apart::<Span>(durations), Vec::<&str>::new());
    let sizes = "0,7,+7,007,1KiB,2 MiB,1g,1K,1kib,5b,5 B,1MiB ,1GIB,,-1, 1,1TiB,1.5MiB,MiB,1MB,1ki,1 k i b,1KiBs,1_000,0x10,1KiB\n,many";
    assert_eq!(apart::<Size>(sizes), Vec::<&str>::new());
    assert_eq!(apart::<Whole>("0,10,+10,010,,-1,1.5, 1,1 ,ten,1_000,0x10,1e3,1\n"), Vec::<&str>::new());
    assert_eq!(apart::<Flag>("true,false,,True,yes,no,on,1"), Vec::<&str>::new());
    assert_eq!(
        apart::<OnOrSection<BTreeMap<String, String>>>("true,false,,True,yes,no,on,1"),
        Vec::<&str>::new()
    );
}

#[test]
fn the_words_of_the_table_are_without_marks() {
    assert_eq!(plain("a `key` ([TLS](#tls)), or [x, **y**](z)"), "a key (TLS), or x, y");
    assert_eq!(
        words().get("timeout").map(String::as_str),
        Some("no message is taken after this time. Default: 2s.")
    );
}
