//! Queries over a set or the namespace.

use std::collections::BTreeSet;

use aerospike::{
    Bins, Expiration, Key, PartitionFilter, QueryPolicy, Record, ResultCode, Statement, Value, WritePolicy,
    as_bin,
};

use super::fixture::{Fixture, query, write_policy};

const RECORDS: i64 = 50;

/// A set of records with bins `n` and, if `n` is even, `even`.
async fn filled(name: &str) -> Fixture {
    let fixture = Fixture::new(name).await;
    for n in 0..RECORDS {
        let key = fixture.key(n);
        fixture.put(&key, &[as_bin!("n", n)]).await;
        if n % 2 == 0 {
            fixture.put(&key, &[as_bin!("even", true)]).await;
        }
    }
    fixture
}

fn numbers(records: &[Record]) -> BTreeSet<i64> {
    let number = |record: &Record| match record.bins.get("n") {
        Some(Value::Int(n)) => *n,
        other => panic!("no number: {other:?}"),
    };
    records.iter().map(number).collect()
}

/// Otherwise tests would count records of other tests.
#[tokio::test]
async fn a_query_returns_all_records_of_its_set_and_no_others() {
    let fixture = filled("query_set").await;
    let other = Key::new("test", "standin_query_set_2", 1.into()).expect("valid");
    fixture.put(&other, &[as_bin!("other", 1)]).await;
    let records = fixture.query(&QueryPolicy::default(), Bins::All).await;
    assert_eq!(records.len(), 50);
    assert_eq!(numbers(&records), (0..RECORDS).collect());
    let even = records.iter().find(|record| record.bins["n"] == Value::Int(2)).expect("there");
    assert_eq!((even.generation, even.bins.len()), (2, 2));
    let key = even.key.as_ref().expect("a query returns keys");
    assert_eq!((key.namespace(), key.set_name()), ("test", &*fixture.set));
    assert_eq!(key.digest(), fixture.key(2).digest());

    let everything = Statement::new("test", "", Bins::All);
    let policy = QueryPolicy::default();
    let found = query(&fixture.client, &policy, &mut PartitionFilter::all(), everything).await;
    let digests: BTreeSet<[u8; 20]> =
        found.expect("queries").iter().filter_map(|record| Some(record.key.as_ref()?.digest())).collect();
    assert!((0..RECORDS).all(|n| digests.contains(&fixture.key(n).digest())));
    assert!(digests.contains(&other.digest()));
}

/// Otherwise a query for keys alone would return all bins.
#[tokio::test]
async fn a_query_may_name_bins_or_none_at_all() {
    let fixture = filled("query_bins").await;
    let policy = QueryPolicy::default();
    let even = fixture.query(&policy, Bins::Some(vec!["even".into()])).await;
    assert_eq!(even.len(), 25, "records without the bin are left out");
    assert!(even.iter().all(|record| record.bins.len() == 1));

    let headers = fixture.query(&policy, Bins::None).await;
    assert_eq!(headers.len(), 50);
    assert!(headers.iter().all(|record| record.bins.is_empty() && record.generation > 0));
}

/// Otherwise a paged query would repeat or skip records.
#[tokio::test]
async fn max_records_ends_a_query_and_its_filter_resumes_after_it() {
    let fixture = filled("query_pages").await;
    let policy = QueryPolicy { max_records: 20, ..QueryPolicy::default() };
    let mut filter = PartitionFilter::all();
    let mut seen = Vec::new();
    for expected in [20, 20, 10] {
        let page = Statement::new("test", &fixture.set, Bins::All);
        let page = query(&fixture.client, &policy, &mut filter, page).await.expect("queries");
        assert_eq!(page.len(), expected);
        seen.extend(page);
    }
    assert!(filter.done());
    assert_eq!((seen.len(), numbers(&seen)), (50, (0..RECORDS).collect()));
}

/// Otherwise `records` could not show keys and TTLs.
#[tokio::test]
async fn a_query_returns_stored_keys_and_expiry() {
    let fixture = Fixture::new("query_keys").await;
    let expiration = Expiration::Seconds(1000);
    let send_key = WritePolicy { send_key: true, expiration, ..write_policy() };
    for key in [Value::from("text"), Value::from(7), Value::Blob(vec![1, 2])] {
        let put = fixture.put_code(&send_key, &fixture.key(key), &[as_bin!("a", 1)]).await;
        assert_eq!(put, ResultCode::Ok);
    }
    fixture.put(&fixture.key("unsent"), &[as_bin!("a", 1)]).await;
    let records = fixture.query(&QueryPolicy::default(), Bins::All).await;
    let of_key = |key: Option<Value>| {
        let is = |record: &&Record| record.key.as_ref().is_some_and(|found| found.user_key() == key.as_ref());
        records.iter().find(is).unwrap_or_else(|| panic!("no record with key {key:?}"))
    };
    assert!(of_key(Some("text".into())).time_to_live().is_some());
    assert!(of_key(Some(7.into())).time_to_live().is_some());
    assert!(of_key(Some(Value::Blob(vec![1, 2]))).time_to_live().is_some());
    assert!(of_key(None).time_to_live().is_none());
}

/// The server reports no error for a set that does not exist.
#[tokio::test]
async fn a_missing_set_is_empty() {
    let fixture = Fixture::new("never_written").await;
    assert!(fixture.query(&QueryPolicy::default(), Bins::All).await.is_empty());
}

/// Otherwise a large set would be truncated at the end of the first frame.
#[tokio::test]
async fn a_query_with_more_data_than_a_frame_is_complete() {
    let fixture = Fixture::new("query_frames").await;
    for n in 0..20 {
        let text = "x".repeat(100_000);
        fixture.put(&fixture.key(n), &[as_bin!("n", n), as_bin!("text", text)]).await;
    }
    let records = fixture.query(&QueryPolicy::default(), Bins::All).await;
    assert_eq!((records.len(), numbers(&records)), (20, (0..20).collect()));
}
