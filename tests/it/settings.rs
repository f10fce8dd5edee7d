//! Settings by their descriptions: all faults of a configuration are reported at once, at every key.

use std::path::Path;

use serde_json::{Map, Value, json};
use x_msrv::adapters;
use x_msrv_config::{self as config, ConfigError, Overrides};
use x_msrv_settings::{Fault, Key, Kind, Known, Origins, Places, Presence, Reader};

use crate::support::program::Program;

/// Otherwise a user would fix one fault per run.
#[test]
fn all_faults_of_file_environment_and_flags_are_reported_at_once_each_on_its_own_line() {
    let text = "\
perod: 5s
timeout: 2
max-messages: 0
max-message-size: 2GiB
content-encoding: zip
schema:
fields: {include: [], rename: {/a/b: c}, metadata: {at: time}, on-long-nam: hash}
nsq: {topic: 'a b', nsqd-tcp-address: [a:1, b, 'http://c:4150/'], channel: 7, tls: {insecure-skip-verify: maybe}}
aerospike: {hosts: [h:1], namespace: 'n:', set: {field: id, allowed: []}, ttl: 1y, user: u, exists: replce}
dead-letter: {file: {path: d/, max-files: 0, max-age: 0s}}
history: {max-runs: many}
metrics: {textfile: x.txt}
log: {level: loud, format: json, target: syslog}
";
    let program = Program::new(text)
        .env("X_MSRV__NSQ__MAX_IN_FLIGHT", "many")
        .env("X_MSRV__NSQ__TOPC", "t")
        .env("X_MSRV_NSQ__CHANNEL", "c");
    let ended = program.run(&["run", "--idle-timeout", "soon"]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    let wanted = [
        "environment variable X_MSRV_NSQ__CHANNEL: unknown variable",
        "x-msrv.yml: perod: unknown key `perod`; did you mean `period`?",
        "x-msrv.yml: max-messages: 0 is not allowed, at least 1 is required",
        "x-msrv.yml: timeout: `2` is not a duration with a unit",
        "--idle-timeout: \"soon\" is not a duration",
        "x-msrv.yml: max-message-size: 2147483648 bytes is out of range: 1 to 1GiB",
        "x-msrv.yml: content-encoding: unknown word \"zip\", allowed: `identity` or `gzip`; did you mean `gzip`?",
        "x-msrv.yml: schema: has no value",
        "x-msrv.yml: fields.on-long-nam: unknown key `on-long-nam`; did you mean `on-long-name`?",
        "x-msrv.yml: fields.metadata.at: unknown word \"time\"",
        "environment variable X_MSRV__NSQ__TOPC: nsq.topc: unknown key `topc`; did you mean `topic`?",
        "x-msrv.yml: nsq.nsqd-tcp-address[1]: `b` is not HOST:PORT",
        "x-msrv.yml: nsq.nsqd-tcp-address[2]: `http://c:4150/` is a URL; HOST:PORT is required: `c:4150`",
        "x-msrv.yml: nsq.topic: `a b` is not a valid name",
        "x-msrv.yml: nsq.channel: `7` is not text",
        "environment variable X_MSRV__NSQ__MAX_IN_FLIGHT: nsq.max-in-flight: \"many\" is not a non-negative whole number",
        "x-msrv.yml: nsq.tls.insecure-skip-verify: \"maybe\" is not true or false",
        "x-msrv.yml: aerospike.namespace: `n:` is not a valid name",
        "x-msrv.yml: aerospike.set.field: `id` is not a JSON pointer",
        "x-msrv.yml: aerospike.set.allowed: the list is empty",
        "x-msrv.yml: aerospike.exists: unknown word \"replce\", allowed: `replace`, `create-only` or `update`; did you mean `replace`?",
        "x-msrv.yml: aerospike.ttl: `1y` is in years",
        "x-msrv.yml: dead-letter.file.path: `d/` is not a file name",
        "x-msrv.yml: dead-letter.file.max-files: 0 is not allowed",
        "x-msrv.yml: dead-letter.file.max-age: `0s` is out of range",
        "x-msrv.yml: history.max-runs: \"many\" is not a non-negative whole number",
        "x-msrv.yml: metrics.textfile: `x.txt` does not end in .prom",
        "x-msrv.yml: log.level: unknown word \"loud\"",
    ];
    let lines: Vec<_> = ended.stderr.lines().map(|line| line.strip_prefix("x-msrv: ").expect(line)).collect();
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.starts_with(wanted), "{wanted}\nis not the beginning of\n{line}");
    }
}

/// Otherwise rules between sections would be checked only after each section is valid.
#[test]
fn faults_between_sections_are_in_the_same_list_as_those_within() {
    let text = "\
max-messages: 5
embedded-queue: {path: a.db, max-messages: 6}
nsq: {nsqd-tcp-address: ['h:1'], topic: t}
sqlite: {path: a.db, set: s}
aerospike: {hosts: [h:1], namespace: n, set: s, password: p, auth-mode: external}
dead-letter: {nsq: {topic: t}}
history: false
metrics: {textfile: m.prom}
log: {format: json, target: syslog}
period: soon
";
    let ended = Program::new(text).run(&["check"]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    for wanted in [
        "max-messages: 5 here, but 6 in `embedded-queue.max-messages`; set it once",
        "embedded-queue: there is also a section `nsq`: only one queue can be read",
        "sqlite: there is also a section `aerospike`: only one store can be written",
        "aerospike: `user` and `password` must be set together",
        "aerospike.auth-mode: `external` needs",
        "dead-letter.nsq.topic: `t` is the queue's own topic",
        "metrics.textfile: the metrics require the history",
        "log.format: `json` cannot be used",
        "period: \"soon\" is not a duration",
    ] {
        assert!(ended.stderr.contains(&format!("x-msrv.yml: {wanted}")), "{wanted}: {}", ended.stderr);
    }
}

/// Returns a value at this path of keys.
fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, key| json!({ key: value }))
}

/// The faults of a pipeline with this addition, which may be in a section of the pipeline.
fn faults(folder: &Path, more: &Value) -> Vec<Fault> {
    fn merge(into: &mut Map<String, Value>, more: &Map<String, Value>) {
        for (key, value) in more {
            match (into.get_mut(key), value) {
                (Some(Value::Object(inner)), Value::Object(value)) => merge(inner, value),
                _ => drop(into.insert(key.clone(), value.clone())),
            }
        }
    }
    let pipeline = json!({"embedded-queue": {"path": "q"}, "sqlite": {"path": "s", "set": "s"}});
    let Value::Object(mut tree) = pipeline else { panic!("an object") };
    merge(&mut tree, more.as_object().expect("an object"));
    let path = folder.join("x-msrv.json");
    std::fs::write(&path, Value::Object(tree).to_string()).expect("written");
    match config::load(adapters::ALL, Some(&path), &Overrides::default()) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Faults(faults)) => faults,
        Err(error) => panic!("{error}"),
    }
}

fn each_key(mut see: impl FnMut(&str, &'static Key)) {
    let known = config::known(adapters::ALL);
    let mut count = 0;
    known.visit(&mut |path, key| {
        count += 1;
        see(path, key);
    });
    assert!(count > 80, "{count}");
}

/// A value that no key of this kind accepts.
fn wrong(kind: &Kind) -> Value {
    match kind {
        Kind::Whole | Kind::Span | Kind::Size | Kind::Flag | Kind::Address | Kind::Section(_) => {
            json!("wrong")
        }
        Kind::List(_) | Kind::Choice(_) | Kind::OnOr(_) | Kind::WordOr(..) | Kind::TextOr(..) => json!(47.5),
        Kind::Text | Kind::Path { .. } | Kind::Secret { .. } => json!(7),
        Kind::Scalar | Kind::Table(_) => json!(["wrong"]),
    }
}

/// Otherwise a user could not find the faulty value in a large configuration.
#[test]
fn a_fault_at_any_key_is_reported_with_the_path_of_that_key() {
    let folder = tempfile::tempdir().expect("a folder");
    each_key(|path, key| {
        for value in [wrong(&key.kind), Value::Null] {
            let found = faults(folder.path(), &at(path, value.clone()));
            assert!(found.iter().any(|fault| fault.key == path), "{path}: {value}: {found:?}");
            assert!(found.iter().all(|fault| fault.origin.ends_with("x-msrv.json")), "{found:?}");
        }
    });
}

/// Otherwise a user would have to search the documentation for a typing error.
#[test]
fn a_mistyped_key_is_reported_with_the_nearest_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let known = config::known(adapters::ALL);
    each_key(|path, key| {
        let is_word = |(below, keys): &(&str, &[Key])| {
            !below.is_empty() && keys.iter().any(|key| x_msrv_settings::join(below, key.name) == path)
        };
        if known.0.iter().any(is_word) {
            return; // an adapter's word of a choice
        }
        let mistyped = format!("{}x", key.name);
        let other = path.strip_suffix(key.name).expect("its last step").to_owned() + &mistyped;
        let found = faults(folder.path(), &at(&other, json!("x")));
        let wanted = format!("unknown key `{mistyped}`; did you mean `{}`?", key.name);
        assert!(found.iter().any(|fault| fault.key == other && fault.fault == wanted), "{other}: {found:?}");
        // A word is reported with the nearest one as well.
        if let Kind::Choice(words) = key.kind {
            for word in words {
                let found = faults(folder.path(), &at(path, json!(format!("{}x", word.name))));
                let wanted = format!("did you mean `{}`?", word.name);
                assert!(
                    found.iter().any(|fault| fault.key == path && fault.fault.ends_with(&wanted)),
                    "{path}: {found:?}"
                );
            }
        }
    });
}

/// The shipped configuration, the man page and editors show the descriptions.
#[test]
fn every_default_and_every_example_can_be_read() {
    let (places, origins, known) = (Places::default(), Origins::default(), Known::default());
    each_key(|path, key| {
        let check = |value: &Value| {
            let mut reader = Reader::new(&places, &origins, &known);
            assert!((key.check)(value, &mut reader), "{path}: {value}: {:?}", reader.faults());
        };
        if !key.example.is_empty() {
            check(&serde_saphyr::from_str(key.example).expect(path));
        }
        if let Presence::Default(default) = key.presence
            && path != "dead-letter"
        {
            check(&json!(default));
        }
    });
}
