//! The program between a real nsqd and a real PostgreSQL.

use x_msrv_net::address::HostPort;

use crate::support::{
    block_on,
    nsqd::{Nsqd, unused_address},
    postgres::Postgres,
    program::Program,
};

/// A configuration that drains the topic `t` into a table named after the schema.
pub(super) fn program(nsqd: &Nsqd, server: &HostPort, schema: &str, more: &str) -> Program {
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\n\
         postgres: {{hosts: ['{}'], database: postgres, user: postgres, password: {{file: password}}, table: {schema}.t{more}}}\n\
         max-messages: 3000\ntimeout: 60s\nidle-timeout: 300ms\n",
        nsqd.tcp, server
    ));
    program.write("password", "postgres\n");
    program
}

/// The whole pipeline must work with real servers, and not only each part.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn messages_from_nsqd_are_rows_and_invalid_ones_are_dead_letters() {
    let (nsqd, server) = (Nsqd::start(), Postgres::shared());
    let (schema, _) = block_on(server.table());
    let program = program(&nsqd, &server.address, &schema, "");
    let bodies = (0..2_500).map(|number| match number {
        77 => "no JSON".to_owned(),
        1_234 => r#"{"n":1234,"text":"\u0000"}"#.to_owned(),
        _ => format!("{{\"n\":{number}}}"),
    });
    nsqd.publish("t", bodies);
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = ended.report();
    let counts =
        ["received", "stored", "rejected", "dead-lettered", "requeued"].map(|key| report[key].as_u64());
    assert_eq!(counts, [Some(2_500), Some(2_498), Some(2), Some(2), Some(0)], "{report}");
    let sql = format!("SELECT count(*), sum((document->>'n')::int), count(DISTINCT gid) FROM {schema}.t");
    let sum: u64 = (0..2_500).sum::<u64>() - 77 - 1_234;
    let found =
        block_on(server.sql(&sql)).remove(0).into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
    assert_eq!(found, ["2498".to_owned(), sum.to_string(), "2498".to_owned()]);
    let reasons: Vec<_> = program
        .letters()
        .iter()
        .map(|letter| letter["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(reasons, ["not-json", "refused"]);
    let shown = program.run(&["records", "--limit", "3"]);
    assert_eq!((shown.code, shown.stdout.lines().count()), (Some(0), 3), "{}", shown.stderr);
    assert!(shown.stdout.starts_with(r#"{"gid":"t@"#), "{}", shown.stdout);
}

/// A table of an application: it has no column of ours.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn fields_go_to_the_columns_of_a_table_that_exists() {
    let (nsqd, server) = (Nsqd::start(), Postgres::shared());
    let (schema, _) = block_on(server.schema());
    block_on(server.sql(&format!(
        "CREATE TABLE {schema}.t (username text PRIMARY KEY, at timestamptz, amount numeric, seen int DEFAULT 1)"
    )));
    let more = ", key: {field: /username}, key-column: username, exists: create-only, \
                columns: {username: text, at: timestamptz, amount: {type: numeric, field: /order/amount}}";
    let program = program(&nsqd, &server.address, &schema, more);
    nsqd.publish(
        "t",
        [
            r#"{"username":"ann","at":"2026-01-01T00:00:00Z","order":{"amount":1.5}}"#,
            r#"{"username":"bob","at":"no date"}"#,
            r#"{"username":"O'Hara \"x\"; --"}"#,
            r#"{"username":"ann","order":{"amount":2}}"#,
        ],
    );
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = ended.report();
    let counts = ["stored", "duplicate", "rejected"].map(|key| report[key].as_u64());
    assert_eq!(counts, [Some(2), Some(1), Some(1)], "{report}");
    let rows = block_on(server.sql(&format!("SELECT username, amount, seen FROM {schema}.t ORDER BY 1")));
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect()).collect();
    assert_eq!(rows, [["O'Hara \"x\"; --", "NULL", "1"], ["ann", "1.5", "1"]]);
    let detail = program.letters()[0]["detail"].as_str().expect("words").to_owned();
    assert!(detail.contains("22007") && !detail.contains("no date"), "{detail}");
}

/// A run that took messages before it detected the fault would requeue them, with an attempt spent.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn an_unusable_store_is_reported_before_a_message_is_taken() {
    let (nsqd, server) = (Nsqd::start(), Postgres::shared());
    let (schema, _) = block_on(server.schema());
    let program = program(&nsqd, &server.address, &schema, "");
    nsqd.make_channel("t", "c");
    nsqd.publish("t", ["{}", "{}"]);
    let untouched = |what: &str| {
        let depths = nsqd.depths("t");
        assert_eq!((depths.waiting, depths.requeued), (2, 0), "{what}");
    };
    let ended = program.run(&["run"]);
    let create = "CREATE TABLE";
    assert!(ended.code == Some(78) && ended.stderr.contains(create), "{}", ended.stderr);
    untouched("no table");
    let ended = program.run(&["check", "--connect"]);
    assert!(ended.code == Some(78) && ended.stderr.contains(create), "{}", ended.stderr);
    assert!(!ended.stdout.contains("password: postgres"), "the secret is not shown: {}", ended.stdout);
    let ended = program.run(&["records"]);
    assert!(ended.stderr.contains(&format!("table {schema}.t in the database postgres")), "{}", ended.stderr);
    let said = program.run(&["run"]).stderr;
    let statement =
        said.split(create).nth(1).and_then(|rest| rest.lines().next()).expect("the statement is shown");
    block_on(server.sql(&format!("{create}{statement}")));
    program.write("password", "wrong");
    let ended = program.run(&["run"]);
    assert!(ended.code == Some(78) && ended.stderr.contains("28P01"), "{}", ended.stderr);
    untouched("wrong password");
    program.write("password", "postgres");
    let ended = program.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let configuration = std::fs::read_to_string(program.path("x-msrv.yml")).expect("read");
    let elsewhere = configuration.replace(&server.address.to_string(), &unused_address().to_string());
    program.write("x-msrv.yml", &elsewhere);
    let ended = program.run(&["run"]);
    assert!(ended.code == Some(69) && ended.stderr.contains("cannot reach PostgreSQL"), "{}", ended.stderr);
    untouched("no server there");
    program.write("x-msrv.yml", &configuration);
    assert_eq!(program.run(&["run"]).code, Some(0));
}

/// Otherwise a user would fix one fault per run.
#[test]
fn all_faults_of_columns_are_reported_at_once() {
    let section = |more: &str| {
        let program = Program::new(&format!(
            "embedded-queue: {{path: q.db}}\npostgres: {{hosts: ['h:1'], database: d, user: u, table: t{more}}}\n"
        ));
        let ended = program.run(&["check"]);
        (ended.code, ended.stdout, ended.stderr)
    };
    let cases = [
        (", key-column: id", vec!["postgres.key-column: cannot be used without `columns`"]),
        (
            ", columns: {gid: text}",
            vec!["postgres.columns: at least one column beside the one with the record's key"],
        ),
        (
            ", columns: {a: text, gid: {type: text, field: /x}}",
            vec!["postgres.columns.gid: is the column with the record's key, and takes no field"],
        ),
        (
            ", columns: {a: {typ: text}, b: {type: text, field: x}}",
            vec![
                "postgres.columns.a",
                "did you mean `type`",
                "postgres.columns.b.field",
                "is not a JSON pointer",
            ],
        ),
        (", exists: replce, timeout: 0s", vec!["did you mean `replace`", "postgres.timeout"]),
    ];
    for (more, words) in cases {
        let (code, _, stderr) = section(more);
        assert_eq!(code, Some(78), "{more}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{more}: `{word}` is not in: {stderr}");
        }
    }
    let (code, stdout, stderr) = section(", columns: {a: text, 'b/c': {type: 'numeric(10,2)', field: /x/y}}");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("postgres.columns: {"), "{stdout}");
}

/// The configuration that `init` writes must be accepted by `check` and by a run.
#[test]
fn init_writes_a_configuration_for_postgresql() {
    let program = Program::new("");
    let [nsqd, first, second] =
        [unused_address(), unused_address(), unused_address()].map(|address| address.to_string());
    let hosts = format!("{first},{second}");
    let ended = program.bare(&[
        "init",
        "-c",
        "a.yml",
        "--nsqd",
        &nsqd,
        "--topic",
        "orders",
        "--postgres",
        &hosts,
        "--database",
        "app",
        "--user",
        "me",
    ]);
    // The file is written first, and then tested.
    assert!(ended.code == Some(69) && ended.stderr.contains("cannot reach PostgreSQL"), "{}", ended.stderr);
    let shown = program.bare(&["check", "-c", "a.yml"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for line in [
        &format!("postgres.hosts: [{first}, {second}]"),
        "postgres.database: app",
        "postgres.user: me",
        "postgres.table: orders",
        "postgres.exists: replace",
    ] {
        assert!(shown.stdout.lines().any(|found| found == line), "{line}: {}", shown.stdout);
    }
}
