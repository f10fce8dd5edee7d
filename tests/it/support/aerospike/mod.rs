//! A stand-in for an Aerospike server, for tests: one node on the loopback interface, namespace `test`, which
//! the client crate uses as it would use Aerospike CE 8.1, and which fails on request.
//!
//! ```ignore
//! let server = StandIn::start().await;
//! server.rule(Rule::once(When::Key("7".into()), Then::Answer(18)));
//! // … let the program write to `server.address()` …
//! assert_eq!(server.write_count(&digest), 2);
//! assert_eq!(server.records("events")[0].bins["n"].value, Value::Int(7));
//! ```
//!
//! It has a separate thread, so it also serves child processes while the test waits.
//!
//! It supports single puts, gets, deletes, touches and existence checks, batches of them, queries without an
//! index, truncation, and the info requests of the client. It answers a request that needs more (filter
//! expressions, operations on lists and maps, functions, transactions) with `UNSUPPORTED_FEATURE` (16);
//! compressed messages end the connection. It supports TLS and logins as far as the client uses them, if a
//! [`Guard`] requires them. Known differences from a server:
//! - Records do not expire: a TTL is only stored and returned.
//! - A truncation also removes records written in the same millisecond, which a server keeps.
//! - Without `respond_all_keys` a failed row stops no answers; a server stops them at the end of the 128 KiB
//!   buffer that holds the row.
//! - `Expiration::DontUpdate` applies to every row; a server forgets it for the rows that repeat one that
//!   created a record.
//! - After a freeze every request is carried out; a server may drop those whose client has closed the
//!   connection meanwhile.

#![allow(dead_code, unused_imports, reason = "the stand-in has more features than the tests use")]

mod batch;
mod checks;
mod guard;
mod info;
mod log;
mod message;
mod protocol;
mod requests;
mod rules;
mod scan;
mod server;
mod storage;
mod value;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use tokio::{net::TcpSocket, sync::oneshot};

pub(crate) use self::{
    guard::{Guard, PASSWORD, USER},
    log::{BatchSize, Connections, Write},
    rules::{Rule, Then, When},
    value::{Particle, Value},
};
use self::{server::Shared, storage::Record};

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredRecord {
    /// The digest by which the server addresses the record.
    pub(crate) digest: [u8; 20],
    /// The user key, if a write sent it.
    pub(crate) user_key: Option<Value>,
    /// The bins by name.
    pub(crate) bins: BTreeMap<String, Bin>,
    /// The number of writes to the record.
    pub(crate) generation: u32,
    /// Seconds until the record expires; `None` for never.
    pub(crate) ttl: Option<u32>,
}

/// A stored value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bin {
    /// As received over the wire.
    pub(crate) raw: Particle,
    /// As a test reads it.
    pub(crate) value: Value,
}

/// The handle of a stand-in. Dropping it stops the server.
pub(crate) struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
    /// Bound but never listening: reserves the port while the server is stopped.
    _port: TcpSocket,
}

impl StandIn {
    /// Starts a server without records on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self::guarded(Guard::default()).await
    }

    /// The same, open only to clients that meet the requirements of `guard`.
    pub(crate) async fn guarded(guard: Guard) -> Self {
        let port = TcpSocket::new_v4().expect("a socket can be made");
        port.set_reuseaddr(true).expect("the option exists");
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port is free");
        let address = port.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::new(address, guard));
        let (running, ready) = Running::launch(address, &shared);
        ready.await.expect("the stand-in's thread serves");
        StandIn { address, shared, running: Mutex::new(Some(running)), _port: port }
    }

    /// The address where it listens; the same after a restart.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Advertises another address to clients: that of a proxy, which cannot replace the address under TLS
    /// itself.
    pub(crate) fn advertise_address(&self, address: SocketAddr) {
        self.shared.advertise(address);
    }

    /// Adds a rule after the existing ones.
    pub(crate) fn rule(&self, rule: Rule) {
        self.shared.state().rules.add(rule);
    }

    /// Removes all rules. Requests that already hang continue to hang.
    pub(crate) fn clear_rules(&self) {
        self.shared.state().rules.clear();
    }

    /// Stops all answers, as SIGSTOP does: connections are accepted and requests wait.
    pub(crate) fn freeze(&self) {
        self.shared.freeze(true);
    }

    /// Ends a freeze. The waiting requests are carried out, even if their client is gone.
    pub(crate) fn thaw(&self) {
        self.shared.freeze(false);
    }

    /// Stops the server: its connections end, new ones are refused. Records, rules and log stay.
    pub(crate) fn stop(&self) {
        let running = self.running.lock().expect("stopping does not panic").take();
        if let Some(running) = running {
            running.stop();
        }
    }

    /// Starts the server again on its port, after stopping it if it runs; it is not frozen.
    pub(crate) fn restart(&self) {
        self.stop();
        self.thaw();
        let (running, _ready) = Running::launch(self.address, &self.shared);
        *self.running.lock().expect("stopping does not panic") = Some(running);
    }

    /// Changes a setting of the namespace, as an administrator does with
    /// `set-config:context=namespace;namespace=test;…`.
    pub(crate) fn configure(&self, setting: &str) {
        let mut state = self.shared.state();
        let done = info::value(
            &format!("set-config:context=namespace;namespace=test;{setting}"),
            &mut state.storage,
            self.address,
        );
        assert_eq!(done, "ok", "{setting}");
    }

    /// Creates the maximum number of sets.
    pub(crate) fn use_up_set_names(&self) {
        self.shared.state().storage.use_up_set_names();
    }

    /// The records of a set, in the order of their digests.
    pub(crate) fn records(&self, set: &str) -> Vec<StoredRecord> {
        let state = self.shared.state();
        let of_set = state.storage.iter().filter(|(_, record)| record.set == set);
        of_set.map(|(digest, record)| StoredRecord::new(*digest, record)).collect()
    }

    /// The write rows that have arrived, in order, whatever their outcome.
    pub(crate) fn writes(&self) -> Vec<Write> {
        self.shared.state().log.writes().to_vec()
    }

    /// The number of write rows for this record that have arrived.
    pub(crate) fn write_count(&self, digest: &[u8; 20]) -> usize {
        let state = self.shared.state();
        state.log.writes().iter().filter(|write| write.digest == *digest).count()
    }

    /// Waits until this many write rows have arrived. Cancel safe.
    pub(crate) async fn until_writes(&self, rows: usize) {
        self.shared.until_arrived(rows).await;
    }

    /// The batches that have arrived, in order. A batch of one row is not included: the client sends it as a
    /// single command (`run_rows` in its `batch/batch_executor.rs`).
    pub(crate) fn batches(&self) -> Vec<BatchSize> {
        self.shared.state().log.batches().to_vec()
    }

    /// The names that info requests asked for.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.shared.state().asked.clone()
    }

    /// The number of connections, now and in total.
    pub(crate) fn connections(&self) -> Connections {
        self.shared.state().log.connections()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop();
    }
}

impl StoredRecord {
    fn new(digest: [u8; 20], record: &Record) -> Self {
        let bin =
            |(name, raw): (&String, &Particle)| (name.clone(), Bin { raw: raw.clone(), value: raw.value() });
        StoredRecord {
            digest,
            user_key: record.user_key.as_ref().map(Particle::value),
            bins: record.bins.iter().map(bin).collect(),
            generation: record.generation,
            ttl: record.ttl(),
        }
    }
}

/// The server's thread.
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Starts to listen; the receiver reports when the thread serves.
    fn launch(address: SocketAddr, shared: &Arc<Shared>) -> (Self, oneshot::Receiver<()>) {
        let listener = TcpListener::bind(address).expect("the port is kept for the stand-in");
        listener.set_nonblocking(true).expect("the option exists");
        let shared = Arc::clone(shared);
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made")
                .block_on(server::run(listener, shared, ready, stopped));
        };
        let thread = thread::Builder::new()
            .name("aerospike-stand-in".into())
            .spawn(serve)
            .expect("a thread can be started");
        (Running { stop, thread }, is_ready)
    }

    fn stop(self) {
        drop(self.stop); // The thread sees that the sender is dropped.
        let served = self.thread.join().is_ok();
        assert!(served || thread::panicking(), "the stand-in's thread panicked");
    }
}
