//! The contract of [`Store`].

use std::{cell::RefCell, collections::BTreeMap, ops::ControlFlow, rc::Rc};

use proptest::prelude::*;
use tempfile::TempDir;
use x_msrv_aerospike as aerospike;
use x_msrv_aerospike::{AerospikeStore, Exists, Ttl};
use x_msrv_contract::memory::store::MemoryStore;
use x_msrv_core::{
    decode::{BigIntegers, parse_object},
    record::{Fields, Key, Record, Value},
    store::{Put, PutError, Store},
};
use x_msrv_postgres::PostgresStore;
use x_msrv_sqlite::{store as sqlite, store::SqliteStore};

use crate::support::{self, PATIENCE, aerospike::StandIn, block_on, postgres::Postgres, real_aerospike};

/// A database of one kind, empty.
trait Database {
    /// Whether its text can hold U+0000. Otherwise a record with it is refused.
    const HOLDS_NUL: bool = true;
    /// Whether a zero keeps its sign; the numbers of some databases have none for it.
    const KEEPS_SIGN_OF_ZERO: bool = true;

    async fn open() -> Self;
    /// A new connection to the same database.
    async fn store(&self) -> Box<dyn Store>;
}

struct Memory(MemoryStore);

impl Database for Memory {
    async fn open() -> Self {
        Self(MemoryStore::default())
    }

    async fn store(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }
}

struct Sqlite {
    settings: sqlite::Settings,
    _folder: TempDir,
}

impl Database for Sqlite {
    async fn open() -> Self {
        let folder = TempDir::new().expect("a folder");
        let settings =
            sqlite::Settings { path: folder.path().join("store.db"), set: "set".parse().expect("a name") };
        Self { settings, _folder: folder }
    }

    async fn store(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::connect(&self.settings).expect("the database opens"))
    }
}

/// A set of its own in the namespace `test` of a stand-in, or of a real server where the environment names
/// one.
struct Aerospike {
    settings: aerospike::Settings,
    /// Kept for as long as it is needed.
    _stand_in: Option<StandIn>,
}

impl Database for Aerospike {
    async fn open() -> Self {
        Self::named(&format!(
            "contract-{:016x}",
            std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ())
        ))
        .await
    }

    async fn store(&self) -> Box<dyn Store> {
        Box::new(AerospikeStore::connect(&self.settings).await.expect("the server answers"))
    }
}

impl Aerospike {
    async fn named(set: &str) -> Self {
        let (host, stand_in) = if let Some(host) = real_aerospike() {
            (host, None)
        } else {
            let server = StandIn::start().await;
            (server.address().to_string().parse().expect("an address"), Some(server))
        };
        let settings = aerospike::Settings {
            hosts: vec![host],
            namespace: "test".parse().expect("a name"),
            set: set.parse().expect("a name"),
            exists: Exists::Replace,
            ttl: Ttl::Namespace,
            send_key: false,
            timeout: PATIENCE,
            connect_timeout: PATIENCE,
            login: None,
            tls: None,
            own_ttl: None,
            use_alternate_addresses: false,
        };
        Self { settings, _stand_in: stand_in }
    }
}

/// A table of its own on a real server.
struct PostgreSql(x_msrv_postgres::Settings);

impl Database for PostgreSql {
    const HOLDS_NUL: bool = false;
    const KEEPS_SIGN_OF_ZERO: bool = false;

    async fn open() -> Self {
        Self(Postgres::shared().table().await.1)
    }

    async fn store(&self) -> Box<dyn Store> {
        Box::new(PostgresStore::connect(&self.0).await.expect("the server answers"))
    }
}

fn record(key: Key, document: &str) -> Record {
    let fields = parse_object(document.as_bytes(), BigIntegers::Reject).expect("a document");
    Record { key, fields, size: document.len(), set: None, ttl: None }
}

fn text(key: &str) -> Key {
    Key::Text(key.to_owned())
}

/// What is there, by key. Order of fields and fields that are null are the store's own affair.
async fn contents(store: &dyn Store) -> BTreeMap<Key, Vec<(String, String)>> {
    let records = support::records(store, 100_000).await;
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
    for (record, result) in records.iter().zip(support::put(store, records.to_vec()).await) {
        result.unwrap_or_else(|error| panic!("{}: {error}", record.key));
    }
}

async fn what_is_put_is_read_back_whatever_its_types(database: &impl Database) {
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

async fn a_text_with_nul_is_read_back_or_refused(database: &impl Database) {
    let store = database.store().await;
    for document in [r#"{"a":"x\u0000y"}"#, r#"{"a":[{"b":"\u0000"}]}"#] {
        put_if_it_can_be(&*store, database, record(text("a"), document)).await;
    }
    put(&*store, &[record(text("b"), r#"{"a":"\\u0000"}"#)]).await;
}

/// Puts a record. Where the store cannot hold U+0000 and the record has it, it is refused.
async fn put_if_it_can_be<D: Database>(store: &dyn Store, _: &D, record: Record) {
    let has_nul = holds_nul(&Value::Map(record.fields.clone()));
    let result = support::put(store, vec![record.clone()]).await.remove(0);
    let found = contents(store).await.remove(&record.key);
    if has_nul && !D::HOLDS_NUL {
        assert!(matches!(result, Err(PutError::Refused(_))), "{result:?}");
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

async fn the_same_record_twice_is_one_record_and_the_last_one_counts(database: &impl Database) {
    let store = database.store().await;
    put(&*store, &[record(text("a"), r#"{"x":1,"old":1}"#)]).await;
    store.close().await;
    let store = database.store().await;
    put(&*store, &[record(text("a"), r#"{"x":2}"#)]).await;
    let found = contents(&*store).await;
    assert_eq!(found, BTreeMap::from([(text("a"), comparable(&vec![("x".into(), Value::Int(2))]))]));
}

async fn keys_that_only_look_alike_are_two_records(database: &impl Database) {
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

async fn every_record_has_its_result_however_many_there_are(database: &impl Database) {
    let store = database.store().await;
    assert_eq!(support::put(&*store, Vec::new()).await, []);
    for count in [1, 2, 99, 100, 101, 1_234] {
        let records: Vec<_> =
            (0..count).map(|number| record(Key::Int(number), &format!("{{\"n\":{number}}}"))).collect();
        assert_eq!(support::put(&*store, records.clone()).await, vec![Ok(Put::Stored); records.len()]);
    }
    assert_eq!(contents(&*store).await.len(), 1_234);
}

async fn a_scan_keeps_to_its_limit(database: &impl Database) {
    let store = database.store().await;
    let records: Vec<_> = (0..50).map(|number| record(Key::Int(number), "{\"a\":1}")).collect();
    put(&*store, &records).await;
    for limit in [1, 7, 50, 1_000] {
        assert_eq!(support::records(&*store, limit).await.len(), limit.min(50));
    }
    let mut seen = 0;
    let mut see = |_| {
        seen += 1;
        if seen < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    store.scan(50, &mut see).await.expect("the store answers");
    assert_eq!(seen, 3, "who has seen enough is shown no more");
}

async fn a_large_record_is_stored_whole(database: &impl Database) {
    let store = database.store().await;
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(900_000));
    let record = record(text("a"), &large);
    put(&*store, std::slice::from_ref(&record)).await;
    assert_eq!(contents(&*store).await[&record.key], comparable(&record.fields));
}

async fn documents_of_any_shape_come_back_equal(database: &impl Database) {
    let store = database.store().await;
    let seen = Rc::new(RefCell::new(0));
    for document in arbitrary_documents() {
        let key = Key::Int(*seen.borrow());
        *seen.borrow_mut() += 1;
        put_if_it_can_be(&*store, database, record(key, &document)).await;
    }
}

/// Documents by proptest, from a fixed seed, so that every store sees the same.
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

macro_rules! store_contract {
    ($kind:ident, $database:ty $(, #[$ignore:meta])?) => {
        mod $kind {
            use super::*;
            store_contract!(@each $database, [$($ignore)?], [
                what_is_put_is_read_back_whatever_its_types, a_text_with_nul_is_read_back_or_refused, the_same_record_twice_is_one_record_and_the_last_one_counts,
                keys_that_only_look_alike_are_two_records, every_record_has_its_result_however_many_there_are,
                a_scan_keeps_to_its_limit, a_large_record_is_stored_whole, documents_of_any_shape_come_back_equal,
            ]);
        }
    };
    (@each $database:ty, $ignore:tt, [$($claim:ident,)*]) => {
        $( store_contract!(@one $database, $ignore, $claim); )*
    };
    (@one $database:ty, [$($ignore:meta)?], $claim:ident) => {
            #[test]
            $(#[$ignore])?
            fn $claim() {
                block_on(async { super::$claim(&<$database>::open().await).await });
            }
    };
}

store_contract!(memory, Memory);
store_contract!(embedded, Sqlite);
store_contract!(aerospike_server, Aerospike);
store_contract!(postgresql_server, PostgreSql, #[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]);
