//! A queue, a store and the program between them, with a proxy on each side; and the oracle that knows the
//! correct result.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Child,
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Schedule, proxy::Proxy};

/// The time for which the oracle drains: messages of a killed run are delivered again after the queue's own
/// timeout, which a fixture keeps at a second or so.
const DRAIN_BOUND: Duration = Duration::from_secs(60);

/// Longer than any run: one that takes longer hangs.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// The number of consecutive runs that may settle nothing while messages wait, before the queue counts as
/// stuck.
const FRUITLESS_RUNS: u32 = 5;

/// A queue under test: a real server, with a proxy between it and the program.
///
/// The fixture also writes the queue's section of the program's configuration, with the proxy's address. The
/// server delivers an unsettled message again after about a second, and a retried one sooner.
pub trait QueueUnderTest {
    /// Publishes bodies, past the proxy.
    fn publish(&mut self, bodies: Vec<String>);

    /// Returns its depth, past the proxy. All three parts are needed: the oracle waits until each is 0.
    fn depth(&self) -> Depth;

    /// Returns the proxy.
    fn proxy(&self) -> &Proxy;

    /// Returns whether the server may answer a truncated handshake with an error that blames the configuration,
    /// such as a wrong password. A run may then exit with 78.
    fn blames_truncation(&self) -> bool {
        false
    }

    /// Returns the numbers ([`number`]) of the messages that runs have acknowledged, as a tap of the proxy
    /// decoded them. Only [`Scene::check_where_the_queue_ended`] needs it.
    fn acknowledged(&self) -> BTreeSet<u64> {
        panic!("this queue has no tap that decodes acknowledgements")
    }
}

/// The messages of a queue, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready for delivery.
    pub waiting: u64,
    /// Delivered and not settled.
    pub in_flight: u64,
    /// Requeued with a delay that has not passed.
    pub delayed: u64,
}

/// A store under test. The fixture also writes its section of the program's configuration, with the proxy's
/// address if there is one.
pub trait StoreUnderTest {
    /// Returns the fields `n` and `text` of every record, past the proxy. A record that is stored twice is
    /// returned twice.
    fn rows(&self) -> Vec<(u64, String)>;

    /// Returns the proxy; `None` for a store without a server.
    fn proxy(&self) -> Option<&Proxy>;

    /// Returns whether the server may answer a truncated handshake with an error that blames the configuration,
    /// such as a wrong password. A run may then exit with 78.
    fn blames_truncation(&self) -> bool {
        false
    }
}

/// The program under test, with its configuration.
pub trait ProgramUnderTest {
    /// Starts `run --report json`, with both outputs piped.
    fn spawn(&self) -> Child;

    /// Returns the bodies of the dead letters.
    fn dead_letters(&self) -> Vec<String>;
}

/// The result of a run.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Waits for the end of a child whose outputs are piped, and reads both meanwhile: a run that rejects many
    /// messages prints much.
    #[must_use]
    pub fn of(child: Child) -> Self {
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        ended.recv_timeout(LONGEST_RUN).expect("a run ends by itself").expect("its output is read").into()
    }

    /// Returns whether it printed a report in which at least one message was settled for good.
    #[must_use]
    pub fn settles_something(&self) -> bool {
        let count = |key| self.report()[key].as_u64().unwrap_or_default();
        !self.stdout.is_empty() && ["stored", "duplicate", "rejected"].map(count).iter().sum::<u64>() > 0
    }

    /// Returns the report on standard output.
    #[track_caller]
    #[must_use]
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("no report: {} {}", self.stdout, self.stderr))
    }
}

impl From<std::process::Output> for Ended {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// What happened to a run, which decides the exit codes that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interference {
    /// Nothing that a run cannot handle.
    Nothing,
    /// It was killed, or may have been.
    Killed,
    /// The bytes in both directions were altered: the server may have refused what was never requested.
    Misled,
}

/// The published messages.
#[derive(Default)]
struct Ledger {
    valid: BTreeSet<u64>,
    /// Bodies whose messages become dead letters.
    invalid: BTreeSet<String>,
}

/// A queue, a store and the program between them, and the oracle.
pub struct Scene<'a, Q, S, P> {
    schedule: &'a Schedule,
    /// The queue.
    pub queue: Q,
    /// The store.
    pub store: S,
    /// The program, configured to drain the one into the other.
    pub program: P,
    ledger: Ledger,
    published: u64,
    runs: usize,
}

/// The text of a valid message. It depends on the number, and is sometimes large.
fn text(number: u64) -> String {
    let length = if number.is_multiple_of(97) { 20_000 } else { number * 7_919 % 211 };
    (0..length).map(|at| char::from(b'a' + u8::try_from((number + at) % 26).expect("a letter"))).collect()
}

fn body(number: u64) -> String {
    format!(r#"{{"n":{number},"text":"{}"}}"#, text(number))
}

/// Returns the number in the body of a scene's message, valid or not.
#[must_use]
pub fn number(body: &[u8]) -> Option<u64> {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let from = body.iter().position(digits)?;
    let digits = body[from..].split(|byte| !digits(byte)).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl<'a, Q: QueueUnderTest, S: StoreUnderTest, P: ProgramUnderTest> Scene<'a, Q, S, P> {
    /// Creates a scene in which nothing was published yet.
    #[must_use]
    pub fn new(schedule: &'a Schedule, queue: Q, store: S, program: P) -> Self {
        Self { schedule, queue, store, program, ledger: Ledger::default(), published: 0, runs: 0 }
    }

    /// Counts a fault that no proxy causes.
    pub fn injected(&self) {
        self.schedule.injected.one();
    }

    /// Signals a run, unless it has ended already: then there is no fault.
    pub fn signal(&self, child: &mut Child, name: &str) {
        if child.try_wait().expect("a child").is_none() {
            self.injected();
            signal(child, name);
        }
    }

    /// Notes that the store will refuse this message, so that it becomes a dead letter.
    pub fn will_be_refused(&mut self, number: u64) {
        assert!(self.ledger.valid.remove(&number));
        self.ledger.invalid.insert(body(number));
    }

    /// Returns the numbers of the valid messages that were published.
    #[must_use]
    pub fn valid(&self) -> Vec<u64> {
        self.ledger.valid.iter().copied().collect()
    }

    /// Publishes this many messages; one in ten is no JSON.
    pub fn publish(&mut self, messages: u64) {
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
        self.queue.publish(bodies);
    }

    /// Starts a run.
    #[must_use]
    pub fn spawn(&self) -> Child {
        self.program.spawn()
    }

    /// Runs to completion and checks the result.
    #[track_caller]
    pub fn run(&mut self) -> Ended {
        let ended = Ended::of(self.spawn());
        self.look_at(&ended, Interference::Nothing);
        ended
    }

    /// Runs without faults until a run ends with exit code 0, and returns the time that it took. A scene's
    /// limits are short, and a busy machine may exceed them: nothing is lost then, and another run continues.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "child processes live in real time")]
    pub fn clean_run(&mut self) -> Duration {
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
    pub fn no_faults(&self) {
        self.queue.proxy().plan(Vec::new());
        self.store.proxy().inspect(|proxy| proxy.plan(Vec::new()));
    }

    /// Checks that a run's result is consistent: its counters add up, and its exit code matches them.
    #[track_caller]
    pub fn look_at(&mut self, ended: &Ended, interference: Interference) {
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
    pub fn check(mut self) {
        self.drain();
        let (lost, letters_lost) = self.compare();
        assert!(
            lost.is_empty() && letters_lost.is_empty(),
            "lost {lost:?}, and of the invalid ones {letters_lost:?}"
        );
        self.schedule.passed(self.ledger.valid.len() + self.ledger.invalid.len(), self.runs);
    }

    /// The same for a queue whose server ended: it loses up to `most` messages itself, none of which may be
    /// one that a run has acknowledged. Returns their number.
    #[track_caller]
    pub fn check_where_the_queue_ended(mut self, most: u64) -> usize {
        self.drain();
        let (lost, letters_lost) = self.compare();
        let acknowledged = self.queue.acknowledged();
        let of_letters = letters_lost.iter().filter_map(|letter| number(letter.as_bytes()));
        let (ours, its): (Vec<_>, Vec<_>) =
            lost.into_iter().chain(of_letters).partition(|number| acknowledged.contains(number));
        assert!(ours.is_empty(), "acknowledged but missing: {ours:?}; lost by the queue: {its:?}");
        // The queue is drained, so all other messages were acknowledged. A tap that has not seen this would
        // prove nothing.
        let unfinished: Vec<_> =
            (0..self.published).filter(|number| !acknowledged.contains(number)).collect();
        assert!(
            unfinished.len() as u64 <= most,
            "never acknowledged: {unfinished:?}, which is more than were in flight; missing of these: {its:?}"
        );
        self.schedule.passed(self.ledger.valid.len() + self.ledger.invalid.len(), self.runs);
        its.len()
    }

    /// Runs without faults until nothing is left. The queue must become empty: as long as messages wait, runs
    /// must settle some.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "servers and child processes live in real time")]
    pub fn drain(&mut self) {
        self.no_faults();
        let until = Instant::now() + DRAIN_BOUND;
        let mut fruitless = 0;
        loop {
            let waited = self.queue.depth().waiting > 0;
            let ended = self.run();
            let depth = self.queue.depth();
            if waited {
                fruitless = if ended.settles_something() { 0 } else { fruitless + 1 };
                assert!(
                    fruitless < FRUITLESS_RUNS,
                    "{fruitless} runs in a row settled nothing, and messages wait: {depth:?} {ended:?}"
                );
            }
            if depth == Depth::default() && ended.code == Some(0) {
                break;
            }
            assert!(Instant::now() < until, "not drained: {depth:?}; {} {}", ended.stdout, ended.stderr);
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
        for (number, found) in self.store.rows() {
            assert!(found == text(number), "message {number} is stored with another text");
            *stored.entry(number).or_default() += 1;
        }
        let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
        let unknown: Vec<_> = stored.keys().filter(|number| !self.ledger.valid.contains(number)).collect();
        assert!(
            twice.is_empty() && unknown.is_empty(),
            "duplicates {twice:?}, stored but never published {unknown:?}"
        );
        let kept: BTreeSet<_> = self.program.dead_letters().into_iter().collect();
        let unknown: Vec<_> = kept.difference(&self.ledger.invalid).collect();
        assert!(unknown.is_empty(), "dead letters of valid messages: {unknown:?}");
        let lost = self.ledger.valid.iter().filter(|number| !stored.contains_key(number)).copied().collect();
        (lost, self.ledger.invalid.difference(&kept).cloned().collect())
    }
}

/// Sends a signal to a child by its name.
///
/// # Panics
/// The child was waited for already.
pub fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = std::process::Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
    assert!(status.success(), "the process exists");
}
