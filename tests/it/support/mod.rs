//! Real servers and the real program for tests. Everything listens on loopback and uses a temporary folder;
//! each server stops when its handle is dropped.

pub(crate) mod aerospike;
pub(crate) mod certificates;
pub(crate) mod nsqd;
pub(crate) mod postgres;
pub(crate) mod program;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use x_msrv_core::{
    answer,
    fault::Fault,
    record::Record,
    store::{Put, Store, StoredRecord},
};

/// The longest time that a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The project's root folder.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Waits until `condition` is true; `what` describes it in the message on timeout.
#[expect(clippy::disallowed_methods, reason = "servers and child processes live in real time")]
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "did not happen within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts that a run did not wait. The waits that it could have made take a minute or more in these tests,
/// so a busy machine makes no difference.
#[track_caller]
pub(crate) fn assert_no_wait(report: &serde_json::Value) {
    assert!(report["elapsed-seconds"].as_f64().expect("a number") < PATIENCE.as_secs_f64(), "{report}");
}

/// Runs a future to completion, as the program does.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Writes records; returns the store's answer for each of them.
pub(crate) async fn put(store: &dyn Store, records: Vec<Record>) -> Vec<Result<Put, Fault>> {
    let (batch, verdicts) = answer::batch(records.into_iter());
    store.write(batch).await;
    verdicts.take().into_iter().map(|verdict| verdict.expect("a store answers for every record")).collect()
}

/// Returns the address of a server on loopback.
pub(crate) fn socket(server: &x_msrv_net::address::HostPort) -> std::net::SocketAddr {
    server.to_string().parse().expect("tests use addresses, not names")
}

/// The path of a sample message file of the project.
pub(crate) fn sample(name: &str) -> PathBuf {
    project().join("test/samples").join(name)
}

/// The document for measurements: 150 bytes.
pub(crate) fn message_of_150_bytes(number: u64) -> String {
    format!(r#"{{"id":{},"msg":"{}","ext":{{"a":1}}}}"#, 10_000_000 + number, "x".repeat(112))
}

/// The real Aerospike server that the environment names. If it is set, the suites run there with the same
/// assertions instead of against the stand-in; `make test` runs them both ways if it can.
pub(crate) fn real_aerospike() -> Option<x_msrv_net::address::HostPort> {
    let address = std::env::var("X_MSRV_TEST_AEROSPIKE").ok()?;
    Some(address.parse().expect("X_MSRV_TEST_AEROSPIKE is HOST:PORT"))
}

/// Returns at most `limit` records of a store.
pub(crate) async fn records(store: &dyn Store, limit: usize) -> Vec<StoredRecord> {
    let mut records = Vec::new();
    let mut see = |record| {
        records.push(record);
        ControlFlow::Continue(())
    };
    let reader = store.reader().expect("a store that can be read");
    reader.scan(limit, &mut see).await.expect("the store answers");
    records
}
