//! Servers of the queue that are missing for a long time. Each run drains the others and succeeds, so a
//! single run does not show it.

use serde_json::{Value, json};

use crate::support::{
    nsqd::{Lookupd, Nsqd, unused_address},
    program::{Ended, Program},
    wait_until,
};

fn program(servers: &str) -> Program {
    Program::new(&format!(
        "nsq: {{{servers}, topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\nmetrics: {{textfile: x.prom}}\nperiod: 100ms\n"
    ))
}

fn run(program: &Program) -> Value {
    program.drain(&["--max-messages", "1"])
}

fn status(program: &Program) -> Ended {
    program.run(&["status"])
}

#[track_caller]
fn is(program: &Program, code: i32, words: &str) {
    let ended = status(program);
    assert!(ended.code == Some(code) && ended.stdout.contains(words), "{} {}", ended.stdout, ended.stderr);
}

fn sample(program: &Program, name: &str) -> String {
    let text = std::fs::read_to_string(program.path("x.prom")).expect("the metrics");
    let sample = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{pipeline=\"x-msrv\"}} ")));
    sample.expect("a sample").to_owned()
}

fn seconds_missed(program: &Program) -> f64 {
    sample(program, "x_msrv_unreached_servers_seconds").parse().expect("a number")
}

fn depths(report: &Value) -> (Option<u64>, Option<u64>) {
    (report["depth-before"].as_u64(), report["depth-after"].as_u64())
}

/// Otherwise the report would be "nothing left", depth 0, exit 0 and ok, while 900 messages wait in an nsqd
/// that nsqlookupd no longer lists.
#[test]
fn messages_in_an_nsqd_that_nsqlookupd_no_longer_lists_are_unknown_and_not_zero() {
    for way in ["it is stopped", "its topic is a tombstone"] {
        let lookupd = Lookupd::start();
        let mut nsqd = lookupd.nsqd();
        nsqd.make_channel("t", "c");
        nsqd.publish("t", (0..9).map(|number| format!("{{\"n\":{number}}}")));
        lookupd.wait_for("t", 1);
        wait_until("the channel has all", || nsqd.channels_have_all("t"));
        let program = program(&format!("lookupd-http-address: ['{}']", lookupd.http));
        assert_eq!(depths(&run(&program)), (Some(9), Some(8)));
        is(&program, 0, "ok");
        if way == "it is stopped" {
            nsqd.stop();
        } else {
            lookupd.post(&format!("/topic/tombstone?topic=t&node={}", nsqd.http));
        }
        lookupd.wait_for("t", 0);
        let ended = program.run(&["run", "--report", "json"]);
        let report = ended.report();
        assert_eq!(
            (ended.code, report["stop-reason"].as_str(), depths(&report)),
            (Some(0), Some("queue-empty"), (None, None)),
            "{way}"
        );
        assert!(ended.stderr.contains("nsqlookupd lists no nsqd for the topic"), "{way}: {}", ended.stderr);
        let (gone, last) = (format!("nsqd at {}", nsqd.tcp), program.run(&["history", "--json"]));
        let last: Value = serde_json::from_str(last.stdout.lines().last().expect("runs")).expect("JSON");
        assert_eq!((&report["unreached"], &last["unreached"]), (&json!([gone]), &json!([gone])), "{way}");
        assert!(
            ended.stderr.contains(&format!("messages may be waiting there server=\"{gone}\"")),
            "{way}: {}",
            ended.stderr
        );
        is(
            &program,
            1,
            &format!(
                "warning: 1 of 2 queue servers not reached, messages may be waiting there: nsqd at {}",
                nsqd.tcp
            ),
        );
        is(&program, 1, "8 messages left");
        is(&program, 1, "unknown since then");
        let looked = program.run(&["run", "--dry-run"]);
        assert!(looked.stdout.contains("unknown number of messages waiting"), "{way}: {}", looked.stdout);
        if way == "it is stopped" {
            nsqd.restart();
            lookupd.wait_for("t", 1);
            assert_eq!(depths(&run(&program)).1, Some(7));
            is(&program, 0, "ok");
        }
    }
}

/// The topic never existed: that is no reason for a warning.
#[test]
fn a_topic_that_never_existed_is_no_missing_server() {
    let lookupd = Lookupd::start();
    let program = program(&format!("lookupd-http-address: ['{}']", lookupd.http));
    assert_eq!(depths(&run(&program)), (None, None));
    is(&program, 0, "unknown: runs could not determine it");
}

/// Only the other nsqlookupd may know an nsqd with messages.
#[test]
fn with_an_unreachable_nsqlookupd_the_depth_is_unknown() {
    let lookupd = Lookupd::start();
    let nsqd = lookupd.nsqd();
    nsqd.make_channel("t", "c");
    lookupd.wait_for("t", 1);
    let silent = unused_address();
    let program = program(&format!("lookupd-http-address: ['{}', '{silent}']", lookupd.http));
    let report = run(&program);
    assert_eq!(depths(&report), (None, None));
    assert_eq!(report["unreached"], serde_json::json!([format!("nsqlookupd at {silent}")]));
    is(&program, 1, "1 of 3 queue servers not reached");
}

/// 2,000 messages were stuck in one of two nsqd for weeks, while each run and `status` reported ok.
#[test]
fn a_missing_nsqd_is_a_warning_a_metric_and_later_critical() {
    let mut nsqd = [(); 2].map(|()| Nsqd::with_statistics_beside(&[]));
    nsqd[0].publish("t", ["{}"]);
    let program = program(&format!("nsqd-tcp-address: ['{}', '{}']", nsqd[0].tcp, nsqd[1].tcp));
    run(&program);
    assert_eq!(sample(&program, "x_msrv_unreached_servers"), "0");
    nsqd[1].stop();
    let report = run(&program);
    assert_eq!(report["unreached"], serde_json::json!([format!("nsqd at {}", nsqd[1].tcp)]));
    assert_eq!(sample(&program, "x_msrv_unreached_servers"), "1");
    assert!(seconds_missed(&program) < 0.001, "this run is the first that reports it as missing");
    is(
        &program,
        1,
        &format!(
            "warning: 1 of 2 queue servers not reached, messages may be waiting there: nsqd at {} (last reached",
            nsqd[1].tcp
        ),
    );
    wait_until("ten periods have passed", || {
        run(&program);
        seconds_missed(&program) > 1.0
    });
    is(&program, 2, "critical: 1 of 2 queue servers");
    let json: Value = serde_json::from_str(&program.run(&["status", "--json"]).stdout).expect("JSON");
    assert_eq!(json["unreached"][0]["name"], format!("nsqd at {}", nsqd[1].tcp));
    let last = program.run(&["history", "--json"]);
    let last: Value = serde_json::from_str(last.stdout.lines().last().expect("runs")).expect("JSON");
    assert_eq!(last["unreached"], report["unreached"]);
    nsqd[1].restart();
    run(&program);
    is(&program, 0, "ok");
    assert_eq!(sample(&program, "x_msrv_unreached_servers"), "0");
}

/// Otherwise a server that was removed on purpose would be reported as missing forever.
#[test]
fn a_removed_server_is_forgotten_by_configuration_or_command() {
    let lookupd = Lookupd::start();
    let mut nsqd = [lookupd.nsqd(), lookupd.nsqd()];
    for nsqd in &nsqd {
        nsqd.make_channel("t", "c");
    }
    nsqd[0].publish("t", ["{}"]);
    lookupd.wait_for("t", 2);
    let mut program = program(&format!("lookupd-http-address: ['{}']", lookupd.http));
    run(&program);
    nsqd[1].stop();
    lookupd.wait_for("t", 1);
    run(&program);
    let gone = nsqd[1].tcp.to_string();
    is(&program, 1, &format!(" --forget {gone}\n"));
    let forgotten = program.run(&["status", "--forget", &gone]);
    assert!(
        forgotten.code == Some(0) && forgotten.stdout.starts_with("x-msrv: ok"),
        "{} {}",
        forgotten.stdout,
        forgotten.stderr
    );
    let unknown = program.run(&["status", "--forget", &gone]);
    assert!(
        unknown.code == Some(3) && unknown.stderr.contains("the history contains no server"),
        "{}",
        unknown.stderr
    );
    run(&program);
    is(&program, 0, "ok");
    // A configuration that names all servers defines which exist.
    program.set("X_MSRV__NSQ__TOPIC", "another");
    nsqd[0].make_channel("another", "c");
    lookupd.wait_for("another", 1);
    run(&program);
    nsqd[0].stop();
    lookupd.wait_for("another", 0);
    run(&program);
    is(&program, 1, "1 of 2 queue servers");
    nsqd[0].restart();
    program.write(
        "x-msrv.yml",
        &format!(
            "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\n",
            nsqd[0].tcp
        ),
    );
    run(&program);
    is(&program, 0, "ok");
}

/// A queue whose file was removed would otherwise be a new, empty one.
#[test]
fn a_removed_embedded_queue_is_reported_as_missing() {
    let program = Program::new("embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\n");
    assert_eq!(program.run_with_input(&["send"], b"{}\n{}\n").code, Some(0));
    run(&program);
    is(&program, 0, "1 message left");
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        std::fs::remove_file(program.path(name)).unwrap_or_default(); // the last connection that closes removes two of them
    }
    run(&program);
    is(&program, 1, "1 of 2 queue servers not reached, messages may be waiting there: the embedded queue-");
}
