//! The list of what is measured.

use std::{
    fs::File,
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
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
        postgres::Postgres,
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

/// The configuration's name in the folder of a [`Program`].
const CONFIGURATION: &str = "x-msrv.yml";

/// The set that receives the records.
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
    /// Another build of the program, whose rows follow those of the program.
    pub(crate) before: Option<String>,
    /// What is not measured, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// Seconds that a process takes which does nothing.
    pub(crate) nothing: Vec<f64>,
    /// Seconds from the start of the program to its first bytes to the queue.
    pub(crate) start_up: Vec<f64>,
    /// The two ceilings: the queue alone and the store alone.
    pub(crate) consume: Row,
    pub(crate) stored: Row,
}

/// What follows the name of a row of another build of the program.
pub(crate) const BEFORE: &str = ", before";

/// What one build of the program is measured with.
struct Bench {
    /// The path of the program.
    program: String,
    /// The section of the store.
    store: String,
    postgres: Option<Rc<Postgres>>,
}

/// A row that is being measured.
struct Job {
    row: Row,
    /// Measured once in this many rounds.
    every: usize,
    /// Number of runs in each of them.
    turns: usize,
    /// A program that does not accept this configuration is not measured.
    configuration: PathBuf,
    prepare: Box<dyn Fn()>,
    run: Box<dyn Fn() -> Cost>,
}

impl Job {
    fn new(
        name: impl Into<String>,
        messages: u64,
        configuration: PathBuf,
        prepare: impl Fn() + 'static,
        run: impl Fn() -> Cost + 'static,
    ) -> Self {
        let row = Row { name: name.into(), messages, costs: Vec::new(), busy: 0.0 };
        Self { row, every: 1, turns: 1, configuration, prepare: Box::new(prepare), run: Box::new(run) }
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
/// for a while slows all rows. A row of another build follows that of the program each time. The first round
/// creates topics and tables and warms caches, and is not counted.
pub(crate) fn measure(rounds: usize, before: Option<String>) -> Figures {
    #[expect(clippy::disallowed_methods, reason = "a report has a date")]
    let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let aerospike = std::env::var(AEROSPIKE).ok();
    let store = match &aerospike {
        Some(address) => format!("aerospike: {{hosts: ['{address}'], namespace: test, set: {SET}}}"),
        None => "sqlite: {path: store.db, set: bench}".to_owned(),
    };
    // Its options are PostgreSQL's defaults again: what is acknowledged is on disk.
    let postgres = cfg!(have_postgres).then(|| Rc::new(Postgres::with(&["-c", "fsync=on"])));
    let of = |program| Bench { program, store: store.clone(), postgres: postgres.clone() };
    let bench = of(program());
    let mut left_out = Vec::new();
    if postgres.is_none() {
        left_out.push("into PostgreSQL (it is not installed)".to_owned());
    }
    let mut jobs = bench.rows();
    if let Some(program) = &before {
        let (known, refused): (Vec<_>, Vec<_>) =
            of(program.clone()).rows().into_iter().partition(|job| accepts(program, &job.configuration));
        left_out.extend(
            refused
                .iter()
                .map(|job| format!("{}{BEFORE} ({program} refuses the configuration)", job.row.name)),
        );
        for mut job in known {
            let place = jobs.iter().position(|now| now.row.name == job.row.name).expect("the same row");
            job.row.name += BEFORE;
            jobs.insert(place + 1, job);
        }
    }
    jobs.extend([bench.ceiling("queue alone", "consume"), bench.ceiling("store alone", "store")]);
    let (mut nothing, mut start_up, first_bytes) = (Vec::new(), Vec::new(), first_bytes());
    for round in 0..=rounds {
        eprintln!("round {round} of {rounds}");
        for turn in 0..TURNS {
            let now = |job: &&mut Job| turn < job.turns && (round == 0 || round % job.every == 1 % job.every);
            let mut due: Vec<&mut Job> = jobs.iter_mut().filter(now).collect();
            if (round + turn) % 2 == 1 {
                // A run is faster after one of the same kind: of two programs, each is first as often.
                due.reverse();
            }
            for job in due {
                if let Some(address) = &aerospike {
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
    Figures {
        time,
        nsqd: name_of_nsqd(),
        aerospike,
        before,
        left_out,
        rows,
        nothing,
        start_up,
        consume,
        stored,
    }
}

/// As in `nsqd v1.3.0 (built w/go1.22.0)`.
fn name_of_nsqd() -> String {
    let output =
        Command::new(programs().join("nsqd")).arg("--version").output().expect("it was started before");
    String::from_utf8_lossy(&output.stdout).split(" (").next().unwrap_or_default().trim().to_owned()
}

/// Returns whether a program accepts a configuration. An earlier build may not know a section.
fn accepts(program: &str, configuration: &Path) -> bool {
    let output = Command::new(program).args(["check", "-c"]).arg(configuration).output();
    output.expect("it starts").status.success()
}

impl Bench {
    /// The rows of a program.
    fn rows(&self) -> Vec<Job> {
        let one = |options: &[&str]| vec![Nsqd::with_statistics_beside(options)];
        let [forgotten, remembered, metered] = REMEMBERED;
        let mut jobs = vec![
            self.row("empty topic", 10, 0, one(&[])),
            self.row("9 waiting, N = 10", 10, 9, one(&[])),
            self.row_with(remembered, "", 10, 10, one(&[])),
            self.row_with(forgotten, "history: false\n", 10, 10, one(&[])),
            self.row_with(metered, "metrics: {textfile: x-msrv.prom}\n", 10, 10, one(&[])),
        ];
        jobs.extend(self.postgres.iter().map(|server| self.postgres_row(server, 10)));
        for job in &mut jobs {
            job.turns = TURNS;
        }
        jobs.extend(
            [1_000, 10_000, 100_000].map(|n| self.row(format!("N = {}", grouped(n)), n, n, one(&IN_MEMORY))),
        );
        jobs.push(Job { every: 3, ..self.row("N = 1,000,000", 1_000_000, 1_000_000, one(&IN_MEMORY)) });
        jobs.extend(self.postgres.iter().map(|server| self.postgres_row(server, 100_000)));
        let three = [(); 3].map(|()| Nsqd::with_statistics_beside(&IN_MEMORY)).into();
        jobs.extend([
            self.row("N = 100,000, three nsqd", 100_000, 100_000, three),
            self.two_instances(),
            self.large(),
            self.embedded(),
        ]);
        jobs
    }

    fn program(&self, nsqd: &[Nsqd], n: u64) -> Program {
        self.program_with(nsqd, n, "")
    }

    fn program_with(&self, nsqd: &[Nsqd], n: u64, further: &str) -> Program {
        into(&self.store, nsqd, n, further)
    }

    /// A run of the program, with this many messages waiting, in equal parts on each nsqd.
    fn row(&self, name: impl Into<String>, n: u64, waiting: u64, nsqd: Vec<Nsqd>) -> Job {
        self.row_with(name, "", n, waiting, nsqd)
    }

    /// The same with further lines in the configuration.
    fn row_with(&self, name: impl Into<String>, further: &str, n: u64, waiting: u64, nsqd: Vec<Nsqd>) -> Job {
        self.job(name, waiting, self.program_with(&nsqd, n, further), move || publish(&nsqd, waiting))
    }

    /// A run of the program in the folder of `configured`.
    fn job(
        &self,
        name: impl Into<String>,
        messages: u64,
        configured: Program,
        prepare: impl Fn() + 'static,
    ) -> Job {
        let program = self.program.clone();
        let configuration = configured.path(CONFIGURATION);
        Job::new(name, messages, configuration, prepare, move || run(&program, &configured))
    }

    /// The same into a table that is empty before each run.
    fn postgres_row(&self, server: &Rc<Postgres>, n: u64) -> Job {
        let (schema, _) = block_on(server.table());
        let nsqd = [Nsqd::with_statistics_beside(&IN_MEMORY)];
        let section = format!(
            "postgres: {{hosts: ['{}'], database: postgres, user: postgres, password: postgres, table: {schema}.t}}",
            server.address
        );
        let program = into(&section, &nsqd, n, "");
        let server = server.clone();
        let prepare = move || {
            block_on(server.sql(&format!("TRUNCATE {schema}.t")));
            publish(&nsqd, n);
        };
        self.job(format!("N = {}, into PostgreSQL", grouped(n)), n, program, prepare)
    }

    /// Two runs at the same time on one channel; the time covers both together.
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn two_instances(&self) -> Job {
        const MESSAGES: u64 = 100_000;
        let nsqd = [Nsqd::with_statistics_beside(&IN_MEMORY)];
        let programs = [(); 2].map(|()| self.program(&nsqd, MESSAGES / 2));
        let configuration = programs[0].path(CONFIGURATION);
        let path = self.program.clone();
        let both = move || {
            let started = Instant::now();
            let costs = std::thread::scope(|scope| {
                let threads = programs.each_ref().map(|program| scope.spawn(|| run(&path, program)));
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
        let prepare = move || publish(&nsqd, MESSAGES);
        Job::new("two instances of N = 50,000", MESSAGES, configuration, prepare, both)
    }

    /// Messages of nearly one mebibyte, nsqd's default limit.
    fn large(&self) -> Job {
        const MESSAGES: u64 = 200;
        let nsqd = Nsqd::with_statistics_beside(&IN_MEMORY);
        let program = self.program(std::slice::from_ref(&nsqd), MESSAGES);
        let large = format!(r#"{{"text":"{}"}}"#, "x".repeat((1 << 20) - 1_000));
        let publish = move || (0..MESSAGES).for_each(|_| nsqd.publish("t", [large.clone()]));
        self.job("200 messages of 1 MiB", MESSAGES, program, publish)
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
        let configuration = program.path(CONFIGURATION);
        let run =
            move || measure::cost(&ourselves, &[half, &program.path(CONFIGURATION).display().to_string()]);
        Job::new(name, MESSAGES, configuration, fill, run)
    }

    /// Queue and store in SQLite files.
    fn embedded(&self) -> Job {
        const MESSAGES: u64 = 100_000;
        let program = Program::new(&format!(
            "embedded-queue: {{path: queue.db, max-messages: {MESSAGES}}}\nsqlite: {{path: store.db, set: s}}\ntimeout: 60s\nlog: {{level: error}}\n"
        ));
        let lines: String =
            (0..MESSAGES).flat_map(|number| [message_of_150_bytes(number), "\n".to_owned()]).collect();
        let lines = program.write("lines", &lines);
        let (sender, configuration) = (self.program.clone(), program.path(CONFIGURATION));
        let send = move || {
            let input = File::open(&lines).expect("it was written");
            let ended = Command::new(&sender).args(["send", "-c"]).arg(&configuration).stdin(input).output();
            assert!(ended.expect("it starts").status.success(), "{sender} sends");
        };
        self.job("N = 100,000, embedded queue and store", MESSAGES, program, send)
    }
}

/// A configuration that drains these nsqd into a store.
fn into(store: &str, nsqd: &[Nsqd], n: u64, further: &str) -> Program {
    let addresses: Vec<_> = nsqd.iter().map(|nsqd| format!("'{}'", nsqd.tcp)).collect();
    Program::new(&format!(
        "nsq: {{nsqd-tcp-address: [{}], topic: t, channel: c, max-messages: {n}}}\n{store}\ntimeout: 60s\nlog: {{level: error}}\n{further}",
        addresses.join(", ")
    ))
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

fn run(program: &str, configured: &Program) -> Cost {
    let configuration = configured.path(CONFIGURATION).display().to_string();
    measure::cost(program, &["run", "-c", &configuration, "--report", "json"])
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
        let configuration = x_msrv.path(CONFIGURATION).display().to_string();
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
