//! A queue, a store and the program between them, with a proxy on each side; and the oracle that knows the
//! correct result.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Child,
    time::{Duration, Instant},
};

use serde_json::Value;
use x_msrv_aerospike::AerospikeStore;
use x_msrv_core::record::Value as Field;
use x_msrv_net::address::HostPort;

use super::{Schedule, proxy::Proxy, witness::number};
use crate::support::{
    aerospike::{Guard, StandIn, Value as BinValue},
    block_on,
    certificates::Authority,
    nsqd::{Depths, Nsqd},
    postgres::Postgres,
    program::{Ended, Program, rows, signal},
    real_aerospike,
};

/// N of every run, unless a scene says otherwise.
pub(super) const N: u64 = 40;

/// The time for which the oracle drains: messages of a killed run are delivered again after nsqd's message
/// timeout.
const DRAIN_BOUND: Duration = Duration::from_secs(60);

/// The number of consecutive runs that may settle nothing while messages wait, before the queue counts as
/// stuck.
const FRUITLESS_RUNS: u32 = 5;

/// Options of an nsqd that shortens waits: unsettled messages are delivered again after a second, requeued
/// ones earlier.
pub(super) const HASTY: [&str; 3] = ["-msg-timeout=1s", "-max-msg-timeout=1s", "-max-req-timeout=200ms"];

/// The default files of the embedded store and the dead letters.
const FILES: [&str; 2] = ["store.db", "dead-letter.ndjson"];

/// The store of the records.
pub(super) enum Database {
    StandIn(StandIn, Proxy),
    Real(HostPort, String, Proxy),
    /// A schema of a private server, or of the one that tests share.
    Postgres(Option<Postgres>, String, Proxy),
    Sqlite,
}

/// The published messages.
#[derive(Default)]
struct Ledger {
    valid: BTreeSet<u64>,
    /// Bodies whose messages become dead letters.
    invalid: BTreeSet<String>,
}

pub(super) struct Scene<'a> {
    schedule: &'a Schedule,
    pub(super) nsqd: Nsqd,
    pub(super) queue: Proxy,
    pub(super) database: Database,
    pub(super) program: Program,
    files: [&'static str; 2],
    ledger: Ledger,
    published: u64,
    runs: usize,
}

/// A body whose text depends on its number, and that is sometimes large.
fn text(number: u64) -> String {
    let length = if number.is_multiple_of(97) { 20_000 } else { number * 7_919 % 211 };
    (0..length).map(|at| char::from(b'a' + u8::try_from((number + at) % 26).expect("a letter"))).collect()
}

fn sqlite([store, letters]: [&str; 2]) -> String {
    format!("sqlite: {{path: {store}, set: s}}\ndead-letter: {{file: {{path: {letters}}}}}\n")
}

fn body(number: u64) -> String {
    format!(r#"{{"n":{number},"text":"{}"}}"#, text(number))
}

/// What happened to a run, which decides the exit codes that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interference {
    Nothing,
    /// It was killed, or may have been.
    Killed,
    /// The bytes in both directions were altered: nsqd may have refused what was never requested.
    Misled,
}

impl<'a> Scene<'a> {
    /// nsqd and Aerospike: the real one if the environment names one.
    pub(super) fn aerospike(schedule: &'a Schedule, more: &str) -> Self {
        match real_aerospike() {
            None => Self::stand_in(schedule, more),
            Some(server) => {
                let set = format!("f{}-{:x}", std::process::id(), fastrand::u32(..));
                let proxy = Proxy::with_its_name(&server, &schedule.injected);
                let section = format!(
                    "aerospike: {{hosts: ['{}'], namespace: test, set: {set}, timeout: 500ms}}\n",
                    proxy.address
                );
                Self::new(schedule, Database::Real(server, set, proxy), &section, more)
            }
        }
    }

    /// nsqd and the stand-in, whatever the environment names: for faults that only the stand-in can produce.
    pub(super) fn stand_in(schedule: &'a Schedule, more: &str) -> Self {
        let server = block_on(StandIn::start());
        let address = HostPort { host: server.address().ip().to_string(), port: server.address().port() };
        let proxy = Proxy::with_its_name(&address, &schedule.injected);
        let section =
            format!("aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 500ms}}\n", proxy.address);
        Self::new(schedule, Database::StandIn(server, proxy), &section, more)
    }

    /// nsqd and PostgreSQL, with these keys in its section.
    pub(super) fn postgres(
        schedule: &'a Schedule,
        own: Option<Postgres>,
        keys: &str,
        table: &str,
        more: &str,
    ) -> Self {
        let server = own.as_ref().unwrap_or_else(|| Postgres::shared());
        let schema = block_on(async {
            let (schema, _) = server.schema().await;
            server.sql(&table.replace("SCHEMA", &schema)).await;
            schema
        });
        let proxy = Proxy::new(&server.address, &schedule.injected);
        let section = format!(
            "postgres: {{hosts: ['{}'], database: postgres, user: postgres, password: postgres, table: {schema}.t, timeout: 500ms{keys}}}\n",
            proxy.address
        );
        Self::new(schedule, Database::Postgres(own, schema, proxy), &section, more)
    }

    /// The private server of such a scene.
    pub(super) fn postgres_server(&mut self) -> &mut Postgres {
        match &mut self.database {
            Database::Postgres(Some(server), ..) => server,
            _ => panic!("this scene has a private PostgreSQL"),
        }
    }

    /// nsqd and the embedded store.
    pub(super) fn sqlite(schedule: &'a Schedule, more: &str) -> Self {
        Self::new(schedule, Database::Sqlite, &sqlite(FILES), more)
    }

    /// nsqd and the embedded store; the store and the dead letters are in these files.
    pub(super) fn in_files(schedule: &'a Schedule, files: [&'static str; 2], more: &str) -> Self {
        let scene = Self::new(schedule, Database::Sqlite, &sqlite(files), more);
        Self { files, ..scene }
    }

    /// nsqd with other options, and the embedded store.
    pub(super) fn with_nsqd(schedule: &'a Schedule, options: &[&str], more: &str) -> Self {
        let nsqd = Nsqd::with(&[&HASTY[..], options].concat());
        let queue = Proxy::before_nsqd(&nsqd.tcp, &schedule.injected);
        let servers = format!("nsqd-tcp-address: ['{}']", queue.address);
        Self::between(schedule, nsqd, queue, &servers, Database::Sqlite, &sqlite(FILES), more)
    }

    /// nsqd and the stand-in, both behind TLS.
    pub(super) fn encrypted(schedule: &'a Schedule, more: &str) -> Self {
        let authority = Authority::new();
        let pair = authority.server(&["127.0.0.1"]);
        let (certificate, key) =
            (format!("-tls-cert={}", pair.certificate.display()), format!("-tls-key={}", pair.key.display()));
        let nsqd = Nsqd::with(&[&HASTY[..], &[&certificate, &key]].concat());
        let queue = Proxy::new(&nsqd.tcp, &schedule.injected);
        let servers = format!("nsqd-tcp-address: ['{}'], tls: {{ca-file: ca.pem}}", queue.address);
        let server = block_on(StandIn::guarded(Guard::default().tls(&pair, None)));
        let address = HostPort { host: server.address().ip().to_string(), port: server.address().port() };
        let proxy = Proxy::new(&address, &schedule.injected);
        server.advertise_address(proxy.address.to_string().parse().expect("an address"));
        let section = format!(
            "aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 500ms, tls: {{ca-file: ca.pem}}}}\n",
            proxy.address
        );
        let scene =
            Self::between(schedule, nsqd, queue, &servers, Database::StandIn(server, proxy), &section, more);
        std::fs::copy(&authority.file, scene.program.path("ca.pem")).expect("copied");
        scene
    }

    /// nsqd found through nsqlookupd, and the embedded store.
    pub(super) fn found_by(
        schedule: &'a Schedule,
        lookupd: impl FnOnce(&Nsqd, &Proxy) -> HostPort,
        more: &str,
    ) -> Self {
        let nsqd = Nsqd::with(&HASTY);
        let queue = Proxy::before_nsqd(&nsqd.tcp, &schedule.injected);
        let servers = format!("lookupd-http-address: ['{}']", lookupd(&nsqd, &queue));
        Self::between(schedule, nsqd, queue, &servers, Database::Sqlite, &sqlite(FILES), more)
    }

    fn new(schedule: &'a Schedule, database: Database, section: &str, more: &str) -> Self {
        let nsqd = Nsqd::with(&HASTY);
        let queue = Proxy::before_nsqd(&nsqd.tcp, &schedule.injected);
        let servers = format!("nsqd-tcp-address: ['{}']", queue.address);
        Self::between(schedule, nsqd, queue, &servers, database, section, more)
    }

    fn between(
        schedule: &'a Schedule,
        nsqd: Nsqd,
        queue: Proxy,
        servers: &str,
        database: Database,
        section: &str,
        more: &str,
    ) -> Self {
        let limits =
            if more.contains("max-messages") { String::new() } else { format!("max-messages: {N}\n") };
        let program = Program::new(&format!(
            "nsq: {{{servers}, topic: t, channel: c}}\n{section}{limits}\
             timeout: 2s\nconnect-timeout: 1s\nshutdown-timeout: 1s\nlog: {{level: warn}}\n{more}"
        ));
        Self {
            schedule,
            nsqd,
            queue,
            database,
            program,
            files: FILES,
            ledger: Ledger::default(),
            published: 0,
            runs: 0,
        }
    }

    /// A fault that no proxy causes.
    pub(super) fn injected(&self) {
        self.schedule.injected.one();
    }

    /// Signals a run, unless it has ended already: then there is no fault.
    pub(super) fn signal(&self, child: &mut Child, name: &str) {
        if child.try_wait().expect("a child").is_none() {
            self.injected();
            signal(child, name);
        }
    }

    pub(super) fn store_proxy(&self) -> Option<&Proxy> {
        match &self.database {
            Database::StandIn(_, proxy) | Database::Real(_, _, proxy) | Database::Postgres(_, _, proxy) => {
                Some(proxy)
            }
            Database::Sqlite => None,
        }
    }

    pub(super) fn stand_in_server(&self) -> &StandIn {
        match &self.database {
            Database::StandIn(server, _) => server,
            _ => panic!("this scene uses the stand-in"),
        }
    }

    /// Makes the store refuse this message, so that it becomes a dead letter.
    pub(super) fn will_be_refused(&mut self, number: u64) {
        assert!(self.ledger.valid.remove(&number));
        self.ledger.invalid.insert(body(number));
    }

    /// The numbers of valid messages that were published.
    pub(super) fn valid(&self) -> Vec<u64> {
        self.ledger.valid.iter().copied().collect()
    }

    /// Publishes this many messages; one in ten is no JSON.
    pub(super) fn publish(&mut self, messages: u64) {
        let from = self.published;
        self.published += messages;
        let mut bodies = Vec::new();
        for number in from..from + messages {
            if number % 10 == 3 {
                let body = format!("{{no JSON {number}");
                self.ledger.invalid.insert(body.clone());
                bodies.push(body);
            } else {
                self.ledger.valid.insert(number);
                bodies.push(body(number));
            }
        }
        self.nsqd.publish("t", bodies);
    }

    pub(super) fn spawn(&self) -> Child {
        self.program.spawn(&["run", "--report", "json"])
    }

    /// Runs to completion and checks the result.
    #[track_caller]
    pub(super) fn run(&mut self) -> Ended {
        let ended = self.program.run(&["run", "--report", "json"]);
        self.look_at(&ended, Interference::Nothing);
        ended
    }

    /// Runs without faults, with the expected exit, and returns the time that it took. A scene's limits are
    /// short, and a busy machine may exceed them: nothing is lost then, and another run continues.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "child processes live in real time")]
    pub(super) fn clean_run(&mut self) -> Duration {
        const TRIES: usize = 5;
        let mut ends = Vec::new();
        while ends.len() < TRIES {
            self.no_faults();
            let started = Instant::now();
            let ended = self.run();
            if ended.code == Some(0) {
                return started.elapsed();
            }
            ends.push(ended.stderr);
        }
        panic!("no clean run in {TRIES}: {ends:?}");
    }

    /// Removes all faults: connections work from now on.
    pub(super) fn no_faults(&self) {
        self.queue.plan(Vec::new());
        self.store_proxy().inspect(|proxy| proxy.plan(Vec::new()));
    }

    /// Checks that a run's result is consistent: its counters add up, and its exit code matches them.
    #[track_caller]
    pub(super) fn look_at(&mut self, ended: &Ended, interference: Interference) {
        self.runs += 1;
        let Ended { code, stdout, stderr } = ended;
        if stdout.is_empty() {
            let killed = interference == Interference::Killed && code.is_none();
            let unreachable = *code == Some(69) && stderr.contains("cannot reach");
            let misled = interference == Interference::Misled && *code == Some(78);
            assert!(killed || unreachable || misled, "no report, exit code {code:?}: {stderr}");
            return;
        }
        let report = ended.report();
        let count = |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("no {key} in {report}"));
        let done = count("stored") + count("duplicate") + count("rejected");
        assert_eq!(count("received"), done + count("requeued"), "{report}");
        assert_eq!(count("dead-lettered"), count("rejected"), "{report}");
        let expected = match report["stop-reason"].as_str() {
            Some("store-setup") => 78,
            Some("queue-closed") => 69,
            _ if count("deferred") + count("unconfirmed") > 0 => 75,
            _ => 0,
        };
        // Returned messages were available, and the run had room for them: the queue was not empty.
        let contradicts_itself =
            report["stop-reason"] == "queue-empty" && expected == 0 && count("requeued") > 0;
        assert!(
            !contradicts_itself,
            "messages were requeued although the queue was reported as empty: {report} {stderr}"
        );
        let killed = interference == Interference::Killed && code.is_none();
        assert!(killed || *code == Some(expected), "exit code {code:?}, not {expected}: {report} {stderr}");
    }

    /// Drains the rest, and compares everything with the published messages.
    #[track_caller]
    pub(super) fn check(mut self) {
        self.drain();
        let (lost, letters_lost) = self.compare();
        assert!(
            lost.is_empty() && letters_lost.is_empty(),
            "lost {lost:?}, and of the invalid ones {letters_lost:?}"
        );
        self.schedule.passed(self.ledger.valid.len() + self.ledger.invalid.len(), self.runs);
    }

    /// The same for an nsqd that stopped: it loses up to `most` messages itself, none of which may be one
    /// that a run has acknowledged. Returns their number.
    #[track_caller]
    pub(super) fn check_where_nsqd_ended(mut self, most: u64) -> usize {
        self.drain();
        let (lost, letters_lost) = self.compare();
        let finished = self.queue.finished();
        let of_letters = letters_lost.iter().filter_map(|letter| number(letter.as_bytes()));
        let (ours, its): (Vec<_>, Vec<_>) =
            lost.into_iter().chain(of_letters).partition(|number| finished.contains(number));
        assert!(ours.is_empty(), "acknowledged but missing: {ours:?}; lost by nsqd: {its:?}");
        // The queue is drained, so all other messages were acknowledged. A witness that has not seen this
        // would prove nothing.
        let unfinished: Vec<_> = (0..self.published).filter(|number| !finished.contains(number)).collect();
        assert!(
            unfinished.len() as u64 <= most,
            "never acknowledged: {unfinished:?}, which is more than nsqd had in flight; missing of these: {its:?}"
        );
        self.schedule.passed(self.ledger.valid.len() + self.ledger.invalid.len(), self.runs);
        its.len()
    }

    /// Runs without faults until nothing is left. The queue must become empty: as long as messages wait, runs
    /// must settle some.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "servers and child processes live in real time")]
    pub(super) fn drain(&mut self) {
        self.no_faults();
        let until = Instant::now() + DRAIN_BOUND;
        let mut fruitless = 0;
        loop {
            let waited = self.nsqd.depths("t").waiting > 0;
            let ended = self.run();
            let Depths { waiting, in_flight, deferred, .. } = self.nsqd.depths("t");
            if waited {
                fruitless = if ended.settles_something() { 0 } else { fruitless + 1 };
                assert!(
                    fruitless < FRUITLESS_RUNS,
                    "{fruitless} runs in a row settled nothing, and {waiting} messages wait: {ended:?}"
                );
            }
            if (waiting, in_flight, deferred) == (0, 0, 0) && ended.code == Some(0) {
                break;
            }
            let said = format!("{} {}", ended.stdout, ended.stderr);
            assert!(
                Instant::now() < until,
                "not drained: {waiting} wait, {in_flight} in flight, {deferred} deferred; {said}"
            );
            // A requeued message is delivered within a second; polling without a pause would only load the
            // machine.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Compares store and dead letters with the ledger: no duplicates, and nothing that was not published.
    /// Returns the missing ones.
    #[track_caller]
    fn compare(&self) -> (Vec<u64>, Vec<String>) {
        let mut stored: BTreeMap<u64, usize> = BTreeMap::new();
        for (number, found) in self.stored() {
            assert!(found == text(number), "message {number} is stored with another text");
            *stored.entry(number).or_default() += 1;
        }
        let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
        let unknown: Vec<_> = stored.keys().filter(|number| !self.ledger.valid.contains(number)).collect();
        assert!(
            twice.is_empty() && unknown.is_empty(),
            "duplicates {twice:?}, stored but never published {unknown:?}"
        );
        let letters = self.program.letters_in(self.files[1]);
        let kept: BTreeSet<_> =
            letters.iter().map(|letter| letter["body"].as_str().unwrap_or_default().to_owned()).collect();
        let unknown: Vec<_> = kept.difference(&self.ledger.invalid).collect();
        assert!(unknown.is_empty(), "dead letters of valid messages: {unknown:?}");
        let lost = self.ledger.valid.iter().filter(|number| !stored.contains_key(number)).copied().collect();
        (lost, self.ledger.invalid.difference(&kept).cloned().collect())
    }

    /// The number of documents in the store.
    pub(super) fn stored_now(&self) -> usize {
        self.stored().len()
    }

    /// Number and text of every document in the store.
    fn stored(&self) -> Vec<(u64, String)> {
        match &self.database {
            Database::StandIn(server, _) => {
                let bin = |record: &crate::support::aerospike::StoredRecord| match (
                    &record.bins["n"].value,
                    &record.bins["text"].value,
                ) {
                    (BinValue::Int(number), BinValue::Text(text)) => (number.cast_unsigned(), text.clone()),
                    other => panic!("not as published: {other:?}"),
                };
                server.records("s").iter().map(bin).collect()
            }
            Database::Real(address, set, _) => block_on(async {
                let store = AerospikeStore::connect(&aerospike_settings(address, set))
                    .await
                    .expect("the server answers");
                let records = crate::support::records(&store, usize::MAX).await;
                records
                    .into_iter()
                    .map(|record| {
                        let field = |name| {
                            record
                                .fields
                                .iter()
                                .find(|(other, _)| other == name)
                                .map(|(_, value)| value.clone())
                        };
                        match (field("n"), field("text")) {
                            (Some(Field::Int(number)), Some(Field::Text(text))) => {
                                (number.cast_unsigned(), text)
                            }
                            other => panic!("not as published: {other:?}"),
                        }
                    })
                    .collect()
            }),
            Database::Postgres(own, schema, _) => block_on(async {
                let server = own.as_ref().unwrap_or_else(|| Postgres::shared());
                let query = format!("SELECT document->>'n', document->>'text' FROM {schema}.t");
                let field = |row: Vec<Option<String>>| {
                    let mut row = row.into_iter().map(|field| field.expect("as published"));
                    let number = row.next().and_then(|number| number.parse().ok()).expect("n");
                    (number, row.next().expect("text"))
                };
                server.sql(&query).await.into_iter().map(field).collect()
            }),
            Database::Sqlite => {
                let field = |document: &Value| {
                    (document["n"].as_u64().expect("n"), document["text"].as_str().expect("text").to_owned())
                };
                let path = self.program.path(self.files[0]);
                if !path.exists() {
                    return Vec::new();
                }
                rows(&path, "s").iter().map(|(_, document)| field(document)).collect()
            }
        }
    }
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
