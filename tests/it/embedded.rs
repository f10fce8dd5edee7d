//! The embedded queue and store: the program on a machine without servers.

use std::{collections::BTreeSet, process::Command};

use crate::support::{
    program::{Program, Scale, signal, wait},
    sample, wait_until,
};

const CONFIGURATION: &str =
    "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: orders}\nmax-messages: 10\n";

fn sample_path(name: &str) -> String {
    sample(name).to_str().expect("UTF-8").to_owned()
}

/// The quick start must work on a machine without servers.
#[test]
fn the_samples_are_sent_drained_in_bounded_runs_and_shown() {
    let program = Program::new(CONFIGURATION);
    let sent = program.run(&["send", "--count", "3", &sample_path("valid.ndjson")]);
    assert_eq!((sent.code, sent.stderr.as_str()), (Some(0), "messages sent: 30\n"));
    assert_eq!(program.run(&["send", &sample_path("invalid.ndjson")]).stderr, "messages sent: 3\n");
    let stored: Vec<_> = (0..5).map(|_| program.drain(&[])["stored"].as_u64().expect("a count")).collect();
    assert_eq!(stored, [10, 10, 10, 0, 0]);
    let records = program.run(&["records", "--limit", "7"]);
    let lines: Vec<serde_json::Value> =
        records.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!((lines[3]["id"].as_u64(), lines[3]["msg"].as_str()), (Some(3), Some("Some message-3")));
    assert!(lines.iter().all(|line| line["gid"].as_str().is_some_and(|key| key.starts_with("queue-"))));
    assert_eq!(program.letters().len(), 3);
}

/// Otherwise each run would create a queue at a mistyped path, find it empty, and exit 0 without a message,
/// while messages wait in the other file.
#[test]
fn a_run_reports_once_that_it_created_the_queue_and_check_reports_it_in_advance() {
    let program = Program::new(CONFIGURATION);
    let checked = program.run(&["check", "--connect"]);
    assert!(
        checked.code == Some(0) && checked.stderr.contains("the embedded queue does not exist"),
        "{}",
        checked.stderr
    );
    let created = |ended: crate::support::program::Ended| {
        ended.stderr.contains("the embedded queue did not exist and was created")
    };
    assert!(created(program.run(&["run"])));
    assert!(!created(program.run(&["run"])));
    let published = Program::new(CONFIGURATION);
    published.run_with_input(&["send"], b"{}\n");
    assert!(!created(published.run(&["run"])), "`send` has created the file");
}

/// Otherwise the line would contain the key twice, which our own rules forbid.
#[test]
fn a_key_that_the_document_contains_is_shown_once() {
    let program = Program::new(&CONFIGURATION.replace("set: orders", "set: orders, key: {field: /gid}"));
    program.run_with_input(&["send"], b"{\"gid\":7,\"a\":1}\n");
    program.drain(&[]);
    assert_eq!(program.run(&["records"]).stdout, "{\"gid\":7,\"a\":1}\n");
}

/// Two machines from one image have the same queue, which assigns the same ids to different messages. In one
/// store each would overwrite the other's records.
#[test]
fn messages_with_one_id_from_a_queue_and_its_copy_are_two_records() {
    let mut program = Program::new(CONFIGURATION);
    program.run_with_input(&["send"], b"{\"n\":0}\n");
    program.drain(&[]);
    let queue = rusqlite::Connection::open(program.path("queue.db")).expect("the queue");
    queue.execute("VACUUM INTO ?1", [program.path("copy.db").to_str().expect("UTF-8")]).expect("a copy");
    for (path, body) in [("queue.db", "{\"n\":1}"), ("copy.db", "{\"n\":2}")] {
        program.set("X_MSRV__EMBEDDED_QUEUE__PATH", path);
        program.run_with_input(&["send"], body.as_bytes());
        assert_eq!(program.drain(&[])["stored"], 1);
    }
    let rows: Vec<_> =
        program.rows("orders").into_iter().map(|(_, document)| document["n"].as_u64()).collect();
    assert_eq!(rows, [Some(0), Some(1), Some(2)]);
}

/// Its table lacks the column for the time, but the messages in it must be drained.
#[test]
fn a_queue_without_times_is_drained_and_stores_them_from_then_on() {
    let program = Program::new(CONFIGURATION);
    let queue = rusqlite::Connection::open(program.path("queue.db")).expect("a file");
    let tables = "CREATE TABLE queue (id TEXT NOT NULL) STRICT; INSERT INTO queue VALUES ('0a'); \
        CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, attempts INTEGER NOT NULL DEFAULT 0, ready_at INTEGER NOT NULL DEFAULT 0, \
        since INTEGER NOT NULL DEFAULT 0, lease INTEGER, body BLOB NOT NULL) STRICT; INSERT INTO messages (body) VALUES (x'7b7d')";
    queue.execute_batch(tables).expect("tables");
    assert_eq!(program.drain(&[])["stored"], 1);
    program.run_with_input(&["send"], b"{}\n");
    assert_eq!(program.drain(&[])["stored"], 1);
    let keys: Vec<_> = program.rows("orders").into_iter().map(|(key, _)| key).collect();
    assert!(
        keys[0] == "queue-0a/1"
            && keys[1].starts_with("queue-0a/2/")
            && keys[1].len() == "queue-0a/2/01234567".len(),
        "{keys:?}"
    );
}

/// Otherwise a user could not query the fields of the documents in SQL.
#[test]
fn documents_can_be_queried_with_the_functions_of_the_sqlite3_shell() {
    let program = Program::new(CONFIGURATION);
    program.run_with_input(&["send"], b"{\"id\":1,\"ext\":[{\"a\":2}]}\n{\"id\":2}\n");
    program.drain(&[]);
    let sql = "SELECT document ->> '$.ext[0].a' FROM orders WHERE document ->> 'id' = 1";
    let shell = Command::new("sqlite3")
        .arg(program.path("store.db"))
        .arg(sql)
        .output()
        .expect("test/prerequisites installs it");
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "2\n", "{shell:?}");
}

/// Otherwise a binary body or an empty line could end the input early.
#[test]
fn standard_input_is_sent_line_by_line_whatever_its_bytes() {
    let program = Program::new(CONFIGURATION);
    let sent = program.run_with_input(&["send", "-", "--count", "2"], b"{\"a\":1}\r\n\n\xff\xfe\n{\"a\":2}");
    assert_eq!(sent.stderr, "messages sent: 6\n");
    let report = program.drain(&[]);
    assert_eq!((report["stored"].as_u64(), report["rejected"].as_u64()), (Some(4), Some(2)));
    assert_eq!(program.letters()[0]["body-base64"], "//4=");
}

/// Otherwise each new version of a document would be another record.
#[test]
fn a_key_from_the_document_makes_later_messages_replace_earlier_ones() {
    let program = Program::new(CONFIGURATION).env("X_MSRV__SQLITE__KEY__FIELD", "/id");
    program.run_with_input(
        &["send"],
        b"{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":2}\n{\"id\":\"a\",\"n\":3}\n{\"n\":4}\n",
    );
    let report = program.drain(&[]);
    assert_eq!((report["stored"].as_u64(), report["rejected"].as_u64()), (Some(3), Some(1)));
    let rows: Vec<_> =
        program.rows("orders").into_iter().map(|(key, document)| (key, document["n"].as_u64())).collect();
    assert_eq!(rows, [("a".to_owned(), Some(3)), ("b".to_owned(), Some(2))]);
    assert_eq!(program.letters()[0]["reason"], "no-key");
}

/// Otherwise documents that do not match the schema would be stored.
#[test]
fn a_schema_decides_what_is_stored() {
    let program = Program::new(&format!("{CONFIGURATION}schema: order.json\n"));
    program.write("order.json", r#"{"required":["id"],"properties":{"id":{"type":"integer"}}}"#);
    program.run_with_input(&["send"], b"{\"id\":1}\n{\"id\":\"x\"}\n{}\n");
    let report = program.drain(&[]);
    assert_eq!((report["stored"].as_u64(), report["rejected"].as_u64()), (Some(1), Some(2)));
    assert!(program.letters()[0]["detail"].as_str().is_some_and(|detail| detail.starts_with("schema: /id:")));
    program.write("order.json", "{");
    let ended = program.run(&[]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("order.json: not valid JSON"), "{}", ended.stderr);
}

/// Otherwise a second replay would send the same messages again.
#[test]
fn replayed_dead_letters_are_sent_once() {
    let program = Program::new(CONFIGURATION);
    program.run_with_input(&["send"], b"{\"id\":\"not yet\"}\n\xff\n{a\n");
    program.drain(&[]);
    let letters = program.letters().len();
    assert_eq!(letters, 2);
    let replay = |path: &str| program.run(&["dead", "replay", path]);
    assert_eq!(replay("dead-letter.ndjson").stderr, "letters sent: 2, sent before: 0\n");
    assert_eq!(replay("dead-letter.ndjson").stderr, "letters sent: 0, sent before: 2\n");
    let report = program.drain(&[]);
    assert_eq!(report["rejected"], 2, "they are still invalid and become new dead letters");
    assert_eq!(replay("dead-letter.ndjson").stderr, "letters sent: 2, sent before: 2\n");
    let letters = program.letters();
    assert!(letters.iter().all(|letter| letter["replayed"].is_string()));
    assert_eq!(
        letters.iter().filter(|letter| letter["body-base64"] == "/w==").count(),
        2,
        "bytes that are no text are unchanged"
    );
}

/// Otherwise one damaged line would prevent the replay of all others.
#[test]
fn replay_refuses_files_without_dead_letters_and_continues_after_a_malformed_line() {
    let program = Program::new(CONFIGURATION);
    program.write("notes.txt", "these are\nno letters\n");
    let ended = program.run(&["dead", "replay", "notes.txt"]);
    assert_eq!(ended.code, Some(66), "{}", ended.stderr);
    assert_eq!(program.run(&["dead", "replay", "./nonesuch"]).code, Some(66));
    program.run_with_input(&["send"], b"{a\n");
    program.drain(&[]);
    let letter = std::fs::read_to_string(program.path("dead-letter.ndjson")).expect("a letter");
    program.write("torn.ndjson", &format!("{{\"replayed\":fal\n{letter}"));
    let ended = program.run(&["dead", "replay", "torn.ndjson"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("a line is not a dead letter")
            && ended.stderr.ends_with("letters sent: 1, sent before: 0, not dead letters: 1\n"),
        "{}",
        ended.stderr
    );
}

/// Otherwise rejected messages would be delivered forever.
#[test]
fn with_dead_letter_log_a_rejected_message_is_logged_and_acknowledged() {
    let program = Program::new(&format!("{CONFIGURATION}dead-letter: log\n"));
    program.run_with_input(&["send"], b"{a\n{}\n");
    let ended = program.run(&["run", "--report", "json"]);
    let report = ended.report();
    assert_eq!(
        (report["stored"].as_u64(), report["rejected"].as_u64(), report["dead-lettered"].as_u64()),
        (Some(1), Some(1), Some(0))
    );
    assert!(ended.stderr.contains("message rejected reason=not-json"), "{}", ended.stderr);
    assert_eq!(program.drain(&[])["received"], 0);
}

/// Otherwise a rejected message would be lost.
#[test]
fn a_dead_letter_that_cannot_be_written_requeues_and_exits_75() {
    let program = Program::new(&format!(
        "{CONFIGURATION}dead-letter: {{file: {{path: /proc/nonesuch/dead.ndjson}}}}\n"
    ));
    program.run_with_input(&["send"], b"{a\n{}\n");
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!(
        (ended.code, ended.report()["requeued"].as_u64(), ended.report()["stored"].as_u64()),
        (Some(75), Some(1), Some(1))
    );
    assert!(
        ended.stderr.contains("cannot keep dead letters in /proc/nonesuch/dead.ndjson: No such file"),
        "{}",
        ended.stderr
    );
    // A warning for each of many batches would fill the journal.
    program.run_with_input(&["send"], "{a\n".repeat(1_999).as_bytes());
    let ended = program.run(&["run", "--report", "json", "--max-messages", "2000"]);
    assert!(ended.report()["requeued"].as_u64() >= Some(1_999), "{}", ended.stdout);
    assert_eq!(ended.stderr.matches("messages requeued for later so far").count(), 1, "{}", ended.stderr);
}

/// Power failures and the OOM killer end a run at any moment.
#[test]
fn kill_9_at_any_moment_loses_and_duplicates_nothing() {
    const COUNT: u64 = 20_000;
    let program = Program::new(CONFIGURATION).env("X_MSRV__EMBEDDED_QUEUE__LEASE_TIMEOUT", "500ms");
    program.run_with_input(&["send"], numbered(COUNT).as_bytes());
    let rows = || {
        rusqlite::Connection::open(program.path("store.db"))
            .ok()?
            .query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0))
            .ok()
    };
    for kills in 1..=5 {
        let mut child = program.spawn(&["run", "--max-messages", "20000", "--timeout", "1m"]);
        wait_until("the run is in progress", || rows().is_some_and(|rows| rows > kills * 2_000));
        child.kill().expect("kill -9");
        child.wait().expect("it ends");
    }
    wait_until("the leases expire, and runs drain the rest", || {
        program.drain(&["--max-messages", "20000", "--timeout", "1m"]);
        queued(&program, "true") == 0
    });
    let numbers: BTreeSet<u64> = program
        .rows("orders")
        .iter()
        .map(|(_, document)| document["n"].as_u64().expect("a number"))
        .collect();
    assert_eq!((program.rows("orders").len() as u64, numbers), (COUNT, (0..COUNT).collect()));
}

/// Queue and store are files, which never wait. Otherwise the run would not check for signals before it had
/// reached N.
#[test]
fn sigterm_during_a_run_ends_it_and_leaves_no_lease() {
    let program = Program::new(CONFIGURATION);
    program.run_with_input(&["send"], numbered(60_000).as_bytes());
    let child = program.spawn(&["run", "--max-messages", "60000", "--timeout", "1m", "--report", "json"]);
    wait_until("the run has started", || program.path("store.db-wal").exists());
    signal(&child, "TERM");
    let ended = wait(child);
    assert_eq!((ended.code, &ended.report()["stop-reason"]), (Some(0), &"signal".into()), "{ended:?}");
    assert_eq!(queued(&program, "lease IS NOT NULL"), 0);
    assert_eq!(queued(&program, "true"), 60_000 - ended.report()["stored"].as_i64().expect("a count"));
}

/// For the same reason the timeout would pass unseen, in the run and while it rejects messages.
#[test]
fn the_timeout_ends_a_run_with_embedded_queue_and_store() {
    for line in ["{}\n", "{a\n"] {
        let program = Program::new(&format!("{CONFIGURATION}log: {{level: error}}\n"));
        program.run_with_input(&["send"], line.repeat(60_000).as_bytes());
        let report = program.drain(&["--max-messages", "60000", "--timeout", "50ms"]);
        assert_eq!(report["stop-reason"], "deadline", "{report}");
        assert_eq!(queued(&program, "lease IS NOT NULL"), 0);
        assert!(report["received"].as_u64() < Some(60_000), "{report}");
    }
}

/// Otherwise all waiting messages would be rejected first, batch after batch, in spite of the signal.
#[test]
fn sigterm_ends_a_run_after_the_current_batch_while_the_dead_letter_topic_hangs() {
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let program = Program::new(&format!(
        "embedded-queue: {{path: queue.db, max-messages: 2000}}\nsqlite: {{path: store.db, set: s}}\nconnect-timeout: 2s\nlog: {{level: error}}\n\
         dead-letter: {{nsq: {{topic: dead, nsqd-tcp-address: '{}'}}}}\n",
        hanging.local_addr().expect("an address")
    ));
    program.run_with_input(&["send"], "not json\n".repeat(2_000).as_bytes());
    let child = program.spawn(&["run", "--report", "json"]);
    let connection = hanging.accept().expect("the program connects");
    signal(&child, "TERM");
    let report = wait(child).report();
    drop(connection);
    assert_eq!((&report["stop-reason"], &report["rejected"]), (&"signal".into(), &1_000.into()), "{report}");
    assert_eq!((program.letters().len(), queued(&program, "lease IS NULL")), (1_000, 1_000));
}

fn numbered(count: u64) -> String {
    use std::fmt::Write as _;
    (0..count).fold(String::new(), |mut lines, number| {
        writeln!(lines, "{{\"n\":{number}}}").expect("a String grows");
        lines
    })
}

fn queued(program: &Program, condition: &str) -> i64 {
    let queue = rusqlite::Connection::open(program.path("queue.db")).expect("the queue");
    let sql = format!("SELECT count(*) FROM messages WHERE {condition}");
    queue.query_row(&sql, [], |row| row.get(0)).expect("a count")
}

/// A table of that name with another shape is a setup fault: it must not cost any message an attempt.
#[test]
fn a_table_of_another_shape_is_exit_78_before_a_message_is_taken() {
    let program = Program::new(CONFIGURATION);
    let store = rusqlite::Connection::open(program.path("store.db")).expect("a store");
    store.execute_batch("CREATE TABLE orders (id INTEGER)").expect("a table of another application");
    program.run_with_input(&["send"], b"{}\n");
    let ended = program.run(&[]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("no column named gid"), "{}", ended.stderr);
    let queue = rusqlite::Connection::open(program.path("queue.db")).expect("the queue");
    assert_eq!(
        queue
            .query_row("SELECT attempts FROM messages", [], |row| row.get::<_, i64>(0))
            .expect("the message"),
        0
    );
}

/// Otherwise `check --connect` would accept a queue that a run cannot read.
#[test]
fn a_queue_that_lacks_a_column_is_exit_78_for_every_command() {
    let program = Program::new(CONFIGURATION);
    program.run_with_input(&["send"], b"{}\n");
    let queue = rusqlite::Connection::open(program.path("queue.db")).expect("the queue");
    queue.execute_batch("ALTER TABLE messages DROP COLUMN since").expect("dropped");
    for command in [&["check", "--connect"][..], &["send", "x-msrv.yml"], &["run"]] {
        let ended = program.run(command);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains("no such column: since"), "{}", ended.stderr);
    }
}

/// Otherwise a mistyped name would create a database of that name.
#[test]
fn records_shows_existing_records_and_creates_nothing() {
    let program = Program::new(CONFIGURATION);
    let ended = program.run(&["records"]);
    assert!(
        ended.code == Some(0) && ended.stderr.starts_with("nothing is stored: there is no table orders in /"),
        "{ended:?}"
    );
    assert!(!program.path("store.db").exists());
    program.run_with_input(&["send"], b"{}\n");
    program.drain(&[]);
    let other = program.run(&["records", "--limit", "1"]);
    assert_eq!(other.stdout.lines().count(), 1, "{other:?}");
    let program = program.env("X_MSRV__SQLITE__SET", "mistyped");
    let ended = program.run(&["records"]);
    assert!(
        ended.code == Some(0)
            && ended.stderr.starts_with("nothing is stored: there is no table mistyped in /"),
        "{ended:?}"
    );
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
    let store = rusqlite::Connection::open(program.path("store.db")).expect("the store");
    assert_eq!(store.query_row(tables, [], |row| row.get::<_, i64>(0)).expect("a count"), 1);
}

/// A store that cannot be opened is not the same as one that does not exist.
#[test]
fn records_of_a_store_that_cannot_be_opened_is_exit_78() {
    let program = Program::new(CONFIGURATION);
    std::os::unix::fs::symlink("nonesuch", program.path("store.db")).expect("a symlink");
    for command in [&["records"][..], &["check", "--connect"]] {
        let ended = program.run(command);
        assert!(
            ended.code == Some(78) && ended.stderr.contains("it is a symlink, which is not followed here"),
            "{ended:?}"
        );
    }
}

/// Otherwise a user who can write to the folder could make root overwrite a file elsewhere.
#[test]
fn replay_does_not_follow_a_symlink() {
    let program = Program::new(CONFIGURATION);
    program.run_with_input(&["send"], b"{a\n");
    program.drain(&[]);
    std::fs::rename(program.path("dead-letter.ndjson"), program.path("elsewhere")).expect("renamed");
    std::os::unix::fs::symlink("elsewhere", program.path("dead-letter.ndjson")).expect("a symlink");
    let ended = program.run(&["dead", "replay", "dead-letter.ndjson"]);
    assert!(
        ended.code == Some(66) && ended.stderr.contains("it is a symlink, which is not followed here"),
        "{ended:?}"
    );
    assert!(program.letters_in("elsewhere").iter().all(|letter| letter["replayed"] == false));
}

/// An administrator checks as root; the service's user could not open files created then.
#[test]
fn check_connect_creates_no_file() {
    let program = Program::new(CONFIGURATION);
    let ended = program.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!program.path("queue.db").exists() && !program.path("store.db").exists());
}

/// Of two processes that created a new file at the same moment, one failed with "database is locked".
#[test]
fn processes_that_create_one_file_at_the_same_time_all_succeed() {
    let program = Program::new("embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n");
    for _ in 0..100 {
        let children: Vec<_> = (0..6).map(|_| program.spawn(&["run"])).collect();
        for child in children {
            let ended = wait(child);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        }
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            drop(std::fs::remove_file(program.path(name)));
        }
    }
}

/// Otherwise a dry run would change the queue.
#[test]
fn a_dry_run_reports_what_a_run_would_do_and_takes_no_message() {
    let program = Program::new(CONFIGURATION);
    let dry_run = |arguments: &[&str]| program.run(&[&["run", "--dry-run"], arguments].concat());
    let ended = dry_run(&[]);
    assert!(ended.code == Some(0) && ended.stdout.starts_with("0 messages waiting"), "{}", ended.stdout);
    assert!(!program.path("queue.db").exists(), "it creates no file");
    program.run_with_input(&["send"], b"{\"a\":1}\n[]\n{\"a\":2}\n{b\n");
    let ended = dry_run(&["--max-messages", "3"]);
    assert!(
        ended.stdout.starts_with("4 messages waiting; a run would take 3: 2 would be stored, 1 rejected\n")
    );
    assert!(
        ended.stdout.contains(" 2: not-object: expected a JSON object, found an array"),
        "{}",
        ended.stdout
    );
    let report = dry_run(&["--report", "json"]).report();
    assert_eq!(
        (report["waiting"].as_u64(), report["reasons"]["not-json"].as_u64(), report["dry-run"].as_bool()),
        (Some(4), Some(1), Some(true))
    );
    assert!(
        !program.path("store.db").exists()
            && !program.path("dead-letter.ndjson").exists()
            && !program.path("history.db").exists()
    );
    let report = program.drain(&[]);
    assert_eq!(
        (report["stored"].as_u64(), report["rejected"].as_u64()),
        (Some(2), Some(2)),
        "a run without --dry-run does it"
    );
}

/// `records --limit 1000000` took a gigabyte of memory when it read all records before it showed the first.
#[test]
fn memory_does_not_grow_with_the_number_of_records_shown() {
    let program = Program::new(CONFIGURATION);
    program.drain(&[]);
    let store = rusqlite::Connection::open(program.path("store.db")).expect("the store");
    let table: String = store
        .query_row("SELECT name FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .expect("its table");
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO \"{table}\" SELECT 'key-' || i, '{{\"text\":\"{}\"}}' FROM n",
        "x".repeat(5_000)
    );
    store.execute_batch(&fill).expect("100 MB");
    let mut child = program.spawn(&["records", "--limit", "1000000"]);
    let scale = Scale::under(&child);
    let output = child.stdout.take().expect("piped");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(output)).map_while(Result::ok).count();
    assert_eq!((lines, wait(child).code), (20_000, Some(0)));
    let memory = scale.read().memory;
    assert!((1 << 20..64 << 20).contains(&memory), "{} MiB", memory >> 20);
}

/// Otherwise a set without records, a mistyped one and a command that did nothing would look the same.
#[test]
fn a_set_without_records_is_reported() {
    let program = Program::new(CONFIGURATION);
    program.drain(&[]);
    let ended = program.run(&["records"]);
    assert!(
        ended.code == Some(0) && ended.stdout.is_empty() && ended.stderr.contains("contains no records"),
        "{}",
        ended.stderr
    );
}
