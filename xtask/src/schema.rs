//! `etc/x-msrv.schema.json`, a JSON Schema for editors.

use serde_json::{Map, Value, json};
use x_msrv_core::adapter::Adapters;
use x_msrv_settings::{Bounds, Key, Kind, Presence};

use crate::tables::{default, plain};

/// The pattern of a duration: numbers with units; a zero needs no unit.
const DURATION: &str = concat!(
    r"^(0|\s*([0-9][0-9\s]*(\.\s*[0-9][0-9\s]*)?",
    "(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h",
    "|days|day|d|weeks|week|wks|wk|w)",
    r"\s*)+)$"
);

pub(crate) fn text(adapters: Adapters) -> String {
    serde_json::to_string_pretty(&schema(adapters)).expect("text keys") + "\n"
}

fn schema(adapters: Adapters) -> Value {
    let known = x_msrv_config::known(adapters);
    let mut root = section(known.0.iter().filter(|(below, _)| below.is_empty()).flat_map(|(_, keys)| *keys));
    // The choices that adapters add to another section.
    for (below, keys) in known.0.iter().filter(|(below, _)| !below.is_empty()) {
        for key in *keys {
            choices(&mut root, below).push(choice(key.name, &described(key)));
        }
    }
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("x-msrv.yml");
    root
}

/// Returns the choices of the key with this path; a choice may itself have choices.
fn choices<'a>(root: &'a mut Value, path: &str) -> &'a mut Vec<Value> {
    let mut place = root;
    for (index, step) in path.split('.').enumerate() {
        if index > 0 {
            let choices = place["oneOf"].as_array_mut().expect("a choice");
            let has_step = |choice: &&mut Value| choice["properties"].get(step).is_some();
            place = choices.iter_mut().find(has_step).expect("a known word");
        }
        place = &mut place["properties"][step];
    }
    if place.get("oneOf").is_none() {
        *place = json!({ "oneOf": [] }); // a section whose keys all come from adapters
    }
    place["oneOf"].as_array_mut().expect("a list")
}

fn section<'a>(keys: impl Iterator<Item = &'a Key> + Clone) -> Value {
    let properties: Map<_, _> = keys.clone().map(|key| (key.name.to_owned(), described(key))).collect();
    let required: Vec<_> =
        keys.filter(|key| key.presence == Presence::Required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Returns the schema of a key with its documentation and its default.
fn described(key: &Key) -> Value {
    let mut schema = of_kind(&key.kind, key.bounds);
    let default = match default(key) {
        words if words.is_empty() => String::new(),
        words => format!(" Default: {}.", plain(&words)),
    };
    schema["description"] = json!(format!("{}{default}", plain(key.doc).replace("\n\n", " ")));
    if !key.example.is_empty() && matches!(key.kind, Kind::Text | Kind::Address | Kind::Path { .. }) {
        schema["examples"] = json!([key.example.trim_matches('"')]);
    }
    schema
}

fn choice(word: &str, value: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": [word], "properties": { word: value } })
}

fn of_kind(kind: &Kind, bounds: Bounds) -> Value {
    match kind {
        Kind::Whole => number(json!({ "type": ["integer", "string"], "pattern": r"^\+?[0-9]+$" }), bounds),
        Kind::Span => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size => number(
            json!({
                "type": ["integer", "string"],
                "pattern": r"^\+?[0-9]+ *([bB]|[kKmMgG]([iI][bB])?)? *$",
            }),
            bounds,
        ),
        Kind::Flag => json!({ "type": ["boolean", "string"], "enum": [true, false, "true", "false"] }),
        Kind::Text | Kind::Address | Kind::Path { .. } => json!({ "type": "string", "minLength": 1 }),
        Kind::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Kind::List(element) => {
            let mut list = json!({ "type": ["array", "string"], "items": of_kind(element, Bounds::NONE) });
            if bounds.min > 0 {
                list["minItems"] = json!(bounds.min);
            }
            list
        }
        Kind::Table(value) => {
            json!({ "type": "object", "additionalProperties": of_kind(value, Bounds::NONE) })
        }
        Kind::Secret { .. } => json!({ "anyOf": [
            { "type": "string", "minLength": 1 },
            choice("credential", &json!({ "type": "string" })),
            choice("file", &json!({ "type": "string" })),
        ]}),
        Kind::Choice(words) => {
            let units: Vec<_> =
                words.iter().filter(|word| word.value.is_none()).map(|word| word.name).collect();
            let units = json!({ "enum": units });
            let values = words.iter().filter_map(|word| {
                let (kind, bounds) = word.value.as_ref()?;
                Some(choice(word.name, &of_kind(kind, *bounds)))
            });
            let values: Vec<_> = values.collect();
            if values.is_empty() {
                units
            } else {
                json!({ "oneOf": std::iter::once(units).chain(values).collect::<Vec<_>>() })
            }
        }
        Kind::WordOr(words, other) => {
            json!({ "anyOf": [{ "enum": words }, of_kind(other, Bounds::NONE)] })
        }
        Kind::Section(keys) => section(keys.iter()),
        Kind::OnOr(keys) => {
            let mut schema = section(keys.iter());
            schema["type"] = json!(["object", "boolean", "string"]);
            schema["pattern"] = json!("^(true|false)$");
            schema
        }
        Kind::TextOr(text, keys) => {
            json!({ "anyOf": [of_kind(text, Bounds::NONE), section(keys.iter())] })
        }
    }
}

fn number(mut schema: Value, Bounds { min, max }: Bounds) -> Value {
    schema["minimum"] = json!(min);
    if max < u64::from(u32::MAX) {
        schema["maximum"] = json!(max);
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::{fs, num::NonZeroU64, path::Path, time::Duration};

    use x_msrv::adapters;
    use x_msrv_settings::{Known, OnOr, Origins, Places, Reader, Setting, Settings, Size};

    use super::*;

    fn validator() -> jsonschema::Validator {
        jsonschema::draft7::new(&schema(adapters::ALL)).expect("a schema")
    }

    fn parsed(text: &str) -> Value {
        serde_saphyr::from_str(text).expect("YAML")
    }

    #[test]
    fn every_shipped_configuration_is_valid_and_every_key_is_documented() {
        let validator = validator();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc");
        for path in fs::read_dir(folder).expect("configurations").map(|entry| entry.expect("a file").path()) {
            if path.extension().is_some_and(|extension| extension == "yml") {
                let tree = parsed(&fs::read_to_string(&path).expect("text"));
                let faults: Vec<_> = validator.iter_errors(&tree).map(|fault| fault.to_string()).collect();
                assert_eq!(faults, Vec::<String>::new(), "{}", path.display());
            }
        }
        let known = x_msrv_config::known(adapters::ALL);
        let mut count = 0;
        known.visit(&mut |path, key| {
            count += 1;
            assert!(key.doc.len() > 5 && key.doc.ends_with('.'), "{path}: {:?}", key.doc);
        });
        assert!(count > 60, "{count}");
    }

    /// Otherwise an editor accepts what the program refuses.
    #[test]
    fn an_invalid_shape_is_also_found_by_an_editor() {
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
            "max-messages: 0",
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
            "history: \"no\"",
            "metrics: {}",
        ];
        assert_eq!(right.iter().filter(|text| !fits(text)).collect::<Vec<_>>(), Vec::<&&str>::new());
        assert_eq!(wrong.iter().filter(|text| fits(text)).collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    /// A section whose keys do not matter.
    #[derive(Settings)]
    struct Anything {
        /// A key.
        key: Option<String>,
    }

    /// Otherwise an editor marks `1.5s`, which the program accepts, and accepts `1TiB`, which the program
    /// refuses.
    #[test]
    fn a_text_matches_its_pattern_if_and_only_if_the_program_accepts_it() {
        /// Returns the texts on which the two disagree.
        fn apart<T: Setting>(texts: &str) -> Vec<&str> {
            let validator = jsonschema::draft7::new(&of_kind(&T::KIND, Bounds::NONE)).expect("a schema");
            let (places, origins, known) = (Places::default(), Origins::default(), Known::default());
            let is_read =
                |text: &str| T::read(&json!(text), &mut Reader::new(&places, &origins, &known)).is_some();
            texts.split(',').filter(|text| validator.is_valid(&json!(text)) != is_read(text)).collect()
        }
        let durations = "2s,1.5s,1. 5 s,500ms,1m 30s,1m30s, 1h , 1 h 2 min,1 000s,0,00, 0,0s,1M,1µs,1us,7nsec,2days,1week,3wks,2yrs,1y,1months,30d\n,\
            ,2,2x,2S,1m 30,1.s,.5s,1..5s,1.5.2s,-1s,+1s,1s 2x,1mm,s,1s;,1m s,1μs,soon,1_000s,0x1s,1 5";
        assert_eq!(apart::<Duration>(durations), Vec::<&str>::new());
        let sizes = "0,7,+7,007,1KiB,2 MiB,1g,1K,1kib,5b,5 B,1MiB ,1GIB,,-1, 1,1TiB,1.5MiB,MiB,1MB,1ki,1 k i b,1KiBs,1_000,0x10,1KiB\n,many";
        assert_eq!(apart::<Size>(sizes), Vec::<&str>::new());
        assert_eq!(apart::<u64>("0,10,+10,010,,-1,1.5, 1,1 ,ten,1_000,0x10,1e3,1\n"), Vec::<&str>::new());
        assert_eq!(apart::<NonZeroU64>("10,+10,010,,-1,1.5, 1,ten"), Vec::<&str>::new());
        assert_eq!(apart::<bool>("true,false,,True,yes,no,on,1"), Vec::<&str>::new());
        assert_eq!(apart::<OnOr<Anything>>("true,false,,True,yes,no,on,1"), Vec::<&str>::new());
    }
}
