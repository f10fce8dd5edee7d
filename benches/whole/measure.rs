//! Runs a program and measures its cost.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde::{Deserialize, Serialize};

/// The cost of one run of a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Wall-clock time from start to exit, in seconds.
    pub(crate) wall: f64,
    /// Processor time in user and kernel mode, in seconds.
    pub(crate) cpu: f64,
    /// Maximum resident size, in bytes.
    pub(crate) memory: u64,
    /// The text written to standard output.
    pub(crate) output: String,
}

/// Runs `program` from a separate parent process, so that the system's resource usage of ended children
/// covers this program only.
pub(crate) fn cost(program: &str, arguments: &[&str]) -> Cost {
    let ourselves = std::env::current_exe().expect("a program");
    let output =
        Command::new(ourselves).arg("measure").arg(program).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("the parent speaks JSON")
}

/// The other side of [`cost`]: runs the program and writes its cost to standard output.
#[expect(clippy::disallowed_methods, reason = "it measures")]
pub(crate) fn as_parent_of(program: &str, arguments: &[&str]) {
    let started = Instant::now();
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("it starts");
    let wall = started.elapsed().as_secs_f64();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system reports usage");
    let memory = u64::try_from(usage.max_rss()).expect("a size") << 10;
    let output = String::from_utf8(output.stdout).expect("text");
    let cost = Cost { wall, cpu: seconds(usage.user_time()) + seconds(usage.system_time()), memory, output };
    println!("{}", serde_json::to_string(&cost).expect("numbers and text"));
}

fn seconds(time: TimeVal) -> f64 {
    Duration::new(
        time.tv_sec().try_into().expect("a span"),
        u32::try_from(time.tv_usec()).expect("under a second") * 1_000,
    )
    .as_secs_f64()
}

/// Returns the seconds that all processors together have been busy since boot, for any process (proc(5),
/// `/proc/stat`); the resolution is 10 ms.
pub(crate) fn busy() -> f64 {
    const TICKS_IN_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/stat").expect("Linux");
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|tick| tick.parse().ok())
        .collect();
    let (user, nice, system, irq, softirq) = (ticks[0], ticks[1], ticks[2], ticks[5], ticks[6]);
    (user + nice + system + irq + softirq) / TICKS_IN_A_SECOND
}
