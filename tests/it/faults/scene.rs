//! The queues and stores of the fault suite, and the scenes that are made of them.

use std::{
    collections::BTreeSet,
    process::Child,
    sync::{Arc, Mutex},
    time::Duration,
};

use x_msrv_aerospike::AerospikeStore;
use x_msrv_contract::faults::{
    Schedule,
    proxy::Proxy,
    scene::{self, Depth, ProgramUnderTest, QueueUnderTest, StoreUnderTest},
};
use x_msrv_core::record::Value as Field;
use x_msrv_net::address::HostPort;

pub(super) use x_msrv_contract::faults::scene::Interference;

use super::witness::Witness;
use crate::support::{
    aerospike::{Guard, StandIn, Value as BinValue},
    block_on,
    certificates::Authority,
    nsqd::Nsqd,
    postgres::Postgres,
    program::{Program, rows},
    real_aerospike, socket,
};

/// N of every run, unless a scene says otherwise.
pub(super) const N: u64 = 40;

/// Options of an nsqd that shortens waits: unsettled messages are delivered again after a second, requeued
/// ones earlier.
pub(super) const HASTY: [&str; 3] = ["-msg-timeout=1s", "-max-msg-timeout=1s", "-max-req-timeout=200ms"];

/// The default files of the embedded store and the dead letters.
const FILES: [&str; 2] = ["store.db", "dead-letter.ndjson"];

/// A scene with nsqd as its queue.
pub(super) type Scene<'a> = scene::Scene<'a, Nsq, Store, Program>;

/// nsqd with the topic `t` and the channel `c`.
pub(super) struct Nsq {
    pub(super) server: Nsqd,
    pub(super) proxy: Proxy,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
}

impl Nsq {
    fn new(schedule: &Schedule, options: &[&str]) -> Self {
        let server = Nsqd::with(&[&HASTY[..], options].concat());
        let acknowledged = Arc::default();
        let tap = Witness::taps(&acknowledged);
        let proxy = Proxy::tapped(socket(&server.tcp), tap, &schedule.injected);
        Self { server, proxy, acknowledged }
    }

    /// Returns the key that names its address.
    fn servers(&self) -> String {
        format!("nsqd-tcp-address: ['{}']", self.proxy.address)
    }
}

impl QueueUnderTest for Nsq {
    fn publish(&mut self, bodies: Vec<String>) {
        self.server.publish("t", bodies);
    }

    fn depth(&self) -> Depth {
        let depths = self.server.depths("t");
        Depth { waiting: depths.waiting, in_flight: depths.in_flight, delayed: depths.deferred }
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().expect("no panic while they were locked").clone()
    }
}

/// The store of the records.
pub(super) enum Store {
    StandIn(StandIn, Proxy),
    Aerospike(HostPort, String, Proxy),
    /// A schema of a private server, or of the one that tests share.
    Postgres(Option<Postgres>, String, Proxy),
    /// In a file of the program's folder.
    Sqlite(std::path::PathBuf),
}

impl Store {
    /// Returns the stand-in of a scene that has one.
    pub(super) fn stand_in(&self) -> &StandIn {
        match self {
            Self::StandIn(server, _) => server,
            _ => panic!("this scene uses the stand-in"),
        }
    }

    /// Returns the private server of a scene that has one.
    pub(super) fn postgres(&mut self) -> &mut Postgres {
        match self {
            Self::Postgres(Some(server), ..) => server,
            _ => panic!("this scene has a private PostgreSQL"),
        }
    }

    /// Returns the proxy of a store that has a server.
    pub(super) fn path(&self) -> &Proxy {
        self.proxy().expect("this scene has a store with a server")
    }
}

impl StoreUnderTest for Store {
    fn rows(&self) -> Vec<(u64, String)> {
        match self {
            Self::StandIn(server, _) => in_stand_in(server),
            Self::Aerospike(address, set, _) => block_on(in_aerospike(address, set)),
            Self::Postgres(own, schema, _) => {
                block_on(in_postgres(own.as_ref().unwrap_or_else(|| Postgres::shared()), schema))
            }
            Self::Sqlite(path) => in_sqlite(path),
        }
    }

    fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::StandIn(_, proxy) | Self::Aerospike(_, _, proxy) | Self::Postgres(_, _, proxy) => {
                Some(proxy)
            }
            Self::Sqlite(_) => None,
        }
    }

    /// A login that reaches PostgreSQL truncated is a wrong password to it.
    fn blames_truncation(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }
}

fn in_stand_in(server: &StandIn) -> Vec<(u64, String)> {
    let bins = |record: &crate::support::aerospike::StoredRecord| match (
        &record.bins["n"].value,
        &record.bins["text"].value,
    ) {
        (BinValue::Int(number), BinValue::Text(text)) => (number.cast_unsigned(), text.clone()),
        other => panic!("not as published: {other:?}"),
    };
    server.records("s").iter().map(bins).collect()
}

async fn in_aerospike(address: &HostPort, set: &str) -> Vec<(u64, String)> {
    let store = AerospikeStore::connect(&aerospike_settings(address, set)).await.expect("the server answers");
    let fields = |record: x_msrv_core::store::StoredRecord| {
        let field = |name| record.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        match (field("n"), field("text")) {
            (Some(Field::Int(number)), Some(Field::Text(text))) => (number.cast_unsigned(), text.clone()),
            other => panic!("not as published: {other:?}"),
        }
    };
    crate::support::records(&store, usize::MAX).await.into_iter().map(fields).collect()
}

async fn in_postgres(server: &Postgres, schema: &str) -> Vec<(u64, String)> {
    let query = format!("SELECT document->>'n', document->>'text' FROM {schema}.t");
    let fields = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().map(|field| field.expect("as published"));
        let number = row.next().and_then(|number| number.parse().ok()).expect("n");
        (number, row.next().expect("text"))
    };
    server.sql(&query).await.into_iter().map(fields).collect()
}

fn in_sqlite(path: &std::path::Path) -> Vec<(u64, String)> {
    if !path.exists() {
        return Vec::new();
    }
    let fields = |document: &serde_json::Value| {
        (document["n"].as_u64().expect("n"), document["text"].as_str().expect("text").to_owned())
    };
    rows(path, "s").iter().map(|(_, document)| fields(document)).collect()
}

impl ProgramUnderTest for Program {
    fn spawn(&self) -> Child {
        self.spawn(&["run", "--report", "json"])
    }

    fn dead_letters(&self) -> Vec<String> {
        let body = |letter: &serde_json::Value| letter["body"].as_str().unwrap_or_default().to_owned();
        self.letters().iter().map(body).collect()
    }
}

/// nsqd and Aerospike: the real one if the environment names one.
pub(super) fn aerospike<'a>(schedule: &'a Schedule, more: &str) -> Scene<'a> {
    let Some(server) = real_aerospike() else { return stand_in(schedule, more) };
    let set = format!("f{}-{:x}", std::process::id(), fastrand::u32(..));
    let proxy = Proxy::with_its_name(socket(&server), &schedule.injected);
    let section =
        format!("aerospike: {{hosts: ['{}'], namespace: test, set: {set}, timeout: 500ms}}\n", proxy.address);
    with_store(schedule, Store::Aerospike(server, set, proxy), &section, more)
}

/// nsqd and the stand-in, whatever the environment names: for faults that only the stand-in can produce.
pub(super) fn stand_in<'a>(schedule: &'a Schedule, more: &str) -> Scene<'a> {
    let server = block_on(StandIn::start());
    let proxy = Proxy::with_its_name(server.address(), &schedule.injected);
    let section =
        format!("aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 500ms}}\n", proxy.address);
    with_store(schedule, Store::StandIn(server, proxy), &section, more)
}

/// nsqd and PostgreSQL, with these keys in its section.
pub(super) fn postgres<'a>(
    schedule: &'a Schedule,
    own: Option<Postgres>,
    keys: &str,
    table: &str,
    more: &str,
) -> Scene<'a> {
    let server = own.as_ref().unwrap_or_else(|| Postgres::shared());
    let schema = block_on(async {
        let (schema, _) = server.schema().await;
        server.sql(&table.replace("SCHEMA", &schema)).await;
        schema
    });
    let proxy = Proxy::new(socket(&server.address), &schedule.injected);
    let section = format!(
        "postgres: {{hosts: ['{}'], database: postgres, user: postgres, password: postgres, table: {schema}.t, timeout: 500ms{keys}}}\n",
        proxy.address
    );
    with_store(schedule, Store::Postgres(own, schema, proxy), &section, more)
}

/// nsqd and the embedded store.
pub(super) fn sqlite<'a>(schedule: &'a Schedule, more: &str) -> Scene<'a> {
    in_files(schedule, FILES, more)
}

/// nsqd and the embedded store; the store and the dead letters are in these files.
pub(super) fn in_files<'a>(schedule: &'a Schedule, files: [&'static str; 2], more: &str) -> Scene<'a> {
    let queue = Nsq::new(schedule, &[]);
    let servers = queue.servers();
    embedded(schedule, queue, &servers, files, more)
}

/// nsqd with other options, and the embedded store.
pub(super) fn with_nsqd<'a>(schedule: &'a Schedule, options: &[&str], more: &str) -> Scene<'a> {
    let queue = Nsq::new(schedule, options);
    let servers = queue.servers();
    embedded(schedule, queue, &servers, FILES, more)
}

/// nsqd found through nsqlookupd, and the embedded store.
pub(super) fn found_by<'a>(
    schedule: &'a Schedule,
    lookupd: impl FnOnce(&Nsqd, &Proxy) -> HostPort,
    more: &str,
) -> Scene<'a> {
    let queue = Nsq::new(schedule, &[]);
    let servers = format!("lookupd-http-address: ['{}']", lookupd(&queue.server, &queue.proxy));
    embedded(schedule, queue, &servers, FILES, more)
}

/// nsqd and the stand-in, both behind TLS.
pub(super) fn encrypted<'a>(schedule: &'a Schedule, more: &str) -> Scene<'a> {
    let authority = Authority::new();
    let pair = authority.server(&["127.0.0.1"]);
    let (certificate, key) =
        (format!("-tls-cert={}", pair.certificate.display()), format!("-tls-key={}", pair.key.display()));
    let nsqd = Nsqd::with(&[&HASTY[..], &[&certificate, &key]].concat());
    // A tap would see only ciphertext.
    let proxy = Proxy::new(socket(&nsqd.tcp), &schedule.injected);
    let queue = Nsq { server: nsqd, proxy, acknowledged: Arc::default() };
    let servers = format!("{}, tls: {{ca-file: ca.pem}}", queue.servers());
    let server = block_on(StandIn::guarded(Guard::default().tls(&pair, None)));
    let proxy = Proxy::new(server.address(), &schedule.injected);
    server.advertise_address(proxy.address);
    let section = format!(
        "aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 500ms, tls: {{ca-file: ca.pem}}}}\n",
        proxy.address
    );
    let program = program(&servers, &section, more);
    std::fs::copy(&authority.file, program.path("ca.pem")).expect("copied");
    Scene::new(schedule, queue, Store::StandIn(server, proxy), program)
}

fn with_store<'a>(schedule: &'a Schedule, store: Store, section: &str, more: &str) -> Scene<'a> {
    let queue = Nsq::new(schedule, &[]);
    let program = program(&queue.servers(), section, more);
    Scene::new(schedule, queue, store, program)
}

fn embedded<'a>(
    schedule: &'a Schedule,
    queue: Nsq,
    servers: &str,
    [store, letters]: [&'static str; 2],
    more: &str,
) -> Scene<'a> {
    let section = format!("sqlite: {{path: {store}, set: s}}\ndead-letter: {{file: {{path: {letters}}}}}\n");
    let program = program(servers, &section, more).with_letters_in(letters);
    let store = Store::Sqlite(program.path(store));
    Scene::new(schedule, queue, store, program)
}

/// Returns the program with these sections and short limits.
fn program(servers: &str, section: &str, more: &str) -> Program {
    let limits = if more.contains("max-messages") { String::new() } else { format!("max-messages: {N}\n") };
    Program::new(&format!(
        "nsq: {{{servers}, topic: t, channel: c}}\n{section}{limits}\
         timeout: 2s\nconnect-timeout: 1s\nshutdown-timeout: 1s\nlog: {{level: warn}}\n{more}"
    ))
}

fn aerospike_settings(address: &HostPort, set: &str) -> x_msrv_aerospike::Settings {
    use x_msrv_aerospike::{Exists, Settings, Ttl};
    Settings {
        hosts: vec![address.clone()],
        namespace: "test".parse().expect("a name"),
        set: set.parse().expect("a name"),
        exists: Exists::Replace,
        ttl: Ttl::Namespace,
        send_key: false,
        login: None,
        tls: None,
        own_ttl: None,
        use_alternate_addresses: false,
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
    }
}
