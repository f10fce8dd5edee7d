//! The stores run the contract suite.

use tempfile::TempDir;
use x_msrv_aerospike::{self as aerospike, AerospikeStore, Exists, Ttl};
use x_msrv_contract::{store::Database, store_suite};
use x_msrv_core::store::Store;
use x_msrv_postgres::PostgresStore;
use x_msrv_sqlite::store::{self as sqlite, SqliteStore};

use crate::support::{
    PATIENCE,
    aerospike::StandIn,
    postgres::{Pgbouncer, Postgres},
    real_aerospike,
};

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

/// A new set in the namespace `test` of a stand-in, or of the real server that the environment names.
struct Aerospike {
    settings: aerospike::Settings,
    /// Kept alive as long as the store is needed.
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

/// A new table on a real server.
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

/// The same behind a pgbouncer, which gives each transaction another connection.
struct Pooled {
    settings: x_msrv_postgres::Settings,
    /// Kept alive as long as the store is needed.
    _pool: Pgbouncer,
}

impl Database for Pooled {
    const HOLDS_NUL: bool = PostgreSql::HOLDS_NUL;
    const KEEPS_SIGN_OF_ZERO: bool = PostgreSql::KEEPS_SIGN_OF_ZERO;

    async fn open() -> Self {
        let server = Postgres::shared();
        let pool = Pgbouncer::before(server, &[]);
        let hosts = vec![pool.address.clone()];
        Self { settings: x_msrv_postgres::Settings { hosts, ..server.table().await.1 }, _pool: pool }
    }

    async fn store(&self) -> Box<dyn Store> {
        Box::new(PostgresStore::connect(&self.settings).await.expect("the server answers"))
    }
}

store_suite!(embedded, Sqlite);
store_suite!(aerospike_server, Aerospike);
store_suite!(postgresql_server, PostgreSql, #[cfg_attr(not(have_postgres), ignore = "PostgreSQL is not installed")]);
store_suite!(postgresql_behind_pgbouncer, Pooled, #[cfg_attr(not(have_pgbouncer), ignore = "pgbouncer is not installed")]);
