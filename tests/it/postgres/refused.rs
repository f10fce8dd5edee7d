//! One row is at fault: only that row is refused, and the other rows of its batch are stored.

use x_msrv_core::{
    fault::{Blame, Fault},
    store::Put,
};
use x_msrv_postgres::Columns;

use super::{columns, connect, put, record};
use crate::support::{block_on, postgres::Postgres};

/// A table, its mapped columns, a document that it refuses, and the code of the refusal.
struct Case {
    code: &'static str,
    table: &'static str,
    columns: Option<Columns>,
    bad: &'static str,
}

fn case(code: &'static str, table: &'static str, columns: Option<Columns>, bad: &'static str) -> Case {
    Case { code, table, columns, bad }
}

/// A table with one column `v` beside its key.
fn of_type(code: &'static str, data_type: &'static str, table: &'static str, bad: &'static str) -> Case {
    case(code, table, Some(columns("gid", &[("v", data_type)])), bad)
}

/// Without isolation, one bad row would make its 999 neighbours wait forever, or become dead letters with
/// it.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_row_that_the_server_refuses_is_refused_alone_with_any_code() {
    let cases = [
        of_type("22003", "integer", "gid text PRIMARY KEY, v integer", r#"{"v":99999999999}"#),
        of_type("22001", "varchar", "gid text PRIMARY KEY, v varchar(3)", r#"{"v":"secret"}"#),
        // Cast to such a type instead of assigned, the value would be cut in silence.
        of_type("22001", "varchar", "gid text PRIMARY KEY, v SCHEMA.short", r#"{"v":"secret"}"#),
        of_type("22001", "varchar", "gid text PRIMARY KEY, v SCHEMA.shorter", r#"{"v":"secret"}"#),
        of_type("23514", "integer", "gid text PRIMARY KEY, v SCHEMA.positive", r#"{"v":-1}"#),
        of_type("22003", "bigint", "gid text PRIMARY KEY, v bigint", r#"{"v":"9223372036854775808"}"#),
        of_type("22003", "bigint", "gid text PRIMARY KEY, v bigint", r#"{"v":1e300}"#),
        of_type("22P02", "integer", "gid text PRIMARY KEY, v integer", r#"{"v":1.5}"#),
        of_type("22003", "numeric(10,2)", "gid text PRIMARY KEY, v numeric(10,2)", r#"{"v":123456789.5}"#),
        of_type("22P02", "bigint", "gid text PRIMARY KEY, v bigint", r#"{"v":"secret"}"#),
        of_type("22007", "timestamptz", "gid text PRIMARY KEY, v timestamptz", r#"{"v":"secret"}"#),
        of_type("22008", "date", "gid text PRIMARY KEY, v date", r#"{"v":"2026-02-30"}"#),
        of_type("23502", "text", "gid text PRIMARY KEY, v text NOT NULL", r#"{"secret":1}"#),
        of_type("23503", "text", "gid text PRIMARY KEY, v text REFERENCES SCHEMA.t", r#"{"v":"secret"}"#),
        of_type("23505", "integer", "gid text PRIMARY KEY, v integer UNIQUE", r#"{"v":7,"secret":1}"#),
        of_type("23514", "integer", "gid text PRIMARY KEY, v integer CHECK (v > 0)", r#"{"v":-1}"#),
        of_type(
            "23P01",
            "int4range",
            "gid text PRIMARY KEY, v int4range, EXCLUDE USING gist (v WITH &&)",
            r#"{"v":"[7,8)"}"#,
        ),
        case(
            "23514",
            "gid text PRIMARY KEY, document jsonb CHECK (NOT document ? 'secret')",
            None,
            r#"{"secret":1}"#,
        ),
        // Checked at the end of the transaction, and not with the row.
        of_type(
            "23503",
            "text",
            "gid text PRIMARY KEY, v text REFERENCES SCHEMA.t DEFERRABLE INITIALLY DEFERRED",
            r#"{"v":"secret"}"#,
        ),
    ];
    block_on(async {
        let server = Postgres::shared();
        for Case { code, table, columns, bad } in cases {
            let (schema, settings) = server.schema().await;
            let settings = x_msrv_postgres::Settings { columns, ..settings };
            server
                .sql(&format!(
                    "CREATE DOMAIN {schema}.short AS varchar(3); CREATE DOMAIN {schema}.shorter AS {schema}.short; \
                     CREATE DOMAIN {schema}.positive AS integer CHECK (VALUE > 0); CREATE TABLE {schema}.t ({})",
                    table.replace("SCHEMA", &schema)
                ))
                .await;
            let good = |number: usize| {
                let value = match code {
                    "23503" => "null".to_owned(),
                    "22007" | "22008" => "\"2026-01-01\"".to_owned(),
                    "23P01" => format!("\"[{0},{1})\"", number + 1, number + 2),
                    _ => (number + 1).to_string(),
                };
                record(&format!("k{number:02}"), &format!("{{\"v\":{value}}}"))
            };
            let mut records: Vec<_> = (0..20).map(good).collect();
            records.insert(13, record("z", bad));
            let store = connect(&settings).await;
            let results = put(&*store, records).await;
            for (place, result) in results.iter().enumerate() {
                match (place, result) {
                    (
                        13,
                        Err(
                            Fault { blame: Blame::Record, text, .. }
                            | Fault { blame: Blame::Suspect, text, .. },
                        ),
                    ) => {
                        assert!(text.contains(code), "{code}: {text}");
                        assert!(
                            !text.contains("secret"),
                            "{code}: the error shows a part of the record: {text}"
                        );
                    }
                    (13, other) => panic!("{code}: {other:?}"),
                    (_, result) => assert_eq!(*result, Ok(Put::Stored), "{code}: {place}"),
                }
            }
            let rows = server.sql(&format!("SELECT gid FROM {schema}.t")).await;
            assert_eq!(rows.len(), 20, "{code}");
            // The connection remains usable: no transaction is left open.
            let fresh = good(30);
            assert_eq!(put(&*store, vec![fresh]).await, [Ok(Put::Stored)], "{code}");
            assert_eq!(server.sql(&format!("SELECT gid FROM {schema}.t")).await.len(), 21, "{code}");
        }
    });
}

/// Otherwise a user with ten columns of one type would have to guess.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_refused_value_is_reported_with_its_column() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TABLE {schema}.t (gid text PRIMARY KEY, a bigint, b bigint, c text, d date, e date, f varchar(3), \
                 g varchar(3))"
            ))
            .await;
        let types = [
            ("a", "bigint"),
            ("b", "bigint"),
            ("c", "text"),
            ("d", "date"),
            ("e", "date"),
            ("f", "varchar"),
            ("g", "varchar"),
        ];
        let store =
            connect(&x_msrv_postgres::Settings { columns: Some(columns("gid", &types)), ..settings }).await;
        let cases = [
            (r#"{"a":1,"b":"secret","c":"secret"}"#, "column \"b\": invalid input syntax"),
            (r#"{"a":"1\"2","b":2}"#, "column \"a\": invalid input syntax"),
            (r#"{"a":"secret","b":"secret"}"#, "column \"a\" or \"b\": invalid input syntax"),
            (r#"{"d":"2026-01-01","e":"2026-02-30"}"#, "column \"e\": date/time field value out of range"),
            // The server says neither the value nor the column.
            (r#"{"f":"secret"}"#, "value too long for type character varying(3)"),
        ];
        let batch = cases.iter().enumerate().map(|(place, (bad, _))| record(&format!("k{place}"), bad));
        let together = put(&*store, batch.chain([record("good", "{}")]).collect()).await;
        for (place, (bad, words)) in cases.into_iter().enumerate() {
            for result in [&together[place], &put(&*store, vec![record("k", bad)]).await[0]] {
                let Err(Fault { text, .. }) = result else { panic!("{bad}: {result:?}") };
                assert!(text.starts_with(words) && !text.contains("secret"), "{bad}: {text}");
            }
        }
        assert_eq!(together.last(), Some(&Ok(Put::Stored)));
    });
}

/// A partition that does not exist yet concerns only the rows that belong into it, and a database in another encoding
/// has no place for some characters.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_row_without_a_partition_or_with_a_foreign_character_is_refused_alone() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb) PARTITION BY LIST (gid); \
                 CREATE TABLE {schema}.p PARTITION OF {schema}.t FOR VALUES IN ('a', 'c')"
            ))
            .await;
        let database = format!("latin_{schema}");
        server
            .sql(&format!("CREATE DATABASE {database} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"))
            .await;
        server
            .sql_in(
                &database,
                &format!(
                    "CREATE SCHEMA {schema}; CREATE TABLE {schema}.t (gid text PRIMARY KEY, document jsonb)"
                ),
            )
            .await;
        let latin = x_msrv_postgres::Settings { database, ..settings.clone() };
        for (settings, code) in [(settings, "23514"), (latin, "22P05")] {
            let store = connect(&settings).await;
            let records = ["a", "b", "c"].map(|key| {
                let text = if key == "b" { "€" } else { "ä" };
                record(key, &format!("{{\"x\":\"{text}\"}}"))
            });
            let results = put(&*store, records.into()).await;
            let Err(Fault { blame: Blame::Suspect | Blame::Record, text, .. }) = &results[1] else {
                panic!("{code}: {results:?}")
            };
            assert!(text.contains(code), "{text}");
            assert_eq!([&results[0], &results[2]], [&Ok(Put::Stored), &Ok(Put::Stored)], "{code}");
            assert_eq!(crate::support::records(&*store, 10).await.len(), 2, "{code}");
        }
    });
}

/// `jsonb` has no U+0000 (22P05): the server would refuse the statement.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_row_with_nul_is_refused_without_asking_the_server() {
    block_on(async {
        let (_, settings) = Postgres::shared().table().await;
        let store = connect(&settings).await;
        let results = put(&*store, vec![record("a", r#"{"x":"\u0000"}"#), record("b", "{}")]).await;
        let refused = "it holds U+0000, which PostgreSQL does not store".to_owned();
        assert_eq!(results, [Err(Fault::new(Blame::Record, refused)), Ok(Put::Stored)]);
    });
}

/// An index accepts incompressible keys of up to about 2,700 bytes.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_key_that_is_too_long_for_the_index_is_refused_alone() {
    block_on(async {
        let (_, settings) = Postgres::shared().table().await;
        let store = connect(&settings).await;
        let mut random = fastrand::Rng::with_seed(1);
        let long: String = std::iter::repeat_with(|| random.alphanumeric()).take(20_000).collect();
        let records = vec![record("a", "{}"), record(&long, "{}"), record("b", "{}")];
        let results = put(&*store, records).await;
        let Err(Fault { blame: Blame::Record, text, .. }) = &results[1] else { panic!("{results:?}") };
        assert!(text.contains("54000"), "{text}");
        assert_eq!([&results[0], &results[2]], [&Ok(Put::Stored), &Ok(Put::Stored)]);
    });
}

/// The text of an exception comes from the trigger, which may have included any data.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_row_that_a_trigger_refuses_is_refused_alone_and_its_data_is_not_shown() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        server
            .sql(&format!(
                "CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.document ? 'bad' THEN RAISE 'no %', NEW.document; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER refuse BEFORE INSERT ON {schema}.t FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()"
            ))
            .await;
        let store = connect(&settings).await;
        let results = put(&*store, vec![record("a", r#"{"bad":"secret"}"#), record("b", "{}")]).await;
        let Err(Fault { blame: Blame::Suspect, text, .. }) = &results[0] else { panic!("{results:?}") };
        assert!(text.contains("P0001") && text.contains(".refuse()") && !text.contains("secret"), "{text}");
        assert_eq!(results[1], Ok(Put::Stored));
    });
}

/// The server reports success but stores no row: an acknowledged message would be lost.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_row_that_a_trigger_ignores_does_not_count_as_stored() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        server
            .sql(&format!(
                "CREATE FUNCTION {schema}.ignore() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.document ? 'bad' THEN RETURN NULL; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER ignore BEFORE INSERT ON {schema}.t FOR EACH ROW EXECUTE FUNCTION {schema}.ignore()"
            ))
            .await;
        for exists in [x_msrv_postgres::Exists::Replace, x_msrv_postgres::Exists::CreateOnly] {
            let store = connect(&x_msrv_postgres::Settings { exists, ..settings.clone() }).await;
            let key = format!("{exists:?}");
            let results = put(
                &*store,
                vec![record("a", r#"{"bad":1}"#), record(&key, "{}"), record(&format!("{key}2"), "{}")],
            )
            .await;
            assert!(
                matches!(&results[0], Err(Fault { blame: Blame::Suspect, .. })),
                "{exists:?}: {results:?}"
            );
            assert_eq!(results[1..], [Ok(Put::Stored), Ok(Put::Stored)], "{exists:?}");
        }
    });
}

/// A policy of row-level security has the code of a missing privilege (42501), which would stop the run.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_row_that_a_policy_forbids_is_refused_alone() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        server
            .sql(&format!(
                "CREATE ROLE r_{schema} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA {schema} TO r_{schema}; \
                 GRANT SELECT, INSERT, UPDATE ON {schema}.t TO r_{schema}; \
                 ALTER TABLE {schema}.t ENABLE ROW LEVEL SECURITY; \
                 CREATE POLICY p ON {schema}.t USING (NOT document ? 'bad')"
            ))
            .await;
        let user = format!("r_{schema}");
        let store = connect(&super::setup::login(&user, "p")(settings)).await;
        let results = put(&*store, vec![record("a", r#"{"bad":1}"#), record("b", "{}")]).await;
        assert!(matches!(&results[0], Err(Fault { blame: Blame::Suspect, .. })), "{results:?}");
        assert_eq!(results[1], Ok(Put::Stored));
    });
}

/// Halving costs statements, and each row needs its own answer however many are bad.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_batch_with_many_bad_rows_has_the_right_answer_for_each() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!("CREATE TABLE {schema}.t (gid text PRIMARY KEY, v integer CHECK (v >= 0))"))
            .await;
        let settings =
            x_msrv_postgres::Settings { columns: Some(columns("gid", &[("v", "integer")])), ..settings };
        let store = connect(&settings).await;
        let mut random = fastrand::Rng::with_seed(7);
        let bad: Vec<bool> = (0..1_000).map(|_| random.u8(0..10) == 0).collect();
        let value = |place: usize| if bad[place] { -1 } else { 1 };
        let records = (0..1_000)
            .map(|place| record(&format!("k{place}"), &format!("{{\"v\":{}}}", value(place))))
            .collect();
        let results = put(&*store, records).await;
        for (place, result) in results.iter().enumerate() {
            assert_eq!(result.is_err(), bad[place], "{place}: {result:?}");
        }
        let stored = server.sql(&format!("SELECT gid FROM {schema}.t")).await.len();
        assert_eq!(stored, bad.iter().filter(|bad| !**bad).count());
    });
}
