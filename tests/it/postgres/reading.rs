//! Reading the records back: for a slow reader, from rows of others, and from a standby.

use std::time::Duration;

use x_msrv_core::record::Value;
use x_msrv_postgres::Settings;

use super::{connect, program::program, put, record};
use crate::support::{
    block_on,
    nsqd::Nsqd,
    postgres::Postgres,
    program::{Program, wait},
    records, wait_until,
};

/// While `less` showed the first page, the server ended the statement: rows were missing, and the exit code was 69.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_reader_who_takes_longer_than_a_statement_may_gets_all_records() {
    let server = Postgres::shared();
    let (schema, _) = block_on(server.table());
    let document = "jsonb_build_object('x', repeat('x', 20000))";
    block_on(server.sql(&format!(
        "INSERT INTO {schema}.t SELECT 'k' || i, {document} FROM generate_series(1, 1000) AS i"
    )));
    let program = Program::new(&format!(
        "embedded-queue: {{path: q.db}}\npostgres: {{hosts: ['{}'], database: postgres, user: postgres, \
         password: postgres, table: {schema}.t, timeout: 300ms}}\n",
        server.address
    ));
    let child = program.spawn(&["records", "--limit", "1000"]);
    wait_until("the program waits for its reader longer than a statement may take", || {
        let query = format!(
            "SELECT FROM pg_stat_activity WHERE application_name = 'x-msrv' AND query LIKE '%\"{schema}\".%' \
             AND now() - query_start > interval '600 ms'"
        );
        !block_on(server.sql(&query)).is_empty()
    });
    let ended = crate::support::program::Ended::of(child);
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 1_000), "{}", ended.stderr);
}

/// Pages that overlap or leave a gap would show records twice or not at all.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn records_are_shown_once_in_the_order_of_their_keys_up_to_the_limit() {
    block_on(async {
        let (_, settings) = Postgres::shared().table().await;
        let store = connect(&settings).await;
        let key = |number: usize| format!("k{number:03}");
        put(&*store, (0..250).rev().map(|number| record(&key(number), "{}")).collect()).await;
        for (limit, count) in [(0, 0), (1, 1), (99, 99), (100, 100), (101, 101), (250, 250), (1_000, 250)] {
            let shown = records(&*store, limit).await;
            let shown: Vec<_> =
                shown.iter().map(|record| record.key.as_ref().expect("a key").to_string()).collect();
            assert_eq!(shown, (0..count).map(key).collect::<Vec<_>>(), "{limit}");
        }
    });
}

/// A row of another program without a document or a key ended the whole command.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn rows_that_other_programs_left_incomplete_do_not_hide_the_records() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TABLE {schema}.t (gid text UNIQUE, document jsonb); \
                 INSERT INTO {schema}.t VALUES ('a', NULL), (NULL, '{{}}'), ('b', '{{\"x\":1}}')"
            ))
            .await;
        let shown = records(&*connect(&settings).await, 10).await;
        let fields: Vec<_> = shown.into_iter().map(|record| record.fields).collect();
        assert_eq!(fields, [vec![], vec![("x".to_owned(), Value::Int(1))]]);
    });
}

/// `records` refused a standby like a run, although it changes nothing; a run on a standby would fail at each write.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn records_are_read_from_a_hot_standby_and_written_to_the_primary_only() {
    let (nsqd, primary) = (Nsqd::start(), Postgres::with(&[]));
    let (schema, _) = block_on(primary.table());
    let standby = Postgres::standby_of(&primary);
    let shown = |program: &Program| {
        let ended = program.run(&["records"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.lines().count()
    };
    nsqd.publish("t", ["{}", "{}"]);
    let on_standby = program(&nsqd, &standby.address, &schema, "");
    for command in [&["run"][..], &["check", "--connect"]] {
        let ended = on_standby.run(command);
        assert!(ended.code == Some(69) && ended.stderr.contains("does not allow writes"), "{}", ended.stderr);
    }
    assert_eq!(shown(&on_standby), 0);
    let configuration = std::fs::read_to_string(on_standby.path("x-msrv.yml")).expect("read");
    let both = format!("hosts: ['{}', '{}']", standby.address, primary.address);
    on_standby.write("x-msrv.yml", &configuration.replace(&format!("hosts: ['{}']", standby.address), &both));
    assert_eq!(on_standby.drain(&[])["stored"], 2);
    wait_until("the standby has the rows", || {
        block_on(standby.sql(&format!("SELECT FROM {schema}.t"))).len() == 2
    });
    drop(primary);
    assert_eq!(shown(&on_standby), 2, "the first host that answers is enough");
    let ended = wait(on_standby.spawn(&["run"]));
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
}

/// Reading through a server that answers nothing would wait forever.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn reading_from_a_frozen_server_ends() {
    block_on(async {
        let server = Postgres::with(&[]);
        let (_, settings) = server.table().await;
        let store = connect(&Settings { timeout: Duration::from_millis(100), ..settings }).await;
        server.freeze();
        let mut see = |_| std::ops::ControlFlow::Continue(());
        let error = store.reader().expect("a reader").scan(1, &mut see).await.expect_err("it is frozen");
        assert!(super::chain(&error).contains("did not answer in time"), "{error:?}");
        server.thaw();
    });
}
