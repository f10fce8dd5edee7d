//! The server fails: no record is blamed, and every record reported as stored is stored.

use std::time::Duration;

use x_msrv_core::{
    fault::{Blame, Fault},
    store::Put,
};
use x_msrv_net::address::HostPort;
use x_msrv_postgres::Settings;

use super::{chain, connect, put, record, refusal, setup::login};
use crate::support::{PATIENCE, block_on, postgres::Postgres};

#[track_caller]
fn assert_unavailable(results: &[Result<Put, Fault>], word: &str) {
    for result in results {
        let Err(Fault { blame: Blame::Outage, in_doubt, text }) = result else {
            panic!("{word}: {result:?}")
        };
        assert!(text.contains(word), "{word}: {text}");
        // A statement that the server answers with an error has changed nothing, unless the session ended with it.
        let is_error = text.contains("SQLSTATE") && !text.contains("57P01");
        assert!(!(is_error && *in_doubt), "{word}: {text}");
    }
}

/// A table, each row of which takes this many seconds.
async fn slow_table(server: &Postgres, seconds: &str) -> (String, Settings) {
    let (schema, settings) = server.table().await;
    server
        .sql(&format!(
            "CREATE FUNCTION {schema}.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM pg_sleep({seconds}); RETURN NEW; END $$; \
             CREATE TRIGGER wait BEFORE INSERT ON {schema}.t FOR EACH ROW EXECUTE FUNCTION {schema}.wait()"
        ))
        .await;
    (schema, settings)
}

/// Waits until a statement of a schema's store waits in the server for something.
async fn until_it_waits(server: &Postgres, schema: &str, event: &str) -> String {
    let session = server.session().await;
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let query = format!(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'x-msrv' AND query LIKE '%\"{schema}\".%' \
             AND state = 'active' AND wait_event_type = '{event}'"
        );
        if let Some(pid) = session.run(&query).await.into_iter().next() {
            return pid[0].clone().expect("a pid");
        }
        assert!(tokio::time::Instant::now() < until, "no statement of {schema} waits");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Otherwise the statement would continue in the server after the run has given up.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = slow_table(server, "3600").await;
        let store = connect(&Settings { timeout: Duration::from_millis(300), ..settings }).await;
        assert_unavailable(&put(&*store, vec![record("a", "{}"), record("b", "{}")]).await, "57014");
        server.sql(&format!("DROP TRIGGER wait ON {schema}.t")).await;
        assert_eq!(
            put(&*store, vec![record("a", "{}")]).await,
            [Ok(Put::Stored)],
            "the connection remains usable"
        );
    });
}

/// Otherwise an operator would search for a slow server, and not for the session with the lock.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_statement_that_waits_for_a_lock_says_that_it_was_a_lock() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        let store = connect(&Settings { timeout: Duration::from_millis(400), ..settings }).await;
        let other = server.session().await;
        other.run(&format!("BEGIN; LOCK TABLE {schema}.t")).await;
        assert_unavailable(&put(&*store, vec![record("a", "{}"), record("b", "{}")]).await, "55P03");
        other.run("ROLLBACK").await;
        assert_eq!(
            put(&*store, vec![record("a", "{}")]).await,
            [Ok(Put::Stored)],
            "the connection remains usable"
        );
    });
}

/// The messages of the session that is ended would wait until their retry, and the run would report an outage.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_statement_that_loses_a_deadlock_is_sent_again() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        let store = connect(&settings).await;
        let records = || vec![record("b", "{}"), record("a", "{}")];
        assert_eq!(put(&*store, records()).await, [Ok(Put::Stored), Ok(Put::Stored)]);
        let other = server.session().await;
        let update = |key: &str| format!("UPDATE {schema}.t SET document = '{{}}' WHERE gid = '{key}'");
        // The session that notices the deadlock is ended; this one does not look.
        other.run(&format!("SET deadlock_timeout = '1h'; BEGIN; {}", update("b"))).await;
        let theirs = async {
            until_it_waits(server, &schema, "Lock").await;
            other.run(&format!("{}; COMMIT", update("a"))).await;
        };
        let (results, ()) = futures_util::future::join(put(&*store, records()), theirs).await;
        assert_eq!(results, [Ok(Put::Stored), Ok(Put::Stored)]);
        let lost = server.sql("SELECT deadlocks > 0 FROM pg_stat_database WHERE datname = 'postgres'").await;
        assert_eq!(lost, [[Some("t".to_owned())]]);
    });
}

/// With serializable transactions a conflict is normal. A statement that is sent again forever would never end.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_conflict_that_does_not_go_away_is_an_outage() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        server
            .sql(&format!(
                "CREATE SEQUENCE {schema}.tries; CREATE FUNCTION {schema}.lose() RETURNS trigger LANGUAGE plpgsql AS $$ \
                 BEGIN PERFORM nextval('{schema}.tries'); RAISE serialization_failure; END $$; \
                 CREATE TRIGGER lose BEFORE INSERT ON {schema}.t EXECUTE FUNCTION {schema}.lose()"
            ))
            .await;
        let store = connect(&settings).await;
        assert_unavailable(&put(&*store, vec![record("a", "{}"), record("b", "{}")]).await, "40001");
        let tries = server.sql(&format!("SELECT last_value FROM {schema}.tries")).await;
        assert_eq!(tries, [[Some("4".to_owned())]]);
    });
}

/// A table with a slow trigger never takes a whole batch in time: without smaller batches nothing is ever stored.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_batch_that_takes_too_long_is_stored_in_parts() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = slow_table(server, "0.01").await;
        let store = connect(&Settings { timeout: Duration::from_millis(300), ..settings }).await;
        let records = (0..100).map(|number| record(&format!("k{number}"), "{}")).collect();
        let results = put(&*store, records).await;
        assert!(results.iter().all(|result| *result == Ok(Put::Stored)), "{results:?}");
        assert_eq!(server.sql(&format!("SELECT gid FROM {schema}.t")).await.len(), 100);
    });
}

/// Two runs with the same messages lock the same rows, whatever the order of the messages.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn two_stores_with_the_same_records_in_opposite_orders_do_not_deadlock() {
    block_on(async {
        let server = Postgres::shared();
        let (_, settings) = server.table().await;
        let (first, second) = (connect(&settings).await, connect(&settings).await);
        let records = || (0..500).map(|number| record(&format!("k{number}"), "{}")).collect::<Vec<_>>();
        for _ in 0..20 {
            let backwards = records().into_iter().rev().collect();
            let (one, other) =
                futures_util::future::join(put(&*first, records()), put(&*second, backwards)).await;
            assert!(one.iter().chain(&other).all(Result::is_ok));
        }
    });
}

/// Otherwise the log would contain only "connection closed".
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_connection_that_the_server_ends_during_a_statement_has_the_reason() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = slow_table(server, "3600").await;
        let store = connect(&settings).await;
        let end = async {
            let pid = until_it_waits(server, &schema, "Timeout").await;
            server.sql(&format!("SELECT pg_terminate_backend({pid})")).await;
        };
        let (results, ()) =
            futures_util::future::join(put(&*store, vec![record("a", "{}"), record("b", "{}")]), end).await;
        assert_unavailable(&results, "57P01");
        assert_unavailable(&put(&*store, vec![record("a", "{}")]).await, "PostgreSQL at");
        assert_eq!(server.sql(&format!("SELECT gid FROM {schema}.t")).await.len(), 0);
    });
}

/// Otherwise a short peak of connections would stop the pipeline as a setup fault.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn no_room_for_another_connection_is_an_outage() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        server.sql(&format!("CREATE ROLE r_{schema} LOGIN PASSWORD 'p' CONNECTION LIMIT 0")).await;
        let error = refusal(&login(&format!("r_{schema}"), "p")(settings)).await;
        assert!(!matches!(error, x_msrv_core::store::StoreError::Setup { .. }), "{error:?}");
        assert!(chain(&error).contains("53300"), "{error:?}");
    });
}

/// A limit of the server that one statement with many rows exceeds, and one with fewer rows does not (53400).
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_limit_of_the_server_halves_batches_and_is_an_outage_for_one_row() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        let user = format!("r_{schema}");
        server
            .sql(&format!(
                "CREATE ROLE {user} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA {schema} TO {user}; \
                 GRANT SELECT, INSERT, UPDATE ON {schema}.t TO {user}; \
                 ALTER ROLE {user} SET work_mem = '64kB'; ALTER ROLE {user} SET temp_file_limit = '16kB'"
            ))
            .await;
        let store = connect(&login(&user, "p")(settings)).await;
        let large = |key: &str, size: usize| record(key, &format!("{{\"x\":\"{}\"}}", "x".repeat(size)));
        let records = (0..100).map(|number| large(&format!("k{number}"), 5_000)).collect();
        let results = put(&*store, records).await;
        assert!(results.iter().all(|result| *result == Ok(Put::Stored)), "{results:?}");
        let results = put(&*store, vec![large("a", 500_000), record("b", "{}")]).await;
        assert_unavailable(&results[..1], "53400");
        assert_eq!(results[1], Ok(Put::Stored));
    });
}

/// After a failover the old primary still answers. Its refusal must not cause a dead letter or exit 78.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_read_only_server_is_skipped_and_is_an_outage_during_a_run() {
    block_on(async {
        let read_only = Postgres::with(&["-c", "default_transaction_read_only=on"]);
        let server = Postgres::with(&[]);
        let (schema, settings) = server.table().await;
        let hosts = |hosts: &[&Postgres]| hosts.iter().map(|server| server.address.clone()).collect();
        let only = Settings { hosts: hosts(&[&read_only]), ..settings.clone() };
        let error = refusal(&only).await;
        assert!(chain(&error).contains("does not allow writes"), "{error:?}");
        assert!(matches!(error, x_msrv_core::store::StoreError::Unreachable { .. }), "{error:?}");
        let both = Settings { hosts: hosts(&[&read_only, &server]), ..settings };
        let store = connect(&both).await;
        assert_eq!(put(&*store, vec![record("a", "{}")]).await, [Ok(Put::Stored)]);
        server.sql("ALTER SYSTEM SET default_transaction_read_only = on").await;
        server.sql("SELECT pg_reload_conf()").await;
        let until = tokio::time::Instant::now() + PATIENCE;
        let results = loop {
            let results = put(&*store, vec![record("b", "{}"), record("c", "{}")]).await;
            if results[0].is_err() {
                break results;
            }
            assert!(tokio::time::Instant::now() < until, "the setting has no effect");
        };
        assert_unavailable(&results, "25006");
        drop(schema);
    });
}

/// A server on a frozen machine does not end our statements: without a limit of our own the run would wait
/// forever.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_frozen_server_times_out_and_nothing_more_is_sent_to_it() {
    block_on(async {
        let server = Postgres::with(&[]);
        let (schema, settings) = server.table().await;
        let store = connect(&Settings { timeout: Duration::from_millis(200), ..settings }).await;
        server.freeze();
        assert_unavailable(&put(&*store, vec![record("a", "{}")]).await, "did not answer in time");
        assert_unavailable(&put(&*store, vec![record("b", "{}")]).await, "did not answer in time");
        server.thaw();
        let found = server.sql(&format!("SELECT gid FROM {schema}.t")).await;
        assert!(found.iter().all(|row| row[0].as_deref() == Some("a")), "{found:?}");
    });
}

/// Otherwise messages would become dead letters while the server is down.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn an_unreachable_server_is_an_outage() {
    block_on(async {
        let (_, settings) = Postgres::shared().table().await;
        let unused: HostPort = crate::support::nsqd::unused_address();
        let error = refusal(&Settings { hosts: vec![unused.clone()], ..settings }).await;
        assert!(matches!(error, x_msrv_core::store::StoreError::Unreachable { .. }), "{error:?}");
        let text = chain(&error);
        assert!(text.contains(&unused.to_string()) && text.contains("Connection refused"), "{text}");
    });
}
