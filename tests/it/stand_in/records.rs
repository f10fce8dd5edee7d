//! Single records: the values written, read back, and refused.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aerospike::{
    Bin, Bins, ErrorKind, Expiration, GenerationPolicy, Key, ReadPolicy, RecordExistsAction, ResultCode,
    Value, WritePolicy, as_bin, operations,
};

use super::fixture::{Fixture, code, read_policy, write_policy, write_policy_with};

/// One value of each kind that JSON or the client supports, with the edge cases.
fn all_kinds() -> Vec<Bin> {
    let map: HashMap<Value, Value> = [
        ("nil".into(), Value::Nil),
        ("deep".into(), Value::List(vec![Value::List(vec![]), Value::from(HashMap::new())])),
        (Value::Int(-5), Value::from(1.5)),
        (Value::Blob(vec![0, 1]), Value::from("blob key")),
    ]
    .into();
    let long: Vec<Value> = (0..70_000).map(Value::Int).collect();
    let numbers = [0, -1, -32, -33, 127, 128, -128, 65_535, 65_536, i64::MIN, i64::MAX, 1 << 40];
    let sorted: BTreeMap<Value, Value> = [("b".into(), 1.into()), ("a".into(), 2.into())].into();
    vec![
        as_bin!("int_min", i64::MIN),
        as_bin!("int_max", i64::MAX),
        as_bin!("zero", 0),
        as_bin!("float", -0.25),
        as_bin!("text", "snowman \u{2603}, quote \", nul \0"),
        as_bin!("empty_text", ""),
        as_bin!("true", true),
        as_bin!("false", false),
        as_bin!("blob", Value::Blob(vec![0, 255, 3])),
        as_bin!("empty_blob", Value::Blob(vec![])),
        as_bin!(
            "list",
            Value::List(vec![Value::Nil, true.into(), 2.5.into(), "x".into(), map.clone().into()])
        ),
        as_bin!("numbers", Value::List(numbers.map(Value::Int).into())),
        as_bin!("long", Value::List(long)),
        as_bin!("empty_list", Value::List(vec![])),
        as_bin!("map", Value::from(map)),
        as_bin!("sorted", Value::SortedMap(sorted)),
        as_bin!("empty_map", Value::from(HashMap::new())),
        as_bin!("geo", Value::GeoJson(r#"{"type":"Point","coordinates":[1.5,2.5]}"#.into())),
    ]
}

/// Otherwise tests could not detect a value that the store alters.
#[tokio::test]
async fn every_kind_of_value_is_read_back_as_written() {
    let fixture = Fixture::new("kinds").await;
    let (key, bins) = (fixture.key("k"), all_kinds());
    fixture.put(&key, &bins).await;
    let record = fixture.get(&key).await;
    assert_eq!(record.generation, 1);
    assert_eq!(record.time_to_live(), None);
    assert_eq!(record.bins.len(), bins.len());
    for bin in bins {
        assert_eq!(record.bins.get(&bin.name), Some(&bin.value), "bin {}", bin.name);
    }
}

/// A read without bins asks only for the metadata.
#[tokio::test]
async fn a_read_may_name_bins_or_none_at_all() {
    let fixture = Fixture::new("some_bins").await;
    let key = fixture.key(7);
    fixture.put(&key, &[as_bin!("a", 1), as_bin!("b", 2)]).await;

    let some = fixture.client.get(&read_policy(), &key, ["b", "missing"]).await.expect("gets");
    assert_eq!(some.bins.len(), 1);
    assert_eq!(some.bins["b"], Value::Int(2));

    let header = fixture.client.get(&read_policy(), &key, Bins::None).await.expect("gets");
    assert_eq!((header.bins.len(), header.generation), (0, 1));
}

/// The client distinguishes a missing record from an empty one.
#[tokio::test]
async fn a_missing_record_is_not_found() {
    let fixture = Fixture::new("missing").await;
    let key = fixture.key("missing");
    let client = &fixture.client;
    assert_eq!(fixture.get_code(&key).await, ResultCode::KeyNotFoundError);
    assert!(!client.exists(&read_policy(), &key).await.expect("is answered"));
    assert!(!client.delete(&write_policy(), &key).await.expect("is answered"));
    assert_eq!(code(client.touch(&write_policy(), &key).await), ResultCode::KeyNotFoundError);
}

/// A stand-in that keeps the generation would refuse the next write.
#[tokio::test]
async fn a_deleted_record_is_gone_and_its_generation_restarts() {
    let fixture = Fixture::new("deleted").await;
    let key = fixture.key("k");
    fixture.put(&key, &[as_bin!("a", 1)]).await;
    fixture.put(&key, &[as_bin!("a", 2)]).await;
    assert!(fixture.client.exists(&read_policy(), &key).await.expect("is answered"));
    assert!(fixture.client.delete(&write_policy(), &key).await.expect("deletes"));
    assert_eq!(fixture.get_code(&key).await, ResultCode::KeyNotFoundError);
    fixture.put(&key, &[as_bin!("b", 1)]).await;
    assert_eq!(fixture.get(&key).await.generation, 1);
}

/// Otherwise the tests of `exists` would test another server.
#[tokio::test]
async fn an_update_merges_bins_and_a_replacement_drops_them() {
    let fixture = Fixture::new("merge").await;
    let key = fixture.key("k");
    fixture.put(&key, &[as_bin!("a", 1), as_bin!("b", 2)]).await;
    fixture.put(&key, &[as_bin!("b", 3), as_bin!("c", 4)]).await;
    let merged = fixture.get(&key).await;
    assert_eq!((merged.bins.len(), merged.generation), (3, 2));
    assert_eq!(merged.bins["b"], Value::Int(3));

    let replace = write_policy_with(RecordExistsAction::Replace);
    assert_eq!(fixture.put_code(&replace, &key, &[as_bin!("d", 5)]).await, ResultCode::Ok);
    let replaced = fixture.get(&key).await;
    assert_eq!((replaced.bins.len(), replaced.generation), (1, 3));
    assert_eq!(replaced.bins["d"], Value::Int(5));
}

/// Otherwise the tests of `exists` would test another server.
#[tokio::test]
async fn the_record_exists_action_decides_whether_a_write_is_allowed() {
    let fixture = Fixture::new("exists_action").await;
    let bins = [as_bin!("a", 1)];
    let cases = [
        (RecordExistsAction::Update, ResultCode::Ok, ResultCode::Ok),
        (RecordExistsAction::UpdateOnly, ResultCode::KeyNotFoundError, ResultCode::Ok),
        (RecordExistsAction::Replace, ResultCode::Ok, ResultCode::Ok),
        (RecordExistsAction::ReplaceOnly, ResultCode::KeyNotFoundError, ResultCode::Ok),
        (RecordExistsAction::CreateOnly, ResultCode::Ok, ResultCode::KeyExistsError),
    ];
    fixture.put(&fixture.key("there"), &bins).await;
    for (n, (action, when_missing, when_there)) in (0..).zip(cases) {
        let policy = write_policy_with(action);
        let missing = fixture.put_code(&policy, &fixture.key(n), &bins).await;
        let there = fixture.put_code(&policy, &fixture.key("there"), &bins).await;
        assert_eq!((missing, there), (when_missing, when_there), "{action:?}");
    }
}

/// A write with another generation must be refused.
#[tokio::test]
async fn a_write_may_depend_on_the_generation() {
    let fixture = Fixture::new("generation").await;
    let key = fixture.key("k");
    let bins = [as_bin!("a", 1)];
    let policy =
        |generation_policy, generation| WritePolicy { generation_policy, generation, ..write_policy() };
    let equal = |n| policy(GenerationPolicy::ExpectGenEqual, n);
    let greater = |n| policy(GenerationPolicy::ExpectGenGreater, n);
    let cases = [
        (equal(1), ResultCode::GenerationError),
        (equal(0), ResultCode::Ok), // creates
        (equal(0), ResultCode::GenerationError),
        (equal(1), ResultCode::Ok),
        (greater(2), ResultCode::GenerationError),
        (greater(3), ResultCode::Ok),
    ];
    for (n, (policy, expected)) in cases.into_iter().enumerate() {
        assert_eq!(fixture.put_code(&policy, &key, &bins).await, expected, "case {n}");
    }
    assert_eq!(fixture.get(&key).await.generation, 3);
    assert_eq!(code(fixture.client.delete(&equal(1), &key).await), ResultCode::GenerationError);
    assert!(fixture.client.delete(&equal(3), &key).await.expect("deletes"));
}

/// The server has no null: such a write is a delete.
#[tokio::test]
async fn a_null_removes_the_bin_and_the_last_one_the_record() {
    let fixture = Fixture::new("nulls").await;
    let key = fixture.key("k");
    let policy = write_policy();
    fixture.put(&key, &[as_bin!("a", 1), as_bin!("b", 2)]).await;
    fixture.put(&key, &[as_bin!("a", None)]).await;
    assert_eq!(fixture.get(&key).await.bins.len(), 1);

    let replace = write_policy_with(RecordExistsAction::Replace);
    let null_and_more = [as_bin!("a", None), as_bin!("c", 3)];
    let refused = fixture.put_code(&replace, &key, &null_and_more).await;
    assert_eq!(refused, ResultCode::ParameterError);
    assert_eq!(fixture.get(&key).await.bins["b"], Value::Int(2));

    fixture.put(&key, &[as_bin!("b", None)]).await;
    assert_eq!(fixture.get_code(&key).await, ResultCode::KeyNotFoundError);
    let nothing = fixture.put_code(&policy, &key, &[as_bin!("b", None)]).await;
    assert_eq!(nothing, ResultCode::KeyNotFoundError);
}

/// Otherwise the tests of long bin names would test another server.
#[tokio::test]
async fn names_have_a_maximum_length() {
    let fixture = Fixture::new("names").await;
    let key = fixture.key("k");
    let policy = write_policy();
    let bin = |name: &str| [as_bin!(name, 1)];
    assert_eq!(fixture.put_code(&policy, &key, &bin(&"n".repeat(15))).await, ResultCode::Ok);
    // The client itself refuses a put with a long name, but sends the same operation.
    let long = [operations::put(&bin(&"n".repeat(16))[0])];
    let long = fixture.client.operate(&policy, &key, &long).await;
    assert_eq!(code(long), ResultCode::BinNameTooLong);
    let put_long = fixture.client.put(&policy, &key, &bin(&"n".repeat(16))).await;
    assert!(put_long.is_err_and(|error| matches!(error.kind(), ErrorKind::InvalidArgument)));
    assert_eq!(fixture.put_code(&policy, &key, &bin("a\0b")).await, ResultCode::BinNameTooLong);
    assert_eq!(fixture.put_code(&policy, &key, &bin("")).await, ResultCode::Ok);
    let read_long = [operations::get_bin("n".repeat(16))];
    let read_long = fixture.client.operate(&policy, &key, &read_long).await;
    assert_eq!(code(read_long), ResultCode::BinNameTooLong);

    let of_set = |len| Key::new("test", format!("{:s<len$}", "standin_"), 1.into()).expect("valid");
    assert_eq!(fixture.put_code(&policy, &of_set(63), &bin("a")).await, ResultCode::Ok);
    assert_eq!(fixture.put_code(&policy, &of_set(64), &bin("a")).await, ResultCode::ParameterError);
    let deleted = fixture.client.delete(&policy, &of_set(63)).await;
    assert!(deleted.expect("deletes"));
}

/// Otherwise the tests of large records would test another server.
#[tokio::test]
async fn a_record_is_limited_to_one_mebibyte() {
    let fixture = Fixture::new("size").await;
    // Header and end mark 39, set name 1 + 12, bin counter 1; a bin: 1 + name, 5 + text.
    let fixed = 39 + 13 + 1 + (1 + 1 + 5);
    let most = 1024 * 1024 - fixed;
    let policy = write_policy();
    let bin = |size| [as_bin!("a", "x".repeat(size))];
    let put = async |key: i32, size| fixture.put_code(&policy, &fixture.key(key), &bin(size)).await;
    assert_eq!(fixture.set.len(), 12);
    assert_eq!(put(1, most).await, ResultCode::Ok);
    assert_eq!(put(2, most + 1).await, ResultCode::RecordTooBig);
    assert_eq!(put(2, 2 * 1024 * 1024).await, ResultCode::RecordTooBig);
    assert_eq!(fixture.get_code(&fixture.key(2)).await, ResultCode::KeyNotFoundError);

    // The other parts that count: a user key, a TTL, numbers by their size.
    let expiration = Expiration::Seconds(1000);
    let policy = WritePolicy { send_key: true, expiration, ..write_policy() };
    let extras = |n: i64| [as_bin!("n", n), as_bin!("f", 1.5), as_bin!("b", true)];
    let key_and_ttl = (1 + 1 + "key".len()) + 4;
    let small = most - key_and_ttl - (1 + 1 + 3) - (1 + 1 + 9) - (1 + 1 + 2);
    for (number, extra) in [(0, 0), (255, 0), (256, 1), (65_536, 3), (-1, 7), (1 << 32, 7)] {
        let key = fixture.key("key");
        let bins = |size| [&bin(size)[..], &extras(number)].concat();
        let fits = fixture.put_code(&policy, &key, &bins(small - extra)).await;
        let not = fixture.put_code(&policy, &key, &bins(small - extra + 1)).await;
        assert_eq!((fits, not), (ResultCode::Ok, ResultCode::RecordTooBig), "with {number}");
    }
}

/// The client finds no node for it, which is not an answer of the server.
#[tokio::test]
async fn an_unknown_namespace_is_refused_before_anything_is_sent() {
    let fixture = Fixture::new("namespace").await;
    let key = Key::new("nowhere", &*fixture.set, 1.into()).expect("valid");
    let error = fixture.client.put(&write_policy(), &key, &[as_bin!("a", 1)]).await;
    let error = error.expect_err("there is no such namespace");
    assert!(matches!(error.kind(), ErrorKind::InvalidNamespace), "{error:?}");
    assert!(!error.in_doubt());
}

/// Otherwise the tests of TTLs would test another server.
#[tokio::test]
async fn a_ttl_is_stored_returned_and_limited() {
    let fixture = Fixture::new("ttl").await;
    let key = fixture.key("k");
    let put = async |expiration| {
        let policy = WritePolicy { expiration, ..write_policy() };
        fixture.put_code(&policy, &key, &[as_bin!("a", 1)]).await
    };
    let ttl = async || fixture.get(&key).await.time_to_live();
    let about = |ttl: Option<Duration>, seconds: u64| {
        ttl.is_some_and(|ttl| (seconds - 60..=seconds + 1).contains(&ttl.as_secs()))
    };
    assert_eq!(put(Expiration::Seconds(1000)).await, ResultCode::Ok);
    assert!(about(ttl().await, 1000), "{:?}", ttl().await);
    assert_eq!(put(Expiration::DontUpdate).await, ResultCode::Ok);
    assert!(about(ttl().await, 1000), "{:?}", ttl().await);
    assert_eq!(put(Expiration::NamespaceDefault).await, ResultCode::Ok);
    assert_eq!(ttl().await, None);
    let ten_years = 10 * 365 * 24 * 60 * 60;
    assert_eq!(put(Expiration::Seconds(ten_years)).await, ResultCode::Ok);
    assert!(about(ttl().await, ten_years.into()), "{:?}", ttl().await);
    assert_eq!(put(Expiration::Seconds(ten_years + 1)).await, ResultCode::ParameterError);
    assert_eq!(put(Expiration::Never).await, ResultCode::Ok);
    assert_eq!(ttl().await, None);

    let policy = WritePolicy { expiration: Expiration::Seconds(500), ..write_policy() };
    fixture.client.touch(&policy, &key).await.expect("touches");
    assert!(about(ttl().await, 500), "{:?}", ttl().await);
    assert_eq!(fixture.get(&key).await.generation, 6);
}

/// Two keys with one digest must not be one record.
#[tokio::test]
async fn a_stored_user_key_stays_and_must_match() {
    let fixture = Fixture::new("user_key").await;
    let key = fixture.key("mine");
    let send_key = WritePolicy { send_key: true, ..write_policy() };
    let stored = async || {
        let records = fixture.query(&aerospike::QueryPolicy::default(), Bins::All).await;
        records[0].key.as_ref().and_then(|key| key.user_key().cloned())
    };
    fixture.put(&key, &[as_bin!("a", 1)]).await;
    assert_eq!(stored().await, None);
    fixture.put_code(&send_key, &key, &[as_bin!("a", 2)]).await;
    assert_eq!(stored().await, Some("mine".into()));
    let replace = write_policy_with(RecordExistsAction::Replace);
    fixture.put_code(&replace, &key, &[as_bin!("a", 3)]).await;
    assert_eq!(stored().await, Some("mine".into()));

    let other = Key::with_digest("test", &*fixture.set, Some("other".into()), key.digest());
    let mismatch = fixture.put_code(&send_key, &other, &[as_bin!("a", 4)]).await;
    assert_eq!(mismatch, ResultCode::KeyMismatch);
    assert_eq!(fixture.get(&key).await.bins["a"], Value::Int(3));
}

/// A read before a write returns the old value.
#[tokio::test]
async fn an_operation_list_writes_and_reads_in_order() {
    let fixture = Fixture::new("operate").await;
    let key = fixture.key("k");
    let ops = [
        operations::put(&as_bin!("a", 1)),
        operations::get_bin("a"),
        operations::put(&as_bin!("b", 2)),
        operations::get_bin("missing"),
    ];
    let record = fixture.client.operate(&write_policy(), &key, &ops).await.expect("operates");
    assert_eq!(record.generation, 1);
    let nil = Value::Nil;
    let results: Vec<&Value> = record.results.iter().flatten().collect();
    assert_eq!(results, [&nil, &Value::Int(1), &nil, &nil]);

    let reads = [operations::get_bin("b")];
    let read = fixture.client.operate(&write_policy(), &key, &reads).await.expect("operates");
    assert_eq!(read.bins["b"], Value::Int(2));
    assert_eq!(fixture.get(&key).await.generation, 1);
}

/// The server has no records without bins.
#[tokio::test]
async fn a_write_without_bins_is_refused() {
    let fixture = Fixture::new("no_bins").await;
    let refused = fixture.put_code(&write_policy(), &fixture.key(1), &[]).await;
    assert_eq!(refused, ResultCode::ParameterError);
    let named = fixture.client.get(&ReadPolicy::default(), &fixture.key(1), Bins::Some(vec![])).await;
    assert_eq!(code(named), ResultCode::KeyNotFoundError);
    fixture.put(&fixture.key(1), &[as_bin!("a", 1)]).await;
    let named = fixture.client.get(&ReadPolicy::default(), &fixture.key(1), Bins::Some(vec![])).await;
    assert_eq!(code(named), ResultCode::ParameterError);
}

/// The community edition has no users; a stand-in that accepts logins would hide a wrong configuration.
#[tokio::test]
async fn a_login_is_refused_as_not_supported() {
    let fixture = Fixture::new("login").await;
    let mut policy = aerospike::ClientPolicy::default();
    policy.set_auth_mode(aerospike::AuthMode::Internal("user".into(), "password".into()));
    let refused = aerospike::Client::new(&policy, &fixture.host).await;
    let error = refused.err().expect("a community server has no users");
    assert!(matches!(error.kind(), ErrorKind::Connection), "{error:?}");
    assert!(error.to_string().contains("Error 51"), "{error}");
}
