//! A database that its user has made, with tables, indexes and triggers that x-msrv knows nothing of.

use std::process::Command;

use crate::support::program::Program;

const CONFIGURATION: &str =
    "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: t, key: {field: /id}}\n";

/// What our store creates where there is no table of that name.
const OURS: &str = "CREATE TABLE t (gid ANY PRIMARY KEY NOT NULL, document TEXT NOT NULL) STRICT;";

/// A database made by the `sqlite3` shell, and a queue with these messages.
fn prepared(sql: &str, messages: &[u8]) -> Program {
    let program = Program::new(CONFIGURATION);
    shell(&program, sql);
    program.run_with_input(&["send"], messages);
    program
}

/// What the `sqlite3` shell answers.
#[track_caller]
fn shell(program: &Program, sql: &str) -> String {
    let shell = Command::new("sqlite3").arg("-bail").arg(program.path("store.db")).arg(sql).output();
    let shell = shell.expect("test/prerequisites installs it");
    assert!(shell.status.success(), "{sql}: {}", String::from_utf8_lossy(&shell.stderr));
    String::from_utf8(shell.stdout).expect("UTF-8")
}

/// The second message took the place of the first in its row, and was not there itself.
#[test]
fn a_record_that_a_unique_index_of_the_user_s_refuses_changes_no_row_of_another() {
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
        "refused by the store: the table has a rule against it: UNIQUE constraint failed: index 'i'"
    );
    // A message that comes again still hits its own row.
    program.run_with_input(&["send"], b"{\"id\":3,\"a\":3}\n");
    assert_eq!(program.drain(&[])["stored"], 1);
    assert_eq!(shell(&program, "SELECT gid, document ->> 'a' FROM t ORDER BY gid"), "1|1\n3|3\n");
}

/// Each of these lost a message in silence, deleted another's row, or stopped the pipeline.
#[test]
fn whatever_rule_a_table_has_only_the_record_that_breaks_it_is_refused() {
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

/// A trigger that lets nothing through, while somebody works on the table for instance, cost every message
/// its place in the queue.
#[test]
fn a_rule_that_lets_no_record_through_is_the_table_s_fault_and_costs_no_message() {
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

/// With a collation that takes `a` for `A` the record of one message was written over that of another.
#[test]
fn a_key_that_a_collation_takes_for_another_s_changes_no_row_of_that() {
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

/// An expression in a trigger that cannot take one message's value stopped the whole pipeline, as a table of
/// another shape does.
#[test]
fn a_value_that_a_trigger_cannot_take_is_tried_again_and_holds_up_nobody_else() {
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

/// Every message would have become a dead letter, one run after the other.
#[test]
fn a_table_that_can_take_no_record_at_all_is_exit_78_and_says_why() {
    let faults = [
        (
            "gid PRIMARY KEY, document, at TEXT NOT NULL",
            "column at of the table t is NOT NULL and has no default",
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

/// Each message became a dead letter, and the run ended with 0. Whether a rule is one that no record can keep
/// to shows on the first records only.
#[test]
fn a_rule_that_no_record_can_keep_to_gives_all_back_and_is_exit_78() {
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

/// An index on a field, as the README asks for one, was exit 78 at every run: the program's SQLite had no
/// JSON functions.
#[test]
fn indexes_and_triggers_may_use_whatever_the_sqlite3_shell_has() {
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

/// `send` said that the message was sent, and the queue did not have it.
#[test]
fn a_message_that_a_rule_of_the_queue_s_table_refuses_is_exit_65() {
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
