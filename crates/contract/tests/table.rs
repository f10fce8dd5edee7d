//! The promises of a run on every kind of queue with every kind of store, in paused time.
//!
//! A promise that one queue keeps by its own rules is not a promise of the run. "Stored once", for example,
//! may hold only because the queue delays redeliveries; it would not hold on a queue that requeues at once.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::Instant;

use x_msrv_contract::memory::{
    dead_letter::MemoryDeadLetter, no_delay::NoDelayQueue, position::PositionQueue, requests::Requests,
    source::MemoryQueue, store::MemoryStore,
};
use x_msrv_core::{
    answer,
    budget::StopReason,
    decode::{BigIntegers, ContentEncoding, Decoder, KeyRule, Rejection, Router, Target},
    exit::Exit,
    fault::{Blame, Fault},
    layers::Bisect,
    message::Message,
    record::{Fields, Key, Value},
    report::RunReport,
    run::{Failures, Limits, Parts, run},
    source::{Outgoing, Publisher, Source},
    store::{BatchLimits, Gather, Store},
};
use x_msrv_json::Json;

/// A queue of one kind.
#[derive(Clone)]
enum Queue {
    Delayed(MemoryQueue),
    Position(PositionQueue),
    NoDelay(NoDelayQueue),
    Requests(Requests),
}

/// The limit on unsettled messages.
const WINDOW: u64 = 20;

/// The limit on messages of a run.
const N: u64 = 10;

impl Queue {
    /// Creates a queue of each kind.
    fn all() -> Vec<(&'static str, Self)> {
        let window = NonZeroU64::new(WINDOW).expect("not zero");
        vec![
            ("delayed", Self::Delayed(MemoryQueue::new(window, Duration::from_secs(60)))),
            ("position with marks", Self::Position(PositionQueue::new(WINDOW, 1_000))),
            ("position without marks", Self::Position(PositionQueue::new(WINDOW, 0))),
            ("no delay", Self::NoDelay(NoDelayQueue::new(WINDOW, None))),
            ("no delay, with a limit", Self::NoDelay(NoDelayQueue::new(WINDOW, Some(50)))),
            ("requests", Self::Requests(Requests::default())),
        ]
    }

    fn source(&self) -> Box<dyn Source> {
        match self {
            Self::Delayed(queue) => Box::new(queue.source()),
            Self::Position(queue) => Box::new(queue.source()),
            Self::NoDelay(queue) => Box::new(queue.source()),
            Self::Requests(queue) => Box::new(queue.source()),
        }
    }

    fn publisher(&self) -> &dyn Publisher {
        match self {
            Self::Delayed(queue) => queue,
            Self::Position(queue) => queue,
            Self::NoDelay(queue) => queue,
            Self::Requests(queue) => queue,
        }
    }

    async fn publish(&self, numbers: std::ops::Range<i64>) {
        let bodies = numbers.map(|number| Bytes::from(format!("{{\"n\":{number}}}")));
        let outgoing: Vec<_> = bodies.map(|body| Outgoing { body, ..Outgoing::default() }).collect();
        let count = outgoing.len();
        let (batch, verdicts) = answer::batch(outgoing.into_iter());
        self.publisher().publish(batch).await;
        assert_eq!(verdicts.take(), vec![Some(Ok(())); count]);
    }

    /// Returns the number of unsettled messages, and whether any of them is in flight.
    fn left(&self) -> (u64, bool) {
        let (waiting, in_flight) = match self {
            Self::Delayed(queue) => (queue.len() as u64, queue.in_flight() as u64),
            Self::Position(queue) => (queue.lag(), 0),
            Self::NoDelay(queue) => {
                let (waiting, taken) = queue.counts();
                (waiting + taken, taken)
            }
            Self::Requests(queue) => {
                let (waiting, taken) = queue.counts();
                (waiting + taken, taken)
            }
        };
        (waiting, in_flight > 0)
    }
}

/// Creates a store of each kind.
fn stores() -> Vec<(&'static str, MemoryStore)> {
    vec![
        ("idempotent", MemoryStore::default()),
        ("create-only", MemoryStore::create_only()),
        ("whole batch", MemoryStore::whole_batch()),
        ("append-only", MemoryStore::append_only()),
        ("gathering", MemoryStore::default().gathering(8)),
        ("gathering whole batches", MemoryStore::whole_batch().gathering(8)),
    ]
}

/// Failure counts across runs, in memory.
#[derive(Default)]
struct Counted(BTreeMap<Key, u32>);

impl Failures for Counted {
    fn count(&mut self, key: &Key) -> u32 {
        let count = self.0.entry(key.clone()).or_default();
        *count += 1;
        *count
    }

    fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

/// A queue, stores, and what runs leave behind.
struct Scene {
    queue: Queue,
    stores: Vec<MemoryStore>,
    router: Option<fn(&Fields) -> usize>,
    dead_letter: MemoryDeadLetter,
    failures: Counted,
    limits: Limits,
}

/// Routes by a function of the fields.
struct ByFields(fn(&Fields) -> usize);

impl Router for ByFields {
    fn route(&self, _: &Message, fields: &Fields) -> Result<usize, Rejection> {
        match (self.0)(fields) {
            usize::MAX => Err(Rejection::NoRoute),
            store => Ok(store),
        }
    }
}

impl Scene {
    fn new(queue: &Queue, store: &MemoryStore) -> Self {
        let limits = Limits {
            max_messages: NonZeroU64::new(N).expect("not zero"),
            timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_millis(10),
            shutdown_timeout: Duration::from_secs(5),
            max_attempts: 3,
        };
        Self {
            queue: queue.clone(),
            stores: vec![store.clone()],
            router: None,
            dead_letter: MemoryDeadLetter::default(),
            failures: Counted::default(),
            limits,
        }
    }

    fn store(&self) -> &MemoryStore {
        &self.stores[0]
    }

    async fn run(&mut self) -> RunReport {
        self.run_until(std::future::pending()).await
    }

    async fn run_until(&mut self, shutdown: impl Future<Output = ()>) -> RunReport {
        let decoder = Decoder {
            max_size: 1 << 20,
            encoding: ContentEncoding::Identity,
            codec: Box::new(Json { big_integers: BigIntegers::Reject }),
            key: KeyRule::Field("/n".to_owned()),
            schema: None,
            router: self.router.map(|route| Box::new(ByFields(route)) as Box<dyn Router>),
            targets: vec![Target::default(); self.stores.len()],
        };
        let stores: Vec<_> = self.stores.iter().map(|store| Bisect(store.clone())).collect();
        let parts = Parts {
            source: self.queue.source(),
            stores: stores.iter().map(|store| store as &dyn Store).collect(),
            dead_letter: &mut self.dead_letter,
            decoder: &decoder,
            failures: &mut self.failures,
            clock: || SystemTime::UNIX_EPOCH,
            began: Instant::now(),
            progress: &Cell::default(),
        };
        let report = run(parts, self.limits, shutdown).await.expect("an in-memory queue is always reachable");
        let counters = report.counters;
        assert!(counters.add_up(), "every message is accounted for: {report}");
        assert!(
            counters.received <= self.limits.max_messages.get() + counters.requeued,
            "at most N: {report}"
        );
        assert!(!self.queue.left().1, "nothing stays in flight: {report}");
        report
    }

    /// Runs until the queue is empty, with a wait as long as the longest delay in between. That it becomes
    /// empty is a promise as well.
    async fn drain(&mut self) -> Vec<RunReport> {
        let mut reports = Vec::new();
        while self.queue.left().0 > 0 {
            assert!(reports.len() < 40, "the queue does not become empty: {:?}", reports.last());
            reports.push(self.run().await);
            tokio::time::advance(Duration::from_secs(300)).await;
        }
        reports
    }

    /// Asserts that exactly these messages are stored, once each.
    #[track_caller]
    fn assert_stored(&self, what: &str, numbers: impl IntoIterator<Item = i64>) {
        let expected: BTreeSet<_> = numbers.into_iter().map(Key::Int).collect();
        let stored: BTreeSet<_> = self.stores.iter().flat_map(|store| store.records().into_keys()).collect();
        assert_eq!(stored, expected, "{what}");
        let rows: usize = self.stores.iter().map(MemoryStore::rows).sum();
        // A log without marks delivers settled messages again after one that is not settled. An append-only
        // store then stores them once more, as `check` and the documentation say.
        let may_double = what.starts_with("position without") && what.ends_with("append-only");
        assert!(rows == expected.len() || may_double, "{what}: each once, not {rows} rows");
    }
}

/// Runs a scene with every pair of queue and store.
async fn on_all(scene: impl AsyncFn(&str, Scene)) {
    for store in 0..stores().len() {
        for (queue_name, queue) in Queue::all() {
            let (store_name, store) = stores().swap_remove(store);
            scene(&format!("{queue_name} into {store_name}"), Scene::new(&queue, &store)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_is_stored_once_and_the_queue_becomes_empty() {
    on_all(async |what, mut scene| {
        scene.queue.publish(0..35).await;
        let reports = scene.drain().await;
        scene.assert_stored(what, 0..35);
        assert!(reports.iter().all(|report| report.exit() == Exit::Success), "{what}: {reports:?}");
        let received: u64 = reports.iter().map(|report| report.counters.received).sum();
        assert_eq!((received, reports.len()), (35, 4), "{what}: in as few runs as N allows");
        assert_eq!(scene.run().await.stop_reason, StopReason::QueueEmpty, "{what}");
    })
    .await;
}

/// A message that is requeued because of an outage is not delivered to the same run again. On a queue that
/// requeues at once it would be, for as long as the run lasts.
#[tokio::test(start_paused = true)]
async fn an_outage_loses_nothing_and_duplicates_nothing() {
    on_all(async |what, mut scene| {
        scene.queue.publish(0..35).await;
        for number in [0, 3, 4, 12] {
            scene.store().fail_once(Key::Int(number), Fault::new(Blame::Outage, "down"));
        }
        let first = scene.run().await;
        assert_eq!(first.exit(), Exit::TemporaryFailure, "{what}: {first}");
        assert!(first.counters.received <= N, "{what}: none was delivered twice: {first}");
        tokio::time::advance(Duration::from_secs(300)).await;
        scene.drain().await;
        scene.assert_stored(what, 0..35);
        assert!(scene.dead_letter.letters().is_empty(), "{what}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_record_at_fault_becomes_one_dead_letter_and_affects_no_other_record() {
    on_all(async |what, mut scene| {
        scene.queue.publish(0..25).await;
        scene.store().fail(Key::Int(7), Fault::new(Blame::Record, "too long"));
        scene.drain().await;
        scene.assert_stored(what, (0..25).filter(|number| *number != 7));
        let letters = scene.dead_letter.letters();
        assert_eq!(letters.len(), 1, "{what}");
        assert_eq!(
            (letters[0].reason.as_str(), letters[0].detail.as_str()),
            ("refused", "refused by the store: too long")
        );
    })
    .await;
}

/// If the queue does not count deliveries, failures are counted by key across runs. Without that, such a
/// message would be retried forever.
#[tokio::test(start_paused = true)]
async fn a_message_that_fails_for_unknown_reasons_is_rejected_at_the_attempts_limit_on_every_queue() {
    on_all(async |what, mut scene| {
        scene.queue.publish(0..5).await;
        scene.store().fail(Key::Int(2), Fault::new(Blame::Unknown, "code 99"));
        let reports = scene.drain().await;
        scene.assert_stored(what, [0, 1, 3, 4]);
        let letters = scene.dead_letter.letters();
        assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "too-many-attempts"), "{what}");
        assert_eq!(reports.len(), 3, "{what}: up to the limit");
        assert!(scene.failures.0.is_empty(), "{what}: settled records are forgotten");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_during_a_slow_write_leaves_every_message_stored_or_in_the_queue() {
    on_all(async |what, mut scene| {
        scene.queue.publish(0..30).await;
        scene.limits.max_messages = NonZeroU64::new(30).expect("not zero");
        scene.stores[0] = scene.store().slow(Duration::from_secs(1));
        let report = scene.run_until(tokio::time::sleep(Duration::from_millis(500))).await;
        assert_eq!(report.counters.deferred, 0, "{what}: {report}");
        let (stored, left) = (scene.store().rows() as u64, scene.queue.left().0);
        assert_eq!((stored, stored + left), (report.counters.stored, 30), "{what}: {report}");
        if matches!(scene.queue, Queue::Requests(_)) {
            assert_eq!(
                report.counters.requeued, 0,
                "{what}: requests that were taken are answered: {report}"
            );
        }
        tokio::time::advance(Duration::from_secs(300)).await;
        scene.drain().await;
        scene.assert_stored(what, 0..30);
    })
    .await;
}

/// A gathering store receives large batches, and its gathered records are written when nothing more can
/// arrive.
#[tokio::test(start_paused = true)]
async fn a_gathering_store_is_written_at_its_limit_at_a_full_window_and_at_an_idle_queue() {
    for (name, queue) in Queue::all() {
        let mut scene = Scene::new(&queue, &MemoryStore::default().gathering(8));
        scene.limits.max_messages = NonZeroU64::new(1_000).expect("not zero");
        scene.queue.publish(0..19).await;
        let report = scene.run().await;
        assert_eq!(report.stop_reason, StopReason::QueueEmpty, "{name}: {report}");
        assert_eq!(scene.store().batches(), [8, 8, 3], "{name}");
        // More than the window holds: a batch that waits for more would wait forever.
        if matches!(queue, Queue::Requests(_)) {
            continue; // it has no window
        }
        let mut scene = Scene::new(&queue, &MemoryStore::default().gathering(1_000));
        scene.limits.max_messages = NonZeroU64::new(1_000).expect("not zero");
        scene.queue.publish(19..69).await;
        let report = scene.run().await;
        assert_eq!(
            (report.stop_reason, report.counters.stored),
            (StopReason::QueueEmpty, 50),
            "{name}: {report}"
        );
        assert_eq!(scene.store().batches(), [20, 20, 10], "{name}");
    }
}

/// A batch that no run fills was released at the deadline by every run, and never stored.
#[tokio::test(start_paused = true)]
async fn gathered_records_are_written_at_the_end_of_a_run_and_at_the_limit_on_memory() {
    for (name, queue) in Queue::all() {
        let mut scene = Scene::new(&queue, &MemoryStore::default().gathering(1_000));
        scene.limits.max_messages = NonZeroU64::new(1_000).expect("not zero");
        scene.limits.idle_timeout = Duration::from_secs(3_600);
        scene.queue.publish(0..5).await;
        let report = scene.run_until(tokio::time::sleep(Duration::from_secs(1))).await;
        assert_eq!((report.counters.stored, report.counters.requeued), (5, 0), "{name}: {report}");
    }
    let window = NonZeroU64::new(100).expect("not zero");
    let queue = MemoryQueue::new(window, Duration::from_secs(60));
    let limits = BatchLimits { bytes: 1 << 30, gather: Gather::UntilIdle, ..BatchLimits::new(1_000, 1) };
    let mut scene = Scene::new(&Queue::Delayed(queue.clone()), &MemoryStore::default().limited(limits));
    scene.limits.max_messages = NonZeroU64::new(1_000).expect("not zero");
    scene.limits.idle_timeout = Duration::from_secs(3_600);
    for number in 0..12 {
        queue.push(format!("{{\"n\":{number},\"x\":\"{}\"}}", "x".repeat(1_000_000)).as_bytes());
    }
    scene.run_until(tokio::time::sleep(Duration::from_secs(1))).await;
    assert_eq!(scene.store().batches(), [9, 3], "not all 12 MB at once");
    scene.assert_stored("large", 0..12);
}

/// Held messages that fill the window leave no room for others: the run must end instead of waiting for its
/// deadline.
#[tokio::test(start_paused = true)]
async fn held_messages_that_fill_the_window_end_the_run() {
    let queue = NoDelayQueue::new(5, None);
    let mut scene = Scene::new(&Queue::NoDelay(queue), &MemoryStore::default());
    scene.limits.max_messages = NonZeroU64::new(100).expect("not zero");
    // One stored message shows that the outage is not the whole store's.
    scene.queue.publish(0..100).await;
    for number in 0..100 {
        if number % 5 != 0 {
            scene.store().fail_once(Key::Int(number), Fault::new(Blame::Outage, "down"));
        }
    }
    let began = Instant::now();
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::StoreUnavailable, Exit::TemporaryFailure));
    assert!(began.elapsed() < Duration::from_secs(1), "it did not wait for its deadline: {report}");
    assert_eq!(scene.queue.left(), (100 - report.counters.stored, false));
}

/// A queue that reports "nothing ready" while messages are on their way made a run end as if the queue were
/// empty, and cost each message a delivery.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_contradicts_an_inference_is_taken_and_the_run_continues() {
    let queue = NoDelayQueue::new(WINDOW, None);
    let mut scene = Scene::new(&Queue::NoDelay(queue.clone()), &MemoryStore::default());
    scene.limits.max_messages = NonZeroU64::new(100).expect("not zero");
    scene.queue.publish(0..3).await;
    queue.push_late(b"{\"n\":3}");
    queue.push_late(b"{\"n\":4}");
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::QueueEmpty, Exit::Success), "{report}");
    assert_eq!(report.counters.requeued, 0, "{report}");
    scene.assert_stored("late", 0..5);
}

/// A queue that silently drops a message after some deliveries would lose it during an outage.
#[tokio::test(start_paused = true)]
async fn the_last_delivery_of_a_message_is_kept_as_a_dead_letter_and_never_requeued() {
    let queue = NoDelayQueue::new(WINDOW, Some(3));
    let mut scene = Scene::new(&Queue::NoDelay(queue.clone()), &MemoryStore::default());
    scene.queue.publish(0..4).await;
    scene.store().fail(Key::Int(2), Fault::new(Blame::Outage, "down"));
    let reports = scene.drain().await;
    assert_eq!((reports.len(), queue.dropped()), (3, 0), "the queue has dropped nothing");
    scene.assert_stored("the others", [0, 1, 3]);
    let letters = scene.dead_letter.letters();
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "last-delivery"));
    let last = reports.last().expect("three runs");
    assert_eq!((last.exit(), last.counters.given_up), (Exit::TemporaryFailure, 1), "{last}");
    // A message that was not started, and would be dropped, is kept as well.
    let queue = NoDelayQueue::new(WINDOW, Some(1));
    let mut scene =
        Scene::new(&Queue::NoDelay(queue.clone()), &MemoryStore::default().slow(Duration::from_secs(1)));
    scene.stores[0] = scene.store().limited(BatchLimits::new(2, 1));
    scene.queue.publish(0..6).await;
    let report = scene.run_until(tokio::time::sleep(Duration::from_millis(500))).await;
    let letters = scene.dead_letter.letters().len() as u64;
    assert_eq!((queue.dropped(), report.counters.stored + letters), (0, 6), "{report}");
    assert!(letters > 0 && report.exit() == Exit::TemporaryFailure, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_after_it_is_stored_and_one_without_a_reply_subject_is_refused() {
    let requests = Requests::default();
    let mut scene = Scene::new(&Queue::Requests(requests.clone()), &MemoryStore::default());
    scene.queue.publish(0..3).await;
    requests.tell(b"{\"n\":9}");
    scene.store().fail_once(Key::Int(1), Fault::new(Blame::Outage, "down"));
    let report = scene.run().await;
    assert_eq!((report.counters.stored, report.counters.rejected, report.counters.requeued), (2, 1, 1));
    assert_eq!(requests.replies(), 3, "two are stored, and the dead letter has one");
    assert_eq!(scene.dead_letter.letters()[0].reason, "no-reply");
    scene.drain().await;
    scene.assert_stored("requests", 0..3);
}

/// A store with an outage stopped messages for all other stores.
#[tokio::test(start_paused = true)]
async fn a_store_with_an_outage_does_not_stop_messages_for_another() {
    let by_parity = |fields: &Fields| match fields.first() {
        Some((_, Value::Int(number))) if *number >= 100 => usize::MAX,
        Some((_, Value::Int(number))) => usize::try_from(number % 2).unwrap_or(0),
        _ => usize::MAX,
    };
    for (name, queue) in Queue::all() {
        let mut scene = Scene::new(&queue, &MemoryStore::default());
        scene.stores.push(MemoryStore::default());
        scene.router = Some(by_parity);
        scene.limits.max_messages = NonZeroU64::new(1_000).expect("not zero");
        scene.queue.publish(0..20).await;
        scene.queue.publish(100..101).await;
        for number in (1..20).step_by(2) {
            scene.stores[1].fail(Key::Int(number), Fault::new(Blame::Outage, "down"));
        }
        let report = scene.run().await;
        assert_eq!(report.stop_reason, StopReason::QueueEmpty, "{name}: {report}");
        let counters = report.counters;
        assert_eq!((counters.stored, counters.rejected, counters.requeued), (10, 1, 10), "{name}: {report}");
        assert_eq!(report.exit(), Exit::TemporaryFailure, "{name}: {report}");
        scene.stores[1].recover();
        tokio::time::advance(Duration::from_secs(300)).await;
        scene.drain().await;
        scene.assert_stored(name, 0..20);
        assert_eq!(
            scene.dead_letter.letters().first().map(|letter| letter.reason.clone()),
            Some("no-route".into())
        );
    }
}

/// Settled messages after an unsettled one are delivered again if marks do not fit: that is reported, and is
/// not an error.
#[tokio::test(start_paused = true)]
async fn redeliveries_after_a_pinned_position_are_reported() {
    for (marks, behind) in [(0, 5), (3, 2), (100, 0)] {
        let queue = PositionQueue::new(WINDOW, marks);
        let mut scene = Scene::new(&Queue::Position(queue), &MemoryStore::default());
        scene.queue.publish(0..8).await;
        scene.store().fail_once(Key::Int(2), Fault::new(Blame::Outage, "down"));
        let report = scene.run().await;
        assert_eq!(
            (report.counters.behind, report.counters.requeued),
            (behind, 1),
            "{marks} marks: {report}"
        );
        scene.drain().await;
        scene.assert_stored("log", 0..8);
    }
}
