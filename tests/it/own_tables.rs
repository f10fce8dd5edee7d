//! A database that the user created, with tables, indexes and triggers that x-msrv does not know.

use std::process::Command;

use crate::support::program::Program;

const CONFIGURATION: &str =
    "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: t, key: {field: /id}}\n";

/// The table that our store creates if there is none of that name.
const OURS: &str = "CREATE TABLE t (gid ANY PRIMARY KEY NOT NULL, document TEXT NOT NULL) STRICT;";

/// A database created by the `sqlite3` shell, and a queue with these messages.
fn prepared(sql: &str, messages: &[u8]) -> Program {
    let program = Program::new(CONFIGURATION);
    shell(&program, sql);
    program.run_with_input(&["send"], messages);
    program
}

/// The output of the `sqlite3` shell.
#[track_caller]
fn shell(program: &Program, sql: &str) -> String {
    let shell = Command::new("sqlite3").arg("-bail").arg(program.path("store.db")).arg(sql).output();
    let shell = shell.expect("test/prerequisites installs it");
    assert!(shell.status.success(), "{sql}: {}", String::from_utf8_lossy(&shell.stderr));
    String::from_utf8(shell.stdout).expect("UTF-8")
}

/// Otherwise the second message would replace the first one's row without being stored itself.
#[test]
fn a_record_refused_by_a_unique_index_changes_no_other_row() {
    let messages = b"{\"id\":1,\"a\":1}\n{\"id\":2,\"a\":1}\n{\"id\":3,\"a\":2}\n";
    let program = prepared(&format!("{OURS} CREATE UNIQUE INDEX i ON t (document ->> 'a')"), messages);
    let report = program.drain(&[]);
    assert_eq!(
        (report["stored"].as_u64(), report["reasons"]["refused"].as_u64()),
        (Some(2), Some(1)),
        "{report}"
    );
    assert_eq!(shell(&program, "SELECT gid, document ->> 'a' FROM t ORDER BY gid"), "1|1\n3|2\n");
    let letter = &program.letters()[0];
    assert_eq!(
        (letter["body"].as_str(), letter["reason"].as_str()),
        (Some("{\"id\":2,\"a\":1}"), Some("refused"))
    );
    let detail = letter["detail"].as_str().expect("text");
    assert_eq!(
        detail,
        "refused by the store: a constraint of the table refused it: UNIQUE constraint failed: index 'i'"
    );
    // A redelivered message still updates its own row.
    program.run_with_input(&["send"], b"{\"id\":3,\"a\":3}\n");
    assert_eq!(program.drain(&[])["stored"], 1);
    assert_eq!(shell(&program, "SELECT gid, document ->> 'a' FROM t ORDER BY gid"), "1|1\n3|3\n");
}

/// Each of these rules lost a message silently, deleted another row, or stopped the pipeline.
#[test]
fn only_the_record_that_violates_a_rule_of_the_table_is_refused() {
    let table = |columns: &str| format!("CREATE TABLE t ({columns});");
    let trigger = |when: &str, action: &str| {
        format!(
            "{OURS} CREATE TRIGGER r {when} INSERT ON t WHEN new.document ->> 'bad' = 2 BEGIN SELECT RAISE({action}); END"
        )
    };
    let foreign_key = |when: &str| {
        let columns =
            format!("gid PRIMARY KEY, document, bad AS (document ->> 'bad') STORED REFERENCES p {when}");
        format!("CREATE TABLE p (bad PRIMARY KEY); INSERT INTO p VALUES (1); {}", table(&columns))
    };
    let unique = |conflict: &str| {
        table(&format!(
            "gid PRIMARY KEY, document, bad AS (document ->> 'bad') UNIQUE ON CONFLICT {conflict}"
        ))
    };
    let rules = [
        (unique("REPLACE"), "UNIQUE constraint failed"),
        (unique("IGNORE"), "UNIQUE constraint failed"),
        (
            table(
                "gid PRIMARY KEY ON CONFLICT IGNORE, document CHECK ((document ->> 'bad' = 2) IS NOT TRUE)",
            ),
            "CHECK constraint failed",
        ),
        (
            table("gid PRIMARY KEY, document, bad AS (nullif(coalesce(document ->> 'bad', 0), 2)) NOT NULL"),
            "NOT NULL constraint failed",
        ),
        (foreign_key(""), "FOREIGN KEY constraint failed"),
        (foreign_key("DEFERRABLE INITIALLY DEFERRED"), "FOREIGN KEY constraint failed"),
        (trigger("BEFORE", "ABORT, 'no bad ones'"), "no bad ones"),
        (trigger("AFTER", "FAIL, 'no bad ones'"), "no bad ones"),
        (trigger("AFTER", "ROLLBACK, 'no bad ones'"), "no bad ones"),
        (trigger("BEFORE", "IGNORE"), "a trigger ignored it"),
        (table("gid INTEGER PRIMARY KEY, document"), "datatype mismatch"),
    ];
    for (sql, words) in rules {
        let key = if words == "datatype mismatch" { "\"x\"" } else { "4" };
        let bad = if words.starts_with("UNIQUE") { 1 } else { 2 };
        let messages = format!(
            "{{\"id\":1}}\n{{\"id\":2,\"bad\":1}}\n{{\"id\":3}}\n{{\"id\":{key},\"bad\":{bad}}}\n{{\"id\":5}}\n"
        );
        let program = prepared(&sql, messages.as_bytes());
        let report = program.drain(&[]);
        assert_eq!(
            (report["stored"].as_u64(), report["reasons"]["refused"].as_u64()),
            (Some(4), Some(1)),
            "{sql}: {report}"
        );
        assert_eq!(shell(&program, "SELECT gid FROM t ORDER BY gid"), "1\n2\n3\n5\n", "{sql}");
        let letters = program.letters();
        assert!(
            letters.len() == 1 && letters[0]["detail"].as_str().is_some_and(|detail| detail.contains(words)),
            "{sql}: {letters:?}"
        );
        assert_eq!(program.rows("t").len(), 4);
    }
}

/// Otherwise a trigger that refuses everything, for instance during maintenance, would make every message a
/// dead letter.
#[test]
fn a_rule_that_refuses_every_record_costs_no_message() {
    let closed = |action: &str| {
        format!("{OURS} CREATE TRIGGER closed BEFORE INSERT ON t BEGIN SELECT RAISE({action}); END")
    };
    for (sql, words) in [
        (closed("ABORT, 'closed for repairs'"), "closed for repairs"),
        (closed("IGNORE"), "a trigger ignored it"),
        ("CREATE TABLE t (gid INTEGER PRIMARY KEY, document)".to_owned(), "datatype mismatch"),
    ] {
        let program = prepared(&sql, b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
        let ended = program.run(&["run", "--report", "json"]);
        let report = ended.report();
        assert_eq!(
            (ended.code, report["requeued"].as_u64(), report["rejected"].as_u64()),
            (Some(78), Some(3), Some(0)),
            "{ended:?}"
        );
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

/// With a collation for which `a` equals `A`, one message's record would overwrite another's.
#[test]
fn a_key_equal_to_another_by_collation_changes_no_row() {
    let program = prepared(
        "CREATE TABLE t (gid TEXT PRIMARY KEY COLLATE NOCASE, document)",
        b"{\"id\":\"a\"}\n{\"id\":\"A\"}\n",
    );
    let report = program.drain(&[]);
    assert_eq!(
        (report["stored"].as_u64(), report["reasons"]["refused"].as_u64()),
        (Some(1), Some(1)),
        "{report}"
    );
    assert_eq!(shell(&program, "SELECT gid, document FROM t"), "a|{\"id\":\"a\"}\n");
}

/// Otherwise an expression in a trigger that fails for one value would stop the whole pipeline, as a table of
/// another shape does.
#[test]
fn a_value_that_fails_in_a_trigger_is_retried_and_blocks_no_other_message() {
    let trigger = "CREATE TABLE parts (n); CREATE TRIGGER r AFTER INSERT ON t BEGIN \
        INSERT INTO parts SELECT count(*) FROM json_each(new.document ->> 'text'); END";
    let program = prepared(
        &format!("{OURS}{trigger}"),
        b"{\"id\":1,\"text\":\"[1]\"}\n{\"id\":2,\"text\":\"[\"}\n{\"id\":3,\"text\":\"[]\"}\n",
    );
    let ended = program.run(&["run", "--report", "json"]);
    let report = ended.report();
    assert_eq!((report["stored"].as_u64(), report["deferred"].as_u64()), (Some(2), Some(1)), "{ended:?}");
    assert_eq!(
        shell(&program, "SELECT group_concat(gid) FROM t; SELECT group_concat(n) FROM parts"),
        "1,3\n1,0\n"
    );
    let spent = program.env("X_MSRV__MAX_ATTEMPTS", "1");
    spent.run_with_input(&["send"], b"{\"id\":4,\"text\":\"[\"}\n");
    assert_eq!(spent.drain(&[])["reasons"]["too-many-attempts"], 1);
    assert!(spent.letters()[0]["detail"].as_str().is_some_and(|detail| detail.contains("malformed JSON")));
}

/// Otherwise every message would become a dead letter in one run after another.
#[test]
fn a_table_that_can_store_no_record_is_exit_78_with_the_reason() {
    let faults = [
        (
            "gid PRIMARY KEY, document, at TEXT NOT NULL",
            "column at of the table t is NOT NULL without a default",
        ),
        ("gid, document", "column gid of the table t is neither its primary key nor unique"),
        ("gid PRIMARY KEY, body", "no column named document"),
    ];
    for (columns, words) in faults {
        let program = prepared(&format!("CREATE TABLE t ({columns})"), b"{\"id\":1}\n");
        for command in [&["check", "--connect"][..], &["run"]] {
            let ended = program.run(command);
            assert!(ended.code == Some(78) && ended.stderr.contains(words), "{columns}: {ended:?}");
        }
    }
    let program =
        prepared("CREATE TABLE t (gid PRIMARY KEY, document, at TEXT NOT NULL DEFAULT 'x')", b"{\"id\":1}\n");
    assert_eq!(program.drain(&[])["stored"], 1);
}

/// Otherwise each message would become a dead letter and the run would exit 0. Only the first records show
/// whether a rule can never be met.
#[test]
fn a_rule_that_no_record_can_meet_requeues_all_and_is_exit_78() {
    let faults = [
        ("CREATE TABLE t (gid PRIMARY KEY, document CHECK (document IS NULL))", "CHECK constraint failed"),
        ("CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'closed'); END", "closed"),
        ("CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(IGNORE); END", "a trigger ignored it"),
        ("CREATE TABLE t (gid INTEGER PRIMARY KEY, document)", "datatype mismatch"),
    ];
    for (sql, words) in faults {
        let table = if sql.contains("TABLE t") { String::new() } else { OURS.to_owned() };
        let program = prepared(&format!("{table}{sql}"), b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
        let ended = program.run(&["run", "--report", "json"]);
        assert_eq!((ended.code, &ended.report()["requeued"]), (Some(78), &3.into()), "{sql}: {ended:?}");
        assert!(ended.stderr.contains(words) && program.letters().is_empty(), "{sql}: {ended:?}");
    }
}

/// Otherwise an index on a field of the document makes every run exit with 78, because the SQLite of the
/// program lacks JSON functions.
#[test]
fn indexes_and_triggers_may_use_every_function_of_the_sqlite3_shell() {
    let own = [
        "CREATE INDEX i ON t (document ->> '$.a')",
        "CREATE INDEX j ON t (json_extract(document, '$.b')) WHERE json_type(document, '$.b') IS NOT NULL",
        "CREATE INDEX m ON t (floor(log(1 + (document ->> 'a'))))",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
        "CREATE TRIGGER w AFTER INSERT ON t BEGIN INSERT INTO words VALUES (new.document ->> 'text'); END",
        "CREATE VIRTUAL TABLE boxes USING rtree(id, low, high)",
        "CREATE TRIGGER b AFTER INSERT ON t BEGIN INSERT INTO boxes VALUES (new.gid, new.document ->> 'a', new.document ->> 'a'); END",
        "CREATE INDEX s ON t (soundex(document ->> 'text'))",
        "ANALYZE",
    ];
    let program = prepared(
        &format!("{OURS}{}", own.join(";")),
        b"{\"id\":1,\"a\":7,\"text\":\"one two\"}\n{\"id\":2,\"a\":8,\"b\":[1]}\n",
    );
    assert_eq!(program.drain(&[])["stored"], 2);
    assert_eq!(shell(&program, "SELECT gid FROM t WHERE document ->> '$.a' = 8"), "2\n");
    assert_eq!(
        shell(
            &program,
            "SELECT text FROM words WHERE words MATCH 'two'; SELECT id FROM boxes WHERE low > 7.5"
        ),
        "one two\n2\n"
    );
    assert_eq!(shell(&program, "PRAGMA integrity_check"), "ok\n");
    let ours = rusqlite::Connection::open(program.path("store.db")).expect("the store");
    let checked: String = ours.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(checked, "ok");
}

/// Otherwise `send` would report the message as sent although it is not in the queue.
#[test]
fn a_message_refused_by_a_rule_of_the_queue_table_is_exit_65() {
    let rules = [
        ("CREATE UNIQUE INDEX once ON messages (body)", "UNIQUE constraint failed: messages.body", 2),
        (
            "CREATE TRIGGER small BEFORE INSERT ON messages WHEN new.body = x'7b7d' BEGIN SELECT RAISE(IGNORE); END",
            "a trigger of the table ignored",
            1,
        ),
    ];
    for (rule, words, left) in rules {
        let program = Program::new(CONFIGURATION);
        program.run_with_input(&["send"], b"[]\n");
        let queue = rusqlite::Connection::open(program.path("queue.db")).expect("the queue");
        queue.execute_batch(rule).expect("a rule");
        let ended = program.run_with_input(&["send"], b"{}\n{}\n");
        assert!(ended.code == Some(65) && ended.stderr.contains(words), "{ended:?}");
        let count: i64 =
            queue.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).expect("a count");
        assert_eq!(count, left, "what the queue takes is sent");
    }
}
