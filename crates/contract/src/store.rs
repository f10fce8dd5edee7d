//! The suite of [`Store`] and its reader.
//!
//! An adapter's test is its fixture and one line: `x_msrv_contract::store_suite!(embedded, Sqlite);`

#![expect(clippy::missing_panics_doc, reason = "each claim panics if it does not hold")]

use std::{cell::RefCell, collections::BTreeMap, ops::ControlFlow, rc::Rc};

use proptest::prelude::*;

use x_msrv_core::{
    answer,
    decode::BigIntegers,
    fault::{Blame, Fault},
    record::{Fields, Key, Record, Value},
    store::{Aggregate, Function, Group, Put, Store, StoredRecord},
};
use x_msrv_json::parse_object;

/// An empty database of one kind, for one claim.
#[expect(async_fn_in_trait, reason = "everything runs on one thread")]
pub trait Database {
    /// Whether its text can contain U+0000. If not, a record with it is refused.
    const HOLDS_NUL: bool = true;

    /// Whether a zero keeps its sign; the numbers of some databases have no sign for it.
    const KEEPS_SIGN_OF_ZERO: bool = true;

    /// Creates an empty database.
    async fn open() -> Self;

    /// Opens a new connection to the same database.
    async fn store(&self) -> Box<dyn Store>;
}

/// Writes records, and returns the verdict on each.
async fn put_all(store: &dyn Store, records: Vec<Record>) -> Vec<Result<Put, Fault>> {
    let (batch, verdicts) = answer::batch(records.into_iter());
    store.write(batch).await;
    verdicts.take().into_iter().map(|verdict| verdict.expect("a store answers for every record")).collect()
}

/// Returns at most `limit` records of a store.
async fn stored(store: &dyn Store, limit: usize) -> Vec<StoredRecord> {
    let mut records = Vec::new();
    let mut see = |record| {
        records.push(record);
        ControlFlow::Continue(())
    };
    let reader = store.reader().expect("a store that can be read");
    reader.scan(limit, &mut see).await.expect("the store answers");
    records
}

fn record(key: Key, document: &str) -> Record {
    let fields = parse_object(document.as_bytes(), BigIntegers::Reject).expect("a document");
    Record { key, fields, size: document.len(), set: None, ttl: None, message: None }
}

fn text(key: &str) -> Key {
    Key::Text(key.to_owned())
}

/// Returns the stored records by key. The order of fields, and whether null fields are kept, is up to the
/// store.
async fn contents(store: &dyn Store) -> BTreeMap<Key, Vec<(String, String)>> {
    let records = stored(store, 100_000).await;
    let rows = records.into_iter().map(|record| (record.key.expect("a key"), comparable(&record.fields)));
    rows.collect()
}

fn comparable(fields: &Fields) -> Vec<(String, String)> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::List(values) => Value::List(values.iter().map(sorted).collect()),
            Value::Map(fields) => {
                let mut fields: Fields =
                    fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                Value::Map(fields)
            }
            other => other.clone(),
        }
    }
    let mut fields: Vec<_> = fields
        .iter()
        .filter(|(_, value)| *value != Value::Null)
        .map(|(name, value)| (name.clone(), format!("{:?}", sorted(value))))
        .collect();
    fields.sort();
    fields
}

async fn put(store: &dyn Store, records: &[Record]) {
    for (record, result) in records.iter().zip(put_all(store, records.to_vec()).await) {
        result.unwrap_or_else(|error| panic!("{}: {error}", record.key));
    }
}

/// Records of any types are read back unchanged.
pub async fn records_of_any_types_are_read_back_unchanged(database: &impl Database) {
    let store = database.store().await;
    let document = r#"{"int":-9223372036854775808,"max":9223372036854775807,"float":0.1,"whole":2.0,"big":1e300,"text":"ä\"\n",
        "yes":true,"no":false,"none":null,"list":[1,"a",null,[],{"x":[1.5]}],"map":{"a":{"b":null},"":1},"empty":"","list0":[],"map0":{}}"#;
    let records = [record(text("a"), document), record(text("b"), "{}")];
    put(&*store, &records).await;
    let found = contents(&*store).await;
    assert_eq!(found.len(), 2);
    for record in &records {
        assert_eq!(found[&record.key], comparable(&record.fields));
    }
}

/// A text with NUL is read back or refused.
pub async fn a_text_with_nul_is_read_back_or_refused(database: &impl Database) {
    let store = database.store().await;
    for document in [r#"{"a":"x\u0000y"}"#, r#"{"a":[{"b":"\u0000"}]}"#] {
        put_if_it_can_be(&*store, database, record(text("a"), document)).await;
    }
    put(&*store, &[record(text("b"), r#"{"a":"\\u0000"}"#)]).await;
}

/// Writes a record. It is refused if it contains U+0000 and the store cannot hold that.
async fn put_if_it_can_be<D: Database>(store: &dyn Store, _: &D, record: Record) {
    let has_nul = holds_nul(&Value::Map(record.fields.clone()));
    let result = put_all(store, vec![record.clone()]).await.remove(0);
    let found = contents(store).await.remove(&record.key);
    if has_nul && !D::HOLDS_NUL {
        assert!(matches!(result, Err(Fault { blame: Blame::Record, .. })), "{result:?}");
        assert_eq!(found, None);
    } else {
        let mut expected = comparable(&record.fields);
        if !D::KEEPS_SIGN_OF_ZERO {
            for (_, value) in &mut expected {
                *value = value.replace("Float(-0.0)", "Float(0.0)");
            }
        }
        assert_eq!((result, found), (Ok(Put::Stored), Some(expected)));
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains('\0'),
        Value::List(values) => values.iter().any(holds_nul),
        Value::Map(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// The same record written twice is one record, and the last write counts.
pub async fn a_record_written_twice_is_one_record_with_the_last_content(database: &impl Database) {
    let store = database.store().await;
    put(&*store, &[record(text("a"), r#"{"x":1,"old":1}"#)]).await;
    store.close().await.expect("the store closes");
    let store = database.store().await;
    put(&*store, &[record(text("a"), r#"{"x":2}"#)]).await;
    let found = contents(&*store).await;
    assert_eq!(found, BTreeMap::from([(text("a"), comparable(&vec![("x".into(), Value::Int(2))]))]));
}

/// Keys that only look alike are two records.
pub async fn keys_that_only_look_alike_are_two_records(database: &impl Database) {
    let store = database.store().await;
    put(
        &*store,
        &[
            record(Key::Int(7), "{}"),
            record(text("7"), "{}"),
            record(text("a"), "{}"),
            record(text("A"), "{}"),
        ],
    )
    .await;
    assert_eq!(contents(&*store).await.len(), 4);
}

/// Every record has its result, for any number of records.
pub async fn every_record_has_its_result_for_any_number_of_records(database: &impl Database) {
    let store = database.store().await;
    assert_eq!(put_all(&*store, Vec::new()).await, []);
    for count in [1, 2, 99, 100, 101, 1_234] {
        let records: Vec<_> =
            (0..count).map(|number| record(Key::Int(number), &format!("{{\"n\":{number}}}"))).collect();
        assert_eq!(put_all(&*store, records.clone()).await, vec![Ok(Put::Stored); records.len()]);
    }
    assert_eq!(contents(&*store).await.len(), 1_234);
}

/// A scan respects its limit.
pub async fn a_scan_respects_its_limit(database: &impl Database) {
    let store = database.store().await;
    let records: Vec<_> = (0..50).map(|number| record(Key::Int(number), "{\"a\":1}")).collect();
    put(&*store, &records).await;
    for limit in [1, 7, 50, 1_000] {
        assert_eq!(stored(&*store, limit).await.len(), limit.min(50));
    }
    let mut seen = 0;
    let mut see = |_| {
        seen += 1;
        if seen < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    store.reader().expect("a store that can be read").scan(50, &mut see).await.expect("the store answers");
    assert_eq!(seen, 3, "a reader that stops early receives no more");
}

/// A large record is stored whole.
pub async fn a_large_record_is_stored_whole(database: &impl Database) {
    let store = database.store().await;
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(900_000));
    let record = record(text("a"), &large);
    put(&*store, std::slice::from_ref(&record)).await;
    assert_eq!(contents(&*store).await[&record.key], comparable(&record.fields));
}

/// Documents of any shape are read back equal.
pub async fn documents_of_any_shape_are_read_back_equal(database: &impl Database) {
    let store = database.store().await;
    let seen = Rc::new(RefCell::new(0));
    for document in arbitrary_documents() {
        let key = Key::Int(*seen.borrow());
        *seen.borrow_mut() += 1;
        put_if_it_can_be(&*store, database, record(key, &document)).await;
    }
}

/// Documents by proptest, from a fixed seed, so that every store gets the same ones.
fn arbitrary_documents() -> Vec<String> {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    let document = proptest::collection::btree_map("[a-zäöü]{1,6}", value, 0..6);
    let mut runner = TestRunner::deterministic();
    let documents = (0..100).map(|_| document.new_tree(&mut runner).expect("a document").current());
    documents.map(|fields| serde_json::to_string(&fields).expect("JSON")).collect()
}

/// The read side must show what was stored.
pub async fn aggregates_are_those_of_the_records(database: &impl Database) {
    let store = database.store().await;
    let documents =
        (0..30).map(|number| (number, format!("{{\"kind\":\"k{}\",\"amount\":{number}}}", number % 3)));
    let records: Vec<_> = documents.map(|(number, document)| record(Key::Int(number), &document)).collect();
    put(&*store, &records).await;
    let amount = || "amount".to_owned();
    let query = Aggregate {
        by: vec!["kind".to_owned()],
        functions: vec![Function::Count, Function::Sum(amount()), Function::Max(amount())],
        window: None,
        limit: 10,
    };
    let groups =
        store.reader().expect("a store that can be read").aggregate(&query).await.expect("an answer");
    let expected = (0..3).map(|kind| Group {
        by: vec![Value::Text(format!("k{kind}"))],
        values: vec![
            Value::Int(10),
            Value::Float(f64::from(135 + 10 * kind)),
            Value::Float(f64::from(27 + kind)),
        ],
    });
    assert_eq!(groups, expected.collect::<Vec<_>>());
}

/// Runs the claims on a database whose records can be read back.
#[macro_export]
macro_rules! store_suite {
    ($kind:ident, $database:ty $(, #[$ignore:meta])?) => {
        mod $kind {
            use super::*;
            $crate::store_suite!(@claims $database, [$($ignore)?], [
                records_of_any_types_are_read_back_unchanged, a_text_with_nul_is_read_back_or_refused,
                a_record_written_twice_is_one_record_with_the_last_content,
                keys_that_only_look_alike_are_two_records,
                every_record_has_its_result_for_any_number_of_records, a_scan_respects_its_limit,
                a_large_record_is_stored_whole, documents_of_any_shape_are_read_back_equal,
                aggregates_are_those_of_the_records,
            ]);
        }
    };
    (@claims $database:ty, $ignore:tt, [$($claim:ident,)*]) => {
        $($crate::store_suite!(@claim $database, $ignore, $claim);)*
    };
    (@claim $database:ty, [$($ignore:meta)?], $claim:ident) => {
        #[test]
        $(#[$ignore])?
        fn $claim() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                $crate::store::$claim(&<$database as $crate::store::Database>::open().await).await;
            });
        }
    };
}
