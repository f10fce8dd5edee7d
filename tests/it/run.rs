//! The run with queues, stores and dead letters in memory, in paused time: an hour takes no time here.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

use x_msrv_contract::memory::{
    dead_letter::MemoryDeadLetter,
    source::{MemoryQueue, MemorySource},
    store::MemoryStore,
};
use x_msrv_core::{
    BoxFuture,
    budget::StopReason,
    dead_letter::{self, DeadLetter, DeadLetterError, Letter},
    decode::{BigIntegers, ContentEncoding, Decoder, KeyRule, Target},
    exit::Exit,
    fault::{Blame, Fault},
    message::{Delivery, Settlement},
    record::Key,
    report::RunReport,
    run::{Limits, NotCounted, Parts, run},
    source::{Closed, Consumer, Demand, Event, Source, SourceError, SourceTraits, Started},
    store::{self, BatchLimits, Store, StoreError, StoreTraits},
};
use x_msrv_json::Json;

const LEASE: Duration = Duration::from_secs(60);

struct Scene {
    queue: MemoryQueue,
    store: MemoryStore,
    dead_letter: MemoryDeadLetter,
    limits: Limits,
}

impl Scene {
    fn new(max_messages: u64, max_in_flight: u64) -> Self {
        let nonzero = |number| NonZeroU64::new(number).expect("not zero");
        let limits = Limits {
            max_messages: nonzero(max_messages),
            timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_millis(10),
            shutdown_timeout: Duration::from_secs(5),
            max_attempts: 5,
        };
        let queue = MemoryQueue::new(nonzero(max_in_flight), LEASE);
        Self { queue, store: MemoryStore::default(), dead_letter: MemoryDeadLetter::default(), limits }
    }

    fn with(max_messages: u64, published: u64) -> Self {
        let scene = Self::new(max_messages, 100);
        scene.publish(published);
        scene
    }

    fn publish(&self, count: u64) {
        (0..count).for_each(|number| self.queue.push(format!("{{\"n\":{number}}}").as_bytes()));
    }

    async fn run(&mut self) -> RunReport {
        self.run_until(std::future::pending()).await
    }

    async fn run_until(&mut self, shutdown: impl Future<Output = ()>) -> RunReport {
        self.run_with(
            Box::new(self.queue.source()),
            &self.store.clone(),
            &mut self.dead_letter.clone(),
            shutdown,
        )
        .await
    }

    /// A run with these parts instead of the scene's own.
    async fn run_with(
        &self,
        source: Box<dyn Source>,
        store: &dyn Store,
        dead_letter: &mut dyn DeadLetter,
        shutdown: impl Future<Output = ()>,
    ) -> RunReport {
        let decoder = Decoder {
            max_size: 1 << 20,
            encoding: ContentEncoding::Identity,
            key: KeyRule::Message,
            codec: Box::new(Json { big_integers: BigIntegers::Reject }),
            schema: None,
            router: None,
            targets: vec![Target::default()],
        };
        let parts = Parts {
            source,
            stores: vec![store],
            dead_letter,
            decoder: &decoder,
            failures: &mut NotCounted,
            clock: || SystemTime::UNIX_EPOCH,
            began: tokio::time::Instant::now(),
            progress: &Cell::default(),
        };
        run(parts, self.limits, shutdown).await.expect("the queue in memory can be reached")
    }
}

fn key(number: u64) -> Key {
    Key::Text(format!("memory/{number}"))
}

#[track_caller]
fn assert_counts(report: &RunReport, expected: [u64; 5]) {
    let counters = report.counters;
    let found =
        [counters.received, counters.stored, counters.duplicate, counters.rejected, counters.requeued];
    assert_eq!(found, expected, "received, stored, duplicate, rejected, requeued: {report}");
}

/// A run that takes more than N costs the other messages an attempt.
#[tokio::test(start_paused = true)]
async fn n_messages_are_stored_and_the_rest_is_untouched() {
    for (max_messages, published) in [(1, 5), (10, 10), (10, 11), (250, 1_000)] {
        let mut scene = Scene::with(max_messages, published);
        let report = scene.run().await;
        assert_eq!(report.stop_reason, StopReason::LimitReached);
        assert_counts(&report, [max_messages, max_messages, 0, 0, 0]);
        assert_eq!(scene.store.records().len() as u64, max_messages);
        assert_eq!((scene.queue.depth() as u64, scene.queue.in_flight()), (published - max_messages, 0));
    }
}

/// Otherwise each run on an empty queue would last for its whole timeout.
#[tokio::test(start_paused = true)]
async fn an_empty_queue_ends_the_run_after_the_idle_timeout() {
    let mut scene = Scene::with(10, 3);
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::QueueEmpty, Exit::Success));
    assert_counts(&report, [3, 3, 0, 0, 0]);
    assert!(report.elapsed < Duration::from_millis(50), "{:?}", report.elapsed);
}

/// Otherwise an invalid message would be delivered forever.
#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_stored_are_dead_letters_and_acknowledged() {
    let mut scene = Scene::new(10, 100);
    for body in ["{}", "not JSON", "[1]", "{\"a\":1,\"a\":2}"] {
        scene.queue.push(body.as_bytes());
    }
    let report = scene.run().await;
    assert_counts(&report, [4, 1, 0, 3, 0]);
    assert_eq!(report.counters.dead_lettered, 3);
    let letters = scene.dead_letter.letters();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["not-json", "not-object", "duplicate-field"]);
    assert!(scene.queue.is_empty());
}

/// Otherwise the message would be lost.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_cannot_be_written_keeps_the_message_in_the_queue() {
    let mut scene = Scene::with(10, 2);
    scene.queue.push(b"not JSON");
    scene.dead_letter = MemoryDeadLetter::broken();
    let report = scene.run().await;
    assert_counts(&report, [3, 2, 0, 0, 1]);
    assert_eq!(report.exit(), Exit::TemporaryFailure);
    assert_eq!(scene.queue.len(), 1);
}

/// Without a delay the next run would take the same messages at once.
#[tokio::test(start_paused = true)]
async fn a_store_outage_requeues_with_a_delay_and_exits_75() {
    let mut scene = Scene::with(10, 3);
    scene.store.fail_once(key(2), Fault::new(Blame::Outage, "down"));
    let report = scene.run().await;
    assert_counts(&report, [3, 2, 0, 0, 1]);
    assert_eq!(report.exit(), Exit::TemporaryFailure);
    assert_eq!((scene.queue.len(), scene.queue.depth()), (1, 0), "it stays in the queue and is delayed");
    tokio::time::advance(Duration::from_secs(1)).await;
    let report = scene.run().await;
    assert_counts(&report, [1, 1, 0, 0, 0]);
    assert_eq!(scene.store.records().len(), 3);
}

/// Otherwise one poison message would be delivered forever.
#[tokio::test(start_paused = true)]
async fn a_message_that_fails_too_often_for_unknown_reasons_is_a_dead_letter() {
    let mut scene = Scene::with(10, 1);
    for attempt in 1..=5 {
        assert!(scene.dead_letter.letters().is_empty(), "attempt {attempt}");
        scene.store.fail_once(key(1), Fault::new(Blame::Unknown, "busy"));
        scene.run().await;
        tokio::time::advance(Duration::from_secs(300)).await;
    }
    let letters = scene.dead_letter.letters();
    assert_eq!(
        (letters.len(), letters[0].reason.as_str(), letters[0].attempts),
        (1, "too-many-attempts", Some(5))
    );
    assert!(letters[0].detail.contains("busy"), "{}", letters[0].detail);
    assert!(scene.queue.is_empty());
}

/// A namespace without room for another set refused every record with a code that blames records: all of them
/// became dead letters, and the run exited 0.
#[tokio::test(start_paused = true)]
async fn records_that_all_fail_alike_before_any_is_stored_are_requeued() {
    for (error, stop_reason, exit) in [
        (Fault::new(Blame::Suspect, "code 4"), StopReason::StoreSetup, Exit::Configuration),
        (Fault::new(Blame::Unknown, "code 99"), StopReason::StoreUnavailable, Exit::TemporaryFailure),
    ] {
        let mut scene = Scene::with(100, 10);
        // However often they are delivered.
        for _ in 0..7 {
            (1..=10).for_each(|number| scene.store.fail_once(key(number), error.clone()));
            let report = scene.run().await;
            assert_eq!((report.stop_reason, report.exit()), (stop_reason, exit), "{report}");
            assert_counts(&report, [10, 0, 0, 0, 10]);
            tokio::time::advance(Duration::from_secs(300)).await;
        }
        assert!(scene.dead_letter.letters().is_empty());
        assert_counts(&scene.run().await, [10, 10, 0, 0, 0]);
    }
}

/// One poison message must not stop the pipeline forever.
#[tokio::test(start_paused = true)]
async fn a_refused_record_is_a_dead_letter_at_once_among_others_and_after_its_attempts_alone() {
    let suspect = || Fault::new(Blame::Suspect, "code 4");
    let mut scene = Scene::with(10, 10);
    scene.store.fail_once(key(7), suspect());
    assert_counts(&scene.run().await, [10, 9, 0, 1, 0]);
    assert_eq!(scene.dead_letter.letters()[0].detail, "refused by the store: code 4");
    let mut alone = Scene::with(10, 1);
    for attempt in 1..=5 {
        assert!(alone.dead_letter.letters().is_empty(), "attempt {attempt}");
        alone.store.fail_once(key(1), suspect());
        alone.run().await;
        tokio::time::advance(Duration::from_secs(300)).await;
    }
    assert_eq!(alone.dead_letter.letters()[0].reason, "too-many-attempts");
    assert!(alone.queue.is_empty());
}

/// Five short outages must not turn a backlog of valid messages into dead letters.
#[tokio::test(start_paused = true)]
async fn a_message_outlives_any_number_of_outages() {
    let mut scene = Scene::with(10, 1);
    for _ in 0..20 {
        scene.store.fail_once(key(1), Fault::new(Blame::Outage, "down"));
        assert_eq!(scene.run().await.exit(), Exit::TemporaryFailure);
        tokio::time::advance(Duration::from_secs(300)).await;
    }
    assert_counts(&scene.run().await, [1, 1, 0, 0, 0]);
    assert!(scene.dead_letter.letters().is_empty());
}

/// The queue may be known to be empty while the store still has the last messages; an outage then is the more
/// important stop reason.
#[tokio::test(start_paused = true)]
async fn an_outage_on_the_last_messages_of_a_queue_is_reported() {
    let mut scene = Scene::with(100, 5);
    scene.store = scene.store.slow(Duration::from_millis(200));
    for number in 1..=5 {
        scene.store.fail_once(key(number), Fault::new(Blame::Outage, "down"));
    }
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::StoreUnavailable, Exit::TemporaryFailure));
    assert_counts(&report, [5, 0, 0, 0, 5]);
}

/// A run that keeps taking messages for a store that accepts none costs each of them a delivery and a delay.
#[tokio::test(start_paused = true)]
async fn a_batch_without_a_stored_record_ends_the_run() {
    let mut scene = Scene::new(10_000, 100);
    scene.publish(5_000);
    for number in 1..=5_000 {
        scene.store.fail_once(key(number), Fault::new(Blame::Outage, "down"));
    }
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::StoreUnavailable, Exit::TemporaryFailure));
    assert!(report.counters.received <= 200, "{report}");
    assert_eq!(scene.queue.in_flight(), 0);
}

/// Killed runs cost attempts, but that says nothing against the message.
#[tokio::test(start_paused = true)]
async fn a_valid_message_is_stored_after_any_number_of_deliveries() {
    let mut scene = Scene::with(10, 1);
    for _ in 0..20 {
        let killed = tokio::time::timeout(Duration::from_millis(5), async {
            scene.store = scene.store.slow(Duration::from_secs(1));
            scene.run().await
        });
        killed.await.expect_err("killed in the middle");
        tokio::time::advance(LEASE).await;
    }
    scene.store = scene.store.slow(Duration::ZERO);
    let report = scene.run().await;
    assert_counts(&report, [1, 1, 0, 0, 0]);
    assert!(scene.dead_letter.letters().is_empty());
}

/// Otherwise an operator could not know why the store refused the record.
#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_is_a_dead_letter_with_its_reason() {
    let mut scene = Scene::with(10, 2);
    scene.store.fail_once(key(1), Fault::new(Blame::Record, "record too big"));
    let report = scene.run().await;
    assert_counts(&report, [2, 1, 0, 1, 0]);
    assert_eq!(scene.dead_letter.letters()[0].detail, "refused by the store: record too big");
}

/// Otherwise messages would become dead letters for a fault that only an administrator can fix.
#[tokio::test(start_paused = true)]
async fn a_wrong_setup_stops_the_run_without_further_attempts_and_exits_78() {
    let mut scene = Scene::with(1_000, 1_000);
    for number in 1..=100 {
        scene.store.fail_once(key(number), Fault::new(Blame::Setup, "no such namespace"));
    }
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::StoreSetup, Exit::Configuration));
    assert_eq!(report.fault.as_deref(), Some("no such namespace"));
    assert!(report.counters.received < 1_000 && report.counters.stored == 0, "{report}");
    assert_eq!(
        (scene.queue.depth(), scene.queue.in_flight()),
        (1_000, 0),
        "all messages wait without a delay"
    );
}

/// Otherwise an existing record would be counted as stored a second time, or its message would be delivered
/// forever.
#[tokio::test(start_paused = true)]
async fn an_existing_record_is_acknowledged_and_counted_as_duplicate() {
    let mut scene = Scene::with(10, 3);
    scene.store = MemoryStore::create_only().slow(Duration::from_secs(1));
    let killed = tokio::time::timeout(Duration::from_millis(500), scene.run()).await;
    killed.expect_err("killed between the store's write and its answer");
    assert_eq!((scene.store.records().len(), scene.queue.in_flight()), (3, 3), "stored but not acknowledged");
    scene.queue.push(b"{}");
    tokio::time::advance(LEASE).await;
    let report = scene.run().await;
    assert_counts(&report, [4, 1, 3, 0, 0]);
    assert_eq!(scene.store.records().len(), 4);
    assert!(scene.queue.is_empty());
}

/// Otherwise the timeout would leave messages stored but not acknowledged.
#[tokio::test(start_paused = true)]
async fn at_the_deadline_a_run_takes_no_more_and_finishes_what_is_under_way() {
    let mut scene = Scene::new(1_000_000, 10);
    scene.publish(10_000);
    scene.store = scene.store.slow(Duration::from_millis(100));
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::Deadline, Exit::Success));
    assert!(
        report.elapsed >= Duration::from_secs(2) && report.elapsed < Duration::from_millis(2_200),
        "{:?}",
        report.elapsed
    );
    assert_eq!(scene.store.records().len() as u64, report.counters.stored);
    assert_eq!(scene.queue.len() as u64, 10_000 - report.counters.stored);
    assert_eq!(scene.queue.in_flight(), 0);
}

/// Otherwise the messages in flight would wait for the queue's timeout.
#[tokio::test(start_paused = true)]
async fn a_signal_finishes_what_is_under_way_and_requeues_the_rest() {
    let mut scene = Scene::new(10_000, 5_000);
    scene.publish(5_000);
    scene.store = scene.store.slow(Duration::from_secs(1));
    let report = scene.run_until(tokio::time::sleep(Duration::from_millis(10))).await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::Signal, Exit::Success));
    assert_eq!(report.counters.stored + report.counters.requeued, report.counters.received);
    assert_eq!(scene.store.records().len() as u64, report.counters.stored);
    assert!(report.counters.stored > 0 && report.counters.requeued > 0, "{report}");
    assert_eq!((scene.queue.in_flight(), scene.queue.len() as u64), (0, 5_000 - report.counters.stored));
    assert!(report.elapsed < Duration::from_secs(2));
}

/// Otherwise a run could not be stopped while its store hangs.
#[tokio::test(start_paused = true)]
async fn a_run_gives_up_a_hanging_store_after_the_shutdown_timeout() {
    let mut scene = Scene::new(100, 10); // a full window: the queue is known not to be empty
    scene.publish(20);
    scene.store = scene.store.slow(Duration::from_secs(3_600));
    let report = scene.run_until(tokio::time::sleep(Duration::from_millis(500))).await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::Signal, Exit::TemporaryFailure));
    assert_counts(&report, [10, 0, 0, 0, 10]);
    assert_eq!(report.elapsed.as_millis() / 100, 55, "{:?}", report.elapsed);
    assert_eq!((scene.queue.len(), scene.queue.in_flight()), (20, 0));
}

/// Otherwise the queue would deliver the messages to another consumer.
#[tokio::test(start_paused = true)]
async fn messages_of_a_slow_store_are_touched_in_time() {
    let mut scene = Scene::with(10, 10);
    scene.limits.timeout = LEASE * 10;
    scene.store = scene.store.slow(LEASE * 3);
    let report = scene.run().await;
    assert_counts(&report, [10, 10, 0, 0, 0]);
    assert_eq!(report.counters.unconfirmed, 0, "without touches the lease would have expired");
    assert!(scene.queue.is_empty());
}

/// Otherwise the run would report an empty queue.
#[tokio::test(start_paused = true)]
async fn a_lost_queue_ends_the_run_with_69() {
    let mut scene = Scene::new(100, 3);
    scene.publish(10);
    let queue = scene.queue.clone();
    scene.store = scene.store.slow(Duration::from_millis(100));
    let gone = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        queue.go_away();
        std::future::pending::<()>().await;
    };
    let report = scene.run_until(gone).await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::QueueClosed, Exit::Unavailable));
    assert!(report.counters.add_up());
}

/// An adapter with a fault that the traits do not prevent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    /// The store answers for all records of a batch except the first.
    DropsAnAnswer,
    /// The store never gives one of the answers, but returns.
    KeepsAnAnswer,
}

/// A store that writes every record, with a fault in its answers.
struct FaultyStore {
    store: MemoryStore,
    fault: Planted,
    kept: RefCell<Vec<store::Pending>>,
}

impl Store for FaultyStore {
    fn traits(&self) -> StoreTraits {
        self.store.traits()
    }

    fn limits(&self) -> BatchLimits {
        self.store.limits()
    }

    fn write(&self, mut records: Vec<store::Pending>) -> BoxFuture<'_, ()> {
        let first = records.remove(0);
        match self.fault {
            Planted::DropsAnAnswer => drop(first),
            Planted::KeepsAnAnswer => self.kept.borrow_mut().push(first),
        }
        self.store.write(records)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Messages for which a store gave no answer would otherwise disappear, in a release build without a message.
#[tokio::test(start_paused = true)]
async fn a_record_without_an_answer_is_in_doubt_and_delivered_again() {
    for fault in [Planted::DropsAnAnswer, Planted::KeepsAnAnswer] {
        let mut scene = Scene::with(10, 3);
        let faulty = FaultyStore { store: scene.store.clone(), fault, kept: RefCell::default() };
        let report = scene
            .run_with(
                Box::new(scene.queue.source()),
                &faulty,
                &mut scene.dead_letter.clone(),
                std::future::pending(),
            )
            .await;
        assert_counts(&report, [3, 2, 0, 0, 1]);
        assert_eq!((report.exit(), scene.queue.len()), (Exit::TemporaryFailure, 1), "{fault:?}");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_counts(&scene.run().await, [1, 1, 0, 0, 0]);
        assert_eq!(scene.store.records().len(), 3);
    }
}

/// Notes that its connection is kept alive.
struct Watched(MemoryDeadLetter, Cell<u32>);

impl DeadLetter for Watched {
    fn keep<'a>(&'a mut self, letters: Vec<dead_letter::Pending<'a>>) -> BoxFuture<'a, ()> {
        self.0.keep(letters)
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>> {
        self.0.probe()
    }

    fn keep_alive(&self) -> BoxFuture<'_, Infallible> {
        self.1.set(self.1.get() + 1);
        Box::pin(std::future::pending())
    }
}

/// A queue of dead letters would close the connection while the run waits for messages, and the next letter
/// would be in doubt.
#[tokio::test(start_paused = true)]
async fn the_connection_for_dead_letters_is_kept_alive_while_the_run_waits() {
    let scene = Scene::with(10, 3);
    let mut watched = Watched(MemoryDeadLetter::default(), Cell::default());
    let report = scene
        .run_with(Box::new(scene.queue.source()), &scene.store.clone(), &mut watched, std::future::pending())
        .await;
    assert_eq!(report.stop_reason, StopReason::QueueEmpty);
    assert!(watched.1.get() > 0);
}

/// Writes all dead letters except the first, and gives no answer for that one.
struct FaultyDeadLetter(MemoryDeadLetter);

impl DeadLetter for FaultyDeadLetter {
    fn keep<'a>(&'a mut self, mut letters: Vec<dead_letter::Pending<'a>>) -> BoxFuture<'a, ()> {
        letters.remove(0);
        self.0.keep(letters)
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>> {
        self.0.probe()
    }
}

/// Otherwise a message would be acknowledged whose dead letter may not exist.
#[tokio::test(start_paused = true)]
async fn a_message_whose_dead_letter_has_no_answer_stays_in_the_queue() {
    let scene = Scene::new(10, 100);
    scene.queue.push(b"no JSON");
    scene.queue.push(b"no JSON either");
    let mut faulty = FaultyDeadLetter(scene.dead_letter.clone());
    let report = scene
        .run_with(Box::new(scene.queue.source()), &scene.store, &mut faulty, std::future::pending())
        .await;
    assert_counts(&report, [2, 0, 0, 1, 1]);
    assert_eq!((report.exit(), scene.queue.len()), (Exit::TemporaryFailure, 1));
    let bodies = |letter: &Letter| letter.body.to_bytes().expect("a body");
    assert_eq!(scene.dead_letter.letters().iter().map(bodies).collect::<Vec<_>>(), [b"no JSON either"]);
}

/// A source that drops the first delivery of each batch after its arrival.
struct LosingSource(MemorySource);

impl Source for LosingSource {
    fn traits(&self) -> SourceTraits {
        self.0.traits()
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        Box::pin(async move {
            let Started { consumer, depth } = Box::new(self.0).start(demand).await?;
            Ok(Started { consumer: Box::new(LosingConsumer(consumer)), depth })
        })
    }
}

struct LosingConsumer(Box<dyn Consumer>);

impl Consumer for LosingConsumer {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async {
            match self.0.next().await {
                Event::Deliveries(deliveries) => Event::Deliveries(deliveries.into_iter().skip(1).collect()),
                other => other,
            }
        })
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        self.0.want(more)
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.0.settle(settled)
    }

    fn extend<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
        self.0.extend(deliveries)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        self.0.close()
    }
}

/// If `received` were counted together with the outcomes, the sums of a report would always be right,
/// whatever was lost before.
#[tokio::test(start_paused = true)]
async fn a_message_without_an_outcome_is_a_bug_and_exits_70() {
    let scene = Scene::with(3, 3);
    let source = Box::new(LosingSource(scene.queue.source()));
    let report =
        scene.run_with(source, &scene.store, &mut scene.dead_letter.clone(), std::future::pending()).await;
    assert_counts(&report, [3, 2, 0, 0, 0]);
    assert_eq!(report.exit(), Exit::Software);
    let fault = report.fault.expect("it is reported");
    assert!(fault.contains("3 messages were received, but 2 are accounted for"), "{fault}");
    assert_eq!((scene.queue.len(), scene.queue.in_flight()), (1, 1), "the queue still has it");
}
