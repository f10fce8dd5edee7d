//! The servers of the queue, as runs found them. A single run does not show that a server has disappeared.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Transaction, params};

use crate::rows::{millis, time};
use x_msrv_core::servers::Servers;

/// How long a discovered server is remembered after it is no longer found or reached.
pub const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The allowed age in milliseconds of the last contact's time in the file, so that not every run writes it.
const STALE: i64 = 60_000;

pub(super) const SCHEMA: &str = "
    CREATE TABLE unreached (                    -- known servers that a run did not reach
        run INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (run, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE servers (
        name TEXT PRIMARY KEY,
        scope TEXT,                             -- the subject of the discovery; null if the configuration names it
        reached_at INTEGER,                     -- milliseconds since the epoch, at most a minute out of date; null if no run has reached it
        unreached_since INTEGER                 -- the start of the first run that did not reach it; null if the last one did
    ) STRICT, WITHOUT ROWID;
";

/// What runs know about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// Its name, as in [`x_msrv_core::servers::Server::name`].
    pub name: String,
    /// Whether it was discovered, not named by the configuration: if it is no longer found, it is missing.
    pub is_found: bool,
    /// When a run last reached it; `None` if none has.
    pub reached: Option<SystemTime>,
    /// The start of the first run since then that did not reach it; `None` if the last one did.
    pub unreached_since: Option<SystemTime>,
}

/// A row of the file.
struct Row {
    name: String,
    scope: Option<String>,
    reached_at: Option<i64>,
    unreached_since: Option<i64>,
}

fn rows(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    let mut statement =
        connection.prepare("SELECT name, scope, reached_at, unreached_since FROM servers ORDER BY name")?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Row {
            name: row.get(0)?,
            scope: row.get(1)?,
            reached_at: row.get(2)?,
            unreached_since: row.get(3)?,
        })
    };
    statement.query_map([], row)?.collect()
}

/// Returns all servers, by name.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<KnownServer>> {
    let at = |millis: Option<i64>| millis.map(|millis| time(millis.cast_unsigned()));
    let known = |Row { name, scope, reached_at, unreached_since }| KnownServer {
        name,
        is_found: scope.is_some(),
        reached: at(reached_at),
        unreached_since: at(unreached_since),
    };
    Ok(rows(connection)?.into_iter().map(known).collect())
}

/// Updates the servers with what a run that started at `now` found, and returns the names of known servers
/// that it did not reach.
pub(super) fn enter(
    transaction: &Transaction<'_>,
    now: SystemTime,
    servers: &Servers,
) -> rusqlite::Result<Vec<String>> {
    let now = millis(now);
    let known = rows(transaction)?;
    let mut unreached = Vec::new();
    let put = |name: &str, scope: Option<&str>, reached_at: Option<i64>, since: Option<i64>| {
        let sql = "INSERT OR REPLACE INTO servers (name, scope, reached_at, unreached_since) VALUES (?1, ?2, ?3, ?4)";
        transaction.execute(sql, params![name, scope, reached_at, since])
    };
    for server in &servers.named {
        let before = known.iter().find(|row| row.name == server.name);
        let scope = servers.scope.as_deref().filter(|_| server.is_found);
        let (reached_at, since) = before.map_or((None, None), |row| (row.reached_at, row.unreached_since));
        if server.is_reached {
            let is_as_before = before.is_some_and(|row| row.scope.as_deref() == scope) && since.is_none();
            if !is_as_before || reached_at.is_none_or(|at| now.saturating_sub(at).saturating_abs() > STALE) {
                put(&server.name, scope, Some(now), None)?;
            }
        } else {
            put(&server.name, scope, reached_at, since.or(Some(now)))?;
            unreached.push(server.name.clone());
        }
    }
    for row in known.iter().filter(|row| servers.named.iter().all(|server| server.name != row.name)) {
        // A server that the configuration no longer names is forgotten, and so is one that was discovered for
        // another subject.
        let is_looked_for = row.scope.is_some() && row.scope == servers.scope;
        let last = row.reached_at.max(row.unreached_since).unwrap_or(now);
        if is_looked_for
            && Duration::from_millis(now.saturating_sub(last).max(0).cast_unsigned()) <= REMEMBERED
        {
            if row.unreached_since.is_none() {
                put(&row.name, row.scope.as_deref(), row.reached_at, Some(now))?;
            }
            unreached.push(row.name.clone());
        } else {
            transaction.execute("DELETE FROM servers WHERE name = ?1", [&row.name])?;
        }
    }
    Ok(unreached)
}

/// Forgets the server with this name or address. Returns whether it was known.
pub(super) fn forget(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let gone = connection.execute(
        "DELETE FROM servers WHERE name = ?1 OR substr(name, -length(?1) - 4) = ' at ' || ?1",
        [name],
    )?;
    Ok(gone > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x_msrv_core::servers::Server;

    fn found(scope: &str, servers: &[(&str, bool)]) -> Servers {
        let server = |(name, is_reached): &(&str, bool)| Server {
            name: (*name).to_owned(),
            is_found: true,
            is_reached: *is_reached,
        };
        Servers { named: servers.iter().map(server).collect(), scope: Some(scope.to_owned()) }
    }

    fn configured(servers: &[(&str, bool)]) -> Servers {
        let mut servers = found("", servers);
        servers.named.iter_mut().for_each(|server| server.is_found = false);
        Servers { scope: None, ..servers }
    }

    struct File(Connection);

    impl File {
        fn new() -> Self {
            let connection = Connection::open_in_memory().expect("a database");
            connection.execute_batch(SCHEMA).expect("its tables");
            Self(connection)
        }

        /// Returns the servers that a run at this second does not reach.
        fn missing(&self, second: u64, servers: &Servers) -> Vec<String> {
            let transaction = self.0.unchecked_transaction().expect("a transaction");
            let missing = enter(&transaction, SystemTime::UNIX_EPOCH + Duration::from_secs(second), servers)
                .expect("written");
            transaction.commit().expect("committed");
            missing
        }

        /// Returns name, second of the last contact, and second since which it is missing.
        fn known(&self) -> Vec<(String, Option<u64>, Option<u64>)> {
            let second =
                |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs();
            let known = all(&self.0).expect("rows").into_iter();
            known
                .map(|server| (server.name, server.reached.map(second), server.unreached_since.map(second)))
                .collect()
        }
    }

    /// One of two nsqd was down for a week, and no run reported it.
    #[test]
    fn an_unreached_server_is_missing_since_the_first_run_that_did_not_reach_it() {
        let file = File::new();
        assert_eq!(file.missing(1_000, &configured(&[("a", true), ("b", true)])), [""; 0]);
        for second in [1_010, 1_020] {
            assert_eq!(file.missing(second, &configured(&[("a", true), ("b", false)])), ["b"]);
        }
        assert_eq!(
            file.known(),
            [("a".to_owned(), Some(1_000), None), ("b".to_owned(), Some(1_000), Some(1_010))]
        );
        assert_eq!(file.missing(2_000, &configured(&[("a", true), ("b", true)])), [""; 0]);
        assert_eq!(file.known(), [("a".to_owned(), Some(2_000), None), ("b".to_owned(), Some(2_000), None)]);
        assert_eq!(
            file.missing(2_001, &configured(&[("c", false)])),
            ["c"],
            "a server that was never reached is missing as well"
        );
        assert_eq!(
            file.known(),
            [("c".to_owned(), None, Some(2_001))],
            "what the configuration no longer names is forgotten"
        );
    }

    /// nsqlookupd does not list a stopped nsqd, so nothing showed that messages were waiting there.
    #[test]
    fn a_server_that_is_no_longer_listed_is_missing_until_it_is_forgotten() {
        let file = File::new();
        file.missing(1_000, &found("t", &[("a", true), ("b", true)]));
        assert_eq!(file.missing(1_010, &found("t", &[("a", true)])), ["b"]);
        assert_eq!(file.missing(1_020, &found("t", &[])), ["a", "b"]);
        assert_eq!(
            file.known(),
            [("a".to_owned(), Some(1_000), Some(1_020)), ("b".to_owned(), Some(1_000), Some(1_010))]
        );
        let week = REMEMBERED.as_secs();
        assert_eq!(file.missing(1_010 + week, &found("t", &[("a", true)])), ["b"]);
        assert_eq!(file.missing(1_011 + week, &found("t", &[("a", true)])), [""; 0]);
        file.missing(
            1_020 + week,
            &found("t", &[("a", true), ("nsqd at b:1", true), ("nsqd at bb:1", true)]),
        );
        assert_eq!(file.missing(1_030 + week, &found("t", &[("a", true)])), ["nsqd at b:1", "nsqd at bb:1"]);
        assert!(forget(&file.0, "b:1").expect("written") && !forget(&file.0, "b:1").expect("nothing to do"));
        assert_eq!(file.missing(1_040 + week, &found("t", &[("a", true)])), ["nsqd at bb:1"]);
        assert_eq!(
            file.missing(1_050 + week, &found("another topic", &[])),
            [""; 0],
            "those of the first topic are no longer looked for"
        );
        assert_eq!(file.known(), []);
    }
}
