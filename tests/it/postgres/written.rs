//! The written rows: whole documents and mapped fields, with each `exists`, and the records read back.

use x_msrv_core::{
    record::{Key, Value},
    store::Put,
};
use x_msrv_postgres::{Column, Exists, Settings};

use super::{columns, connect, put, record};
use crate::support::{block_on, postgres::Postgres, records};

const STORED: Result<Put, x_msrv_core::fault::Fault> = Ok(Put::Stored);
const DUPLICATE: Result<Put, x_msrv_core::fault::Fault> = Ok(Put::Duplicate);

/// With a duplicate key the server refuses the whole statement (21000).
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn duplicate_keys_in_a_batch_follow_exists() {
    block_on(async {
        let server = Postgres::shared();
        let cases = [
            (Exists::Replace, [STORED, STORED, STORED, STORED], r#"{"c": 3}"#),
            (Exists::CreateOnly, [STORED, STORED, DUPLICATE, DUPLICATE], r#"{"a": 1}"#),
            (Exists::Update, [STORED, STORED, STORED, STORED], r#"{"a": 1, "b": 2, "c": 3}"#),
        ];
        for (exists, expected, document) in cases {
            let (schema, settings) = server.table().await;
            let store = connect(&Settings { exists, ..settings }).await;
            let batch = vec![
                record("x", r#"{"a":1}"#),
                record("y", "{}"),
                record("x", r#"{"b":2}"#),
                record("x", r#"{"c":3}"#),
            ];
            assert_eq!(put(&*store, batch).await, expected, "{exists:?}");
            let found = server.sql(&format!("SELECT document FROM {schema}.t WHERE gid = 'x'")).await;
            assert_eq!(found, [[Some(document.to_owned())]], "{exists:?}");
        }
    });
}

/// If the row that replaces the others is refused, the previous row with the key counts.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_refused_row_does_not_count_as_stored_by_another_row_with_its_key() {
    block_on(async {
        let server = Postgres::shared();
        for exists in [Exists::Replace, Exists::CreateOnly, Exists::Update] {
            let (schema, settings) = server.schema().await;
            server
                .sql(&format!("CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb CHECK (NOT document ? 'bad'))"))
                .await;
            let store = connect(&Settings { exists, ..settings }).await;
            let (good, bad) = (record("x", r#"{"good":1}"#), record("x", r#"{"bad":1}"#));
            let results = put(&*store, vec![bad.clone(), good, bad, record("y", "{}")]).await;
            let are_stored: Vec<_> = results.iter().map(Result::is_ok).collect();
            let expected = match exists {
                // The last one already existed as far as other sessions can see.
                Exists::CreateOnly => [false, true, true, true],
                // The valid row has replaced the first.
                Exists::Replace => [true, true, false, true],
                Exists::Update => [false, true, false, true],
            };
            assert_eq!(are_stored, expected, "{exists:?}: {results:?}");
            let found = server.sql(&format!("SELECT document FROM {schema}.t WHERE gid = 'x'")).await;
            assert_eq!(found, [[Some(r#"{"good": 1}"#.to_owned())]], "{exists:?}");
        }
    });
}

/// Otherwise rows of an application could be overwritten in spite of `create-only`.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn existing_rows_follow_exists() {
    block_on(async {
        let server = Postgres::shared();
        let cases = [
            (Exists::Replace, STORED, r#"{"b": 2}"#, "NULL, 2, 9"),
            (Exists::CreateOnly, DUPLICATE, r#"{"a": 1}"#, "1, NULL, 9"),
            (Exists::Update, STORED, r#"{"a": 1, "b": 2}"#, "1, 2, 9"),
        ];
        for (exists, expected, document, row) in cases {
            let (schema, settings) = server.table().await;
            let store = connect(&Settings { exists, ..settings.clone() }).await;
            assert_eq!(put(&*store, vec![record("x", r#"{"a":1}"#)]).await, [STORED]);
            let again = put(&*store, vec![record("x", r#"{"b":2}"#)]).await.remove(0);
            assert_eq!(again, expected, "{exists:?}");
            let found = server.sql(&format!("SELECT document FROM {schema}.t")).await;
            assert_eq!(found, [[Some(document.to_owned())]], "{exists:?}");

            server.sql(&format!("DROP TABLE {schema}.t; CREATE TABLE {schema}.t (gid text PRIMARY KEY, a int, b int, other int DEFAULT 9)")).await;
            let columns = Some(columns("gid", &[("a", "int"), ("b", "int")]));
            let store = connect(&Settings { exists, columns, ..settings }).await;
            assert_eq!(put(&*store, vec![record("x", r#"{"a":1}"#)]).await, [STORED]);
            assert_eq!(put(&*store, vec![record("x", r#"{"b":2}"#)]).await, [expected], "{exists:?}");
            let found = server.sql(&format!("SELECT a, b, other FROM {schema}.t")).await;
            let found: Vec<_> = found[0].iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
            assert_eq!(found.join(", "), row, "{exists:?}");
        }
    });
}

/// `NULL || document` is NULL: a message was acknowledged, and nothing of it was stored.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn an_update_of_a_row_without_an_object_stores_the_document() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb); \
                 INSERT INTO {schema}.t VALUES ('a', NULL), ('b', 'null'), ('c', '[1]'), ('d', '{{\"x\":1}}')"
            ))
            .await;
        let store = connect(&Settings { exists: Exists::Update, ..settings }).await;
        let batch = ["a", "b", "c", "d"].map(|key| record(key, r#"{"y":2}"#));
        assert_eq!(put(&*store, batch.into()).await, [STORED; 4]);
        let found = server.sql(&format!("SELECT document FROM {schema}.t ORDER BY gid")).await;
        let found: Vec<_> = found.iter().map(|row| row[0].as_deref().unwrap_or("NULL")).collect();
        assert_eq!(found, [r#"{"y": 2}"#, r#"{"y": 2}"#, r#"{"y": 2}"#, r#"{"x": 1, "y": 2}"#]);
    });
}

/// An existing table has any names and types.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn fields_are_written_to_columns_of_any_name_and_type_and_read_back() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TYPE {schema}.mood AS ENUM ('good', 'bad'); \
                 CREATE TABLE \"{schema}\".\"T t\"\"'\" (\"User\" text PRIMARY KEY, n numeric(10,2), at timestamptz, \
                 tags text[], deep jsonb, \"select\" boolean, m {schema}.mood, id uuid, r int, c char(3))"
            ))
            .await;
        let mut columns = columns(
            "User",
            &[
                ("n", "numeric"),
                ("at", "timestamptz"),
                ("tags", "text[]"),
                ("select", "bool"),
                ("m", &format!("{schema}.mood")),
                ("id", "uuid"),
                ("r", "int"),
                ("c", "char(3)"),
            ],
        );
        columns.fields.push(Column {
            name: "deep".parse().expect("a name"),
            data_type: "jsonb".to_owned(),
            field: "/a/b".to_owned(),
        });
        let table = format!("{schema}.T t\"'").parse().expect("a name");
        let settings = Settings { table, columns: Some(columns), ..settings };
        let store = connect(&settings).await;
        let document = r#"{"n":1.005,"at":"2026-01-02T03:04:05Z","tags":["a","b \"c\"",null],"select":true,"m":"bad",
            "id":"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11","r":5,"c":"ab","a":{"b":{"c":[1]}},"other":1}"#;
        assert_eq!(put(&*store, vec![record("7", document), record("b", "{}")]).await, [STORED, STORED]);
        let mut found = records(&*store, 10).await;
        found.sort_by_key(|record| record.key.clone());
        assert_eq!(found[0].key, Some(Key::Text("7".to_owned())), "a key is as the table has it");
        let field =
            |name: &str| found[0].fields.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_eq!(field("n"), Some(&Value::Float(1.01)));
        assert_eq!(
            field("tags").cloned(),
            Some(Value::List(vec![Value::Text("a".into()), Value::Text("b \"c\"".into()), Value::Null,]))
        );
        assert_eq!(field("select"), Some(&Value::Bool(true)));
        assert_eq!(field("m").cloned(), text("bad"));
        assert_eq!(field("id").cloned(), text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
        assert_eq!(field("r"), Some(&Value::Int(5)));
        assert_eq!(field("c").cloned(), text("ab "));
        assert_eq!(
            field("deep"),
            Some(&Value::Map(vec![("c".to_owned(), Value::List(vec![Value::Int(1)]))]))
        );
        assert!(found[1].fields.iter().all(|(_, value)| *value == Value::Null), "{:?}", found[1]);
    });
}

/// Two spellings of one value are one key for the server, and two for us.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn keys_that_are_equal_in_the_type_of_the_column_are_all_written() {
    block_on(async {
        let server = Postgres::shared();
        for exists in [Exists::Replace, Exists::CreateOnly] {
            let (schema, settings) = server.schema().await;
            server.sql(&format!("CREATE TABLE {schema}.t (gid uuid PRIMARY KEY, v int)")).await;
            let columns = Some(columns("gid", &[("v", "int")]));
            let store = connect(&Settings { exists, columns, ..settings }).await;
            let upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
            let batch = vec![
                record(upper, r#"{"v":1}"#),
                record(&upper.to_lowercase(), r#"{"v":1}"#),
                record("b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", r#"{"v":2}"#),
            ];
            let results = put(&*store, batch.clone()).await;
            assert!(results.iter().all(Result::is_ok), "{exists:?}: {results:?}");
            assert_eq!(server.sql(&format!("SELECT gid FROM {schema}.t")).await.len(), 2);
            let again = if exists == Exists::Replace { STORED } else { DUPLICATE };
            assert_eq!(put(&*store, batch).await, [again.clone(), again.clone(), again], "{exists:?}");
        }
    });
}

/// A batch written during another must not end in the transaction in which that one is divided.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn concurrent_batches_do_not_share_a_transaction() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb CHECK (NOT document ? 'bad'))"
            ))
            .await;
        let store = connect(&settings).await;
        let batch = |name: &str| {
            let document = |number: usize| if number % 7 == 3 { r#"{"bad":1}"# } else { "{}" };
            (0..100).map(|number| record(&format!("{name}{number}"), document(number))).collect::<Vec<_>>()
        };
        let all = futures_util::future::join_all(["a", "b", "c"].map(|name| put(&*store, batch(name)))).await;
        let stored = all.iter().flatten().filter(|result| result.is_ok()).count();
        assert_eq!(stored, 3 * 86);
        assert_eq!(server.sql(&format!("SELECT gid FROM {schema}.t")).await.len(), stored);
    });
}

/// A row written into a transaction that is never committed would be acknowledged, and lost.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn no_row_is_stored_over_a_connection_with_an_open_transaction() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb CHECK (NOT document ? 'bad'))"
            ))
            .await;
        let store = connect(&settings).await;
        let mut dropped = 0;
        for polls in 1..200 {
            let batch = (0..20)
                .map(|number| record(&format!("k{number}"), if number == 3 { r#"{"bad":1}"# } else { "{}" }));
            let (batch, _) = x_msrv_core::answer::batch(batch.collect::<Vec<_>>().into_iter());
            let mut left = polls;
            let mut write = store.write(batch);
            let ended = std::future::poll_fn(|cx| {
                left -= 1;
                match write.as_mut().poll(cx) {
                    std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(false),
                    other => other.map(|()| true),
                }
            })
            .await;
            drop(write);
            dropped += usize::from(!ended);
            let fresh = format!("fresh{polls}");
            let result = put(&*store, vec![record(&fresh, "{}")]).await.remove(0);
            let found = server.sql(&format!("SELECT gid FROM {schema}.t WHERE gid = '{fresh}'")).await;
            assert_eq!(result.is_ok(), found.len() == 1, "{polls}: {result:?}");
            if result.is_err() {
                return assert!(dropped > 0);
            }
        }
        panic!("no write was dropped in its transaction");
    });
}
