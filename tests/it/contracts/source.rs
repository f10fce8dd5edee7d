//! The contract of [`Source`].

use std::{num::NonZeroU64, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;
use x_msrv_contract::memory::source::MemoryQueue;
use x_msrv_core::{
    message::{Delivery, Settlement},
    source::{BYTES_IN_FLIGHT, Demand, Publisher, Received, Source},
};
use x_msrv_nsq::{
    source as nsq,
    source::{NsqPublisher, NsqSource, Servers},
};
use x_msrv_sqlite::{
    source as sqlite,
    source::{SqlitePublisher, SqliteSource},
};

use crate::support::{
    PATIENCE,
    nsqd::{HOLDS_BACK, Nsqd},
};

/// How long an unsettled message stays away in the tests that are about this.
const LEASE: Duration = Duration::from_secs(2);

/// The same in all others, so that a busy machine gives no message to anybody else.
const LONG_LEASE: Duration = Duration::from_secs(600);

fn nonzero(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not zero")
}

/// A queue of one kind.
trait Queue {
    async fn open(max_in_flight: u64, lease: Duration) -> Self;
    async fn source(&self) -> Box<dyn Source>;
    async fn publisher(&self) -> Box<dyn Publisher>;
    /// Whether it can tell its depth.
    const IS_COUNTED: bool;
    /// Waiting and in flight.
    async fn counts(&self) -> (u64, u64);
}

struct Memory(MemoryQueue);

impl Queue for Memory {
    const IS_COUNTED: bool = true;

    async fn open(max_in_flight: u64, lease: Duration) -> Self {
        Self(MemoryQueue::new(nonzero(max_in_flight), lease))
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.0.source())
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(self.0.clone())
    }

    async fn counts(&self) -> (u64, u64) {
        (self.0.depth() as u64, self.0.in_flight() as u64)
    }
}

struct Embedded {
    settings: sqlite::Settings,
    _folder: TempDir,
}

impl Queue for Embedded {
    const IS_COUNTED: bool = true;

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

/// nsqd with its statistics where they are looked for, or without them.
struct Nsq<const STATISTICS: bool> {
    server: Nsqd,
    settings: nsq::Settings,
}

impl<const STATISTICS: bool> Queue for Nsq<STATISTICS> {
    const IS_COUNTED: bool = STATISTICS;

    async fn open(max_in_flight: u64, lease: Duration) -> Self {
        // Starting a server and asking it blocks for a moment, and nothing else goes on in these tests.
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

async fn publish(queue: &impl Queue, count: usize) {
    let bodies: Vec<Bytes> = (0..count).map(|number| Bytes::from(format!("{{\"n\":{number}}}"))).collect();
    queue.publisher().await.publish(&bodies).await.expect("published");
}

fn demand(max_messages: u64) -> Demand {
    Demand { max_messages: nonzero(max_messages), idle_timeout: Duration::from_millis(20) }
}

async fn started(queue: &impl Queue, max_messages: u64) -> Box<dyn Source> {
    let mut source = queue.source().await;
    source.start(demand(max_messages)).await.expect("started");
    source
}

async fn receive(source: &mut Box<dyn Source>) -> Received {
    tokio::time::timeout(PATIENCE, source.receive()).await.expect("something is received")
}

/// Receives until `count` deliveries are there.
async fn take(source: &mut Box<dyn Source>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match receive(source).await {
            Received::Deliveries(mut deliveries) => {
                assert!(!deliveries.is_empty(), "a batch has at least one delivery");
                taken.append(&mut deliveries);
            }
            other => panic!("{count} deliveries were expected, {} came, then {other:?}", taken.len()),
        }
    }
    assert_eq!(taken.len(), count);
    taken
}

fn all(deliveries: Vec<Delivery>, settlement: Settlement) -> Vec<(Delivery, Settlement)> {
    deliveries.into_iter().map(|delivery| (delivery, settlement)).collect()
}

fn ids(deliveries: &[Delivery]) -> Vec<String> {
    let mut ids: Vec<_> = deliveries
        .iter()
        .map(|delivery| format!("{}/{}", delivery.message.origin, delivery.message.id))
        .collect();
    ids.sort_unstable();
    ids
}

async fn an_empty_queue_says_so(queue: &impl Queue) {
    let mut source = started(queue, 10).await;
    assert!(matches!(receive(&mut source).await, Received::Empty));
    source.close().await;
}

async fn what_is_published_is_delivered_once_and_finished(queue: &impl Queue) {
    publish(queue, 25).await;
    let mut source = started(queue, 100).await;
    let deliveries = take(&mut source, 25).await;
    let mut bodies: Vec<_> = deliveries.iter().map(|delivery| delivery.message.body.clone()).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 25);
    assert!(deliveries.iter().all(|delivery| delivery.message.attempts == 1));
    source.settle(all(deliveries, Settlement::Finish)).await;
    assert!(matches!(receive(&mut source).await, Received::Empty));
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// Fewer messages than are asked for must not be taken for none: nsqd holds them back for 250 ms, here for
/// longer than anybody waits.
async fn the_few_that_wait_come_at_once(queue: &impl Queue) {
    publish(queue, 9).await;
    let mut source = started(queue, 10).await;
    let deliveries = take(&mut source, 9).await;
    source.settle(all(deliveries, Settlement::Finish)).await;
    source.close().await;
}

async fn never_more_than_n_and_the_rest_stays(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 20).await;
    let mut taken = 0;
    while taken < 20 {
        // Settled as they come, so that every settlement could admit another message.
        let Received::Deliveries(deliveries) = receive(&mut source).await else { panic!("20 were allowed") };
        taken += deliveries.len();
        source.settle(all(deliveries, Settlement::Finish)).await;
    }
    assert_eq!(taken, 20);
    let closing = source.close().await;
    assert_eq!((closing.requeued, closing.unconfirmed), (0, 0));
    assert_eq!(queue.counts().await, (30, 0));
}

/// Whether runs keep up is asked of these numbers: where they are told, they have to be true. What an outage
/// had put off counted as nothing.
async fn how_much_is_left_is_told_truly_or_not_at_all(queue: &impl Queue) {
    const LATER: Settlement = Settlement::Requeue { delay: Duration::from_secs(60) };
    publish(queue, 50).await;
    let mut source = queue.source().await;
    assert_eq!(source.start(demand(20)).await.expect("started"), counted(queue, 50));
    let mut first = take(&mut source, 20).await;
    source.settle(all(first.split_off(15), LATER)).await;
    source.settle(all(first, Settlement::Finish)).await;
    assert_eq!(source.close().await.depth, counted(queue, 35));
    let mut source = queue.source().await;
    assert_eq!(source.start(demand(40)).await.expect("started"), counted(queue, 35));
    let rest = take(&mut source, 30).await;
    source.settle(all(rest, Settlement::Finish)).await;
    assert!(matches!(receive(&mut source).await, Received::Empty));
    assert_eq!(source.close().await.depth, counted(queue, 5), "nothing is to be had, and five are put off");
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let more = take(&mut source, 3).await;
    source.settle(all(more, LATER)).await;
    assert!(matches!(receive(&mut source).await, Received::Empty));
    assert_eq!(source.close().await.depth, counted(queue, 8), "three of them by this run");
}

/// Another's messages are not left to anybody: two who share a queue would each tell the other's as a
/// backlog.
async fn what_another_holds_is_not_left(queue: &impl Queue) {
    publish(queue, 10).await;
    let mut other = started(queue, 4).await;
    let theirs = take(&mut other, 4).await;
    let mut source = queue.source().await;
    assert_eq!(source.start(demand(6)).await.expect("started"), counted(queue, 6));
    let ours = take(&mut source, 6).await;
    source.settle(all(ours, Settlement::Finish)).await;
    assert_eq!(source.close().await.depth, counted(queue, 0));
    other.settle(all(theirs, Settlement::Finish)).await;
    assert_eq!(other.close().await.depth, counted(queue, 0));
}

fn counted<Q: Queue>(_queue: &Q, depth: u64) -> Option<u64> {
    Q::IS_COUNTED.then_some(depth)
}

async fn never_more_unsettled_than_the_limit(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 50).await;
    assert!(!source.is_full());
    let first = take(&mut source, 10).await;
    let more = tokio::time::timeout(Duration::from_millis(100), source.receive()).await;
    assert!(more.is_err() && source.is_full(), "ten are unsettled, which is the limit: {more:?}");
    source.settle(all(first, Settlement::Finish)).await;
    assert!(!source.is_full());
    let rest = take(&mut source, 10).await;
    source.settle(all(rest, Settlement::REQUEUE_NOW)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (40, 0));
}

async fn a_requeued_message_comes_again_as_the_same_and_one_attempt_on(queue: &impl Queue) {
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let first = take(&mut source, 3).await;
    let published = |deliveries: &[Delivery]| {
        deliveries.iter().map(|delivery| delivery.message.published).collect::<Vec<_>>()
    };
    let before = (ids(&first), published(&first));
    source.settle(all(first, Settlement::REQUEUE_NOW)).await;
    let again = take(&mut source, 3).await;
    assert_eq!((ids(&again), published(&again)), before);
    assert!(again.iter().all(|delivery| delivery.message.attempts == 2));
    source.settle(all(again, Settlement::Finish)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (0, 0));
}

async fn a_delay_keeps_a_message_away_for_so_long(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 10).await;
    let first = take(&mut source, 1).await;
    source.settle(all(first, Settlement::Requeue { delay: LEASE })).await;
    assert!(matches!(receive(&mut source).await, Received::Empty), "it does not come before its time");
    source.close().await;
    let mut source = wait_for_another(queue).await;
    let again = take(&mut source, 1).await;
    source.settle(all(again, Settlement::Finish)).await;
    source.close().await;
}

/// Sources until one of them finds something.
async fn wait_for_another(queue: &impl Queue) -> Box<dyn Source> {
    let waited = async {
        while queue.counts().await.0 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("the message comes back");
    started(queue, 10).await
}

/// What a crash leaves behind comes again: the fake has to show it as well, or tests above it would never see
/// a redelivery.
async fn what_was_never_settled_comes_again(queue: &impl Queue) {
    publish(queue, 5).await;
    let mut source = started(queue, 10).await;
    let lost = take(&mut source, 5).await;
    let before = ids(&lost);
    drop((source, lost));
    let waited = async {
        while queue.counts().await.0 < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("all of them come back");
    let mut source = started(queue, 10).await;
    let again = take(&mut source, 5).await;
    assert_eq!(ids(&again), before);
    source.settle(all(again, Settlement::Finish)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

async fn a_settlement_that_comes_too_late_is_told(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 1).await; // so that it does not get the message again itself
    let late = take(&mut source, 1).await;
    let mut second = wait_for_another(queue).await;
    let again = take(&mut second, 1).await;
    source.settle(all(late, Settlement::Finish)).await;
    assert_eq!(source.close().await.unconfirmed, 1);
    second.settle(all(again, Settlement::Finish)).await;
    assert_eq!(second.close().await.unconfirmed, 0);
}

async fn touching_keeps_a_message_ours(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 10).await;
    assert!(source.lease() <= LEASE);
    let deliveries = take(&mut source, 1).await;
    for _ in 0..6 {
        tokio::time::sleep(LEASE / 3).await;
        source.touch(deliveries.iter().collect()).await;
    }
    source.settle(all(deliveries, Settlement::Finish)).await;
    assert_eq!(source.close().await.unconfirmed, 0, "it was ours for twice the lease");
    assert_eq!(queue.counts().await, (0, 0));
}

/// A source may look after each mebibyte only.
async fn bodies_that_are_unsettled_are_bounded_together(queue: &impl Queue) {
    const COUNT: usize = 50;
    let body = Bytes::from(vec![b'x'; 900_000]);
    for _ in 0..COUNT {
        queue.publisher().await.publish(std::slice::from_ref(&body)).await.expect("published");
    }
    let mut source = started(queue, 100).await;
    let (mut unsettled, mut taken) = (Vec::new(), 0);
    while taken < COUNT {
        // Where nothing comes for a while, nothing comes before something is settled.
        match tokio::time::timeout(Duration::from_millis(300), source.receive()).await {
            Ok(Received::Deliveries(deliveries)) => {
                taken += deliveries.len();
                unsettled.extend(deliveries);
                assert!(
                    unsettled.len() * body.len() < BYTES_IN_FLIGHT + (3 << 20),
                    "{} at once",
                    unsettled.len()
                );
            }
            Ok(other) => panic!("{taken} came, then {other:?}"),
            Err(_) => {
                assert!(unsettled.len() * body.len() >= BYTES_IN_FLIGHT, "{} at once", unsettled.len());
                source.settle(all(std::mem::take(&mut unsettled), Settlement::Finish)).await;
            }
        }
    }
    source.settle(all(unsettled, Settlement::Finish)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

async fn receiving_loses_nothing_when_it_is_cancelled(queue: &impl Queue) {
    publish(queue, 200).await;
    let mut source = started(queue, 200).await;
    let mut seen = Vec::new();
    while seen.len() < 200 {
        // Dropped at once whenever nothing is there at this very moment.
        let received = tokio::select! { biased; received = source.receive() => Some(received), () = tokio::task::yield_now() => None };
        if let Some(Received::Deliveries(deliveries)) = received {
            seen.extend(ids(&deliveries));
            source.settle(all(deliveries, Settlement::Finish)).await;
        } else if let Some(other) = received {
            panic!("{} of 200, then {other:?}", seen.len());
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 200);
    source.close().await;
    assert_eq!(queue.counts().await, (0, 0));
}

async fn closing_leaves_nothing_in_flight(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 50).await;
    let Received::Deliveries(deliveries) = receive(&mut source).await else { panic!("fifty are waiting") };
    source.pause().await;
    source.settle(all(deliveries, Settlement::REQUEUE_NOW)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (50, 0));
}

macro_rules! source_contract {
    ($kind:ident, $queue:ty) => {
        mod $kind {
            use super::*;
            source_contract!(@each $queue, [
                an_empty_queue_says_so, what_is_published_is_delivered_once_and_finished, the_few_that_wait_come_at_once,
                never_more_than_n_and_the_rest_stays, how_much_is_left_is_told_truly_or_not_at_all, what_another_holds_is_not_left, never_more_unsettled_than_the_limit,
                bodies_that_are_unsettled_are_bounded_together, a_requeued_message_comes_again_as_the_same_and_one_attempt_on, a_delay_keeps_a_message_away_for_so_long,
                what_was_never_settled_comes_again, a_settlement_that_comes_too_late_is_told, touching_keeps_a_message_ours,
                receiving_loses_nothing_when_it_is_cancelled, closing_leaves_nothing_in_flight,
            ]);
        }
    };
    (@each $queue:ty, [$($claim:ident,)*]) => {
        $(
            #[tokio::test]
            async fn $claim() {
                let limit = if stringify!($claim) == "never_more_unsettled_than_the_limit" { 10 } else { 100 };
                let is_about_leases = ["what_was_never_settled_comes_again", "a_settlement_that_comes_too_late_is_told", "touching_keeps_a_message_ours"];
                let lease = if is_about_leases.contains(&stringify!($claim)) { LEASE } else { LONG_LEASE };
                super::$claim(&<$queue>::open(limit, lease).await).await;
            }
        )*
    };
}

source_contract!(memory, Memory);
source_contract!(embedded, Embedded);
source_contract!(nsqd, Nsq<true>);
source_contract!(nsqd_without_statistics, Nsq<false>);
