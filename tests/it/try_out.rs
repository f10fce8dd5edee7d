//! `x-msrv try`: the result for sample messages, without queue and store.

use serde_json::{Value, json};

use crate::support::program::{Ended, Program};

/// Bodies of every kind, one per line.
const SAMPLES: &[u8] = b"{\"id\":1,\"customer\":{\"name\":\"Ada\"},\"debug\":true}\n\n{\"id\":2,\"n\":9223372036854775808}\r\n[]\n{a\n\xff\n\
    {\"id\":3,\"id\":3}\n{\"n\":1}\n{\"id\":4,\"gid\":5}\n{\"id\":\"text\",\"f\":1.50}\n{\"id\":5,\"text\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}\n";

const CONFIGURATION: &str = "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s, key: {field: /id}}\nmax-messages: 100\n\
    max-message-size: 60\nschema: schema.json\nfields: {exclude: [debug], flatten: _, constant: {source: web}}\n";

fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Otherwise a tested sample and a sent message could have different results.
#[test]
fn try_shows_the_result_that_a_run_gives() {
    let program = Program::new(CONFIGURATION);
    program.write("schema.json", r#"{"properties":{"n":{"type":"integer"},"f":{"maximum":2}}}"#);
    std::fs::write(program.path("samples"), SAMPLES).expect("written");
    let tried = program.run(&["try", "samples", "--json"]);
    assert!(tried.code == Some(65) && tried.stderr.contains("8 of 10 lines would be rejected"), "{tried:?}");
    assert!(
        !program.path("queue.db").exists()
            && !program.path("store.db").exists()
            && !program.path("dead-letter.ndjson").exists()
    );
    let tried = lines(&tried);
    assert_eq!(
        tried.iter().map(|tried| tried["line"].as_u64()).collect::<Vec<_>>(),
        [1, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(Some)
    );

    program.run(&["send", "samples"]);
    program.drain(&[]);
    let would_be = tried.iter().filter(|tried| tried["reason"].is_null());
    let text = |key: &Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    assert_eq!(
        would_be.map(|tried| (text(&tried["key"]), tried["record"].clone())).collect::<Vec<_>>(),
        program.rows("s")
    );
    let ends = |letters: &[Value]| {
        let mut ends: Vec<_> = letters
            .iter()
            .map(|letter| [letter["reason"].to_string(), letter["detail"].to_string()])
            .collect();
        ends.sort();
        ends
    };
    let rejected: Vec<_> = tried.into_iter().filter(|tried| !tried["reason"].is_null()).collect();
    assert_eq!(ends(&rejected), ends(&program.letters()));
}

/// Otherwise a sample could pass `try` and become a dead letter in a run.
#[test]
fn try_needs_no_server_and_checks_the_limits_of_the_store() {
    let program = Program::new(
        "nsq: {nsqd-tcp-address: ['127.0.0.1:1'], topic: orders, channel: c}\naerospike: {hosts: ['127.0.0.1:1'], namespace: n, set: s}\n\
         fields: {metadata: {at: timestamp, tries: attempts, from: topic, by: source}}\n",
    );
    let ended = program.run_with_input(&["try", "--json"], b"{\"id\":1}\n{\"customer-address-line-1\":1}\n");
    assert_eq!(ended.code, Some(65), "{ended:?}");
    let tried = lines(&ended);
    assert_eq!(
        tried[0]["key"], "orders@<nsqd>/<id>/<time>",
        "parts that only the queue knows are placeholders"
    );
    let record = &tried[0]["record"];
    assert_eq!(
        (&record["id"], &record["tries"], &record["from"], &record["by"]),
        (&json!(1), &json!(1), &json!("orders"), &json!("orders@<nsqd>"))
    );
    assert!(record["at"].as_u64().is_some_and(|time| time > 1_700_000_000_000));
    let detail = "refused by the store: the field name `customer-address-line-1` has 23 bytes (limit for a bin name: 15)";
    assert_eq!(tried[1], json!({"line": 2, "reason": "refused", "detail": detail}));
    let shown = program.run_with_input(&["try"], b"{\"id\":1}\n[]\n");
    assert!(
        shown.stdout.starts_with("line 1: {\"gid\":\"orders@<nsqd>/<id>/<time>\",\"id\":1,"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stdout.ends_with("line 2: not-object: expected a JSON object, found an array\n"),
        "{}",
        shown.stdout
    );
}

/// A script needs the result without parsing the output.
#[test]
fn the_exit_code_shows_whether_all_samples_were_read_and_would_be_stored() {
    let program = Program::new("embedded-queue: {path: q}\nsqlite: {path: s, set: s}\n");
    let all = program.run_with_input(&["try", "-"], b"{}\n{\"a\":1}\n");
    assert_eq!(
        (all.code, all.stderr.as_str()),
        (Some(0), "lines tried: 2, all of them would be stored\n"),
        "{all:?}"
    );
    let nothing = program.run_with_input(&["try"], b"\n");
    assert_eq!((nothing.code, nothing.stderr.as_str()), (Some(0), "lines tried: 0\n"));
    let missing = program.run(&["try", "./nonesuch"]);
    assert!(missing.code == Some(66) && missing.stderr.contains("cannot open ./nonesuch"), "{missing:?}");
    let wrong = program.env("X_MSRV__SCHEMA", "nonesuch.json").run_with_input(&["try"], b"{}\n");
    assert_eq!(wrong.code, Some(78), "{wrong:?}");
}

/// `tail -f | x-msrv try` would otherwise show nothing until its buffer is full.
#[test]
fn each_line_is_shown_as_soon_as_it_arrives() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let program = Program::new("embedded-queue: {path: q}\nsqlite: {path: s, set: s}\n");
    let mut child = program.spawn_with_input(&["try"]);
    let (mut input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut output = BufReader::new(output);
    for number in 1..=3 {
        writeln!(input, "{{\"a\":{number}}}").expect("it reads");
        let mut line = String::new();
        output.read_line(&mut line).expect("it writes");
        assert_eq!(line, format!("line {number}: {{\"gid\":\"<queue>/<id>/<time>\",\"a\":{number}}}\n"));
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
}
