//! Faults of the stand-in, and how the client reports each.

use std::{process::Command, time::Duration};

use aerospike::{
    BatchOperation, BatchPolicy, BatchWritePolicy, Bins, Client, ClientPolicy, ClientResultCode, Error,
    ErrorKind, Key, QueryPolicy, RecordExistsAction, ResultCode, as_bin, policy::TEND_INTERVAL_MIN_MS,
};
use tokio::time::{self, Instant};

use super::fixture::{batch_policy, batch_write_with, code, codes, connect, read_policy, row, write_policy};
use crate::support::aerospike::{BatchSize, Rule, StandIn, Then, Value, When};

const OK: Option<ResultCode> = Some(ResultCode::Ok);
const TIMEOUT: Option<ResultCode> = Some(ResultCode::Timeout);

async fn server_and_client() -> (StandIn, Client) {
    let server = StandIn::start().await;
    let client = connect(&server.address().to_string()).await;
    (server, client)
}

fn key(key: &str) -> Key {
    Key::new("test", "set", key.into()).expect("a valid key")
}

/// Rows with the keys "1", "2", … and their numbers in bin `n`.
fn rows(count: i64) -> Vec<BatchOperation> {
    let bins = |n: i64| [as_bin!("n", n), as_bin!("text", format!("row {n}"))];
    let row = |n: i64| row(&BatchWritePolicy::default(), key(&n.to_string()), &bins(n));
    (1..=count).map(row).collect()
}

/// A policy with a short timeout that still lets a busy machine send the request.
fn impatient() -> BatchPolicy {
    let mut policy = batch_policy();
    policy.base_policy.total_timeout = 1000;
    policy
}

/// The numbers that are stored, sorted.
fn stored(server: &StandIn) -> Vec<i64> {
    let number = |value: &Value| {
        if let Value::Int(n) = value { Some(*n) } else { None }
    };
    let records = server.records("set");
    let mut numbers: Vec<i64> = records.iter().filter_map(|record| number(&record.bins["n"].value)).collect();
    numbers.sort_unstable();
    numbers
}

fn in_doubt(rows: &[BatchOperation]) -> Vec<bool> {
    rows.iter().map(BatchOperation::in_doubt).collect()
}

async fn batch_fails(client: &Client, policy: &BatchPolicy, rows: &mut [BatchOperation]) -> Error {
    client.batch(policy, rows).await.expect_err("the batch is not answered")
}

/// Otherwise a test could not compare the stored values.
#[tokio::test]
async fn a_test_sees_records_as_stored() {
    let (server, client) = server_and_client().await;
    let policy = BatchWritePolicy { send_key: true, ..BatchWritePolicy::default() };
    let list = aerospike::Value::List(vec![1.into(), "two".into(), aerospike::Value::Nil]);
    let bins = [as_bin!("n", 1), as_bin!("list", list), as_bin!("f", 0.5)];
    let mut batch = [row(&policy, key("a"), &bins), row(&policy, key("b"), &bins)];
    client.batch(&batch_policy(), &mut batch).await.expect("the batch is answered");
    client.put(&write_policy(), &key("a"), &[as_bin!("n", 2)]).await.expect("puts");

    let records = server.records("set");
    let a = records.iter().find(|record| record.digest == key("a").digest()).expect("stored");
    assert_eq!(a.user_key, Some(Value::Text("a".into())));
    assert_eq!((a.generation, a.ttl), (2, None));
    assert_eq!(a.bins["n"].value, Value::Int(2));
    assert_eq!(a.bins["n"].raw.bytes, 2_i64.to_be_bytes());
    assert_eq!(a.bins["f"].value, Value::Float(0.5));
    let list = vec![Value::Int(1), Value::Text("two".into()), Value::Null];
    assert_eq!(a.bins["list"].value, Value::List(list));

    assert_eq!(server.write_count(&key("a").digest()), 2);
    let digests: Vec<_> = server.writes().into_iter().map(|write| write.digest).collect();
    assert_eq!(digests, ["a", "b", "a"].map(|name| key(name).digest()));
    let [BatchSize { rows: 2, bytes: 100..500 }] = server.batches()[..] else {
        panic!("one batch of two rows: {:?}", server.batches());
    };
    assert!(server.records("other").is_empty());
}

/// A write with an error as its answer may be stored all the same.
#[tokio::test]
async fn a_row_may_be_answered_with_any_code_and_stored_or_not() {
    let (server, client) = server_and_client().await;
    server.rule(Rule::always(When::Key("2".into()), Then::Answer(18)));
    server.rule(Rule::always(When::Digest(key("3").digest()), Then::StoreThenAnswer(9)));
    server.rule(Rule::always(When::BinInt("n", 4), Then::Answer(14)));
    server.rule(Rule::always(When::BinText("text", "row 5".into()), Then::Answer(22)));
    let mut rows = rows(6);
    client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    let expected = [
        ResultCode::Ok,
        ResultCode::DeviceOverload,
        ResultCode::Timeout,
        ResultCode::KeyBusy,
        ResultCode::FailForbidden,
        ResultCode::Ok,
    ];
    assert_eq!(codes(&rows), expected.map(Some));
    assert_eq!(in_doubt(&rows), [false; 6], "an answered row is not in doubt");
    assert_eq!(stored(&server), [1, 3, 6]);

    server.clear_rules();
    client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    assert_eq!(codes(&rows), [OK; 6]);
}

/// Otherwise a retry would fail as well.
#[tokio::test]
async fn a_rule_applies_the_given_number_of_times() {
    let (server, client) = server_and_client().await;
    server.rule(Rule { when: When::Write, then: Then::Answer(18), times: Some(3) });
    server.rule(Rule::once(When::NthWrite(6), Then::Answer(14)));
    let mut rows = rows(4);
    client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    let overload = Some(ResultCode::DeviceOverload);
    assert_eq!(codes(&rows), [overload, overload, overload, OK]);
    client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    assert_eq!(codes(&rows), [OK, Some(ResultCode::KeyBusy), OK, OK]);
}

/// A batch of one row is sent as a single command, and must not escape the rules.
#[tokio::test]
async fn single_commands_and_queries_fail_by_the_same_rules() {
    let (server, client) = server_and_client().await;
    server.rule(Rule::once(When::Write, Then::Answer(18)));
    let mut once = write_policy();
    once.base_policy.max_retries = 0;
    let failed = client.put(&once, &key("1"), &[as_bin!("n", 1)]).await;
    assert_eq!(code(failed), ResultCode::DeviceOverload);
    client.put(&once, &key("1"), &[as_bin!("n", 1)]).await.expect("puts");

    server.rule(Rule::once(When::Key("1".into()), Then::Answer(11)));
    let mut read = read_policy();
    read.base_policy.max_retries = 0;
    let failed = client.get(&read, &key("1"), Bins::All).await;
    assert_eq!(code(failed), ResultCode::PartitionUnavailable);

    server.rule(Rule::once(When::Any, Then::Answer(16)));
    let statement = aerospike::Statement::new("test", "set", Bins::All);
    let mut all = aerospike::PartitionFilter::all();
    let failed = super::fixture::query(&client, &QueryPolicy::default(), &mut all, statement).await;
    assert_eq!(code(failed), ResultCode::UnsupportedFeature);
}

/// A single row is sent as a single command; the client then gives a transient error to the call, in doubt,
/// and the code to the row.
#[tokio::test]
async fn a_transient_error_fails_the_call_only_for_a_single_row() {
    for count in [1, 2] {
        let (server, client) = server_and_client().await;
        server.rule(Rule::always(When::Key("1".into()), Then::Answer(18)));
        let mut rows = rows(count);
        let outcome = client.batch(&batch_policy(), &mut rows).await;
        assert_eq!(rows[0].result_code(), Some(ResultCode::DeviceOverload));
        assert_eq!((outcome.is_err(), rows[0].in_doubt()), (count == 1, count == 1), "{outcome:?}");
        assert!(
            outcome.err().is_none_or(|error| error.matches_client(&[ClientResultCode::MaxRetriesExceeded]))
        );
    }
}

/// The client repeats a request whose connection closed; the second one finds the result of the first.
#[tokio::test]
async fn a_repeated_request_arrives_twice() {
    let (server, client) = server_and_client().await;
    server.rule(Rule::once(When::Write, Then::StoreThenClose));
    let create = batch_write_with(RecordExistsAction::CreateOnly);
    let mut rows = ["1", "2"].map(|name| row(&create, key(name), &[as_bin!("n", 1)]));
    let mut policy = batch_policy();
    policy.base_policy.max_retries = 1;
    client.batch(&policy, &mut rows).await.expect("the second try is answered");
    assert_eq!(codes(&rows), [Some(ResultCode::KeyExistsError); 2]);
    assert_eq!((server.write_count(&key("1").digest()), server.batches().len()), (2, 2));
    assert!(server.records("set").iter().all(|record| record.generation == 1));
}

/// Without an answer the client cannot know whether the rows are stored.
#[tokio::test]
async fn a_hanging_batch_is_a_timeout_in_doubt_whether_stored_or_not() {
    for (then, expected) in [(Then::Hang, vec![]), (Then::StoreThenHang, vec![1, 2, 3])] {
        let (server, client) = server_and_client().await;
        server.rule(Rule::once(When::Key("2".into()), then));
        let mut rows = rows(3);
        let error = batch_fails(&client, &impatient(), &mut rows).await;
        assert!(matches!(error.kind(), ErrorKind::Timeout), "{error:?}");
        assert_eq!(codes(&rows), [TIMEOUT; 3]);
        assert_eq!(in_doubt(&rows), [true; 3]);
        assert_eq!(stored(&server), expected);

        client.batch(&batch_policy(), &mut rows).await.expect("the server works again");
        assert_eq!(codes(&rows), [OK; 3]);
        assert_eq!(stored(&server), [1, 2, 3]);
        assert_eq!(server.write_count(&key("1").digest()), 2);
    }
}

/// Without an answer the client cannot know whether the rows are stored.
#[tokio::test]
async fn a_batch_whose_connection_closes_is_in_doubt_whether_stored_or_not() {
    for (then, expected) in [(Then::CloseBeforeAnswer, vec![]), (Then::StoreThenClose, vec![1, 2])] {
        let (server, client) = server_and_client().await;
        server.rule(Rule::once(When::Write, then));
        let mut rows = rows(2);
        let error = batch_fails(&client, &batch_policy(), &mut rows).await;
        // The only attempt failed, which counts as a timeout; the connection is its cause.
        assert!(matches!(error.kind(), ErrorKind::Timeout), "{error:?}");
        assert!(error.matches_client(&[ClientResultCode::MaxRetriesExceeded]), "{error:?}");
        let cause = error.cause().expect("the error has a cause");
        assert!(matches!(cause.kind(), ErrorKind::Connection), "{error:?}");
        assert_eq!((codes(&rows), in_doubt(&rows)), (vec![TIMEOUT; 2], vec![true; 2]));
        assert_eq!(stored(&server), expected);
    }
}

/// Otherwise stored rows would count as in doubt.
#[tokio::test]
async fn rows_answered_before_the_connection_closes_keep_their_answers() {
    let (server, client) = server_and_client().await;
    server.rule(Rule::once(When::Key("3".into()), Then::CloseMidBatch));
    let mut rows = rows(4);
    let error = batch_fails(&client, &batch_policy(), &mut rows).await;
    assert_eq!(codes(&rows)[..2], [OK; 2], "{error:?}");
    assert_eq!(in_doubt(&rows), [false, false, true, true]);
    assert_eq!(stored(&server), [1, 2]);
}

/// A slow server must not look like a failed one.
#[tokio::test]
async fn a_late_answer_still_counts() {
    let (server, client) = server_and_client().await;
    let delay = Duration::from_millis(200);
    server.rule(Rule::once(When::Write, Then::Delay(delay)));
    let started = Instant::now();
    let mut rows = rows(2);
    client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    assert!(started.elapsed() >= delay);
    assert_eq!(codes(&rows), [OK; 2]);
}

/// A frozen server accepts connections, so only timeouts can detect it.
#[tokio::test]
async fn a_frozen_server_gives_no_answer_and_continues_when_thawed() {
    let (server, client) = server_and_client().await;
    server.rule(Rule::once(When::Write, Then::Freeze));
    let mut rows = rows(2);
    let error = batch_fails(&client, &impatient(), &mut rows).await;
    assert!(matches!(error.kind(), ErrorKind::Timeout), "{error:?}");
    assert_eq!((codes(&rows), in_doubt(&rows)), (vec![TIMEOUT; 2], vec![true; 2]));
    assert!(stored(&server).is_empty());
    let connecting = ClientPolicy { timeout: 300, ..ClientPolicy::default() };
    let address = server.address().to_string();
    let refused = Client::new(&connecting, &address).await;
    assert!(refused.is_err_and(|error| matches!(error.kind(), ErrorKind::Connection)));

    server.thaw();
    client.batch(&batch_policy(), &mut rows).await.expect("the server continues");
    assert_eq!(stored(&server), [1, 2]);
    let generations: Vec<u32> = server.records("set").iter().map(|r| r.generation).collect();
    assert_eq!(generations, [2, 2], "the batch that timed out has been written as well");
}

/// Otherwise a test could not freeze the server at a chosen moment.
#[tokio::test]
async fn a_freeze_from_outside_holds_new_requests() {
    let (server, client) = server_and_client().await;
    server.freeze();
    let mut rows = rows(2);
    let batch = async { client.batch(&batch_policy(), &mut rows).await };
    let thaw = async {
        server.until_writes(2).await;
        assert!(stored(&server).is_empty());
        server.thaw();
    };
    let (batch, ()) = tokio::join!(batch, thaw);
    batch.expect("the batch is answered after the thaw");
    assert_eq!(stored(&server), [1, 2]);
}

/// The client waits for a connection until its timeout, and knows that nothing was sent.
#[tokio::test]
async fn a_stopped_server_refuses_and_a_restarted_one_has_its_records() {
    let (server, client) = server_and_client().await;
    let mut batch = rows(2);
    client.batch(&batch_policy(), &mut batch).await.expect("the batch is answered");
    server.stop();
    assert_eq!(server.connections().open, 0);
    let error = batch_fails(&client, &impatient(), &mut batch).await;
    assert!(matches!(error.kind(), ErrorKind::Timeout), "{error:?}");
    assert_eq!((codes(&batch), in_doubt(&batch)), (vec![TIMEOUT; 2], vec![false; 2]));
    let address = server.address().to_string();
    let refused = Client::new(&ClientPolicy::default(), &address).await;
    assert!(refused.is_err_and(|error| matches!(error.kind(), ErrorKind::Connection)));

    server.restart();
    let client = connect(&address).await;
    client.batch(&batch_policy(), &mut batch).await.expect("the batch is answered");
    assert_eq!(codes(&batch), [OK; 2]);
    assert_eq!(server.records("set").len(), 2);
    assert!(server.records("set").iter().all(|record| record.generation == 2));
}

/// Once the client has removed the node, it has no target for a batch. It then keeps the rows, so a retry
/// needs new rows.
#[tokio::test]
async fn a_client_reconnects_but_keeps_the_rows_that_it_could_not_route() {
    let server = StandIn::start().await;
    let policy = ClientPolicy { tend_interval: TEND_INTERVAL_MIN_MS, ..ClientPolicy::default() };
    let client = Client::new(&policy, &server.address().to_string()).await.expect("connects");
    server.stop();
    soon(async || client.nodes().is_empty()).await;
    let mut lost = rows(2);
    let error = batch_fails(&client, &impatient(), &mut lost).await;
    assert!(matches!(error.kind(), ErrorKind::InvalidNode), "{error:?}");
    assert_eq!((codes(&lost), in_doubt(&lost)), (vec![None; 2], vec![false; 2]));
    assert!(lost.iter().all(|row| row.batch_record().key.set_name().is_empty()));

    server.restart();
    soon(async || client.batch(&impatient(), &mut rows(2)).await.is_ok()).await;
    assert_eq!(stored(&server), [1, 2]);
}

/// Waits until a condition is true, with a limit that suits any machine.
async fn soon(mut holds: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !holds().await {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    time::timeout(Duration::from_secs(20), holds).await.expect("holds soon");
}

/// Otherwise a fault of info requests would have no effect.
#[tokio::test]
async fn a_client_without_info_answers_does_not_connect() {
    for then in [Then::CloseBeforeAnswer, Then::Hang, Then::Answer(4)] {
        let server = StandIn::start().await;
        server.rule(Rule::always(When::Info, then.clone()));
        let policy = ClientPolicy { timeout: 300, ..ClientPolicy::default() };
        let address = server.address().to_string();
        let client = Client::new(&policy, &address).await;
        assert!(client.is_err_and(|error| matches!(error.kind(), ErrorKind::Connection)), "{then:?}");
        server.clear_rules();
        assert!(connect(&address).await.is_connected(), "{then:?}");
    }
}

/// Without a separate thread the stand-in would wait for the test, which waits for the child.
#[tokio::test]
async fn a_child_process_is_served_while_the_test_blocks() {
    let server = StandIn::start().await;
    let port = server.address().port();
    let ask = format!(
        r"exec 3<>/dev/tcp/127.0.0.1/{port}
        printf '\x02\x01\x00\x00\x00\x00\x00\x07status\n' >&3
        head -c 18 <&3 | tail -c 10"
    );
    let child = Command::new("bash").args(["-c", &ask]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&child.stdout), "status\tok\n");
}

/// Tests of connection leaks rely on this count.
#[tokio::test]
async fn connections_are_counted() {
    let server = StandIn::start().await;
    assert_eq!(server.connections().accepted, 0);
    let client = connect(&server.address().to_string()).await;
    assert!(server.connections().open > 0);
    client.close().await.expect("closes");
    drop(client);
    soon(async || server.connections().open == 0).await;
    assert!(server.connections().accepted > 0);
}
