//! The queues run the suites of sources and publishers.

use std::{num::NonZeroU64, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;
use x_msrv_contract::{
    faults::{Injected, proxy::Proxy},
    publisher::{Refusing, Remote},
    publisher_suite,
    source::Queue,
    source_suite,
};
use x_msrv_core::source::{Attempts, Publisher, Source};
use x_msrv_nsq::source::{self as nsq, NsqPublisher, NsqSource, Servers};
use x_msrv_sqlite::source::{self as sqlite, SqlitePublisher, SqliteSource};

use crate::support::{
    PATIENCE,
    nsqd::{HOLDS_BACK, Nsqd},
    socket,
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
        let settings = sqlite::Settings { path, max_in_flight: nonzero(max_in_flight), lease_timeout: lease };
        drop(SqlitePublisher::connect(&settings).expect("the queue opens"));
        // The owner of the file may add triggers.
        let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.body = CAST('refused' AS BLOB) \
                       BEGIN SELECT RAISE(ABORT, 'refused by its owner'); END";
        let connection = rusqlite::Connection::open(&settings.path).expect("the queue opens");
        connection.execute_batch(trigger).expect("a trigger");
        Self { settings, _folder: folder }
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

impl Refusing for Embedded {
    fn refused(&self) -> Bytes {
        "refused".into()
    }
}

/// The longest interval of heartbeats that nsqd allows: the shortest that it accepts.
const IMPATIENT_WITH_IDLE: [&str; 1] = ["-max-heartbeat-interval=1s"];

/// The number of leases that nsqd holds a message for, at most.
const MOST_LEASES: u32 = 10;

/// nsqd with its statistics at the expected port, or without them.
struct Nsq<const STATISTICS: bool> {
    server: Nsqd,
    settings: nsq::Settings,
    /// For publishers.
    proxy: Proxy,
}

impl<const STATISTICS: bool> Queue for Nsq<STATISTICS> {
    const IS_COUNTED: bool = STATISTICS;
    const ATTEMPTS: Attempts = Attempts::Counted;

    async fn open(max_in_flight: u64, lease: Duration) -> Self {
        // Starting a server and asking it blocks for a moment; no other task runs in these tests.
        let start = move || {
            // Leases can be extended only up to the second limit.
            let timeouts = [("msg", lease), ("max-msg", lease * MOST_LEASES)]
                .map(|(kind, time)| format!("-{kind}-timeout={}s", time.as_secs()));
            let options =
                [&timeouts.each_ref().map(String::as_str)[..], &HOLDS_BACK, &IMPATIENT_WITH_IDLE].concat();
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
            longest_run: lease * MOST_LEASES, // nsqd refuses to wait that long, and keeps to its own lease
        };
        let proxy = Proxy::new(socket(&server.tcp), &Injected::default());
        Self { server, settings, proxy }
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(NsqSource::connect(&self.settings).await.expect("nsqd answers"))
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        let proxy = self.proxy.address.to_string().parse().expect("an address");
        let settings = nsq::Settings { servers: Servers::Nsqd(vec![proxy]), ..self.settings.clone() };
        Box::new(NsqPublisher::connect(&settings).await.expect("nsqd answers"))
    }

    async fn counts(&self) -> (u64, u64) {
        std::thread::scope(|scope| {
            let depths = scope.spawn(|| self.server.depths("contract")).join().expect("statistics");
            (depths.waiting, depths.in_flight)
        })
    }
}

impl<const STATISTICS: bool> Refusing for Nsq<STATISTICS> {
    fn refused(&self) -> Bytes {
        vec![b' '; (1 << 20) + 1].into()
    }
}

impl<const STATISTICS: bool> Remote for Nsq<STATISTICS> {
    /// nsqd closes a connection that has not answered for two intervals of heartbeats.
    const SERVER_PATIENCE: Duration = Duration::from_secs(2);

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

publisher_suite!(embedded_publisher, Embedded, [every, order, refusals]);
publisher_suite!(nsqd_publisher, Nsq<true>, [every, order, refusals, network]);
source_suite!(embedded, Embedded, [every, window, delays, leases]);
source_suite!(nsqd, Nsq<true>, [every, window, listens, delays, leases]);
source_suite!(nsqd_without_statistics, Nsq<false>, [every, window, listens, delays, leases]);
