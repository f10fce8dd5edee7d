//! The records that runs leave for people: the history and the metrics. No fault in them may cost a run its
//! messages or its time.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use rusqlite::Connection;

use crate::support::{
    nsqd::{Nsqd, unused_address},
    program::{Ended, Program, signal, wait_while_running},
    project, wait_until,
};

const EMBEDDED: &str =
    "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\nmax-messages: 10\n";

fn with(more: &str) -> Program {
    Program::new(&format!("{EMBEDDED}{more}"))
}

/// Stop reason, exit code, number of stored messages and error of each run in the history.
fn runs(program: &Program) -> Vec<(String, i64, i64, Option<String>)> {
    let history = Connection::open(program.path("history.db")).expect("a history");
    let mut statement = history
        .prepare("SELECT stop_reason, exit_code, stored, error FROM runs ORDER BY id")
        .expect("its table");
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

fn send(program: &Program, count: usize) {
    let lines: Vec<_> = (0..count).map(|number| format!("{{\"n\":{number}}}")).collect();
    assert_eq!(program.run_with_input(&["send"], lines.join("\n").as_bytes()).code, Some(0));
}

/// The metrics in the file by name and labels. `promtool` must accept the file.
#[track_caller]
fn metrics(program: &Program) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(program.path("x.prom")).expect("the metrics");
    let mut promtool = Command::new(project().join("test/promtool"));
    let promtool = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut check = promtool.spawn().expect("a shell script");
    check.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let said = check.wait_with_output().expect("it ends");
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            line.rsplit_once(' ')
                .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
                .expect("a sample")
        })
        .collect()
}

/// The failed runs are those that an operator looks for.
#[test]
fn each_run_is_a_row_of_the_history_including_failed_ones() {
    let program = with("");
    send(&program, 12);
    program.drain(&[]);
    program.drain(&[]);
    program.write("schema.json", "{");
    assert_eq!(program.run(&["--timeout", "1s"]).code, Some(0));
    program.write("x-msrv.yml", &format!("{EMBEDDED}schema: schema.json\n"));
    assert_eq!(program.run(&[]).code, Some(78));
    let nsq = format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\n",
        unused_address()
    );
    program.write("x-msrv.yml", &nsq);
    assert_eq!(program.run(&[]).code, Some(69));
    let runs = runs(&program);
    let known = |reason: &str, stored| (reason.to_owned(), 0, stored, None);
    assert_eq!(runs[..3], [known("limit-reached", 10), known("queue-empty", 2), known("queue-empty", 0)]);
    let failed = |run: &(String, i64, i64, Option<String>), code, words: &str| {
        run.0 == "failed" && run.1 == code && run.3.as_ref().is_some_and(|error| error.contains(words))
    };
    assert!(
        failed(&runs[3], 78, "schema.json: not valid JSON") && failed(&runs[4], 69, "cannot reach nsqd at"),
        "{runs:?}"
    );
    assert_eq!(runs.len(), 5);
}

/// Otherwise a run would be as slow as a reader of its history, or stop the queue because its history fails.
#[test]
fn a_history_that_cannot_be_written_is_a_warning_and_the_run_continues() {
    let is_a_run = |ended: &Ended, program: &Program| {
        assert_eq!((ended.code, ended.report()["stored"].as_u64()), (Some(0), Some(3)), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("WARN  the run is not in the history")
                && ended.stderr.contains("history.db"),
            "{}",
            ended.stderr
        );
        assert_eq!(program.rows("s").len(), 3);
    };
    let run = |program: &Program| program.run(&["run", "--report", "json"]);

    let program = with("");
    send(&program, 3);
    std::fs::create_dir(program.path("history.db")).expect("a folder in its place");
    is_a_run(&run(&program), &program);

    let program = with("");
    send(&program, 3);
    program.write("history.db", &"no database\n".repeat(1_000));
    is_a_run(&run(&program), &program);

    let program = with("");
    program.drain(&[]);
    send(&program, 3);
    let other = Connection::open(program.path("history.db")).expect("the history");
    other.execute_batch("BEGIN IMMEDIATE").expect("no other process locks it");
    let ended = run(&program);
    is_a_run(&ended, &program);
    drop(other);
    program.drain(&[]);
    assert_eq!(runs(&program).len(), 2, "the skipped run is absent");
}

/// Otherwise a full disk for dead letters would appear in the history only as "75" and `deferred`.
#[test]
fn the_history_has_the_first_error_of_an_incomplete_run() {
    let program = with("dead-letter: {file: {path: folder}}\n");
    std::fs::create_dir(program.path("folder")).expect("a folder in its place");
    assert_eq!(program.run_with_input(&["send"], b"[]\n[]\n{}\n").code, Some(0));
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let cause = format!("cannot keep dead letters in {}: ", program.path("folder").display());
    assert!(
        ended.report()["cause"].as_str().is_some_and(|text| text.starts_with(&cause)),
        "{}",
        ended.stdout
    );
    let status = program.run(&["status"]);
    assert!(
        status.code == Some(1)
            && status.stdout.contains(&format!("the last run ended with exit code 75: {cause}")),
        "{}",
        status.stdout
    );
    let line: serde_json::Value =
        serde_json::from_str(&program.run(&["history", "--json"]).stdout).expect("one run");
    assert!(line["error"].as_str().is_some_and(|text| text.starts_with(&cause)), "{line}");
    assert!(program.run(&["history", "--html", "-"]).stdout.contains("cannot keep dead letters in "));
    let well = with("");
    assert_eq!(well.drain(&[]).get("cause"), None, "the state is ok");
}

/// The exporter that reads the file runs as another user.
#[test]
fn metrics_add_up_over_runs_and_are_readable_for_all_users() {
    let program = with("metrics: {textfile: x.prom}\nperiod: 30s\n");
    send(&program, 12);
    program.run_with_input(&["send"], b"{a\n[]\n");
    program.drain(&[]);
    assert_eq!(program.path("x.prom").metadata().expect("a file").permissions().mode() & 0o777, 0o644);
    let first = metrics(&program);
    program.drain(&[]);
    let second = metrics(&program);
    let stored = r#"x_msrv_messages_total{pipeline="x-msrv",outcome="stored",reason=""}"#;
    let rejected = |reason| {
        format!(r#"x_msrv_messages_total{{pipeline="x-msrv",outcome="rejected",reason="{reason}"}}"#)
    };
    assert_eq!((first[stored], second[stored]), (10.0, 12.0));
    assert_eq!(
        (first[&rejected("not-json")], second[&rejected("not-json")], second[&rejected("not-object")]),
        (0.0, 1.0, 1.0)
    );
    let is = |name: &str, labels: &str, value: f64| {
        let name = format!("{name}{{pipeline=\"x-msrv\"{labels}}}");
        assert_eq!(second.get(&name), Some(&value), "{name}");
    };
    is("x_msrv_runs_total", r#",stop_reason="limit-reached""#, 1.0);
    is("x_msrv_runs_total", r#",stop_reason="queue-empty""#, 1.0);
    is("x_msrv_runs_total", r#",stop_reason="failed""#, 0.0);
    is("x_msrv_run_duration_seconds_bucket", r#",le="+Inf""#, 2.0);
    is("x_msrv_run_duration_seconds_count", "", 2.0);
    is("x_msrv_last_run_queue_depth_before", "", 4.0);
    is("x_msrv_last_run_queue_depth_after", "", 0.0);
    is("x_msrv_failed_runs_total", r#",exit_code="78""#, 0.0);
    is("x_msrv_last_run_success", "", 1.0);
    is("x_msrv_period_seconds", "", 30.0);
    is("x_msrv_max_messages", "", 10.0);
    is("x_msrv_dead_letters_total", "", 2.0);
    assert_eq!(program.run(&["--max-messages", "500"]).code, Some(0));
    let by_hand = metrics(&program)[r#"x_msrv_max_messages{pipeline="x-msrv"}"#];
    assert!(
        (by_hand - 10.0).abs() < 1e-9,
        "alerts expect the runs that the configuration specifies: {by_hand}"
    );

    program.write("x-msrv.yml", &format!("{EMBEDDED}metrics: {{textfile: x.prom}}\nschema: nonesuch.json\n"));
    assert_eq!(program.run(&[]).code, Some(78));
    let third = metrics(&program);
    let last = |name: &str| third[&format!("{name}{{pipeline=\"x-msrv\"}}")];
    assert_eq!(
        (last("x_msrv_last_run_success"), last("x_msrv_last_run_exit_code")),
        (0.0, 78.0),
        "a failed run reports it as well"
    );
    assert_eq!(
        (
            third[stored].to_string(),
            third[r#"x_msrv_failed_runs_total{pipeline="x-msrv",exit_code="78"}"#].to_string()
        ),
        ("12".to_owned(), "1".to_owned())
    );
    let left = std::fs::read_dir(program.path(""))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name());
    assert_eq!(
        left.filter(|name| name.to_string_lossy().contains("prom")).count(),
        1,
        "no temporary file remains"
    );
}

/// After a power failure the totals lack the last runs; Prometheus counts a counter twice that decreases to
/// anything but 0.
#[test]
fn counters_restart_at_zero_after_a_reboot() {
    let program = with("metrics: {textfile: x.prom}\n");
    let stored = |count| {
        send(&program, count);
        program.drain(&[]);
        metrics(&program)[r#"x_msrv_messages_total{pipeline="x-msrv",outcome="stored",reason=""}"#]
    };
    assert_eq!((stored(3), stored(4)), (3.0, 7.0));
    let history = Connection::open(program.path("history.db")).expect("a history");
    assert_eq!(history.execute("UPDATE totals SET value = value - 3600 WHERE name = 'booted'", []), Ok(1));
    assert_eq!((stored(5), stored(1)), (5.0, 6.0));
}

/// Otherwise a missing folder for metrics would stop the queue.
#[test]
fn metrics_that_cannot_be_written_are_a_warning() {
    let program = with("metrics: {textfile: nonesuch/x.prom}\n");
    send(&program, 3);
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!((ended.code, ended.report()["stored"].as_u64()), (Some(0), Some(3)));
    assert!(
        ended.stderr.contains("WARN  the metrics are not written")
            && ended.stderr.contains("nonesuch/x.prom"),
        "{}",
        ended.stderr
    );
    assert_eq!(runs(&program).len(), 1);
}

/// A read-only system has no place for the file.
#[test]
fn a_disabled_history_leaves_no_file() {
    let program = with("history: false\n");
    program.drain(&[]);
    assert!(!program.path("history.db").exists());
    for (more, words) in [
        (
            "history: false\nmetrics: {textfile: x.prom}\n",
            "metrics.textfile: the metrics require the history",
        ),
        ("metrics: {textfile: x.txt}\n", "`x.txt` does not end in .prom"),
        ("history: {max-runs: 0}\n", "history.max-runs: 0 is not allowed"),
        ("history:\n", "history: "),
    ] {
        let ended = with(more).run(&["check"]);
        assert!(ended.code == Some(78) && ended.stderr.contains(words), "{more}: {}", ended.stderr);
    }
}

/// nsqd reports the depth in its statistics, which are read in parallel with the run.
#[test]
fn the_depth_of_the_queue_is_known_if_nsqd_serves_statistics_on_the_next_port() {
    let nsqd = Nsqd::with_statistics_beside(&[]);
    let address = &nsqd.tcp;
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{address}'], topic: t, channel: c, max-messages: 20}}\nsqlite: {{path: store.db, set: s}}\ntimeout: 60s\n"
    ));
    nsqd.publish("t", (0..50).map(|number| format!("{{\"n\":{number}}}")));
    let depths = || {
        let report = program.drain(&[]);
        (report["depth-before"].as_u64(), report["depth-after"].as_u64())
    };
    assert_eq!(depths(), (Some(50), Some(30)));
    assert_eq!(depths(), (Some(30), Some(10)));
    assert_eq!(depths(), (Some(10), Some(0)), "an empty queue needs no request for its depth");
}

/// Otherwise the run after an outage would take nothing and report that nothing is left, while all messages
/// wait for their retry.
#[test]
fn requeued_messages_count_as_left() {
    let nsqd = Nsqd::with_statistics_beside(&[]);
    nsqd.make_channel("t", "c");
    let address = &nsqd.tcp;
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{address}'], topic: t, channel: c}}\nsqlite: {{path: store.db, set: s}}\ntimeout: 60s\nmetrics: {{textfile: x.prom}}\n"
    ));
    nsqd.publish_late("t", Duration::from_secs(600), (0..5).map(|number| format!("{{\"n\":{number}}}")));
    let report = program.drain(&[]);
    let depths =
        |report: &serde_json::Value| (report["depth-before"].as_u64(), report["depth-after"].as_u64());
    assert_eq!((report["stop-reason"].as_str(), depths(&report)), (Some("queue-empty"), (Some(5), Some(5))));
    assert_eq!(metrics(&program).get("x_msrv_last_run_queue_depth_after{pipeline=\"x-msrv\"}"), Some(&5.0));
    let status = program.run(&["status"]);
    assert!(status.code == Some(0) && status.stdout.contains("5 messages left"), "{}", status.stdout);
    // Messages that the run itself requeues are left as well.
    nsqd.publish("t", (5..8).map(|number| format!("{{\"n\":{number}}}")));
    let store = Connection::open(program.path("store.db")).expect("the store");
    store.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!((ended.code, depths(&ended.report())), (Some(75), (Some(8), Some(8))), "{}", ended.stderr);
}

/// The service runs with the umask 0027.
#[test]
fn the_history_is_for_the_service_and_its_group_only() {
    let program = with("");
    program.drain(&[]);
    for name in ["history.db", "history.db-wal"] {
        assert_eq!(
            program.path(name).metadata().expect("a file").permissions(),
            Permissions::from_mode(0o100_640),
            "{name}"
        );
    }
}

/// Monitoring plugins read only these two.
#[test]
fn status_has_the_state_in_its_first_line_and_exit_code() {
    let program = with("");
    let first_line = |program: &Program, arguments: &[&str]| {
        let ended = program.run(&[&["status"], arguments].concat());
        (ended.code.expect("a code"), ended.stdout.lines().next().unwrap_or_default().to_owned(), ended)
    };
    let (code, line, _) = first_line(&program, &[]);
    assert_eq!((code, line.as_str()), (3, "x-msrv: unknown: no run in the history yet"));
    send(&program, 33);
    program.run_with_input(&["send"], b"[]\n");
    (0..3).for_each(|_| drop(program.drain(&[])));
    let (code, line, ended) = first_line(&program, &[]);
    assert_eq!((code, line.as_str()), (0, "x-msrv: ok"), "{}", ended.stdout);
    for words in [
        "limit-reached, 10 received: 10 stored in ",
        "4 messages left, ",
        "drained in ",
        "3 runs; 30 received: 30 stored\n",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    let (code, line, _) = first_line(&program, &["--warning", "backlog=3"]);
    assert_eq!((code, line.as_str()), (1, "x-msrv: warning: 4 messages waiting (limit 3)"));
    let (code, line, _) = first_line(&program, &["--warning", "backlog=1", "--critical", "backlog=3"]);
    assert_eq!(
        (code, line.as_str()),
        (2, "x-msrv: critical: 4 messages waiting (limit 3)"),
        "the worst comes first"
    );
    program.drain(&[]);
    let (code, _, ended) = first_line(&program, &["--critical", "rejected=2%"]);
    assert_eq!(code, 2, "{}", ended.stdout);
    assert!(
        ended.stdout.contains("  rejected   1 not-object, latest: expected a JSON object, found "),
        "{}",
        ended.stdout
    );
    program.write("x-msrv.yml", &format!("{EMBEDDED}schema: nonesuch.json\n"));
    assert_eq!(program.run(&[]).code, Some(78));
    let (code, line, _) = first_line(&program, &[]);
    assert!(
        code == 1
            && line
                .starts_with("x-msrv: warning: the last run ended with exit code 78: cannot use the schema"),
        "{line}"
    );
}

/// Otherwise the status would be ok at most looks, because the delays of the messages grow and a run between
/// two deliveries succeeds.
#[test]
fn status_warns_about_messages_that_come_again_between_their_deliveries_as_well() {
    let program = with("dead-letter: {file: {path: folder}}\n");
    std::fs::create_dir(program.path("folder")).expect("a folder in its place");
    assert_eq!(program.run_with_input(&["send"], b"[]\n").code, Some(0));
    assert_eq!(program.run(&[]).code, Some(75));
    wait_until("a run between two deliveries", || program.run(&[]).code == Some(0));
    let status = program.run(&["status"]);
    let words = "warning: messages are delivered again and again; a run requeued 1 of them ";
    assert!(status.code == Some(1) && status.stdout.contains(words), "{}", status.stdout);
    assert!(status.stdout.contains("cannot keep dead letters in "), "{}", status.stdout);
    std::fs::remove_dir(program.path("folder")).expect("there");
    wait_until("the message is rejected", || {
        program.run(&[]);
        program.letters_in("folder").len() == 1
    });
    assert_eq!(program.run(&["status"]).code, Some(0));
}

/// Otherwise the backlog before a run that was killed would be shown as the current one, and the killed run
/// would not be shown at all.
#[test]
fn status_knows_a_run_by_hand_from_its_start() {
    let program = with("");
    send(&program, 12);
    program.drain(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address");
    let waiting_for_the_store = format!(
        "embedded-queue: {{path: queue.db}}\naerospike: {{hosts: ['{silent}'], namespace: test, set: s}}\nconnect-timeout: 1h\n"
    );
    program.write("x-msrv.yml", &waiting_for_the_store);
    let mut run = program.spawn(&["run"]);
    let status = || program.run(&["status"]);
    wait_while_running(&mut run, || status().stdout.contains("next run   running now, by hand"));
    let is_unknown = |text: &str| text.contains("2 messages left ") && text.contains("unknown since then");
    let ended = status();
    assert!(ended.code == Some(0) && is_unknown(&ended.stdout), "{}", ended.stdout);
    signal(&run, "KILL");
    run.wait().expect("it is killed");
    let ended = status();
    assert!(ended.code == Some(1) && is_unknown(&ended.stdout), "{}", ended.stdout);
    assert!(ended.stdout.contains(" ago has not reported: it was killed"), "{}", ended.stdout);
    program.write("x-msrv.yml", EMBEDDED);
    program.drain(&[]);
    let ended = status();
    assert!(
        ended.code == Some(0) && ended.stdout.contains("  backlog    nothing left\n"),
        "{}",
        ended.stdout
    );
}

/// Otherwise programs would have to parse text for people.
#[test]
fn status_for_programs_is_one_json_object() {
    let program = with("");
    send(&program, 12);
    program.drain(&[]);
    let ended = program.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        (status["state"].as_str(), status["name"].as_str(), ended.code),
        (Some("ok"), Some("x-msrv"), Some(0))
    );
    assert_eq!(
        (status["last-run"]["stored"].as_u64(), status["last-run"]["depth-after"].as_u64()),
        (Some(10), Some(2))
    );
    assert_eq!(
        (status["lately"]["runs"].as_u64(), status["lately"]["received"].as_u64()),
        (Some(1), Some(10))
    );
    assert_eq!(status["problems"], serde_json::json!([]));
}

/// Otherwise the last run would count as one of the last hour, whenever it was.
#[test]
fn status_shows_a_run_of_five_hours_ago_as_the_last_and_none_in_the_last_hour() {
    let program = with("");
    send(&program, 10);
    program.drain(&[]);
    let history = Connection::open(program.path("history.db")).expect("a history");
    history.execute_batch("UPDATE runs SET started_at = started_at - 5 * 3600 * 1000").expect("written");
    std::fs::remove_file(program.path("history.db-run")).expect("the mark of now");
    let ended = program.run(&["status"]);
    for words in [
        "  last run   5 h ago: limit-reached, 10 received: 10 stored in ",
        "  backlog    nothing left 5 h ago\n",
        "  last 1 h   no runs\n",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    let status: serde_json::Value =
        serde_json::from_str(&program.run(&["status", "--json"]).stdout).expect("JSON");
    assert_eq!(
        (status["last-run"]["stored"].as_u64(), status["lately"]["runs"].as_u64()),
        (Some(10), Some(0))
    );
}

/// For a monitoring plugin 2 is critical, and every reason why the state is unknown is 3.
#[test]
fn every_failure_of_status_is_exit_3_and_other_commands_keep_their_codes() {
    let program = with("history: false\n");
    assert_eq!((program.run(&["status"]).code, program.run(&["history"]).code), (Some(3), Some(78)));
    assert_eq!(
        (program.run(&["status", "--nonesuch"]).code, program.run(&["history", "--nonesuch"]).code),
        (Some(3), Some(2))
    );
    assert_eq!(program.run(&["status", "--warning", "load=3"]).code, Some(3));
    assert_eq!(
        (program.bare(&["status", "nonesuch"]).code, program.bare(&["status", "--help"]).code),
        (Some(3), Some(0))
    );
    let program = with("");
    program.write("history.db", "these are notes");
    let ended = program.run(&["status"]);
    assert!(ended.code == Some(3) && ended.stderr.contains("history.db"), "{}", ended.stderr);
    assert_eq!(program.run(&["history"]).code, Some(66));
}

/// Otherwise trends would be hard to see, and programs would have to parse the table.
#[test]
fn the_history_is_a_table_with_sparklines_or_json() {
    let program = with("");
    let ended = program.run(&["history"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "", "no runs in the last 1 d\n")
    );
    send(&program, 25);
    (0..4).for_each(|_| drop(program.drain(&[])));
    let lines: Vec<serde_json::Value> = program
        .run(&["history", "--json"])
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let received: Vec<_> = lines.iter().map(|line| line["received"].as_u64().expect("a number")).collect();
    assert_eq!(received, [10, 10, 5, 0]);
    let last = lines[3]["started"].as_str().expect("a time");
    let configuration = std::fs::read_to_string(program.path("x-msrv.yml")).expect("it is there");
    for (file, what) in [
        ("x-msrv.yml", "it is the configuration"),
        ("store.db", "it is `sqlite.path`"),
        ("./dead-letter.ndjson", "it is `dead-letter.file.path`"),
    ] {
        let ended = program.run(&["history", "--html", file]);
        assert!(ended.code == Some(66) && ended.stderr.contains(what), "{}", ended.stderr);
    }
    assert_eq!(std::fs::read_to_string(program.path("x-msrv.yml")).expect("still there"), configuration);
    let ended = program.run(&["history", "--since", "2999-01-01"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("the time is in the future"), "{}", ended.stderr);
    assert_eq!(
        program.run(&["history", "--json", "--since", last]).stdout.lines().count(),
        1,
        "a short run counts as well: {last}"
    );
    let table = program.run(&["history", "--since", "1h"]).stdout;
    assert!(
        table.starts_with("received  ")
            && table.contains("  up to ")
            && table.contains("\nwaiting   ")
            && !table.contains('\x1b'),
        "{table}"
    );
    let rows = table.lines().skip_while(|line| !line.starts_with("from (UTC)")).skip(1);
    let columns: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
    let sum =
        |column: usize| columns.iter().map(|row| row[column].parse::<u64>().expect("a number")).sum::<u64>();
    assert_eq!((sum(2), sum(3), sum(4), sum(5)), (4, 0, 25, 25), "runs, failed, received, stored: {table}");
}

/// Escape codes in a file, or for a user who disabled them, would be noise.
#[test]
fn status_has_colours_on_a_terminal_only_and_none_with_no_color() {
    let mut program = with("");
    program.drain(&[]);
    program.set("TERM", "xterm");
    let command = format!("{} status -c x-msrv.yml", crate::support::program::program());
    let on_a_terminal = |program: &Program| {
        program.run_by("script", &["--quiet", "--return", "--command", &command, "/dev/null"]).stdout
    };
    let shown = on_a_terminal(&program);
    assert!(shown.starts_with("\x1b[1mx-msrv\x1b[0m: \x1b[32mok\x1b[0m"), "{shown:?}");
    let elsewhere = program.run(&["status"]).stdout;
    assert!(elsewhere.starts_with("x-msrv: ok\n"), "{elsewhere:?}");
    program.set("NO_COLOR", "1");
    let refused = on_a_terminal(&program);
    assert!(refused.starts_with("x-msrv: ok"), "{refused:?}");
}
