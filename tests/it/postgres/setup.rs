//! Setup faults, with which nothing can be written: they are reported before a message is taken, with a
//! statement that fixes them.

use x_msrv_core::{
    fault::{Blame, Fault},
    store::StoreError,
};
use x_msrv_net::secret::Secret;
use x_msrv_postgres::{Exists, PostgresStore, Settings};

use super::{chain, columns, connect, put, record, refusal};
use crate::support::{block_on, postgres::Postgres};

/// The same with another login.
pub(super) fn login(user: &str, password: &str) -> impl Fn(Settings) -> Settings {
    move |settings| Settings {
        user: user.to_owned(),
        password: Some(Secret::Text(password.to_owned())),
        ..settings
    }
}

#[track_caller]
fn assert_setup(error: &StoreError, words: &[&str]) -> String {
    let text = chain(error);
    assert!(matches!(error, StoreError::Setup { .. }), "{error:?}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    text
}

/// The statement that the error recommends.
fn recommended_statement(text: &str) -> &str {
    text.rsplit_once(": ").expect("a statement").1
}

/// A user who sees only "no such table" would have to find out the required columns alone.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_missing_table_is_reported_with_a_statement_that_creates_it() {
    block_on(async {
        let server = Postgres::shared();
        let with_columns =
            columns("na\"me", &[("Amount", "numeric(10,2)"), ("at", "timestamp with time zone")]);
        for columns in [None, Some(with_columns)] {
            let (schema, settings) = server.schema().await;
            let settings = Settings { columns, ..settings };
            assert!(PostgresStore::connect_to_existing(&settings).await.expect("it answers").is_none());
            let error = refusal(&settings).await;
            let text =
                assert_setup(&error, &[&format!("there is no table \"{schema}\".\"t\""), "CREATE TABLE"]);
            server.sql(recommended_statement(&text)).await;
            let store = connect(&settings).await;
            let document = r#"{"Amount":1.25,"at":"2026-01-01T00:00:00Z"}"#;
            assert!(put(&*store, vec![record("a", document)]).await[0].is_ok());
            assert_eq!(crate::support::records(&*store, 10).await.len(), 1);
        }
    });
}

/// `ON CONFLICT` finds no row without one (42P10), and the same message twice would be two rows.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_key_without_a_unique_index_is_reported_with_a_statement_that_creates_it() {
    block_on(async {
        let server = Postgres::shared();
        let others = [
            "",
            "; CREATE INDEX ON SCHEMA.t (gid)",
            "; CREATE UNIQUE INDEX ON SCHEMA.t (gid, document)",
            "; CREATE UNIQUE INDEX ON SCHEMA.t (gid) WHERE gid > 'a'",
            "; CREATE UNIQUE INDEX ON SCHEMA.t (lower(gid))",
            "; ALTER TABLE SCHEMA.t ADD UNIQUE (gid) DEFERRABLE",
        ];
        for other in others {
            let (schema, settings) = server.schema().await;
            let other = other.replace("SCHEMA", &schema);
            server.sql(&format!("CREATE TABLE {schema}.t (gid text, document jsonb){other}")).await;
            let text =
                assert_setup(&refusal(&settings).await, &["is not unique by itself", "CREATE UNIQUE INDEX"]);
            server.sql(recommended_statement(&text)).await;
            connect(&settings).await;
        }
    });
}

/// The statement that creates a unique index fails there, and the user would not know why.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_table_that_cannot_have_a_unique_key_gets_no_statement_that_creates_one() {
    block_on(async {
        let server = Postgres::shared();
        let partitioned = "the key must be the only column of the partition key";
        let cases = [
            (
                "CREATE TABLE SCHEMA.t (gid text, at int, document jsonb, PRIMARY KEY (gid, at)) PARTITION BY RANGE (at)",
                partitioned,
            ),
            ("CREATE TABLE SCHEMA.t (gid text, document jsonb) PARTITION BY HASH (lower(gid))", partitioned),
            (
                "CREATE TABLE SCHEMA.t (gid text, document jsonb) PARTITION BY HASH (gid)",
                "CREATE UNIQUE INDEX",
            ),
            (
                "CREATE VIEW SCHEMA.t AS SELECT ''::text AS gid, '{}'::jsonb AS document",
                "configure the table that it is based on",
            ),
        ];
        for (statement, words) in cases {
            let (schema, settings) = server.schema().await;
            server.sql(&statement.replace("SCHEMA", &schema)).await;
            let text = assert_setup(&refusal(&settings).await, &["is not unique by itself", words]);
            assert_eq!(text.contains("CREATE UNIQUE INDEX"), words == "CREATE UNIQUE INDEX", "{text}");
        }
    });
}

/// Otherwise each run would cost every message that it takes an attempt.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_table_of_another_shape_is_reported_before_a_message_is_taken() {
    block_on(async {
        let server = Postgres::shared();
        let document = None;
        let v = |data_type| Some(columns("gid", &[("v", data_type)]));
        let cases = [
            (
                "gid text PRIMARY KEY",
                document.clone(),
                vec!["has no column \"document\"", "postgres.columns"],
            ),
            (
                "id text PRIMARY KEY, document jsonb",
                document.clone(),
                vec!["has no column \"gid\", only id, document"],
            ),
            (
                "gid bigint PRIMARY KEY, document jsonb",
                document.clone(),
                vec!["\"gid\"", "is bigint; text is required"],
            ),
            (
                "gid text PRIMARY KEY, document text",
                document.clone(),
                vec!["\"document\"", "is text; jsonb is required"],
            ),
            (
                "gid text PRIMARY KEY, document jsonb, more int NOT NULL",
                document.clone(),
                vec!["the column \"more\"", "is NOT NULL and has no default"],
            ),
            ("gid text PRIMARY KEY, w int", v("integer"), vec!["has no column \"v\", only gid, w"]),
            (
                "gid text PRIMARY KEY, v bigint",
                v("integer"),
                vec!["is bigint; the configuration says integer"],
            ),
            (
                "gid text PRIMARY KEY, v bigint",
                v("nonesuch"),
                vec!["is bigint; the configuration says nonesuch"],
            ),
            (
                "gid text PRIMARY KEY, v bigint GENERATED ALWAYS AS (1) STORED",
                v("bigint"),
                vec!["cannot insert a non-DEFAULT value into column \"v\"", "428C9"],
            ),
            (
                "gid text PRIMARY KEY, v bigint, w int NOT NULL",
                v("bigint"),
                vec!["the column \"w\"", "`postgres.columns` can fill it"],
            ),
        ];
        for (table, columns, words) in cases {
            let (schema, settings) = server.schema().await;
            server.sql(&format!("CREATE TABLE {schema}.t ({table})")).await;
            assert_setup(&refusal(&Settings { columns, ..settings }).await, &words);
        }
        // Columns that fill themselves, and other spellings of a type, are no fault.
        let (schema, settings) = server.schema().await;
        server
            .sql(&format!(
                "CREATE DOMAIN {schema}.positive AS bigint CHECK (VALUE > 0); \
                 CREATE TABLE {schema}.t (gid varchar(100) PRIMARY KEY, v {schema}.positive, w int4, \
                 n serial NOT NULL, d timestamptz NOT NULL DEFAULT now(), \
                 g text NOT NULL GENERATED ALWAYS AS (gid::text) STORED, i int GENERATED ALWAYS AS IDENTITY)"
            ))
            .await;
        let columns = Some(columns("gid", &[("v", "int8"), ("w", "integer")]));
        connect(&Settings { columns, ..settings }).await;
    });
}

/// Otherwise each run would cost every message that it takes an attempt.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn missing_privileges_are_reported_before_a_message_is_taken() {
    block_on(async {
        let server = Postgres::shared();
        let (schema, settings) = server.table().await;
        let user = format!("r_{schema}");
        server.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD 'p'")).await;
        let mine = login(&user, "p")(settings.clone());
        assert_setup(
            &refusal(&mine).await,
            &["permission denied for schema", "42501", "GRANT USAGE ON SCHEMA"],
        );
        let grant = |text: &str| {
            let (_, grant) = text.split_once("this grants it: ").expect("a statement");
            grant.to_owned()
        };
        let usage = grant(&chain(&refusal(&mine).await));
        server.sql(&usage).await;
        let create_only = Settings { exists: Exists::CreateOnly, ..mine.clone() };
        let denied = ["permission denied for table t", "42501"];
        let insert = grant(&assert_setup(&refusal(&create_only).await, &denied));
        server.sql(&insert).await;
        // Existing rows are not changed.
        connect(&create_only).await;
        let update = grant(&assert_setup(&refusal(&mine).await, &denied));
        server.sql(&update).await;
        connect(&mine).await;
    });
}

/// Otherwise a wrong password would look like an outage.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_refused_login_is_a_fault_of_the_configuration() {
    block_on(async {
        let (_, settings) = Postgres::shared().table().await;
        let wrong = login("postgres", "wrong")(settings.clone());
        assert_setup(&refusal(&wrong).await, &["password authentication failed", "28P01"]);
        let unknown_user = login("nonesuch", "postgres")(settings.clone());
        assert_setup(&refusal(&unknown_user).await, &["password authentication failed", "28P01"]);
        let without = Settings { password: None, ..settings.clone() };
        assert_setup(
            &refusal(&without).await,
            &["the server requires a password", "`postgres.password`", "{file: PATH}"],
        );
        let elsewhere = Settings { database: "nonesuch".to_owned(), ..settings.clone() };
        assert_setup(&refusal(&elsewhere).await, &["database \"nonesuch\" does not exist", "3D000"]);
        let secret = Secret::File("/nonesuch".into());
        let unreadable = Settings { password: Some(secret), ..settings };
        assert_setup(&refusal(&unreadable).await, &["postgres.password", "cannot read the file /nonesuch"]);
    });
}

/// Otherwise each message would be blamed for the change, or all messages would be taken and requeued for
/// ever.
#[test]
#[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]
fn a_change_of_the_table_during_a_run_ends_it_as_a_setup_fault() {
    block_on(async {
        let server = Postgres::shared();
        let cases = [
            ("DROP TABLE SCHEMA.t", "42P01"),
            ("ALTER TABLE SCHEMA.t RENAME document TO other", "42703"),
            ("ALTER TABLE SCHEMA.t DROP CONSTRAINT t_pkey", "42P10"),
            ("REVOKE ALL ON SCHEMA.t FROM r_SCHEMA", "42501"),
        ];
        for (change, code) in cases {
            let (schema, settings) = server.table().await;
            server
                .sql(&format!(
                    "CREATE ROLE r_{schema} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA {schema} TO r_{schema}; \
                     GRANT SELECT, INSERT, UPDATE ON {schema}.t TO r_{schema}"
                ))
                .await;
            let store = connect(&login(&format!("r_{schema}"), "p")(settings)).await;
            server.sql(&change.replace("SCHEMA", &schema)).await;
            let results = put(&*store, vec![record("a", "{}"), record("b", "{}")]).await;
            for result in results {
                let Err(Fault { blame: Blame::Setup, text, .. }) = &result else {
                    panic!("{change}: {result:?}")
                };
                assert!(text.contains(code), "{change}: {text}");
            }
        }
    });
}
