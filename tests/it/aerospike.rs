//! The Aerospike store under faults, alone and with the whole program. The faults need the stand-in; its
//! behaviour was compared with a real server for every fault that a real server can be made to show.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::timeout;
use x_msrv_aerospike::{AerospikeStore, Exists, Settings, Ttl};
use x_msrv_core::{
    decode::BigIntegers,
    fault::{Blame, Fault},
    record::{Key, Record},
    store::{Put, StoreError},
};
use x_msrv_json::parse_object;

use crate::support::{
    PATIENCE,
    aerospike::{Rule, StandIn, Then, Value, When},
    block_on,
    nsqd::{Nsqd, unused_address},
    program::{Program, signal, wait},
    put, wait_until,
};

fn settings(server: &StandIn) -> Settings {
    Settings {
        hosts: vec![server.address().to_string().parse().expect("an address")],
        namespace: "test".parse().expect("a name"),
        set: "s".parse().expect("a name"),
        exists: Exists::Replace,
        ttl: Ttl::Namespace,
        send_key: false,
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
        login: None,
        tls: None,
        own_ttl: None,
        use_alternate_addresses: false,
    }
}

fn record(number: usize, document: &str) -> Record {
    let fields = parse_object(document.as_bytes(), BigIntegers::Reject).expect("a document");
    Record {
        key: Key::Text(number.to_string()),
        fields,
        size: document.len(),
        set: None,
        ttl: None,
        message: None,
    }
}

fn records(count: usize) -> Vec<Record> {
    (0..count).map(|number| record(number, &format!("{{\"n\":{number}}}"))).collect()
}

async fn connect(settings: &Settings) -> AerospikeStore {
    AerospikeStore::connect(settings).await.expect("the server answers")
}

/// One failed row would otherwise fail its whole batch: whatever the code, its neighbours are stored, and it
/// alone gets the answer of the table.
#[tokio::test]
async fn every_result_code_in_a_batch_affects_only_its_row() {
    let server = StandIn::start().await;
    let store = connect(&settings(&server)).await;
    let refused = [12, 13, 19, 26, 29, 160];
    let setup = [10, 16, 20, 25, 51, 52, 53, 54, 55, 56, 60, 61, 62, 63, 64, 65, 66, 80, 81, 82, 150];
    let unavailable = [1, 7, 8, 9, 11, 14, 18, 32, 83, 120, 152];
    let table = [
        (&refused[..], "refused"),
        (&setup[..], "setup"),
        (&unavailable[..], "unavailable"),
        (&[4, 21][..], "suspect"),
        (&[22, 99, 255][..], "unknown"),
        (&[5][..], "duplicate"),
    ];
    for (codes, verdict) in table {
        for &code in codes {
            server.rule(Rule::once(When::Key("3".into()), Then::Answer(code)));
            let results = put(&store, records(7)).await;
            let found = match &results[3] {
                Err(Fault { blame: Blame::Record, .. }) => "refused",
                Err(Fault { blame: Blame::Setup, .. }) => "setup",
                Err(Fault { blame: Blame::Outage, .. }) => "unavailable",
                Err(Fault { blame: Blame::Unknown, .. }) => "unknown",
                Err(Fault { blame: Blame::Suspect, .. }) => "suspect",
                Ok(Put::Duplicate) => "duplicate",
                Ok(Put::Stored) => "stored",
            };
            assert_eq!(found, verdict, "code {code}: {:?}", results[3]);
            let others = results.iter().enumerate().filter(|(index, _)| *index != 3);
            assert!(
                others.into_iter().all(|(_, result)| *result == Ok(Put::Stored)),
                "code {code}: {results:?}"
            );
            server.clear_rules();
        }
    }
}

/// The client counts bins in 16 bits: of 70,000 it stored 4,464 and reported success, and the server read the
/// remaining bytes as other records.
#[tokio::test]
async fn a_document_with_too_many_fields_is_refused_and_its_neighbours_are_stored() {
    let server = StandIn::start().await;
    let store = connect(&settings(&server)).await;
    for count in [32_766, 32_767, 65_535, 65_536, 70_000] {
        let fields: Vec<_> = (0..count).map(|number| format!("\"f{number}\":1")).collect();
        let batch = [record(0, "{}"), record(count, &format!("{{{}}}", fields.join(","))), record(1, "{}")];
        let results = put(&store, batch.to_vec()).await;
        match &results[1] {
            Ok(Put::Stored) if count == 32_766 => {}
            Err(Fault { blame: Blame::Record, text, .. })
                if text.starts_with(&format!("the document has {count} fields")) => {}
            other => panic!("{count}: {other:?}"),
        }
        assert!(results[0] == Ok(Put::Stored) && results[2] == Ok(Put::Stored), "{count}: {results:?}");
    }
    let bins: Vec<_> =
        server.records("s").iter().map(|record| record.bins.len()).filter(|bins| *bins > 1).collect();
    assert_eq!(bins, [32_767]);
}

/// A batch of one row is sent as a single command, whose errors fail the call and not the row.
#[tokio::test]
async fn every_result_code_means_the_same_for_a_single_record() {
    let server = StandIn::start().await;
    let store = connect(&settings(&server)).await;
    for (code, expected) in [
        (13, "refused"),
        (20, "setup"),
        (18, "unavailable"),
        (9, "unavailable"),
        (14, "unavailable"),
        (5, "duplicate"),
    ] {
        server.rule(Rule::once(When::Any, Then::Answer(code)));
        let found = match &put(&store, records(1)).await[..] {
            [Err(Fault { blame: Blame::Record, .. })] => "refused",
            [Err(Fault { blame: Blame::Setup, .. })] => "setup",
            [Err(Fault { blame: Blame::Outage, .. })] => "unavailable",
            [Ok(Put::Duplicate)] => "duplicate",
            _ => "something else",
        };
        assert_eq!(found, expected, "code {code}");
        server.clear_rules();
    }
}

/// Rows without an answer may be stored: reporting them as failed or as stored would both be wrong.
#[tokio::test]
async fn a_connection_that_ends_in_a_batch_leaves_the_rest_in_doubt() {
    for then in [Then::CloseMidBatch, Then::CloseBeforeAnswer, Then::StoreThenClose] {
        let server = StandIn::start().await;
        let store = connect(&settings(&server)).await;
        let shown = format!("{then:?}");
        server.rule(Rule::once(When::Key("5".into()), then));
        let results = put(&store, records(10)).await;
        assert_eq!(results.len(), 10);
        let unavailable =
            results.iter().filter(|result| matches!(result, Err(Fault { blame: Blame::Outage, .. }))).count();
        let done = results.iter().filter(|result| **result == Ok(Put::Stored)).count();
        assert!(unavailable > 0 && unavailable + done == 10, "{shown}: {results:?}");
        // The same records again, as after a redelivery.
        assert!(put(&store, records(10)).await.iter().all(|result| *result == Ok(Put::Stored)), "{shown}");
        assert_eq!(server.records("s").len(), 10, "{shown}");
    }
}

/// Otherwise a frozen server would hold the run until its own timeout.
#[tokio::test]
async fn a_frozen_server_times_out_and_its_records_are_in_doubt() {
    let server = StandIn::start().await;
    let store = connect(&Settings { timeout: Duration::from_millis(200), ..settings(&server) }).await;
    server.freeze();
    let results = timeout(PATIENCE, put(&store, records(250))).await.expect("the timeout ends the call");
    assert!(
        results.len() == 250
            && results.iter().all(|result| matches!(result, Err(Fault { blame: Blame::Outage, .. }))),
        "{results:?}"
    );
    server.thaw();
}

/// Otherwise one restart of the server would make the store useless for the rest of the run.
#[tokio::test]
async fn a_server_that_restarts_accepts_records_again() {
    let server = StandIn::start().await;
    let store = connect(&Settings { timeout: Duration::from_millis(300), ..settings(&server) }).await;
    server.stop();
    let results = put(&store, records(3)).await;
    assert!(
        results.iter().all(|result| matches!(result, Err(Fault { blame: Blame::Outage, .. }))),
        "{results:?}"
    );
    server.restart();
    let back = async { while put(&store, records(3)).await.iter().any(Result::is_err) {} };
    tokio::time::timeout(PATIENCE, back).await.expect("the client finds it again");
}

/// Otherwise a redelivered message would overwrite changes that an application has made to the record.
#[tokio::test]
async fn create_only_keeps_existing_records_and_reports_them_as_duplicates() {
    let server = StandIn::start().await;
    let store = connect(&Settings { exists: Exists::CreateOnly, ..settings(&server) }).await;
    assert_eq!(
        put(&store, vec![record(1, r#"{"a":1}"#), record(2, "{}")]).await,
        [Ok(Put::Stored), Ok(Put::Stored)]
    );
    assert_eq!(
        put(&store, vec![record(1, r#"{"a":2}"#), record(3, "{}")]).await,
        [Ok(Put::Duplicate), Ok(Put::Stored)]
    );
    let values: Vec<_> = server
        .records("s")
        .iter()
        .filter_map(|record| record.bins.get("a").map(|bin| bin.value.clone()))
        .collect();
    assert_eq!(values, [Value::Int(1)]);
}

/// Otherwise `update` would delete bins of an application, or `replace` would leave stale ones.
#[tokio::test]
async fn update_keeps_other_bins_and_replace_does_not() {
    for (exists, bins) in [(Exists::Update, vec!["a", "b", "gid"]), (Exists::Replace, vec!["b", "gid"])] {
        let server = StandIn::start().await;
        let store = connect(&Settings { exists, ..settings(&server) }).await;
        for document in [r#"{"a":1}"#, r#"{"b":2,"none":null}"#] {
            assert_eq!(put(&store, vec![record(1, document)]).await, [Ok(Put::Stored)]);
        }
        assert_eq!(server.records("s")[0].bins.keys().collect::<Vec<_>>(), bins, "{exists:?}");
    }
}

/// Otherwise records would expire at the wrong time, or their keys could not be read back.
#[tokio::test]
async fn ttl_and_key_reach_the_server_as_configured() {
    let server = StandIn::start().await;
    for (number, ttl, send_key) in
        [(1, Ttl::Namespace, false), (2, Ttl::Never, false), (3, Ttl::Seconds(NonZeroU32::MIN), true)]
    {
        let store = connect(&Settings { ttl, send_key, ..settings(&server) }).await;
        assert_eq!(put(&store, vec![record(number, "{}")]).await, [Ok(Put::Stored)]);
    }
    let mut found: Vec<_> = server
        .records("s")
        .into_iter()
        .map(|record| (format!("{:?}", record.bins["gid"].value), record.ttl.is_some(), record.user_key))
        .collect();
    found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(
        found,
        [
            (format!("{:?}", text("1")), false, None),
            (format!("{:?}", text("2")), false, None),
            (format!("{:?}", text("3")), true, Some(text("3"))),
        ]
    );
}

/// A record that Aerospike cannot hold must not fail the other records of its batch.
#[tokio::test]
async fn an_invalid_record_is_refused_alone_with_a_readable_reason() {
    let server = StandIn::start().await;
    let store = connect(&settings(&server)).await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    let documents = ["{}", r#"{"a_name_of_16_byt":1}"#, r#"{"":1}"#, &large, r#"{"a_name_of_15_by":1}"#];
    let records: Vec<_> =
        documents.iter().enumerate().map(|(number, document)| record(number, document)).collect();
    let reasons: Vec<_> = put(&store, records)
        .await
        .into_iter()
        .map(|result| match result {
            Ok(_) => "stored".to_owned(),
            Err(Fault { blame: Blame::Record, text: reason, .. }) => reason,
            Err(other) => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons[0], "stored");
    assert!(reasons[1].contains("`a_name_of_16_byt` has 16 bytes"), "{}", reasons[1]);
    assert!(reasons[2].contains("without a name"), "{}", reasons[2]);
    assert!(reasons[3].contains("code 13"), "{}", reasons[3]);
    assert_eq!(reasons[4], "stored");
}

/// Otherwise one batch could exceed the limits of the server.
#[tokio::test]
async fn records_are_written_in_batches_of_a_bounded_size() {
    let server = StandIn::start().await;
    let store = connect(&settings(&server)).await;
    assert!(put(&store, records(1_050)).await.iter().all(Result::is_ok));
    let rows: Vec<_> = server.batches().iter().map(|batch| batch.rows).collect();
    assert_eq!(rows.iter().sum::<usize>(), 1_050);
    assert!(rows.iter().all(|rows| *rows <= 100), "{rows:?}");
}

/// A missing namespace needs a change of the configuration, an unreachable server does not.
#[tokio::test]
async fn a_missing_namespace_and_an_unreachable_server_have_different_errors() {
    let server = StandIn::start().await;
    let wrong = Settings { namespace: "nonesuch".parse().expect("a name"), ..settings(&server) };
    let Err(StoreError::Setup { fault, .. }) = AerospikeStore::connect(&wrong).await else {
        panic!("no such namespace")
    };
    assert!(fault.contains("`nonesuch`") && fault.contains("test"), "{fault}");
    let gone = Settings {
        hosts: vec![unused_address()],
        connect_timeout: Duration::from_secs(1),
        ..settings(&server)
    };
    assert!(matches!(AerospikeStore::connect(&gone).await, Err(StoreError::Unreachable { .. })));
    let one_of_two =
        Settings { hosts: vec![unused_address(), settings(&server).hosts[0].clone()], ..settings(&server) };
    connect(&one_of_two).await;
}

/// Otherwise `connect` would wait forever.
#[tokio::test]
async fn a_server_that_accepts_but_never_answers_fails_after_the_connect_timeout() {
    let server = StandIn::start().await;
    server.freeze();
    let slow = Settings { connect_timeout: Duration::from_millis(500), ..settings(&server) };
    let connected =
        timeout(PATIENCE, AerospikeStore::connect(&slow)).await.expect("the timeout ends the call");
    assert!(matches!(connected, Err(StoreError::Unreachable { .. })));
    server.thaw();
}

/// nsqd, the stand-in and a configuration in the original's own words.
fn scene(more: &str) -> (Nsqd, StandIn, Program) {
    let (nsqd, server) = (Nsqd::start(), block_on(StandIn::start()));
    let program = Program::new(&format!(
        "timeout: 2s\nidle-timeout: 300ms\nnsq:\n  nsqd-tcp-address: ['{}']\n  topic: testtopic\n  channel: testchannel\n  max-in-flight: 10\n  max-messages: 10\n\
         aerospike:\n  address:\n    host: 127.0.0.1\n    port: {}\n  namespace: test\n  set: testset\n{more}",
        nsqd.tcp,
        server.address().port()
    ));
    (nsqd, server, program)
}

/// The same with an N that is not reached, so that the report shows which other reason ended the run.
fn roomy_scene(more: &str) -> (Nsqd, StandIn, Program) {
    let (nsqd, server, program) = scene(more);
    (nsqd, server, program.env("X_MSRV__NSQ__MAX_MESSAGES", "100"))
}

fn lines(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(crate::support::sample(name)).expect("the samples");
    text.lines().map(str::to_owned).collect()
}

/// A user of the original must be able to switch without a change of the configuration.
#[test]
fn the_original_s_configuration_and_samples_work() {
    let (nsqd, server, program) = scene("");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    let report = program.drain(&[]);
    assert_eq!(
        (report["stored"].as_u64(), report["stop-reason"].as_str()),
        (Some(10), Some("limit-reached"))
    );
    nsqd.publish("testtopic", lines("invalid.ndjson"));
    assert_eq!(program.drain(&[])["rejected"], 3);
    let records = server.records("testset");
    assert_eq!(records.len(), 10);
    let record = records.iter().find(|record| record.bins["id"].value == Value::Int(4)).expect("i = 4");
    assert_eq!(record.bins.keys().collect::<Vec<_>>(), ["ext", "gid", "id", "msg"]);
    assert_eq!(record.bins["msg"].value, Value::Text("Some message-4".into()));
    let Value::Text(key) = &record.bins["gid"].value else { panic!("the key is text") };
    assert!(key.starts_with(&format!("testtopic@{}/", nsqd.tcp)), "{key}");
    assert_eq!(program.letters().len(), 3);
}

/// Otherwise each run would cost every message that it takes an attempt.
#[test]
fn with_the_store_down_a_run_takes_no_message_and_exits_69() {
    let (nsqd, server, program) = scene("connect-timeout: 500ms\n");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.stop();
    let ended = program.run(&[]);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot reach Aerospike at 127.0.0.1:"), "{}", ended.stderr);
    let depths = nsqd.depths("testtopic");
    assert_eq!((depths.waiting, depths.in_flight, depths.requeued), (10, 0, 0));
    server.restart();
    assert_eq!(program.drain(&[])["stored"], 10);
}

/// Otherwise messages would become dead letters for a fault that only an administrator can fix.
#[test]
fn a_wrong_setup_of_the_server_requeues_all_messages_and_exits_78() {
    let (nsqd, server, program) = scene("");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.rule(Rule::always(When::Write, Then::Answer(81)));
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!(
        (ended.code, ended.report()["stop-reason"].as_str()),
        (Some(78), Some("store-setup")),
        "{}",
        ended.stderr
    );
    let depths = nsqd.depths("testtopic");
    assert_eq!((depths.waiting, depths.in_flight, depths.deferred), (10, 0, 0));
    assert!(program.letters().is_empty());
}

/// Runs, and asserts that all ten messages are back in the queue, with or without a delay, and that none
/// became a dead letter.
#[track_caller]
fn given_back(nsqd: &Nsqd, program: &Program, code: i32, stop_reason: &str, words: &str) {
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!(
        (ended.code, ended.report()["stop-reason"].as_str()),
        (Some(code), Some(stop_reason)),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    let depths = nsqd.depths("testtopic");
    assert_eq!((depths.waiting + depths.deferred, depths.in_flight), (10, 0), "{}", ended.stderr);
    assert!(program.letters().is_empty(), "{}", ended.stderr);
}

/// Otherwise the code for a wrong parameter would make each record a dead letter, and the run would exit 0.
#[test]
fn a_namespace_with_too_many_sets_requeues_all_messages_and_is_reported() {
    let (nsqd, server, program) = roomy_scene("");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.use_up_set_names();
    let words = "namespace `test` has 4095 sets, the server's limit: cannot create set `testset` (code 4)";
    given_back(&nsqd, &program, 78, "store-setup", words);
    let check = program.run(&["check", "--connect"]);
    assert_eq!(check.code, Some(78), "{}", check.stderr);
    assert!(check.stderr.contains("cannot create set `testset`"), "{}", check.stderr);
}

/// One message alone cannot show whether the record or the store is at fault, but the server knows.
#[test]
fn a_single_message_is_not_blamed_for_a_namespace_with_too_many_sets() {
    let (nsqd, server, program) = scene("");
    nsqd.publish("testtopic", ["{}"]);
    server.use_up_set_names();
    let ended = program.run(&["run", "--report", "json"]);
    assert_eq!((ended.code, &ended.report()["requeued"]), (Some(78), &1.into()), "{}", ended.stderr);
}

/// Otherwise the program would report a full set as a wrong configuration, and an administrator would search
/// for the fault there.
#[test]
fn a_full_set_is_reported_as_an_outage_that_ends_when_it_has_room() {
    for (limit, words) in [
        ("stop-writes-count=1", "set `testset` is full: 1 records, and stop-writes-count is 1"),
        ("stop-writes-size=1", " bytes, and stop-writes-size is 1"),
    ] {
        let (nsqd, server, program) = roomy_scene("");
        nsqd.publish("testtopic", ["{\"a\":1}"]);
        assert_eq!(program.drain(&[])["stored"], 1);
        server.configure(&format!("set=testset;{limit}"));
        nsqd.publish("testtopic", lines("valid.ndjson"));
        given_back(&nsqd, &program, 75, "store-unavailable", words);
        let check = program.run(&["check", "--connect"]);
        assert_eq!(check.code, Some(75), "{}", check.stderr);
        assert!(check.stderr.contains(words), "{}", check.stderr);
        server.configure(&format!("set=testset;{}=0", limit.split_once('=').expect("a setting").0));
        assert_eq!(program.run(&["check", "--connect"]).code, Some(0));
        wait_until("the delay is over", || nsqd.depths("testtopic").waiting == 10);
        assert_eq!(program.drain(&[])["stored"], 10);
    }
}

/// One code covers all of these, and its text is only "operation not allowed at this time".
#[test]
fn a_namespace_that_refuses_the_configuration_is_reported_before_a_message_is_taken() {
    let expires =
        "namespace `test` refuses records that expire (nsup-period is 0 and allow-ttl-without-nsup is false)";
    for (server_setting, ttl, words) in [
        ("nsup-period=0", "1h", format!("{expires}, and `aerospike.ttl` is set")),
        ("default-ttl=60;nsup-period=0", "namespace", format!("{expires}, and its default-ttl is 60 s")),
        (
            "reject-non-xdr-writes=true",
            "never",
            "namespace `test` accepts only writes from other clusters".to_owned(),
        ),
    ] {
        let (nsqd, server, program) = roomy_scene(&format!("  ttl: {ttl}\n"));
        nsqd.publish("testtopic", lines("valid.ndjson"));
        server_setting.split(';').for_each(|setting| server.configure(setting));
        for command in [&["check", "--connect"][..], &["run"]] {
            let ended = program.run(command);
            assert_eq!(ended.code, Some(78), "{}", ended.stderr);
            assert!(ended.stderr.contains(&words), "{words}: {}", ended.stderr);
        }
        assert_eq!(nsqd.depths("testtopic").waiting, 10);
        assert_eq!(program.run(&["records"]).code, Some(0), "what is stored can be read");
    }
}

/// An administrator can change the server during a run: what was checked before the first message is no
/// longer true.
#[test]
fn a_namespace_that_starts_to_refuse_during_a_run_requeues_all_messages_with_the_reason() {
    let server = block_on(StandIn::start());
    let (ttl, never) = (Ttl::Seconds(NonZeroU32::MIN), Ttl::Never);
    for (setting, ttl, words) in [
        ("nsup-period=0", ttl, "`aerospike.ttl` is set (code 22)"),
        ("reject-non-xdr-writes=true", never, "reject-non-xdr-writes is true) (code 22)"),
    ] {
        let results = block_on(async {
            let store = connect(&Settings { ttl, ..settings(&server) }).await;
            server.configure(setting);
            put(&store, records(2)).await
        });
        let reported = |result: &Result<Put, Fault>| matches!(result, Err(Fault { blame: Blame::Setup, text, .. }) if text.ends_with(words));
        assert!(results.iter().all(reported), "{results:?}");
    }
}

/// If the server cannot be asked for the reason, the record must not be blamed.
#[test]
fn a_refusal_without_a_known_reason_is_an_outage() {
    let server = block_on(StandIn::start());
    let results = block_on(async {
        let store = connect(&Settings { timeout: Duration::from_millis(500), ..settings(&server) }).await;
        server.rule(Rule::always(When::Write, Then::Answer(4)));
        server.rule(Rule::always(When::Info, Then::Hang));
        put(&store, records(2)).await
    });
    let unavailable = |result: &Result<Put, Fault>| matches!(result, Err(Fault { blame: Blame::Outage, text, .. }) if text.contains("no statistics from the server"));
    assert!(results.iter().all(unavailable), "{results:?}");
}

/// Otherwise an outage would turn valid messages into dead letters.
#[test]
fn a_store_outage_during_a_run_requeues_the_affected_messages_and_exits_75() {
    let (nsqd, server, program) = scene("");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.rule(Rule::once(When::BinInt("id", 7), Then::Answer(18)));
    let ended = program.run(&["run", "--report", "json"]);
    let report = ended.report();
    assert_eq!(
        (ended.code, report["stored"].as_u64(), report["requeued"].as_u64()),
        (Some(75), Some(9), Some(1)),
        "{}",
        ended.stderr
    );
    assert_eq!(nsqd.depths("testtopic").deferred, 1);
    wait_until("the delay is over", || nsqd.depths("testtopic").waiting == 1);
    assert_eq!(program.drain(&[])["stored"], 1);
    assert_eq!(server.records("testset").len(), 10);
}

/// Without TOUCH nsqd would deliver the messages to another consumer after a second.
#[test]
fn a_slow_store_does_not_exceed_the_message_timeout_of_the_queue() {
    let server = block_on(StandIn::start());
    let nsqd = Nsqd::impatient();
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\ntimeout: 20s\n\
         aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 10s}}\n",
        nsqd.tcp,
        server.address()
    ));
    nsqd.publish("t", lines("valid.ndjson"));
    server.rule(Rule::always(When::Write, Then::Delay(Duration::from_millis(2_500))));
    let report = program.drain(&[]);
    assert_eq!((report["stored"].as_u64(), report["unconfirmed"].as_u64()), (Some(10), Some(0)));
    let depths = nsqd.depths("t");
    assert_eq!((depths.waiting, depths.in_flight, depths.timed_out, depths.requeued), (0, 0, 0, 0));
}

/// Otherwise the log would contain `E_TOUCH_FAILED` once for each message.
#[test]
fn messages_that_timed_out_are_one_warning_a_run() {
    let server = block_on(StandIn::start());
    let nsqd = Nsqd::impatient();
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: t, channel: c}}\ntimeout: 20s\n\
         aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 18s}}\n",
        nsqd.tcp,
        server.address()
    ));
    nsqd.publish("t", lines("valid.ndjson"));
    server.rule(Rule::always(When::Write, Then::Delay(Duration::from_secs(12))));
    let child = program.spawn(&[]);
    block_on(server.until_writes(1));
    signal(&child, "STOP");
    wait_until("nsqd gives up waiting", || nsqd.depths("t").timed_out == 10);
    signal(&child, "CONT");
    let ended = wait(child);
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    for code in ["E_TOUCH_FAILED", "E_FIN_FAILED"] {
        let answer = format!("answer=\"{code} ");
        assert_eq!(ended.stderr.matches(&answer).count(), 1, "{code}: {}", ended.stderr);
    }
}

/// Otherwise a user could not stop a run that waits for its store.
#[test]
fn the_first_signal_finishes_what_is_under_way_and_the_second_exits_at_once() {
    let (nsqd, server, program) = scene("max-messages: 10\n");
    let program = program.env("X_MSRV__AEROSPIKE__TIMEOUT", "1h").env("X_MSRV__SHUTDOWN_TIMEOUT", "1h");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.rule(Rule::always(When::Write, Then::Hang));
    let child = program.spawn(&["run"]);
    block_on(server.until_writes(1));
    signal(&child, "TERM");
    // The first signal has taken effect when RDY 0 has reached nsqd; from then on the run waits for the
    // store.
    wait_until("the run asks for no more messages", || nsqd.depths("testtopic").in_flight == 10);
    signal(&child, "TERM");
    assert_eq!(wait(child).code, Some(128 + 15));
}

/// Otherwise systemd would kill the run after its own timeout.
#[test]
fn a_run_gives_up_a_hanging_store_within_the_shutdown_timeout() {
    let (nsqd, server, program) = scene("");
    let program = program.env("X_MSRV__AEROSPIKE__TIMEOUT", "1h").env("X_MSRV__SHUTDOWN_TIMEOUT", "500ms");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.rule(Rule::always(When::Write, Then::Hang));
    let child = program.spawn(&["run", "--report", "json"]);
    block_on(server.until_writes(1));
    signal(&child, "TERM");
    let ended = wait(child);
    assert_eq!((ended.code, ended.report()["requeued"].as_u64()), (Some(75), Some(10)), "{}", ended.stderr);
    assert_eq!(nsqd.depths("testtopic").in_flight, 0);
}

/// A run that sees an empty queue while it waits for the store must continue to wait for the store and for
/// signals.
#[test]
fn an_nsqd_that_dies_while_its_messages_are_at_the_store_does_not_hang_the_run() {
    let server = block_on(StandIn::start());
    let (mut dying, silent) = (Nsqd::start(), Nsqd::start());
    dying.publish("t", lines("valid.ndjson"));
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}', '{}'], topic: t, channel: c, max-messages: 100}}\ntimeout: 10s\n\
         aerospike: {{hosts: ['{}'], namespace: test, set: s, timeout: 10s}}\n",
        dying.tcp,
        silent.tcp,
        server.address()
    ));
    server.rule(Rule::always(When::Write, Then::Delay(Duration::from_millis(1_500))));
    let child = program.spawn(&["run", "--report", "json"]);
    block_on(server.until_writes(10));
    dying.kill();
    let ended = wait(child);
    let report = ended.report();
    assert_eq!(
        (ended.code, report["stored"].as_u64(), report["unconfirmed"].as_u64()),
        (Some(75), Some(10), Some(10)),
        "{}",
        ended.stderr
    );
}

/// A settlement that nsqd has not confirmed does not count, even if it was written to the socket.
#[test]
fn settlements_that_nsqd_does_not_confirm_are_reported_and_exit_75() {
    let (nsqd, server, program) = scene("");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.rule(Rule::always(When::Write, Then::Delay(Duration::from_millis(300))));
    let child = program.spawn(&["run", "--report", "json"]);
    block_on(server.until_writes(10));
    nsqd.freeze();
    let ended = wait(child);
    let report = ended.report();
    assert_eq!(
        (ended.code, report["stored"].as_u64(), report["unconfirmed"].as_u64()),
        (Some(75), Some(10), Some(10)),
        "{}",
        ended.stderr
    );
    let logged = "settlements may not have reached the queue messages=10";
    assert!(ended.stderr.contains(logged), "{}", ended.stderr);
}

/// Closing a store that hangs takes time too: without it a run of 3.1 s would report 1.1 s.
#[test]
#[expect(clippy::disallowed_methods, reason = "the program lives in real time")]
fn the_reported_duration_is_right_when_the_store_hangs() {
    let (nsqd, server, program) = scene("");
    nsqd.publish("testtopic", lines("valid.ndjson"));
    server.rule(Rule::always(When::Write, Then::Hang));
    let began = std::time::Instant::now();
    let child = program.spawn(&["run", "--report", "json"]);
    block_on(server.until_writes(1));
    server.freeze();
    let ended = wait(child);
    let wall = began.elapsed().as_secs_f64();
    let reported = ended.report()["elapsed-seconds"].as_f64().expect("a number");
    assert!(reported > wall / 2.0, "{reported} s of {wall} s: {}", ended.stderr);
}
