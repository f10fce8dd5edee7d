//! The sources run the contract suite.

use std::{num::NonZeroU64, time::Duration};

use tempfile::TempDir;
use x_msrv_contract::{source::Queue, source_suite};
use x_msrv_core::source::{Attempts, Publisher, Source};
use x_msrv_nsq::source::{self as nsq, NsqPublisher, NsqSource, Servers};
use x_msrv_sqlite::source::{self as sqlite, SqlitePublisher, SqliteSource};

use crate::support::{
    PATIENCE,
    nsqd::{HOLDS_BACK, Nsqd},
};

fn nonzero(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not zero")
}

struct Embedded {
    settings: sqlite::Settings,
    _folder: TempDir,
}

impl Queue for Embedded {
    const IS_COUNTED: bool = true;
    const ATTEMPTS: Attempts = Attempts::Counted;

    async fn open(max_in_flight: u64, lease: Duration) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("queue.db");
        Self {
            settings: sqlite::Settings { path, max_in_flight: nonzero(max_in_flight), lease_timeout: lease },
            _folder: folder,
        }
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(SqliteSource::connect(&self.settings).expect("the queue opens"))
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(SqlitePublisher::connect(&self.settings).expect("the queue opens"))
    }

    async fn counts(&self) -> (u64, u64) {
        let connection = rusqlite::Connection::open(&self.settings.path).expect("the queue opens");
        let count = |condition: &str| {
            let now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
            let sql = format!("SELECT count(*) FROM messages WHERE {}", condition.replace("now", now));
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("a count").cast_unsigned()
        };
        (count("ready_at <= now"), count("ready_at > now AND lease IS NOT NULL"))
    }
}

/// nsqd with its statistics at the expected port, or without them.
struct Nsq<const STATISTICS: bool> {
    server: Nsqd,
    settings: nsq::Settings,
}

impl<const STATISTICS: bool> Queue for Nsq<STATISTICS> {
    const IS_COUNTED: bool = STATISTICS;
    const ATTEMPTS: Attempts = Attempts::Counted;

    async fn open(max_in_flight: u64, lease: Duration) -> Self {
        // Starting a server and asking it blocks for a moment; no other task runs in these tests.
        let start = move || {
            let timeouts = ["msg", "max-msg"].map(|kind| format!("-{kind}-timeout={}s", lease.as_secs()));
            let options = [timeouts.each_ref().map(String::as_str), HOLDS_BACK].concat();
            let server =
                if STATISTICS { Nsqd::with_statistics_beside(&options) } else { Nsqd::with(&options) };
            server.make_channel("contract", "contract");
            server
        };
        let server = std::thread::spawn(start).join().expect("nsqd starts");
        let settings = nsq::Settings {
            section: "nsq",
            servers: Servers::Nsqd(vec![server.tcp.clone()]),
            topic: "contract".parse().expect("a topic"),
            channel: "contract".parse().expect("a channel"),
            max_in_flight: nonzero(max_in_flight),
            max_message_size: 1 << 20,
            connect_timeout: PATIENCE,
            auth_secret: None,
            tls: None,
            longest_run: Duration::from_secs(2),
        };
        Self { server, settings }
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(NsqSource::connect(&self.settings).await.expect("nsqd answers"))
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(NsqPublisher::connect(&self.settings).await.expect("nsqd answers"))
    }

    async fn counts(&self) -> (u64, u64) {
        std::thread::scope(|scope| {
            let depths = scope.spawn(|| self.server.depths("contract")).join().expect("statistics");
            (depths.waiting, depths.in_flight)
        })
    }
}

source_suite!(embedded, Embedded, [every, window, delays, leases]);
source_suite!(nsqd, Nsq<true>, [every, window, delays, leases]);
source_suite!(nsqd_without_statistics, Nsq<false>, [every, window, delays, leases]);
