//! What is measured.

use std::{
    io::Read as _,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use crate::{
    AEROSPIKE, measure,
    measure::Cost,
    support::{
        block_on, message_of_150_bytes,
        nsqd::{Nsqd, programs},
        program::{Program, program},
    },
};

/// A backlog that does not go through nsqd's disk, whose pauses are not ours.
const IN_MEMORY: [&str; 1] = ["-mem-queue-size=4000000"];

/// Where records go.
const SET: &str = "bench";

/// One line of the report.
pub(crate) struct Row {
    pub(crate) name: String,
    /// Messages that each run moves.
    pub(crate) messages: u64,
    pub(crate) costs: Vec<Cost>,
    /// Processor seconds of the whole machine in all runs together.
    pub(crate) busy: f64,
}

/// The whole report.
pub(crate) struct Figures {
    /// When this was begun.
    pub(crate) time: String,
    /// What nsqd calls itself.
    pub(crate) nsqd: String,
    /// The server that has the records; SQLite where there is none.
    pub(crate) aerospike: Option<String>,
    pub(crate) rows: Vec<Row>,
    /// Seconds that a process takes that does nothing.
    pub(crate) nothing: Vec<f64>,
    /// Seconds from the start of the program to its first bytes to the queue.
    pub(crate) start_up: Vec<f64>,
    /// The same into the ceilings: the queue alone, and the store alone.
    pub(crate) consume: Row,
    pub(crate) stored: Row,
}

struct Bench {
    runs: usize,
    aerospike: Option<String>,
    /// The section of the store.
    store: String,
}

pub(crate) fn measure(runs: usize) -> Figures {
    #[expect(clippy::disallowed_methods, reason = "a report has a date")]
    let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let aerospike = std::env::var(AEROSPIKE).ok();
    let store = match &aerospike {
        Some(address) => format!("aerospike: {{hosts: ['{address}'], namespace: test, set: {SET}}}"),
        None => "sqlite: {path: store.db, set: bench}".to_owned(),
    };
    let bench = Bench { runs, aerospike: aerospike.clone(), store };
    let few = runs.div_ceil(3);
    let mut rows = vec![
        bench.row("empty topic", 10, 0, &[Nsqd::with_statistics_beside(&[])], runs),
        bench.row("9 waiting, N = 10", 10, 9, &[Nsqd::with_statistics_beside(&[])], runs),
        bench.row("N = 10", 10, 10, &[Nsqd::with_statistics_beside(&[])], runs),
    ];
    for n in [1_000, 10_000, 100_000] {
        rows.push(bench.row(&format!("N = {}", grouped(n)), n, n, &[Nsqd::with_statistics_beside(&IN_MEMORY)], runs));
    }
    rows.push(bench.row("N = 1,000,000", 1_000_000, 1_000_000, &[Nsqd::with_statistics_beside(&IN_MEMORY)], few));
    rows.push(bench.row("N = 100,000, three nsqd", 100_000, 100_000, &[(); 3].map(|()| Nsqd::with_statistics_beside(&IN_MEMORY)), runs));
    rows.push(bench.two_instances());
    rows.push(bench.large());
    rows.push(bench.embedded());
    let nsqd = Nsqd::with_statistics_beside(&IN_MEMORY);
    let consume = bench.ceiling("queue alone", "consume", &nsqd);
    let stored = bench.ceiling("store alone", "store", &nsqd);
    let nothing = (0..=runs).map(|_| measure::cost("true", &[]).wall).skip(1).collect();
    Figures { time, nsqd: name_of_nsqd(), aerospike, rows, nothing, start_up: start_up(runs), consume, stored }
}

/// As in `nsqd v1.3.0 (built w/go1.22.0)`.
fn name_of_nsqd() -> String {
    let output = Command::new(programs().join("nsqd")).arg("--version").output().expect("it was started before");
    String::from_utf8_lossy(&output.stdout).split(" (").next().unwrap_or_default().trim().to_owned()
}

impl Bench {
    fn program(&self, nsqd: &[Nsqd], n: u64) -> Program {
        let addresses: Vec<_> = nsqd.iter().map(|nsqd| format!("'{}'", nsqd.tcp)).collect();
        Program::new(&format!(
            "nsq: {{nsqd-tcp-address: [{}], topic: t, channel: c, max-messages: {n}}}\n{}\ntimeout: 60s\nlog: {{level: error}}\n",
            addresses.join(", "),
            self.store
        ))
    }

    /// Runs of the program, each with so many messages waiting in equal parts on each nsqd.
    fn row(&self, name: &str, n: u64, waiting: u64, nsqd: &[Nsqd], runs: usize) -> Row {
        let program = self.program(nsqd, n);
        self.runs_of(name, waiting, runs, || publish(nsqd, waiting), || run(&program))
    }

    /// Two runs at once on one channel; the time is that of both together.
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn two_instances(&self) -> Row {
        const MESSAGES: u64 = 100_000;
        let nsqd = [Nsqd::with_statistics_beside(&IN_MEMORY)];
        let programs = [(); 2].map(|()| self.program(&nsqd, MESSAGES / 2));
        self.runs_of(
            "two instances of N = 50,000",
            MESSAGES,
            self.runs,
            || publish(&nsqd, MESSAGES),
            || {
                let started = Instant::now();
                let costs = std::thread::scope(|scope| {
                    let threads = programs.each_ref().map(|program| scope.spawn(|| run(program)));
                    threads.map(|thread| thread.join().expect("no panic"))
                });
                let stored: u64 = costs.iter().map(|cost| report(cost)["stored"].as_u64().expect("a number")).sum();
                Cost {
                    wall: started.elapsed().as_secs_f64(),
                    cpu: costs.iter().map(|cost| cost.cpu).sum(),
                    memory: costs.iter().map(|cost| cost.memory).max().expect("two"),
                    output: serde_json::json!({ "stored": stored }).to_string(),
                }
            },
        )
    }

    /// Messages of nearly a mebibyte, which is the most that nsqd takes by default.
    fn large(&self) -> Row {
        const MESSAGES: u64 = 200;
        let nsqd = [Nsqd::with_statistics_beside(&IN_MEMORY)];
        let program = self.program(&nsqd, MESSAGES);
        let large = format!(r#"{{"text":"{}"}}"#, "x".repeat((1 << 20) - 1_000));
        let publish = || (0..MESSAGES).for_each(|_| nsqd[0].publish("t", [large.clone()]));
        self.runs_of("200 messages of 1 MiB", MESSAGES, self.runs, publish, || run(&program))
    }

    /// Queue and store in SQLite files.
    fn embedded(&self) -> Row {
        const MESSAGES: u64 = 100_000;
        let program = Program::new(&format!(
            "embedded-queue: {{path: queue.db, max-messages: {MESSAGES}}}\nsqlite: {{path: store.db, set: s}}\ntimeout: 60s\nlog: {{level: error}}\n"
        ));
        let lines: String = (0..MESSAGES).flat_map(|number| [message_of_150_bytes(number), "\n".to_owned()]).collect();
        let send = || assert_eq!(program.run_with_input(&["send"], lines.as_bytes()).code, Some(0));
        self.runs_of("N = 100,000, embedded queue and store", MESSAGES, self.runs, send, || run(&program))
    }

    /// Runs, each of which has to move all of the messages; the first opens topic and table and warms caches, and is not counted.
    fn runs_of(&self, name: &str, messages: u64, runs: usize, mut before: impl FnMut(), run: impl Fn() -> Cost) -> Row {
        eprintln!("{name}");
        let (mut costs, mut busy) = (Vec::new(), 0.0);
        for number in 0..=runs {
            if let Some(address) = &self.aerospike {
                block_on(empty_the_set(address));
            }
            before();
            let earlier = measure::busy();
            let cost = run();
            let stored = report(&cost)["stored"].as_u64();
            assert_eq!(stored, Some(messages), "{name}: {}", cost.output);
            if number > 0 {
                busy += measure::busy() - earlier;
                costs.push(cost);
            }
        }
        Row { name: name.to_owned(), messages, costs, busy }
    }

    fn ceiling(&self, name: &str, role: &str, nsqd: &Nsqd) -> Row {
        const MESSAGES: u64 = 100_000;
        let program = self.program(std::slice::from_ref(nsqd), MESSAGES);
        let configuration = program.path("x-msrv.yml").display().to_string();
        let ourselves = std::env::current_exe().expect("a program").display().to_string();
        let fill = || {
            if role == "consume" {
                publish(std::slice::from_ref(nsqd), MESSAGES);
            }
        };
        self.runs_of(name, MESSAGES, self.runs, fill, || measure::cost(&ourselves, &[role, &configuration]))
    }
}

/// Makes room for the next run: a million records of each would fill the server's memory.
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
    measure::cost(&program(), &["run", "-c", &x_msrv.path("x-msrv.yml").display().to_string(), "--report", "json"])
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

/// How long it takes until a queue hears from us: the process itself, its libraries, the command line, the configuration.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn start_up(runs: usize) -> Vec<f64> {
    let queue = TcpListener::bind("127.0.0.1:0").expect("a port");
    let x_msrv = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\nlog: {{level: error}}\n",
        queue.local_addr().expect("an address")
    ));
    let configuration = x_msrv.path("x-msrv.yml").display().to_string();
    let first_bytes = || {
        let started = Instant::now();
        let mut child: Child =
            Command::new(program()).args(["run", "-c", &configuration]).stderr(Stdio::null()).spawn().expect("it starts");
        let (mut connection, _) = queue.accept().expect("it connects");
        connection.read_exact(&mut [0; 4]).expect("it speaks first");
        let elapsed = started.elapsed().as_secs_f64();
        drop(connection);
        child.wait().expect("it ends");
        elapsed
    };
    (0..=runs).map(|_| first_bytes()).skip(1).collect()
}

/// A number in groups of three digits.
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
