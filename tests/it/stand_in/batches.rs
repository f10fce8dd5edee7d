//! Batches: rows are answered one by one.

use aerospike::{
    BatchDeletePolicy, BatchOperation, BatchReadPolicy, BatchWritePolicy, Bins, Expiration, Key, QueryPolicy,
    RecordExistsAction, ResultCode, Value, as_bin, operations,
};

use super::fixture::{Fixture, batch_policy, batch_write_with, codes, row};

const OK: Option<ResultCode> = Some(ResultCode::Ok);

fn read(key: Key, bins: Bins) -> BatchOperation {
    BatchOperation::read(&BatchReadPolicy::default(), key, bins)
}

/// The client sends the user key only on request; the stand-in must support both.
#[tokio::test]
async fn a_batch_writes_every_row_with_the_key_and_without() {
    let fixture = Fixture::new("batch_write").await;
    for send_key in [false, true] {
        let policy = BatchWritePolicy {
            send_key,
            expiration: Expiration::Seconds(1000),
            ..BatchWritePolicy::default()
        };
        let bins = |n: i64| [as_bin!("n", n), as_bin!("text", format!("row {n}"))];
        let keys: Vec<Key> = (0..300).map(|n| fixture.key(format!("{send_key}-{n}"))).collect();
        let rows = (0..).zip(&keys).map(|(n, key)| row(&policy, key.clone(), &bins(n)));
        let mut rows: Vec<BatchOperation> = rows.collect();
        fixture.client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
        assert_eq!(codes(&rows), vec![OK; 300]);
        let record = rows[7].record().expect("a written row has a record");
        assert_eq!(record.generation, 1);
        assert!(record.time_to_live().is_some());
        assert_eq!(record.bins["n"], Value::Nil);

        for (n, key) in (0..).zip(&keys) {
            let record = fixture.get(key).await;
            assert_eq!(record.bins["n"], Value::Int(n));
            assert_eq!(record.bins["text"], format!("row {n}").into());
        }
    }
    let records = fixture.query(&QueryPolicy::default(), Bins::All).await;
    let with_key =
        |record: &&aerospike::Record| record.key.as_ref().is_some_and(|key| key.user_key().is_some());
    assert_eq!((records.len(), records.iter().filter(with_key).count()), (600, 300));
}

/// Rows that request the same operation on different records are sent only as digests, after the first.
#[tokio::test]
async fn rows_that_repeat_each_other_are_all_carried_out() {
    let fixture = Fixture::new("repeat").await;
    let policy = BatchWritePolicy::default();
    let bins = [as_bin!("same", "value"), as_bin!("n", 1)];
    let row_of = |n| row(&policy, fixture.key(n), &bins);
    let mut rows: Vec<BatchOperation> = (0..100).map(row_of).collect();
    rows.insert(50, row(&policy, fixture.key("other"), &[as_bin!("other", 2)]));
    fixture.client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    assert_eq!(codes(&rows), vec![OK; 101]);

    let mut reads: Vec<BatchOperation> =
        (0..100).map(|n| read(fixture.key(n), Bins::Some(vec!["same".into()]))).collect();
    fixture.client.batch(&batch_policy(), &mut reads).await.expect("the batch is answered");
    for read in &reads {
        let record = read.record().expect("found");
        assert_eq!((record.bins.len(), &record.bins["same"]), (1, &"value".into()));
    }
    assert_eq!(fixture.get(&fixture.key("other")).await.bins.len(), 1);
}

/// A missing record must not fail the rows after it.
#[tokio::test]
async fn a_batch_reads_existing_records_and_reports_missing_ones() {
    let fixture = Fixture::new("batch_read").await;
    fixture.put(&fixture.key(1), &[as_bin!("a", 1), as_bin!("b", 2)]).await;
    let mut rows = [
        read(fixture.key(1), Bins::All),
        read(fixture.key(2), Bins::All),
        read(fixture.key(1), Bins::Some(vec!["b".into(), "missing".into()])),
        read(fixture.key(1), Bins::None),
    ];
    fixture.client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    assert_eq!(codes(&rows), [OK, Some(ResultCode::KeyNotFoundError), OK, OK]);
    let bins = |n: usize| rows[n].record().map(|record| record.bins.len());
    assert_eq!([bins(0), bins(1), bins(2), bins(3)], [Some(2), None, Some(1), Some(0)]);
    assert_eq!(rows[3].record().map(|record| record.generation), Some(1));
}

/// Otherwise the tests of partly failed batches would test another server.
#[tokio::test]
async fn a_failed_row_does_not_affect_the_others() {
    let fixture = Fixture::new("row_errors").await;
    fixture.put(&fixture.key("there"), &[as_bin!("a", 1)]).await;
    let update = BatchWritePolicy::default();
    let create = batch_write_with(RecordExistsAction::CreateOnly);
    let replace = batch_write_with(RecordExistsAction::Replace);
    let replace_only = batch_write_with(RecordExistsAction::ReplaceOnly);
    let nowhere = Key::new("nowhere", &*fixture.set, 1.into()).expect("valid");
    let mut rows = [
        row(&create, fixture.key("new"), &[as_bin!("a", 1)]),
        row(&create, fixture.key("there"), &[as_bin!("a", 2)]),
        row(&update, fixture.key("long"), &[as_bin!("sixteen_letters_", 1)]),
        row(&replace, fixture.key("null"), &[as_bin!("a", None)]),
        row(&update, fixture.key("big"), &[as_bin!("a", "x".repeat(2 * 1024 * 1024))]),
        row(&update, nowhere, &[as_bin!("a", 1)]),
        row(&replace_only, fixture.key("missing"), &[as_bin!("a", 1)]),
        row(&replace, fixture.key("there"), &[as_bin!("b", 3)]),
        row(&update, fixture.key("last"), &[as_bin!("a", None), as_bin!("b", 1)]),
    ];
    fixture.client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    let expected = [
        ResultCode::Ok,
        ResultCode::KeyExistsError,
        ResultCode::BinNameTooLong,
        ResultCode::ParameterError,
        ResultCode::RecordTooBig,
        ResultCode::InvalidNamespace,
        ResultCode::KeyNotFoundError,
        ResultCode::Ok,
        ResultCode::Ok,
    ];
    assert_eq!(codes(&rows), expected.map(Some));
    assert!(rows.iter().all(|row| !row.in_doubt()));
    let there = fixture.get(&fixture.key("there")).await;
    assert_eq!((there.generation, there.bins.len(), &there.bins["b"]), (2, 1, &Value::Int(3)));
}

/// The client sends a single row as a single command; the outcome looks the same.
#[tokio::test]
async fn a_batch_of_one_row_reports_in_the_row_too() {
    let fixture = Fixture::new("one_row").await;
    let create = batch_write_with(RecordExistsAction::CreateOnly);
    for expected in [ResultCode::Ok, ResultCode::KeyExistsError] {
        let mut rows = [row(&create, fixture.key(1), &[as_bin!("a", 1), as_bin!("b", 2)])];
        fixture.client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
        assert_eq!(codes(&rows), [Some(expected)]);
    }
    let mut rows = [read(fixture.key(1), Bins::All)];
    fixture.client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    assert_eq!(rows[0].record().map(|record| record.bins.len()), Some(2));
}

/// The rows of a batch have different headers, which the parser must not mix.
#[tokio::test]
async fn deletes_and_writes_share_a_batch() {
    let fixture = Fixture::new("batch_delete").await;
    fixture.put(&fixture.key(1), &[as_bin!("a", 1)]).await;
    let delete = |key| BatchOperation::delete(&BatchDeletePolicy::default(), key);
    let put_and_get = [operations::put(&as_bin!("a", 5)), operations::get_bin("a")];
    let mut rows = [
        delete(fixture.key(1)),
        delete(fixture.key(2)),
        BatchOperation::write(&BatchWritePolicy::default(), fixture.key(3), put_and_get),
    ];
    fixture.client.batch(&batch_policy(), &mut rows).await.expect("the batch is answered");
    assert_eq!(codes(&rows), [OK, Some(ResultCode::KeyNotFoundError), OK]);
    let results = rows[2].record().and_then(|record| record.results.clone());
    assert_eq!(results, Some(vec![Value::Nil, Value::Int(5)]));
    assert_eq!(fixture.get_code(&fixture.key(1)).await, ResultCode::KeyNotFoundError);
}

/// Without `respond_all_keys` the end of the answer carries the error, and the client takes that for
/// the answer to row 0.
#[tokio::test]
async fn without_respond_all_keys_an_error_lands_on_row_0_as_well() {
    let fixture = Fixture::new("respond").await;
    fixture.put(&fixture.key("there"), &[as_bin!("a", 1)]).await;
    let create = batch_write_with(RecordExistsAction::CreateOnly);
    let keys = [fixture.key("first"), fixture.key("there"), fixture.key("third")];
    let mut rows = keys.map(|key| row(&create, key, &[as_bin!("a", 1)]));
    let policy = aerospike::BatchPolicy { respond_all_keys: false, ..batch_policy() };
    fixture.client.batch(&policy, &mut rows).await.expect("the batch is answered");
    let exists = Some(ResultCode::KeyExistsError);
    assert_eq!(codes(&rows), [exists, exists, OK]);
    assert_eq!(fixture.get(&fixture.key("first")).await.generation, 1);
}

/// The server stops at such a row; a stand-in that accepts it would hide a bug.
#[tokio::test]
async fn a_row_without_operations_fails_the_whole_batch() {
    let fixture = Fixture::new("no_ops").await;
    let policy = BatchWritePolicy::default();
    let keys = [fixture.key(1), fixture.key(2)];
    let mut rows = [row(&policy, keys[0].clone(), &[as_bin!("a", 1)]), row(&policy, keys[1].clone(), &[])];
    let outcome = fixture.client.batch(&batch_policy(), &mut rows).await;
    let error = outcome.expect_err("the client refuses to send it");
    assert!(matches!(error.kind(), aerospike::ErrorKind::Client), "{error:?}");
    assert_eq!(fixture.get_code(&keys[0]).await, ResultCode::KeyNotFoundError);
}
