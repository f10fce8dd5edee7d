//! The section `fields`: which fields of a message are stored and under which names, from the configuration
//! to the output of `records`.

use std::time::SystemTime;

use serde_json::{Value, json};
use x_msrv_net::address::HostPort;

use crate::support::{
    aerospike::{Rule, StandIn, Then, When},
    block_on,
    nsqd::Nsqd,
    program::{Ended, Program},
    real_aerospike, wait_until,
};

const EMBEDDED: &str = "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n";

/// A section with every one of its keys.
const FIELDS: &str = "fields:
  include: [id, customer]
  exclude: [/customer/card]
  flatten: _
  rename: {customer_name: who}
  constant: {source: web, version: 2}
  metadata: {queued-at: timestamp, tries: attempts, from: topic}
  on-long-name: hash
";

const ORDER: &str = r#"{"id":7,"debug":true,"noise":[1],"customer":{"name":"Ada","card":"4111","address":{"city":"London"}}}"#;

/// The output of `records`, without keys.
fn shown(program: &Program) -> Vec<Value> {
    let records = program.run(&["records"]);
    assert_eq!(records.code, Some(0), "{}", records.stderr);
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        assert!(record.as_object_mut().expect("an object").remove("gid").is_some(), "{line}");
        record
    };
    records.stdout.lines().map(record).collect()
}

/// Rules that work alone could disturb each other.
#[test]
fn a_section_with_every_key_gives_the_described_record() {
    let program = Program::new(&format!("{EMBEDDED}{FIELDS}"));
    let before = now();
    program.run_with_input(&["send"], ORDER.as_bytes());
    let after = now();
    assert_eq!(program.drain(&[])["stored"], 1);
    let mut records = shown(&program);
    let published = records[0].as_object_mut().and_then(|record| record.remove("queued-at")?.as_i64());
    assert!(
        published.is_some_and(|published| (before..=after).contains(&published)),
        "{before} {published:?} {after}"
    );
    let record = json!({"id": 7, "who": "Ada", "customer_address_city": "London", "source": "web", "version": 2, "tries": 1});
    assert_eq!(records, [record], "the embedded queue has no topic, and SQLite takes long names");
}

/// From nsqd into a store at `host`, in a separate set.
fn scene(host: &HostPort, fields: &str) -> (Nsqd, Program) {
    let nsqd = Nsqd::start();
    let set = format!("fields-{:016x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ()));
    let program = Program::new(&format!(
        "idle-timeout: 300ms\nnsq: {{nsqd-tcp-address: ['{}'], topic: orders, channel: c}}\n\
         aerospike: {{hosts: ['{host}'], namespace: test, set: {set}}}\n{fields}",
        nsqd.tcp
    ));
    (nsqd, program)
}

/// The real server that the environment names, or the stand-in.
fn server(stand_in: &StandIn) -> HostPort {
    real_aerospike().unwrap_or_else(|| stand_in.address().to_string().parse().expect("an address"))
}

fn now() -> i64 {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    since_epoch.as_millis().try_into().expect("not so soon")
}

/// Aerospike refuses bin names of more than 15 bytes.
#[test]
fn metadata_from_nsqd_is_stored_and_long_names_are_shortened_to_bins() {
    let stand_in = block_on(StandIn::start());
    let (nsqd, program) = scene(&server(&stand_in), FIELDS);
    let before = now();
    nsqd.publish("orders", [ORDER]);
    let after = now();
    assert_eq!(program.drain(&[])["stored"], 1);
    let mut records = shown(&program);
    let published = records[0].as_object_mut().and_then(|record| record.remove("queued-at")?.as_i64());
    assert!(
        published.is_some_and(|published| (before..=after).contains(&published)),
        "{before} {published:?} {after}"
    );
    // printf %s customer_address_city | sha256sum
    let record = json!({"id": 7, "who": "Ada", "custom~92d0a564": "London", "source": "web", "version": 2, "tries": 1, "from": "orders"});
    assert_eq!(records, [record]);
}

/// The age is that of the message, and not of its last delivery.
#[test]
fn a_redelivered_message_keeps_its_time_and_has_one_more_attempt() {
    let stand_in = block_on(StandIn::start());
    let address = stand_in.address().to_string().parse().expect("an address");
    let (nsqd, program) = scene(&address, "fields: {metadata: {at: timestamp, tries: attempts}}\n");
    nsqd.publish("orders", ["{}"]);
    let after = now();
    stand_in.rule(Rule::once(When::Write, Then::Answer(14)));
    let ended = program.run(&[]);
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    wait_until("the delay is over", || nsqd.depths("orders").waiting == 1);
    assert_eq!(program.drain(&[])["stored"], 1);
    let records = shown(&program);
    assert_eq!(records[0]["tries"], 2);
    assert!(records[0]["at"].as_i64().is_some_and(|at| at <= after), "{records:?}, published before {after}");
}

/// Otherwise one of the two values would be lost silently.
#[test]
fn two_fields_with_one_name_are_a_dead_letter_with_the_published_body() {
    let program =
        Program::new(&format!("{EMBEDDED}fields: {{include: [a, b], flatten: _, rename: {{b: a_b}}}}\n"));
    let body = r#"{"a":{"b":1},"b":2,"c":3}"#;
    program.run_with_input(&["send"], format!("{body}\n{{\"b\":2,\"c\":3}}\n").as_bytes());
    let report = program.drain(&[]);
    assert_eq!(
        (&report["stored"], &report["rejected"], &report["reasons"]["duplicate-field"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let letter = program.letters().remove(0);
    assert_eq!(
        (&letter["reason"], &letter["detail"]),
        (&json!("duplicate-field"), &json!("two fields get the same name `a_b`"))
    );
    assert_eq!(letter["body"], body);
    assert_eq!(shown(&program), [json!({"a_b": 2})]);
}

/// Otherwise a message that only counts by its key would be lost.
#[test]
fn a_message_without_remaining_fields_is_a_record_with_its_key() {
    let fields = "fields: {include: [id]}\n";
    let program = Program::new(&format!("{EMBEDDED}{fields}"));
    program.run_with_input(&["send"], b"{\"a\":1}\n");
    assert_eq!(program.drain(&[])["stored"], 1);
    assert_eq!(shown(&program), [json!({})]);
    let stand_in = block_on(StandIn::start());
    let (nsqd, program) = scene(&server(&stand_in), fields);
    nsqd.publish("orders", ["{\"a\":1}"]);
    assert_eq!(program.drain(&[])["stored"], 1);
    assert_eq!(shown(&program), [json!({})]);
}

/// Otherwise a field that is not stored could not be the key, and a renamed field would silently give another
/// key.
#[test]
fn the_key_is_taken_from_the_published_message() {
    let program = Program::new(&format!(
        "{}fields: {{rename: {{id: number}}, exclude: [/order/id]}}\n",
        EMBEDDED.replace("set: s", "set: s, key: {field: /order/id}")
    ));
    program.run_with_input(&["send"], b"{\"order\":{\"id\":\"x\",\"n\":1},\"id\":7}\n");
    program.drain(&[]);
    assert_eq!(program.run(&["records"]).stdout, "{\"gid\":\"x\",\"order\":{\"n\":1},\"number\":7}\n");
}

fn check(fields: &str, store: &str) -> Ended {
    Program::new(&format!("embedded-queue: {{path: q}}\n{store}\nfields: {fields}\n")).run(&["check"])
}

const SQLITE: &str = "sqlite: {path: s, set: s}";
const AEROSPIKE: &str = "aerospike: {hosts: ['h:3000'], namespace: test, set: s}";

/// Otherwise every message would become a dead letter, or a rule would silently have no effect.
#[test]
fn a_fault_in_the_section_is_exit_78_with_the_path_of_the_key() {
    let long = "a-name-of-16-byt";
    let table: [(&str, &str, &str); 27] = [
        (SQLITE, "", "fields: has no value; set one or remove the key"),
        (SQLITE, "{inclode: [a]}", "fields.inclode: unknown key `inclode`; did you mean `include`?"),
        (SQLITE, "{include: }", "fields.include: has no value"),
        (SQLITE, "{include: []}", "fields.include: the list is empty; omit this key to store all fields"),
        (SQLITE, "{include: ['']}", "fields.include[0]: a name is empty"),
        (SQLITE, "{include: [1]}", "fields.include[0]: `1` is not text; put it in quotes"),
        (
            SQLITE,
            "{exclude: [/a~b]}",
            "fields.exclude[0]: `/a~b` is not a JSON pointer: ~ must be followed by 0 (for ~) or 1 (for /)",
        ),
        (
            SQLITE,
            "{include: [a, /b/c], exclude: [b]}",
            "fields.exclude: `b` excludes `/b/c`, which `fields.include` includes",
        ),
        (SQLITE, "{flatten: ''}", "fields.flatten: is empty; the names of nested fields would be ambiguous"),
        (SQLITE, "{flatten: true}", "fields.flatten: `true` is not text; put it in quotes"),
        (SQLITE, "{rename: [a, b]}", "fields.rename: a list is not a map of names to values"),
        (SQLITE, "{rename: {a: 7}}", "fields.rename.a: `7` is not text"),
        (SQLITE, "{rename: {a: ''}}", "fields.rename.a: a name is empty"),
        (SQLITE, "{rename: {a: gid}}", "fields.rename.a: `gid` is reserved for the record's key"),
        (
            SQLITE,
            "{rename: {/a/b: c}}",
            "fields.rename./a/b: is inside an object, and only top-level fields can be renamed",
        ),
        (
            SQLITE,
            "{rename: {a: b, /a: c}}",
            "fields.rename.a: is a duplicate: given as a name and as a JSON pointer",
        ),
        (
            SQLITE,
            "{constant: {a: [1]}}",
            "fields.constant.a: a list is not text, a signed 64-bit number, true or false",
        ),
        (
            SQLITE,
            "{constant: {a: 9223372036854775808}}",
            "fields.constant.a: `9223372036854775808` is not text, a signed 64-bit number",
        ),
        (SQLITE, "{constant: {gid: 1}}", "fields.constant.gid: `gid` is reserved for the record's key"),
        (
            SQLITE,
            "{metadata: {at: time}}",
            "fields.metadata.at: unknown word \"time\", allowed: `timestamp`, `attempts`, `topic`, `source` or `id`",
        ),
        (
            SQLITE,
            "{metadata: {a: id}, constant: {a: 1}}",
            "fields.metadata.a: the name `a` is already given by `fields.constant.a`",
        ),
        (
            SQLITE,
            "{rename: {b: a}, constant: {a: 1}}",
            "fields.constant.a: the name `a` is already given by `fields.rename.b`",
        ),
        (
            SQLITE,
            "{on-long-name: cut}",
            "fields.on-long-name: unknown word \"cut\", allowed: `reject` or `hash`",
        ),
        (
            AEROSPIKE,
            "{constant: {a-name-of-16-byt: 1}}",
            "fields.constant.a-name-of-16-byt: the field name `a-name-of-16-byt` has 16 bytes",
        ),
        (
            AEROSPIKE,
            "{metadata: {a-name-of-16-byt: id}}",
            "fields.metadata.a-name-of-16-byt: the field name `a-name-of-16-byt` has 16 bytes",
        ),
        (
            AEROSPIKE,
            "{rename: {a: a-name-of-16-byt}}",
            "fields.rename.a: the field name `a-name-of-16-byt` has 16 bytes (limit for a bin name: 15)",
        ),
        (
            AEROSPIKE,
            "{rename: {a: \"x\\0y\"}, on-long-name: hash}",
            "fields.rename.a: the field name `x y` contains a NUL, which ends a bin name",
        ),
    ];
    for (store, fields, fault) in table {
        let ended = check(fields, store);
        assert_eq!(ended.code, Some(78), "{fields}: {}", ended.stdout);
        assert!(ended.stderr.contains(&format!("x-msrv.yml: {fault}")), "{fields}: {}", ended.stderr);
    }
    for (store, rule) in [(SQLITE, "reject"), (SQLITE, "hash"), (AEROSPIKE, "hash")] {
        let ended = check(&format!("{{constant: {{{long}: 1}}, on-long-name: {rule}}}"), store);
        assert_eq!(ended.code, Some(0), "{rule}: {}", ended.stderr);
    }
}

/// Otherwise a user could not copy the output into a configuration.
#[test]
fn check_shows_the_section_in_a_form_that_loads() {
    let section = "{exclude: [a, /b/c, 'd, e'], flatten: ., rename: {/: none, x: 'y z'}, constant: {a: 7, b: '7', c: 7.0, d: true}, metadata: {t: topic}}";
    let lines = |ended: &Ended| {
        ended.stdout.lines().filter(|line| line.starts_with("fields.")).map(str::to_owned).collect::<Vec<_>>()
    };
    let ended = check(section, SQLITE);
    let shown = lines(&ended);
    assert_eq!(
        shown,
        [
            r#"fields.exclude: [a, /b/c, "d, e"]"#,
            "fields.flatten: .",
            r#"fields.rename: {"/":"none","x":"y z"}"#,
            r#"fields.constant: {"a":7,"b":"7","c":7.0,"d":true}"#,
            r#"fields.metadata: {"t":"topic"}"#,
            "fields.on-long-name: reject",
        ],
        "{}",
        ended.stderr
    );
    let again: Vec<_> = shown.iter().map(|line| line.trim_start_matches("fields.")).collect();
    assert_eq!(lines(&check(&format!("\n  {}", again.join("\n  ")), SQLITE)), shown);
    assert_eq!(lines(&Program::new(EMBEDDED).run(&["check"])), [""; 0], "without a section none is shown");
    let hashed = check("{constant: {customer-address-line-1: 1}, on-long-name: hash}", AEROSPIKE);
    assert!(hashed.stdout.contains(r#"fields.constant: {"custom~42301b79":1}"#), "{}", hashed.stdout);
}

/// Otherwise a container could not set these keys without a file.
#[test]
fn the_environment_sets_lists_single_names_and_whole_tables() {
    let program = Program::new(&format!("{EMBEDDED}fields: {{constant: {{old: 1}}}}\n"))
        .env("X_MSRV__FIELDS__INCLUDE", "id, /c/name")
        .env("X_MSRV__FIELDS__RENAME", r#"{"ID":"i","id":"Id"}"#)
        .env("X_MSRV__FIELDS__RENAME__LONG_NAME", "short")
        .env("X_MSRV__FIELDS__CONSTANT__VERSION", "2")
        .env("X_MSRV__FIELDS__METADATA__TRIES", "attempts")
        .env("X_MSRV__FIELDS__ON_LONG_NAME", "hash");
    let shown = program.run(&["check"]).stdout;
    for line in [
        "fields.include: [id, /c/name]",
        r#"fields.rename: {"ID":"i","id":"Id","long-name":"short"}"#,
        r#"fields.constant: {"old":1,"version":"2"}"#,
        r#"fields.metadata: {"tries":"attempts"}"#,
        "fields.on-long-name: hash",
    ] {
        assert!(shown.contains(&format!("{line}\n")), "{line} in {shown}");
    }
    for (variable, value, fault) in [
        ("X_MSRV__FIELDS__RENAME", "a", r#"fields.rename: `a` is not a JSON object such as {"a":"b"}"#),
        (
            "X_MSRV__FIELDS__CONSTANT",
            "[1]",
            r#"fields.constant: `[1]` is not a JSON object such as {"a":"b"}"#,
        ),
        (
            "X_MSRV__FIELDS__METADATA__AT",
            "time",
            "fields.metadata.at: unknown word \"time\", allowed: `timestamp`, `attempts`, `topic`, `source` or `id`",
        ),
    ] {
        let ended = Program::new(EMBEDDED).env(variable, value).run(&["check"]);
        assert!(
            ended.code == Some(78)
                && ended.stderr.contains(&format!("environment variable {variable}: {fault}")),
            "{}",
            ended.stderr
        );
    }
}

/// The formats must have the same meaning here as well.
#[test]
fn the_section_can_be_written_in_toml_and_json() {
    let toml = "[embedded-queue]\npath = \"queue.db\"\n[sqlite]\npath = \"store.db\"\nset = \"s\"\n[fields]\ninclude = [\"a\"]\n[fields.rename]\na = \"b\"\n";
    let json = r#"{"embedded-queue":{"path":"queue.db"},"sqlite":{"path":"store.db","set":"s"},"fields":{"include":["a"],"rename":{"a":"b"}}}"#;
    for (name, text) in [("x-msrv.toml", toml), ("x-msrv.json", json)] {
        let program = Program::new("");
        program.write(name, text);
        let ended = program.bare(&["check", "-c", name]);
        assert!(
            ended.stdout.contains("fields.include: [a]\nfields.rename: {\"a\":\"b\"}\n"),
            "{name}: {}",
            ended.stderr
        );
    }
}
