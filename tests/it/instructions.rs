//! The number of instructions that a run takes. Seconds on a shared machine mean little; instructions are
//! repeatable to a few in a thousand.

use crate::support::{
    aerospike::StandIn,
    block_on, message_of_150_bytes,
    nsqd::Nsqd,
    program::{Program, program},
    project,
};

/// How far a message may be from the value in `benches/instructions`, in percent. Builds of one source differ by
/// 0.2%. An improvement is recorded too: otherwise later changes could use it up unseen.
const TOLERANCE: u64 = 2;

/// From nsqd into the stand-in for Aerospike, with the program that `X_MSRV_TEST_PROGRAM` names, which must
/// be a release build.
#[test]
#[ignore = "it is about the release build, and needs valgrind: test/instructions runs it"]
fn a_message_takes_as_many_instructions_as_recorded() {
    const MESSAGES: u64 = 20_000;
    let nsqd = Nsqd::with(&["-mem-queue-size=100000"]);
    let server = block_on(StandIn::start());
    nsqd.publish("t", (0..MESSAGES).map(message_of_150_bytes));
    let configured = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c, max-messages: {MESSAGES}}}\n\
         aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 30s}}\ntimeout: 5m\nconnect-timeout: 30s\nlog: {{level: error}}\n",
        nsqd.tcp,
        server.address()
    ));
    let ended = configured.run_by(
        "valgrind",
        &[
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            &program(),
            "run",
            "-c",
            "x-msrv.yml",
            "--report",
            "json",
        ],
    );
    assert_eq!((ended.code, &ended.report()["stored"]), (Some(0), &MESSAGES.into()), "{ended:?}");
    let collected =
        ended.stderr.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
    let each = collected.expect("callgrind counts") / MESSAGES;
    let file = project().join("benches/instructions");
    let before: u64 = std::fs::read_to_string(&file).expect("a figure").trim().parse().expect("a number");
    println!("{each} instructions a message, {before} when benches/instructions was written");
    assert!(
        each.abs_diff(before) * 100 <= before * TOLERANCE,
        "{each} instructions a message, {before} before: fix it, or record the new figure with its reason"
    );
}
