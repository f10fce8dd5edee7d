//! The program with the real nsqd, into SQLite: which messages a run takes, which it leaves, and the effect
//! of faults.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use x_msrv_nsq::client::{Connection, Identity, NsqError, Role};

use crate::support::{
    PATIENCE, assert_no_wait, block_on,
    nsqd::{Depths, HOLDS_BACK, Lookupd, Nsqd, ports_side_by_side, unused_address},
    program::{Program, signal, wait, wait_while_running},
    wait_until,
};

fn bodies(numbers: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("{{\"n\":{number},\"text\":\"{}\"}}", "x".repeat(100)))
}

/// A configuration that drains the topic `t` of these nsqd into the table `s` of `store.db`. The machines
/// that run the tests are busy, and most of these tests are not about how soon a queue counts as empty, so
/// the idle timeout is long.
fn program(nsqd: &[&Nsqd], more: &str) -> Program {
    let addresses: Vec<_> = nsqd.iter().map(|nsqd| format!("'{}'", nsqd.tcp)).collect();
    Program::new(&format!(
        "nsq: {{nsqd-tcp-address: [{}], topic: t, channel: c{more}}}\nsqlite: {{path: store.db, set: s}}\ntimeout: 60s\nidle-timeout: 300ms\n",
        addresses.join(", ")
    ))
}

/// The numbers of the stored documents; each must be unique.
#[track_caller]
fn stored(program: &Program) -> BTreeSet<u64> {
    let rows = program.rows("s");
    let numbers: BTreeSet<u64> =
        rows.iter().map(|(_, document)| document["n"].as_u64().expect("a number")).collect();
    assert_eq!(numbers.len(), rows.len(), "no document is stored twice");
    numbers
}

const NOTHING_LEFT: Depths = Depths { waiting: 0, in_flight: 0, deferred: 0, requeued: 0, timed_out: 0 };

/// Over N, the original cost each message attempts and a delay of 90 s; after five rounds the messages were
/// lost.
#[test]
fn exactly_n_messages_are_stored_and_the_rest_is_untouched() {
    for n in [1_u64, 9, 10, 250, 10_000] {
        for max_in_flight in [n.div_ceil(3), n, n + 7, 2 * n] {
            let nsqd = Nsqd::start();
            nsqd.publish("t", bodies(0..n + 5));
            let program = program(&[&nsqd], &format!(", max-in-flight: {max_in_flight}, max-messages: {n}"));
            let report = program.drain(&[]);
            let context = format!("N = {n}, max-in-flight = {max_in_flight}: {report}");
            assert_eq!(
                (report["stop-reason"].as_str(), report["stored"].as_u64()),
                (Some("limit-reached"), Some(n)),
                "{context}"
            );
            assert_eq!(stored(&program).len() as u64, n, "{context}");
            assert_eq!(nsqd.depths("t"), Depths { waiting: 5, ..NOTHING_LEFT }, "{context}");
        }
    }
}

/// Messages at the border between two runs could be lost or stored twice.
#[test]
fn runs_of_n_drain_a_queue_completely_and_store_each_message_once() {
    let nsqd = Nsqd::start();
    nsqd.publish("t", bodies(0..1_003));
    let program = program(&[&nsqd], ", max-in-flight: 30, max-messages: 100");
    let totals: Vec<_> =
        std::iter::repeat_with(|| program.drain(&[])["stored"].as_u64().expect("a count")).take(11).collect();
    assert_eq!(totals, [&[100; 10][..], &[3]].concat());
    assert_eq!(stored(&program), (0..1_003).collect());
    assert_eq!(nsqd.depths("t"), NOTHING_LEFT);
}

/// The original always waited for its full timeout.
#[test]
fn an_empty_topic_ends_a_run_at_once() {
    let nsqd = Nsqd::start();
    let program = program(&[&nsqd], "");
    let report = program.drain(&["--idle-timeout", "10ms"]);
    assert_eq!(report["stop-reason"], "queue-empty");
    assert_no_wait(&report);
}

/// nsqd holds a delivery smaller than its buffer back, by default for a quarter of a second, and each run
/// would wait for it.
#[test]
fn fewer_than_n_messages_are_taken_without_waiting_for_the_buffer_of_nsqd() {
    let nsqd = Nsqd::with(&HOLDS_BACK);
    nsqd.publish("t", bodies(0..9));
    let report = program(&[&nsqd], "").drain(&["--idle-timeout", "10ms"]);
    assert_eq!((report["stored"].as_u64(), report["stop-reason"].as_str()), (Some(9), Some("queue-empty")));
    assert_no_wait(&report);
}

/// Judged by silence alone, a backlog on nsqd's disk would count as an empty queue when nsqd pauses to read
/// it.
#[test]
fn a_backlog_on_the_disk_is_drained_to_its_end() {
    const COUNT: u64 = 30_000;
    let nsqd = Nsqd::with_statistics_beside(&["-mem-queue-size=10"]);
    nsqd.publish("t", bodies(0..COUNT));
    let report = program(&[&nsqd], &format!(", max-in-flight: 1000, max-messages: {}", 2 * COUNT))
        .drain(&["--idle-timeout", "0s"]);
    assert_eq!(
        (report["stored"].as_u64(), report["stop-reason"].as_str()),
        (Some(COUNT), Some("queue-empty"))
    );
    assert_eq!(nsqd.depths("t"), NOTHING_LEFT);
}

/// Otherwise a forgotten pause would look like a drained queue.
#[test]
fn a_paused_topic_or_channel_is_reported_and_not_waited_for() {
    for (place, name) in [("channel", "topic=t&channel=c"), ("topic", "topic=t")] {
        let nsqd = [(); 2].map(|()| Nsqd::with_statistics_beside(&[]));
        for nsqd in &nsqd {
            nsqd.make_channel("t", "c");
            nsqd.post(&format!("/{place}/pause?{name}"));
        }
        let program = program(&[&nsqd[0], &nsqd[1]], "");
        let run = || {
            let ended = program.run(&["run", "--report", "json", "--idle-timeout", "0s"]);
            assert_eq!(
                (ended.code, ended.report()["stop-reason"].as_str()),
                (Some(0), Some("queue-empty")),
                "{}",
                ended.stderr
            );
            ended
        };
        assert!(!run().stderr.contains("paused"), "{place}: nothing waits there");
        for nsqd in &nsqd {
            nsqd.publish("t", bodies(0..3));
            wait_until("nsqd has moved them to the channel", || {
                nsqd.depths("t").waiting == 3 && (place == "topic" || nsqd.channels_have_all("t"))
            });
        }
        let ended = run();
        let report = ended.report();
        assert_eq!(report["received"], 0);
        assert_eq!(
            (report["depth-before"].as_u64(), report["depth-after"].as_u64()),
            (Some(6), Some(6)),
            "{place}"
        );
        assert_eq!(
            ended.stderr.matches(&format!("the {place} is paused")).count(),
            1,
            "not once for each nsqd: {}",
            ended.stderr
        );
        for nsqd in &nsqd {
            nsqd.post(&format!("/{place}/unpause?{name}"));
        }
        assert_eq!(run().report()["stored"], 6, "{place}");
    }
}

/// A run can do without statistics, so it must not wait for them.
#[test]
fn statistics_that_do_not_answer_do_not_delay_a_run() {
    let [tcp, beside] = ports_side_by_side();
    let (nsqd, silent) =
        (Nsqd::on_ports(&[], [tcp, 0]), TcpListener::bind(("127.0.0.1", beside)).expect("a port"));
    nsqd.publish("t", bodies(0..9));
    let report = program(&[&nsqd], "").env("X_MSRV__CONNECT_TIMEOUT", "60s").drain(&["--idle-timeout", "0s"]);
    silent.accept().expect("it was asked");
    assert_eq!((report["stored"].as_u64(), report["stop-reason"].as_str()), (Some(9), Some("queue-empty")));
    assert_no_wait(&report);
}

/// As with a firewall that passes only nsqd's own port: otherwise each run would wait for the statistics
/// until their timeout before it asks for a message.
#[test]
fn statistics_whose_packets_are_dropped_do_not_delay_a_run() {
    let [tcp, beside] = ports_side_by_side();
    let nsqd = Nsqd::on_ports(&[], [tcp, 0]);
    nsqd.publish("t", bodies(0..9));
    block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], beside).into()).expect("a port");
        let listener = socket.listen(1).expect("it listens");
        // If the server accepts no connections, Linux drops those beyond the backlog.
        let mut waiting = Vec::new();
        while let Ok(stream) =
            timeout(Duration::from_millis(100), TcpStream::connect(listener.local_addr().expect("bound")))
                .await
        {
            waiting.push(stream.expect("a connection"));
        }
        let ended = program(&[&nsqd], "").env("X_MSRV__LOG__LEVEL", "debug").run(&[
            "run",
            "--idle-timeout",
            "0s",
            "--report",
            "json",
        ]);
        let report = ended.report();
        assert_eq!(
            (report["stored"].as_u64(), report["stop-reason"].as_str()),
            (Some(9), Some("queue-empty"))
        );
        assert!(ended.stderr.contains("no connection in time"), "{}", ended.stderr);
    });
}

/// Otherwise the empty queue of another nsqd would end the run.
#[test]
fn statistics_of_another_nsqd_on_the_next_port_are_ignored() {
    let [tcp, beside] = ports_side_by_side();
    let (nsqd, other) = (Nsqd::on_ports(&[], [tcp, 0]), Nsqd::on_ports(&[], [0, beside]));
    // With the same topic and channel, so that only the connection distinguishes them.
    other.post("/topic/create?topic=t");
    other.post("/channel/create?topic=t&channel=c");
    nsqd.publish("t", bodies(0..9));
    assert_eq!(program(&[&nsqd], "").drain(&["--idle-timeout", "0s"])["stored"], 9);
}

/// Otherwise a run could ask only empty nsqd.
#[test]
fn with_n_smaller_than_the_number_of_nsqd_the_one_with_messages_is_found() {
    let nsqd = [Nsqd::start(), Nsqd::start(), Nsqd::start()];
    nsqd[1].publish("t", bodies(0..10));
    let program = program(&[&nsqd[0], &nsqd[1], &nsqd[2]], ", max-messages: 2");
    for round in 1..=5 {
        let report = program.drain(&[]);
        assert_eq!(report["stored"], 2, "round {round}: {report}");
    }
    assert_eq!(stored(&program), (0..10).collect());
    let left = nsqd.iter().map(|nsqd| nsqd.depths("t")).collect::<Vec<_>>();
    assert_eq!(left, [NOTHING_LEFT; 3]);
}

/// Otherwise every run could ask the same nsqd first.
#[test]
fn with_n_smaller_than_the_number_of_nsqd_no_nsqd_is_starved() {
    let nsqd = [Nsqd::start(), Nsqd::start(), Nsqd::start()];
    for (index, nsqd) in (0..).zip(&nsqd) {
        nsqd.publish("t", bodies(index * 100..index * 100 + 30));
    }
    let program = program(&[&nsqd[0], &nsqd[1], &nsqd[2]], ", max-messages: 1");
    let mut runs = 0;
    // The order of the nsqd differs from run to run. The probability that all of a third are missing after 30
    // runs is 1 in 60,000.
    while runs < 30 && nsqd.iter().any(|nsqd| nsqd.depths("t").waiting == 30) {
        assert_eq!(program.drain(&[])["stored"], 1);
        runs += 1;
    }
    assert!(nsqd.iter().all(|nsqd| nsqd.depths("t").waiting < 30), "after {runs} runs");
}

/// A message id is unique only on its own nsqd: two on one host with the default node id assign the same ids.
#[test]
fn two_nsqd_of_one_host_store_all_of_their_messages() {
    const EACH: u64 = 50_000;
    let nsqd = [Nsqd::start(), Nsqd::start()];
    std::thread::scope(|scope| {
        for (index, nsqd) in (0..).zip(&nsqd) {
            scope.spawn(move || nsqd.publish("t", bodies(index * EACH..(index + 1) * EACH)));
        }
    });
    let program = program(&[&nsqd[0], &nsqd[1]], ", max-in-flight: 2500, max-messages: 200000");
    let report = program.drain(&[]);
    assert_eq!(report["stored"], 2 * EACH, "{report}");
    assert_eq!(stored(&program), (0..2 * EACH).collect());
    let ids = |index: usize| {
        let of_one = format!("t@{}/", nsqd[index].tcp);
        program
            .rows("s")
            .into_iter()
            .filter_map(move |(key, _)| key.strip_prefix(&of_one).map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(0).len() + ids(1).len(), 2 * usize::try_from(EACH).expect("fits"));
}

/// nsqlookupd lists a killed nsqd for a while; that must not stop the others.
#[test]
fn nsqlookupd_finds_the_nsqd_and_a_killed_one_is_a_warning() {
    let lookupd = Lookupd::start();
    let mut nsqd = [lookupd.nsqd(), lookupd.nsqd()];
    for (index, nsqd) in (0..).zip(&nsqd) {
        nsqd.publish("t", bodies(index * 100..index * 100 + 20));
    }
    lookupd.wait_for("t", 2);
    let program = Program::new(&format!(
        "nsq: {{lookupd-http-address: ['{}', '{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\nmax-messages: 100\n",
        unused_address(),
        lookupd.http
    ));
    let report = program.drain(&["--max-messages", "10"]);
    assert_eq!(report["stored"], 10);
    nsqd[0].kill();
    let left = nsqd[1].depths("t").waiting;
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!((ended.code, ended.report()["stored"].as_u64()), (Some(0), Some(left)), "{}", ended.stderr);
    assert!(ended.stderr.contains("nsqlookupd does not answer"), "{}", ended.stderr);
}

/// Otherwise a run would leave messages in a deep queue while it waits for a shallow one.
#[test]
fn n_is_distributed_by_depth_if_nsqlookupd_reports_it() {
    let lookupd = Lookupd::start();
    let nsqd = [lookupd.nsqd(), lookupd.nsqd()];
    for (nsqd, count) in nsqd.iter().zip([90, 10]) {
        // The channel must exist before the run: a channel that the run creates gets its messages from the
        // topic while they are counted.
        nsqd.make_channel("t", "c");
        nsqd.publish("t", bodies(0..count));
        wait_until("the channel has them", || {
            nsqd.channels_have_all("t") && nsqd.depths("t").waiting == count
        });
    }
    lookupd.wait_for("t", 2);
    let program = Program::new(&format!(
        "nsq: {{lookupd-http-address: ['{}'], topic: t, channel: c, max-messages: 50}}\nsqlite: {{path: store.db, set: s}}\n",
        lookupd.http
    ));
    assert_eq!(program.drain(&[])["stored"], 50);
    let left = nsqd.each_ref().map(|nsqd| nsqd.depths("t").waiting);
    assert!(
        left == [45, 5] || left == [46, 4],
        "{left:?}: 45 and 5 were taken, and one in 50 may go either way"
    );
}

/// Otherwise the timer would fail until the first message is published.
#[test]
fn a_topic_that_does_not_exist_yet_is_empty_and_no_error() {
    let lookupd = Lookupd::start();
    let program = Program::new(&format!(
        "nsq: {{lookupd-http-address: ['{}'], topic: unheard-of, channel: c}}\nsqlite: {{path: store.db, set: s}}\n",
        lookupd.http
    ));
    assert_eq!(program.drain(&[])["stop-reason"], "queue-empty");
}

/// One dead nsqd in the list stopped the original.
#[test]
fn one_dead_nsqd_in_the_list_is_a_warning() {
    let nsqd = Nsqd::with_statistics_beside(&[]);
    nsqd.publish("t", bodies(0..5));
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}', '{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\n",
        unused_address(),
        nsqd.tcp
    ));
    for (n, stored) in [("2", 2), ("10", 3)] {
        let ended = program.run(&["run", "--report", "json", "--max-messages", n]);
        let report = ended.report();
        assert_eq!((ended.code, report["stored"].as_u64()), (Some(0), Some(stored)), "{}", ended.stderr);
        assert!(ended.stderr.contains("nsqd does not answer"), "{}", ended.stderr);
        assert_eq!(
            (report.get("depth-before"), report.get("depth-after")),
            (None, None),
            "the depth of the dead one is unknown"
        );
    }
}

/// Otherwise the run would know that the queue is empty, and count the messages of the lost nsqd as none.
#[test]
fn after_the_loss_of_an_nsqd_the_number_of_messages_left_is_unknown() {
    let mut nsqd = [(); 2].map(|()| Nsqd::with_statistics_beside(&[]));
    for nsqd in &nsqd {
        nsqd.make_channel("t", "c");
    }
    let program = program(&[&nsqd[0], &nsqd[1]], "");
    program.drain(&["--idle-timeout", "0s"]);
    nsqd[0].publish("t", bodies(0..5));
    let store = rusqlite::Connection::open(program.path("store.db")).expect("the store");
    store.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let mut child = program.spawn(&["run", "--report", "json", "--idle-timeout", "0s"]);
    wait_while_running(&mut child, || nsqd[0].depths("t").in_flight == 5);
    nsqd[1].kill();
    store.execute_batch("ROLLBACK").expect("the end of the lock");
    let ended = wait(child);
    let report = ended.report();
    assert_eq!((ended.code, report["stored"].as_u64()), (Some(0), Some(5)), "{}", ended.stderr);
    assert_eq!(
        (report["depth-before"].as_u64(), report.get("depth-after")),
        (Some(5), None),
        "{}",
        ended.stderr
    );
}

/// Otherwise a run would wait for its whole timeout.
#[test]
fn no_nsqd_at_all_is_exit_69_within_the_connect_timeout() {
    #[expect(clippy::disallowed_methods, reason = "the program lives in real time")]
    let started = Instant::now();
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\nconnect-timeout: 1s\n",
        unused_address()
    ));
    let ended = program.run(&[]);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot reach nsqd at 127.0.0.1:"), "{}", ended.stderr);
    assert!(started.elapsed() < PATIENCE);
}

/// Otherwise the log would repeat the same error, or omit one of the servers.
#[test]
fn each_dead_nsqlookupd_is_reported_once() {
    for count in [1, 3] {
        let addresses: Vec<_> = (0..count).map(|_| format!("'{}'", unused_address())).collect();
        let addresses = addresses.join(", ");
        let program = Program::new(&format!(
            "nsq: {{lookupd-http-address: [{addresses}], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\nconnect-timeout: 1s\n"
        ));
        let ended = program.run(&[]);
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(69), count), "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot reach nsqlookupd at 127.0.0.1:"), "{}", ended.stderr);
    }
}

/// Stored but not acknowledged, or neither: at whatever moment, the redelivery overwrites the same record.
#[test]
fn kill_9_during_batches_ends_with_each_message_stored_once() {
    const COUNT: u64 = 20_000;
    let nsqd = Nsqd::impatient();
    nsqd.publish("t", bodies(0..COUNT));
    let program = program(&[&nsqd], &format!(", max-in-flight: 200, max-messages: {COUNT}"));
    for kills in 1..=5 {
        let mut child = program.spawn(&["run"]);
        wait_while_running(&mut child, || nsqd.depths("t").waiting < COUNT - kills * 3_000);
        child.kill().expect("kill -9");
        child.wait().expect("it ends");
    }
    wait_until("the messages in flight time out, and a run drains them", || {
        program.drain(&[]);
        let Depths { waiting, in_flight, .. } = nsqd.depths("t");
        (waiting, in_flight) == (0, 0)
    });
    assert_eq!(stored(&program), (0..COUNT).collect());
}

/// Otherwise the messages in flight would wait for nsqd's message timeout.
#[test]
fn sigterm_during_a_run_finishes_and_leaves_nothing_in_flight() {
    const COUNT: u64 = 100_000;
    let nsqd = Nsqd::start();
    nsqd.publish("t", bodies(0..COUNT));
    let program = program(&[&nsqd], &format!(", max-in-flight: 500, max-messages: {COUNT}"));
    let mut child = program.spawn(&["run", "--report", "json"]);
    wait_while_running(&mut child, || nsqd.depths("t").waiting < COUNT - 2_000);
    signal(&child, "TERM");
    let ended = wait(child);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = ended.report();
    let stored = stored(&program).len() as u64;
    assert_eq!((report["stop-reason"].as_str(), report["stored"].as_u64()), (Some("signal"), Some(stored)));
    let depths = nsqd.depths("t");
    assert_eq!((depths.in_flight, depths.deferred), (0, 0));
    // nsqd may still move messages from the topic to the channel; messages under way are in neither count.
    wait_until("the rest waits", || nsqd.depths("t").waiting == COUNT - stored);
}

/// Otherwise the signal would have no effect until a message arrives.
#[test]
fn a_signal_ends_a_run_that_listens_to_a_silent_queue() {
    let nsqd = Nsqd::start();
    let program = program(&[&nsqd], ", max-messages: 5");
    let child = program.spawn(&["run", "--idle-timeout", "1h", "--timeout", "2h"]);
    wait_until("the run listens", || nsqd.depths("t") == NOTHING_LEFT && consumers(&nsqd) == 1);
    signal(&child, "INT");
    let ended = wait(child);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("stop-reason=signal"), "{}", ended.stderr);
}

/// A run with `--quiet` that lost its queue ended with 69 and said nothing.
#[test]
fn a_run_that_loses_its_queue_logs_the_cause_as_an_error() {
    let mut nsqd = Nsqd::start();
    let program = program(&[&nsqd], ", max-messages: 5");
    let child = program.spawn(&["run", "--quiet", "--idle-timeout", "1h", "--timeout", "2h"]);
    wait_until("the run listens", || consumers(&nsqd) == 1);
    nsqd.stop();
    let ended = wait(child);
    let cause = format!("connection to nsqd at {} lost: ", nsqd.tcp);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(" ERROR connection to the queue lost") && ended.stderr.contains(&cause),
        "{}",
        ended.stderr
    );
}

fn consumers(nsqd: &Nsqd) -> usize {
    use x_msrv_net::http::{Answer, Bounds, get_json};
    let answer = crate::support::block_on(get_json::<serde_json::Value>(
        &nsqd.http,
        "/stats?format=json&topic=t",
        Bounds::of(Duration::from_secs(5)),
    ));
    let Ok(Answer::Found(stats)) = answer else { panic!("no statistics") };
    stats["topics"][0]["channels"][0]["clients"].as_array().map_or(0, Vec::len)
}

/// nsqd sends a heartbeat every 30 s, and closes connections that are silent for 60 s. Neither can be
/// shortened from outside, so this test is slow.
#[test]
fn heartbeats_keep_an_idle_run_connected() {
    let nsqd = Nsqd::start();
    let program = program(&[&nsqd], ", max-messages: 1");
    let child = program.spawn(&["run", "--idle-timeout", "1h", "--timeout", "2h"]);
    wait_until("the run listens", || consumers(&nsqd) == 1);
    #[expect(
        clippy::disallowed_methods,
        reason = "nsqd's heartbeats come in real time, and that time is what is tested"
    )]
    std::thread::sleep(Duration::from_secs(63));
    nsqd.publish("t", bodies(0..1));
    let ended = wait(child);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(stored(&program).len(), 1);
}

/// Otherwise an upgrade of nsqd would lose the messages in flight.
#[test]
fn an_nsqd_that_restarts_loses_and_duplicates_nothing() {
    const COUNT: u64 = 30_000;
    let mut nsqd = Nsqd::start();
    nsqd.publish("t", bodies(0..COUNT));
    let program = program(&[&nsqd], &format!(", max-in-flight: 1000, max-messages: {COUNT}"));
    let mut child = program.spawn(&["run", "--report", "json"]);
    wait_while_running(&mut child, || nsqd.depths("t").waiting < COUNT - 5_000);
    nsqd.stop();
    let ended = wait(child);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    let first = ended.report();
    assert_eq!(first["stop-reason"], "queue-closed");
    nsqd.restart();
    let again = program.drain(&[]);
    // Otherwise every settled message would count as unconfirmed, and a short interruption would look like a
    // serious fault.
    let count = |report: &serde_json::Value, key: &str| report[key].as_u64().expect("a number");
    let stored = stored(&program);
    let came_again = count(&first, "received") + count(&again, "received") - stored.len() as u64;
    assert!(count(&first, "received") > 3_000 && count(&first, "unconfirmed") <= 2_000, "{first}");
    assert!(
        came_again <= count(&first, "unconfirmed") + count(&first, "requeued"),
        "{came_again} came again: {first} {again}"
    );
    // An nsqd that is stopped sometimes loses a message itself (`faults` distinguishes those from ours).
    assert!(
        stored.len() as u64 + 1 >= COUNT && stored.iter().all(|number| *number < COUNT),
        "{}",
        stored.len()
    );
    let depths = nsqd.depths("t");
    assert_eq!((depths.waiting, depths.in_flight), (0, 0));
}

/// Otherwise a large message would block the queue or be lost.
#[test]
fn a_body_of_a_mebibyte_is_stored_and_a_larger_one_is_a_dead_letter() {
    let nsqd = Nsqd::with(&["-max-msg-size=4194304"]);
    let body = |length: usize| format!("{{\"text\":\"{}\"}}", "x".repeat(length - 11));
    for body in [body(1 << 20), body((1 << 20) + 1), body(3 << 20)] {
        nsqd.publish("t", [body]);
    }
    let program = program(&[&nsqd], "");
    let report = program.drain(&[]);
    assert_eq!((report["stored"].as_u64(), report["dead-lettered"].as_u64()), (Some(1), Some(2)), "{report}");
    assert_eq!(program.rows("s")[0].1["text"].as_str().map(str::len), Some((1 << 20) - 11));
    let letters = program.letters();
    assert!(letters.iter().all(|letter| letter["reason"] == "too-large"));
    assert_eq!(
        letters[1]["body"].as_str().map(str::len).max(letters[0]["body"].as_str().map(str::len)),
        Some(3 << 20)
    );
}

/// A script must be able to distinguish an invalid message from an unreachable queue.
#[test]
fn messages_that_nsqd_refuses_are_exit_65() {
    let nsqd = Nsqd::with(&["-max-msg-size=1000", "-max-body-size=300000"]);
    let program = program(&[&nsqd], "");
    for (size, words) in [(900_000, "E_BAD_BODY"), (250_000, "E_BAD_MESSAGE"), (1_001, "E_BAD_MESSAGE")] {
        let input = format!("{{}}\n{}\n", "x".repeat(size));
        let ended = program.run_with_input(&["send"], input.as_bytes());
        assert!(ended.code == Some(65) && ended.stderr.contains(words), "{ended:?}");
        // The first line is sent alone if the second one has not arrived yet.
        let reported = [
            "messages sent: 0, then it failed at lines 1 to 2: ",
            "messages sent: 1, then it failed at line 2: ",
        ];
        assert!(reported.iter().any(|reported| ended.stderr.contains(reported)), "{ended:?}");
    }
}

/// nsqd closes without reading a message that is too large. Otherwise the program would report only that it
/// could not send the rest, and not retry.
#[test]
fn a_message_that_nsqd_refuses_unread_is_reported_with_the_reason_of_nsqd() {
    let nsqd = Nsqd::start();
    let identity =
        Identity { section: "nsq", role: Role::PUBLISHER, max_body: 1 << 20, auth_secret: None, tls: None };
    let more_than_buffers_hold = Bytes::from(vec![b'x'; 64 << 20]);
    for _ in 0..5 {
        let published = block_on(async {
            let (mut connection, _) =
                Connection::open(&nsqd.tcp, &identity, PATIENCE).await.expect("nsqd answers");
            connection
                .publish(
                    &"t".parse().expect("a topic"),
                    std::slice::from_ref(&more_than_buffers_hold),
                    PATIENCE,
                )
                .await
        });
        let error = published.expect_err("nsqd takes 5 MiB");
        assert!(
            matches!(&error, NsqError::Refused { fault, .. } if fault.starts_with("E_BAD_BODY")),
            "{error:?}"
        );
    }
}

/// With an ephemeral channel, a run of N = 10 stored ten of 1,000 messages, and the other 990 were deleted
/// with the channel.
#[test]
fn without_a_configured_channel_the_remaining_messages_are_kept_for_the_next_run() {
    let nsqd = Nsqd::start();
    nsqd.publish("t", bodies(0..25));
    let text = format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t}}\nsqlite: {{path: store.db, set: s}}\n",
        nsqd.tcp
    );
    let program = Program::new(&text);
    assert!(program.run(&["check"]).stdout.contains("nsq.channel: x-msrv\n"));
    for expected in [10, 10, 5] {
        assert_eq!(program.drain(&["--idle-timeout", "300ms"])["stored"], expected);
    }
    assert_eq!(stored(&program), (0..25).collect());
    program.write("orders.yml", &text);
    assert!(
        program.bare(&["check", "-c", "orders.yml"]).stdout.contains("nsq.channel: x-msrv-orders\n"),
        "a separate one"
    );
}

/// Otherwise a user could not know that nsqd deletes the messages of an ephemeral channel.
#[test]
fn the_risk_of_an_ephemeral_name_is_reported_by_check_status_and_run() {
    let nsqd = Nsqd::start();
    nsqd.publish("t", bodies(0..3));
    let program = program(&[&nsqd], "");
    let cost = "nsq.channel: c#ephemeral is ephemeral: nsqd drops the channel, and all messages that a run leaves in it, when the run ends";
    let reported = |program: &Program| {
        [&["check"][..], &["run"], &["status"]].map(|command| {
            let ended = program.run(command);
            format!("{}{}", ended.stdout, ended.stderr).contains(cost)
        })
    };
    assert_eq!(reported(&program), [false; 3]);
    let program = program.env("X_MSRV__NSQ__CHANNEL", "c#ephemeral");
    assert_eq!(reported(&program), [true; 3]);
    let status: serde_json::Value =
        serde_json::from_str(&program.run(&["status", "--json"]).stdout).expect("JSON");
    assert_eq!(status["warnings"], serde_json::json!([cost]));
    let program = program
        .env("X_MSRV__DEAD_LETTER__NSQ__TOPIC", "d#ephemeral")
        .env("X_MSRV__DEAD_LETTER__NSQ__CHANNEL", "e#ephemeral");
    let reported = program.run(&["check"]).stderr;
    for words in [
        "dead-letter.nsq.topic: d#ephemeral is ephemeral: nsqd keeps its messages in memory only",
        "dead-letter.nsq.channel: e#ephemeral",
    ] {
        assert!(reported.contains(words), "{reported}");
    }
}

/// Otherwise a run with static addresses would create the mistyped topic and drain it forever with exit 0
/// and status ok.
#[test]
fn a_mistyped_topic_is_reported_by_check_status_and_the_run_that_creates_it() {
    let nsqd = Nsqd::with_statistics_beside(&[]);
    nsqd.publish("orders", bodies(0..3));
    let program = program(&[&nsqd], "").env("X_MSRV__NSQ__TOPIC", "odrers");
    let said = |command: &[&str]| program.run(command).stderr;
    let reported = said(&["check", "--connect"]);
    assert!(
        reported.contains("no nsqd has the topic; the first run creates it")
            && reported.contains("topic=odrers"),
        "{reported}"
    );
    let reported = said(&["run"]);
    assert!(
        reported.contains("the topic did not exist and is created now") && reported.contains("topic=odrers"),
        "{reported}"
    );
    assert!(!said(&["run"]).contains(" WARN "), "reported once, because a topic may be quiet");
    said(&["run"]);
    let reported = said(&["check", "--connect"]);
    assert!(reported.contains("the topic has had no message since nsqd was started"), "{reported}");
    let status = program.run(&["status"]);
    assert!(
        status.code == Some(1)
            && status.stdout.contains("no run has received a message yet: is `nsq.topic: odrers` correct?"),
        "{status:?}"
    );
    nsqd.publish("odrers", bodies(0..1));
    assert_eq!(program.drain(&[])["stored"], 1);
    assert_eq!(program.run(&["status"]).code, Some(0), "the topic exists");
    assert!(!said(&["check", "--connect"]).contains(" WARN "));
}

/// Messages published earlier are only in the other channels.
#[test]
fn a_new_channel_beside_others_is_reported_once() {
    let nsqd = Nsqd::with_statistics_beside(&[]);
    nsqd.make_channel("t", "archive");
    nsqd.publish("t", bodies(0..3));
    let program = program(&[&nsqd], "");
    let reported = program.run(&["check", "--connect"]).stderr;
    assert!(reported.contains("the topic has other channels but not this one"), "{reported}");
    let reported = program.run(&[]).stderr;
    assert!(
        reported.contains("the channel did not exist and is created now") && reported.contains("channel=c"),
        "{reported}"
    );
    assert!(!program.run(&[]).stderr.contains(" WARN "));
}

/// Messages published while a run listens on a quiet queue are taken in that run.
#[test]
fn two_concurrent_runs_on_one_channel_share_it_without_duplicates() {
    const COUNT: u64 = 20_000;
    let nsqd = Nsqd::start();
    nsqd.publish("t", bodies(0..COUNT));
    let program = program(&[&nsqd], &format!(", max-in-flight: 200, max-messages: {COUNT}"));
    let children = [program.spawn(&["run", "--report", "json"]), program.spawn(&["run", "--report", "json"])];
    let total: u64 =
        children.into_iter().map(|child| wait(child).report()["stored"].as_u64().expect("a count")).sum();
    assert_eq!(total, COUNT);
    assert_eq!(stored(&program), (0..COUNT).collect());
    let depths = nsqd.depths("t");
    assert_eq!((depths.waiting, depths.in_flight), (0, 0));
}

/// nsqd shows a message only to a consumer that takes it, which would cost it an attempt.
#[test]
fn a_dry_run_with_nsq_reports_only_the_depth_and_creates_no_channel() {
    let nsqd = Nsqd::with_statistics_beside(&[]);
    nsqd.publish("t", bodies(0..7));
    let program = program(&[&nsqd], "");
    let ended = program.run(&["run", "--dry-run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.starts_with("7 messages waiting; this queue shows messages only"),
        "{}",
        ended.stdout
    );
    assert_eq!(nsqd.depths("t"), Depths { waiting: 7, ..NOTHING_LEFT });
    assert_eq!(program.drain(&[])["stored"], 7);
    let down = program.env("X_MSRV__NSQ__NSQD_TCP_ADDRESS", &unused_address().to_string());
    assert_eq!(down.run(&["run", "--dry-run"]).code, Some(69));
}

/// A user who starts a long run by hand needs progress; in a log such lines would be noise.
#[test]
fn a_run_longer_than_a_second_shows_its_progress_on_a_terminal_only() {
    let nsqd = Nsqd::with_statistics_beside(&[]);
    nsqd.publish("t", bodies(0..7));
    let mut program = program(&[&nsqd], "");
    program.set("X_MSRV__IDLE_TIMEOUT", "1500ms");
    program.set("TERM", "xterm");
    let command = format!("{} -c x-msrv.yml", crate::support::program::program());
    let on_a_terminal =
        program.run_by("script", &["--quiet", "--return", "--command", &command, "/dev/null"]);
    assert_eq!(on_a_terminal.code, Some(0), "{}", on_a_terminal.stdout);
    let (shown, log) = on_a_terminal.stdout.rsplit_once("\r\x1b[K").expect("a progress line");
    assert!(shown.contains("[####################] 7 of 7  100%"), "{shown:?}");
    assert!(
        log.contains("INFO  run finished stop-reason=queue-empty received=7") && !shown.contains("INFO"),
        "{log:?}"
    );
    let elsewhere = program.run(&[]);
    assert!(
        !elsewhere.stderr.contains('\x1b') && elsewhere.stderr.lines().count() == 1,
        "{:?}",
        elsewhere.stderr
    );
}
