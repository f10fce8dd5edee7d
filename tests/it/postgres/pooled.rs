//! Behind a pgbouncer, each transaction may run on another connection of the server.

use x_msrv_core::store::Put;
use x_msrv_postgres::{Exists, Settings};

use super::{connect, program::program, put, record};
use crate::support::{
    block_on,
    nsqd::Nsqd,
    postgres::{Pgbouncer, Postgres},
};

/// A statement that got into the transaction of another store would be rolled back with it, and was acknowledged.
#[test]
#[cfg_attr(not(have_pgbouncer), ignore = "pgbouncer is not installed")]
fn stores_that_share_two_connections_write_what_they_report() {
    block_on(async {
        let server = Postgres::shared();
        let pool = Pgbouncer::before(server, &["default_pool_size=2"]);
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb CHECK (NOT document ? 'bad'))"
            ))
            .await;
        let settings = Settings { hosts: vec![pool.address.clone()], exists: Exists::CreateOnly, ..settings };
        let writes = ["a", "b", "c", "d"].map(|name| {
            let settings = &settings;
            async move {
                let store = connect(settings).await;
                let document = |number: usize| if number % 50 == 3 { r#"{"bad":1}"# } else { "{}" };
                let batch = |part: usize| {
                    let records =
                        (0..100).map(|number| record(&format!("{name}{part}-{number}"), document(number)));
                    put(&*store, records.collect())
                };
                let results = futures_util::future::join_all((0..6).map(batch)).await;
                store.close().await.expect("it closes");
                results.into_iter().flatten().filter(|result| *result == Ok(Put::Stored)).count()
            }
        });
        let stored: usize = futures_util::future::join_all(writes).await.into_iter().sum();
        assert_eq!(stored, 4 * 6 * 98);
        assert_eq!(server.sql(&format!("SELECT FROM {schema}.t")).await.len(), stored);
    });
}

/// The whole pipeline must work behind a pool, with dead letters and `records`.
#[test]
#[cfg_attr(not(have_pgbouncer), ignore = "pgbouncer is not installed")]
fn messages_go_through_pgbouncer_and_are_read_back() {
    let (nsqd, server) = (Nsqd::start(), Postgres::shared());
    let pool = Pgbouncer::before(server, &[]);
    let (schema, _) = block_on(server.table());
    let program = program(&nsqd, &pool.address, &schema, "");
    nsqd.publish("t", ["{}", r#"{"x":"\u0000"}"#, r#"{"x":1}"#]);
    let report = program.drain(&[]);
    assert_eq!(["stored", "rejected"].map(|key| report[key].as_u64()), [Some(2), Some(1)], "{report}");
    let shown = program.run(&["records"]);
    assert_eq!((shown.code, shown.stdout.lines().count()), (Some(0), 2), "{}", shown.stderr);
}

/// Each batch with a row at fault would fail forever: to find that row takes a transaction. And a login that a
/// pool refuses would look like an outage, because it has the same code as all that a pool refuses.
#[test]
#[cfg_attr(not(have_pgbouncer), ignore = "pgbouncer is not installed")]
fn a_pool_that_cannot_be_used_is_reported_before_a_message_is_taken() {
    let (nsqd, server) = (Nsqd::start(), Postgres::shared());
    let (schema, _) = block_on(server.table());
    nsqd.make_channel("t", "c");
    nsqd.publish("t", ["{}"]);
    let cases = [
        ("pool_mode=statement", "postgres", "set `pool_mode` to transaction or session"),
        ("ignore_startup_parameters=", "postgres", "set `ignore_startup_parameters = options`"),
        ("pool_mode=session", "wrong", "authentication failed"),
    ];
    for (setting, password, words) in cases {
        let pool = Pgbouncer::before(server, &[setting]);
        let program = program(&nsqd, &pool.address, &schema, "");
        program.write("password", password);
        for command in [&["check", "--connect"][..], &["run"]] {
            let ended = program.run(command);
            assert!(ended.code == Some(78) && ended.stderr.contains(words), "{setting}: {}", ended.stderr);
        }
        assert_eq!(nsqd.depths("t").waiting, 1, "{setting}");
    }
}
