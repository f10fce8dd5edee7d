//! The faults of the original program: each was measured there and has its test here. Those that need a fault
//! in the store or several servers are in `nsq` and `aerospike`.

use crate::support::{
    aerospike::{Rule, StandIn, Then, When},
    block_on,
    nsqd::Nsqd,
    program::Program,
    wait_until,
};

fn program(nsqd: &Nsqd, max_messages: u64, max_in_flight: u64) -> Program {
    Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c, max-messages: {max_messages}, max-in-flight: {max_in_flight}}}\n\
         sqlite: {{path: store.db, set: s}}\nidle-timeout: 300ms\n",
        nsqd.tcp
    ))
}

/// With N = 2, 50 in flight and 50 messages, the original stored 10 and lost 40, because each message over N
/// cost an attempt and a delay of 90 s.
#[test]
fn messages_over_n_cost_no_attempt_and_are_all_stored_in_the_end() {
    let nsqd = Nsqd::start();
    nsqd.publish("t", (0..50).map(|number| format!("{{\"n\":{number}}}")));
    let program = program(&nsqd, 2, 50);
    for round in 1..=25 {
        assert_eq!(program.drain(&[])["stored"], 2, "round {round}");
        let depths = nsqd.depths("t");
        assert_eq!(
            (depths.waiting, depths.in_flight, depths.deferred, depths.requeued),
            (50 - 2 * round, 0, 0, 0),
            "round {round}"
        );
    }
    assert_eq!(program.rows("s").len(), 50);
}

/// The original's key came from the clock: a redelivered message was stored twice, and two messages of one
/// nanosecond were one record.
#[test]
fn a_redelivered_message_is_one_record_and_equal_messages_are_two() {
    let (nsqd, server) = (Nsqd::impatient(), block_on(StandIn::start()));
    nsqd.publish("t", ["{\"a\":1}", "{\"a\":1}"]);
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\naerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 20s}}\n",
        nsqd.tcp,
        server.address()
    ));
    // It is stored, and delivered again because the run is killed before it receives the answer.
    server.rule(Rule::once(When::Write, Then::StoreThenHang));
    let mut child = program.spawn(&["run", "--timeout", "20s"]);
    wait_until("both are stored", || server.records("s").len() == 2);
    child.kill().expect("kill -9");
    child.wait().expect("it ends");
    wait_until("they are delivered again", || program.drain(&[])["stored"] == 2);
    assert_eq!(
        server.records("s").iter().map(|record| record.generation).collect::<Vec<_>>(),
        [2, 2],
        "each was written twice, in one place"
    );
}

/// The original logged invalid JSON and dropped it, and likewise arrays, numbers and strings; `null` became
/// an empty record.
#[test]
fn a_body_that_is_no_json_object_is_a_dead_letter() {
    let nsqd = Nsqd::start();
    let bodies = ["{a: 1}", "[1]", "7", "\"text\"", "null", "true", "{\"a\":1}"];
    nsqd.publish("t", bodies);
    let program = program(&nsqd, 10, 10);
    let report = program.drain(&[]);
    assert_eq!(
        (report["stored"].as_u64(), report["rejected"].as_u64(), report["dead-lettered"].as_u64()),
        (Some(1), Some(6), Some(6))
    );
    let mut kept: Vec<_> =
        program.letters().iter().map(|letter| letter["body"].as_str().expect("text").to_owned()).collect();
    kept.sort_unstable();
    let mut expected: Vec<_> = bodies[..6].to_vec();
    expected.sort_unstable();
    assert_eq!(kept, expected);
    assert_eq!(program.rows("s").len(), 1);
}

/// One field name longer than 15 bytes made the original's consumer back off for 2 s, and the message was
/// dropped after five attempts.
#[test]
fn a_field_name_too_long_for_aerospike_is_a_dead_letter_and_delays_no_other_message() {
    let (nsqd, server) = (Nsqd::start(), block_on(StandIn::start()));
    nsqd.publish("t", ["{\"a\":1}", "{\"a_name_of_16_byt\":1}", "{\"a\":2}"]);
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\naerospike: {{hosts: ['{}'], namespace: test, set: s}}\n",
        nsqd.tcp,
        server.address()
    ));
    let report = program.drain(&[]);
    assert_eq!((report["stored"].as_u64(), report["dead-lettered"].as_u64()), (Some(2), Some(1)));
    assert_eq!(
        (report["requeued"].as_u64(), report["stop-reason"].as_str()),
        (Some(0), Some("queue-empty")),
        "{report}"
    );
    assert!(
        program.letters()[0]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("`a_name_of_16_byt` has 16 bytes"))
    );
}

/// The original stored every number as a float.
#[test]
fn integers_above_2_to_the_53_keep_every_digit() {
    let nsqd = Nsqd::start();
    nsqd.publish("t", ["{\"n\":9007199254740993,\"m\":-9223372036854775808}", "{\"n\":9223372036854775808}"]);
    let program = program(&nsqd, 10, 10);
    assert_eq!(program.drain(&[])["stored"], 1);
    let rows = program.rows("s");
    assert_eq!(
        (rows[0].1["n"].as_i64(), rows[0].1["m"].as_i64()),
        (Some(9_007_199_254_740_993), Some(i64::MIN))
    );
    let detail = program.letters()[0]["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("field /n") && detail.contains("64-bit"), "{detail}");
}

/// The original's documentation has the command `-cfg=./etc/x-msrv-local`, a file name without an extension.
#[test]
fn the_original_s_documented_command_finds_its_configuration() {
    let nsqd = Nsqd::start();
    nsqd.publish("t", ["{\"a\":1}"]);
    let program = Program::new("");
    std::fs::create_dir(program.path("etc")).expect("a folder");
    let configuration = format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\n",
        nsqd.tcp
    );
    program.write("etc/x-msrv-local.yml", &configuration);
    let ended = program.bare(&["-cfg=./etc/x-msrv-local"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(crate::support::program::rows(&program.path("etc/store.db"), "s").len(), 1);
}
