//! The list of what is measured.

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Instant,
};

use serde_json::Value;

use crate::{
    AEROSPIKE,
    measure::{self, Cost},
    support::{
        block_on, message_of_150_bytes,
        nsqd::{Nsqd, programs},
        program::{Program, program},
    },
};

/// Keeps the backlog in nsqd's memory: pauses of its disk are not part of the program's cost.
const IN_MEMORY: [&str; 1] = ["-mem-queue-size=4000000"];

/// Number of times that a small run is measured in each round: its time varies by more than the difference to
/// detect.
const TURNS: usize = 8;

/// The rows that show the cost of the history and the metrics.
pub(crate) const REMEMBERED: [&str; 3] = ["N = 10, without a history", "N = 10", "N = 10, with metrics"];

/// The store that receives the records.
const SET: &str = "bench";

/// One row of the report.
pub(crate) struct Row {
    pub(crate) name: String,
    /// Number of messages in each run.
    pub(crate) messages: u64,
    pub(crate) costs: Vec<Cost>,
    /// Processor seconds of the whole machine in all runs together.
    pub(crate) busy: f64,
}

/// The whole report.
pub(crate) struct Figures {
    /// The time at which the measurement started.
    pub(crate) time: String,
    /// The version that nsqd reports.
    pub(crate) nsqd: String,
    /// The server that stores the records; SQLite if there is none.
    pub(crate) aerospike: Option<String>,
    pub(crate) rows: Vec<Row>,
    /// Seconds that a process takes which does nothing.
    pub(crate) nothing: Vec<f64>,
    /// Seconds from the start of the program to its first bytes to the queue.
    pub(crate) start_up: Vec<f64>,
    /// The two ceilings: the queue alone and the store alone.
    pub(crate) consume: Row,
    pub(crate) stored: Row,
}

struct Bench {
    aerospike: Option<String>,
    /// The section of the store.
    store: String,
}

/// A row that is being measured.
struct Job {
    row: Row,
    /// Measured once in this many rounds.
    every: usize,
    /// Number of runs in each of them.
    turns: usize,
    prepare: Box<dyn Fn()>,
    run: Box<dyn Fn() -> Cost>,
}

impl Job {
    fn new(
        name: impl Into<String>,
        messages: u64,
        prepare: impl Fn() + 'static,
        run: impl Fn() -> Cost + 'static,
    ) -> Self {
        let row = Row { name: name.into(), messages, costs: Vec::new(), busy: 0.0 };
        Self { row, every: 1, turns: 1, prepare: Box::new(prepare), run: Box::new(run) }
    }

    /// Runs once, and fails unless the run drains all of the messages.
    fn measure(&mut self, counts: bool) {
        (self.prepare)();
        let earlier = measure::busy();
        let cost = (self.run)();
        assert_eq!(
            report(&cost)["stored"].as_u64(),
            Some(self.row.messages),
            "{}: {}",
            self.row.name,
            cost.output
        );
        if counts {
            self.row.busy += measure::busy() - earlier;
            self.row.costs.push(cost);
        }
    }
}

/// Measures every row in each round, ceilings included, with the small runs in turn: a machine that is slow
/// for a while slows all rows. The first round creates topics and tables and warms caches, and is not
/// counted.
pub(crate) fn measure(rounds: usize) -> Figures {
    #[expect(clippy::disallowed_methods, reason = "a report has a date")]
    let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let aerospike = std::env::var(AEROSPIKE).ok();
    let store = match &aerospike {
        Some(address) => format!("aerospike: {{hosts: ['{address}'], namespace: test, set: {SET}}}"),
        None => "sqlite: {path: store.db, set: bench}".to_owned(),
    };
    let bench = Bench { aerospike: aerospike.clone(), store };
    let one = |options: &[&str]| vec![Nsqd::with_statistics_beside(options)];
    let [forgotten, remembered, metered] = REMEMBERED;
    let mut jobs = vec![
        bench.row("empty topic", 10, 0, one(&[])),
        bench.row("9 waiting, N = 10", 10, 9, one(&[])),
        bench.row_with(remembered, "", 10, 10, one(&[])),
        bench.row_with(forgotten, "history: false\n", 10, 10, one(&[])),
        bench.row_with(metered, "metrics: {textfile: x-msrv.prom}\n", 10, 10, one(&[])),
    ];
    for job in &mut jobs {
        job.turns = TURNS;
    }
    jobs.extend(
        [1_000, 10_000, 100_000].map(|n| bench.row(format!("N = {}", grouped(n)), n, n, one(&IN_MEMORY))),
    );
    jobs.push(Job { every: 3, ..bench.row("N = 1,000,000", 1_000_000, 1_000_000, one(&IN_MEMORY)) });
    let three = [(); 3].map(|()| Nsqd::with_statistics_beside(&IN_MEMORY)).into();
    jobs.extend([
        bench.row("N = 100,000, three nsqd", 100_000, 100_000, three),
        bench.two_instances(),
        bench.large(),
        embedded(),
    ]);
    jobs.extend([bench.ceiling("queue alone", "consume"), bench.ceiling("store alone", "store")]);
    let (mut nothing, mut start_up, first_bytes) = (Vec::new(), Vec::new(), first_bytes());
    for round in 0..=rounds {
        eprintln!("round {round} of {rounds}");
        for turn in 0..TURNS {
            let now = |job: &&mut Job| turn < job.turns && (round == 0 || round % job.every == 1 % job.every);
            for job in jobs.iter_mut().filter(now) {
                if let Some(address) = &bench.aerospike {
                    block_on(empty_the_set(address));
                }
                job.measure(round > 0);
            }
        }
        nothing.push(measure::cost("true", &[]).wall);
        start_up.push(first_bytes());
    }
    let [nothing, start_up] = [nothing, start_up].map(|mut times| times.split_off(1));
    let mut rows: Vec<Row> = jobs.into_iter().map(|job| job.row).collect();
    let (stored, consume) = (rows.pop().expect("the last one"), rows.pop().expect("the one before"));
    Figures { time, nsqd: name_of_nsqd(), aerospike, rows, nothing, start_up, consume, stored }
}

/// As in `nsqd v1.3.0 (built w/go1.22.0)`.
fn name_of_nsqd() -> String {
    let output =
        Command::new(programs().join("nsqd")).arg("--version").output().expect("it was started before");
    String::from_utf8_lossy(&output.stdout).split(" (").next().unwrap_or_default().trim().to_owned()
}

impl Bench {
    fn program(&self, nsqd: &[Nsqd], n: u64) -> Program {
        self.program_with(nsqd, n, "")
    }

    fn program_with(&self, nsqd: &[Nsqd], n: u64, further: &str) -> Program {
        let addresses: Vec<_> = nsqd.iter().map(|nsqd| format!("'{}'", nsqd.tcp)).collect();
        Program::new(&format!(
            "nsq: {{nsqd-tcp-address: [{}], topic: t, channel: c, max-messages: {n}}}\n{}\ntimeout: 60s\nlog: {{level: error}}\n{further}",
            addresses.join(", "),
            self.store
        ))
    }

    /// A run of the program, with this many messages waiting, in equal parts on each nsqd.
    fn row(&self, name: impl Into<String>, n: u64, waiting: u64, nsqd: Vec<Nsqd>) -> Job {
        self.row_with(name, "", n, waiting, nsqd)
    }

    /// The same with further lines in the configuration.
    fn row_with(&self, name: impl Into<String>, further: &str, n: u64, waiting: u64, nsqd: Vec<Nsqd>) -> Job {
        let program = self.program_with(&nsqd, n, further);
        Job::new(name, waiting, move || publish(&nsqd, waiting), move || run(&program))
    }

    /// Two runs at the same time on one channel; the time covers both together.
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn two_instances(&self) -> Job {
        const MESSAGES: u64 = 100_000;
        let nsqd = [Nsqd::with_statistics_beside(&IN_MEMORY)];
        let programs = [(); 2].map(|()| self.program(&nsqd, MESSAGES / 2));
        let both = move || {
            let started = Instant::now();
            let costs = std::thread::scope(|scope| {
                let threads = programs.each_ref().map(|program| scope.spawn(|| run(program)));
                threads.map(|thread| thread.join().expect("no panic"))
            });
            let stored: u64 =
                costs.iter().map(|cost| report(cost)["stored"].as_u64().expect("a number")).sum();
            Cost {
                wall: started.elapsed().as_secs_f64(),
                cpu: costs.iter().map(|cost| cost.cpu).sum(),
                memory: costs.iter().map(|cost| cost.memory).max().expect("two"),
                output: serde_json::json!({ "stored": stored }).to_string(),
            }
        };
        Job::new("two instances of N = 50,000", MESSAGES, move || publish(&nsqd, MESSAGES), both)
    }

    /// Messages of nearly one mebibyte, nsqd's default limit.
    fn large(&self) -> Job {
        const MESSAGES: u64 = 200;
        let nsqd = Nsqd::with_statistics_beside(&IN_MEMORY);
        let program = self.program(std::slice::from_ref(&nsqd), MESSAGES);
        let large = format!(r#"{{"text":"{}"}}"#, "x".repeat((1 << 20) - 1_000));
        let publish = move || (0..MESSAGES).for_each(|_| nsqd.publish("t", [large.clone()]));
        Job::new("200 messages of 1 MiB", MESSAGES, publish, move || run(&program))
    }

    /// One half of a run.
    fn ceiling(&self, name: &str, half: &'static str) -> Job {
        const MESSAGES: u64 = 100_000;
        let nsqd = [Nsqd::with_statistics_beside(&IN_MEMORY)];
        let program = self.program(&nsqd, MESSAGES);
        let ourselves = std::env::current_exe().expect("a program").display().to_string();
        let fill = move || {
            if half == "consume" {
                publish(&nsqd, MESSAGES);
            }
        };
        let run =
            move || measure::cost(&ourselves, &[half, &program.path("x-msrv.yml").display().to_string()]);
        Job::new(name, MESSAGES, fill, run)
    }
}

/// Queue and store in SQLite files.
fn embedded() -> Job {
    const MESSAGES: u64 = 100_000;
    let program = Rc::new(Program::new(&format!(
        "embedded-queue: {{path: queue.db, max-messages: {MESSAGES}}}\nsqlite: {{path: store.db, set: s}}\ntimeout: 60s\nlog: {{level: error}}\n"
    )));
    let lines: String =
        (0..MESSAGES).flat_map(|number| [message_of_150_bytes(number), "\n".to_owned()]).collect();
    let sender = program.clone();
    let send = move || assert_eq!(sender.run_with_input(&["send"], lines.as_bytes()).code, Some(0));
    Job::new("N = 100,000, embedded queue and store", MESSAGES, send, move || run(&program))
}

/// Deletes the records before the next run: a million records from each run would fill the server's memory.
async fn empty_the_set(address: &str) {
    use aerospike::{AdminPolicy, Client, ClientPolicy};
    let (policy, admin) = (ClientPolicy::default(), AdminPolicy::default());
    let client = Client::new(&policy, &address).await.expect("the server answers");
    client.truncate(&admin, "test", SET, 0).await.expect("the set is emptied");
    loop {
        let set = client.info(&admin, &[&format!("sets/test/{SET}")]).await.expect("the server answers");
        if set.values().all(|text| text.trim().is_empty() || text.contains("objects=0:")) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    client.close().await.expect("nothing is under way");
}

fn run(x_msrv: &Program) -> Cost {
    measure::cost(
        &program(),
        &["run", "-c", &x_msrv.path("x-msrv.yml").display().to_string(), "--report", "json"],
    )
}

fn report(cost: &Cost) -> Value {
    serde_json::from_str(&cost.output).expect("a report")
}

fn publish(nsqd: &[Nsqd], messages: u64) {
    let each = messages.div_ceil(nsqd.len() as u64);
    for (index, nsqd) in (0_u64..).zip(nsqd) {
        nsqd.publish("t", (index * each..messages.min((index + 1) * each)).map(message_of_150_bytes));
    }
}

/// Measures the time until the first bytes reach the queue: start of the process, dynamic libraries, command
/// line, configuration.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn first_bytes() -> impl Fn() -> f64 {
    let queue = TcpListener::bind("127.0.0.1:0").expect("a port");
    let x_msrv = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\nlog: {{level: error}}\n",
        queue.local_addr().expect("an address")
    ));
    move || {
        let configuration = x_msrv.path("x-msrv.yml").display().to_string();
        let started = Instant::now();
        let mut child: Child = Command::new(program())
            .args(["run", "-c", &configuration])
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let (mut connection, _) = queue.accept().expect("it connects");
        connection.read_exact(&mut [0; 4]).expect("it speaks first");
        let elapsed = started.elapsed().as_secs_f64();
        drop(connection);
        child.wait().expect("it ends");
        elapsed
    }
}

/// Formats a number in groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
