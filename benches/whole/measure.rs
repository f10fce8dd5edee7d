//! Running a program and weighing it.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use serde::{Deserialize, Serialize};

/// What one run of a program cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// From its start to its end, in seconds.
    pub(crate) wall: f64,
    /// Its own and the kernel's time for it, in seconds.
    pub(crate) cpu: f64,
    /// Resident bytes at most.
    pub(crate) memory: u64,
    /// What it wrote to standard output.
    pub(crate) output: String,
}

/// Runs `program` from a parent of its own: what the system tells of children that have ended is then about
/// this one.
pub(crate) fn cost(program: &str, arguments: &[&str]) -> Cost {
    let ourselves = std::env::current_exe().expect("a program");
    let output =
        Command::new(ourselves).arg("measure").arg(program).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("the parent speaks JSON")
}

/// The other side of [`cost`]: runs it, and writes what it cost to standard output.
#[expect(clippy::disallowed_methods, reason = "it measures")]
pub(crate) fn as_parent_of(program: &str, arguments: &[&str]) {
    let started = Instant::now();
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("it starts");
    let wall = started.elapsed().as_secs_f64();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system tells it");
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

/// Seconds that all processors together were busy since the start, whoever with (proc(5), `/proc/stat`); in
/// steps of 10 ms.
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
