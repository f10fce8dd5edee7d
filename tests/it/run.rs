//! The run with queues, stores and dead letters in memory, in paused time: an hour takes no time here.

use std::{
    cell::{Cell, RefCell},
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
    decode::{BigIntegers, ContentEncoding, Decoder, Json, KeyRule, Target},
    exit::Exit,
    fault::{Blame, Fault},
    message::{Delivery, Settlement},
    record::Key,
    report::RunReport,
    run::{Limits, NotCounted, Parts, run},
    source::{Closed, Consumer, Demand, Event, Source, SourceError, SourceTraits, Started},
    store::{self, BatchLimits, Store, StoreError, StoreTraits},
};

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

    /// A run with these in the place of the scene's own.
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

#[tokio::test(start_paused = true)]
async fn n_messages_are_stored_and_the_rest_is_not_touched() {
    for (max_messages, published) in [(1, 5), (10, 10), (10, 11), (250, 1_000)] {
        let mut scene = Scene::with(max_messages, published);
        let report = scene.run().await;
        assert_eq!(report.stop_reason, StopReason::LimitReached);
        assert_counts(&report, [max_messages, max_messages, 0, 0, 0]);
        assert_eq!(scene.store.records().len() as u64, max_messages);
        assert_eq!((scene.queue.depth() as u64, scene.queue.in_flight()), (published - max_messages, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_ends_the_run_after_the_idle_timeout() {
    let mut scene = Scene::with(10, 3);
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::QueueEmpty, Exit::Success));
    assert_counts(&report, [3, 3, 0, 0, 0]);
    assert!(report.elapsed < Duration::from_millis(50), "{:?}", report.elapsed);
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_stored_go_to_the_dead_letter_and_are_finished() {
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

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_cannot_be_written_keeps_the_message_at_the_queue() {
    let mut scene = Scene::with(10, 2);
    scene.queue.push(b"not JSON");
    scene.dead_letter = MemoryDeadLetter::broken();
    let report = scene.run().await;
    assert_counts(&report, [3, 2, 0, 0, 1]);
    assert_eq!(report.exit(), Exit::TemporaryFailure);
    assert_eq!(scene.queue.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_outage_requeues_with_a_delay_and_exits_75() {
    let mut scene = Scene::with(10, 3);
    scene.store.fail_once(key(2), Fault::new(Blame::Outage, "down"));
    let report = scene.run().await;
    assert_counts(&report, [3, 2, 0, 0, 1]);
    assert_eq!(report.exit(), Exit::TemporaryFailure);
    assert_eq!((scene.queue.len(), scene.queue.depth()), (1, 0), "it is kept, and not to be had at once");
    tokio::time::advance(Duration::from_secs(1)).await;
    let report = scene.run().await;
    assert_counts(&report, [1, 1, 0, 0, 0]);
    assert_eq!(scene.store.records().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_too_often_for_unknown_reasons_goes_to_the_dead_letter() {
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

/// A namespace that had no room for another set refused every record by a code that blames records: all of
/// them became dead letters, and the run ended with 0.
#[tokio::test(start_paused = true)]
async fn records_that_all_fail_alike_before_any_was_stored_are_given_back_and_none_is_a_dead_letter() {
    for (error, stop_reason, exit) in [
        (Fault::new(Blame::Suspect, "code 4"), StopReason::StoreSetup, Exit::Configuration),
        (Fault::new(Blame::Unknown, "code 99"), StopReason::StoreUnavailable, Exit::TemporaryFailure),
    ] {
        let mut scene = Scene::with(100, 10);
        // However often they have come.
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

/// One poison message must not stall the pipeline for ever.
#[tokio::test(start_paused = true)]
async fn one_record_that_is_refused_while_others_are_stored_is_a_dead_letter_at_once_and_alone_after_its_attempts()
 {
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

/// A queue may be known to be empty while the store has the last messages, and what becomes of them is worth
/// more to know.
#[tokio::test(start_paused = true)]
async fn an_outage_that_shows_on_the_last_messages_of_a_queue_is_told() {
    let mut scene = Scene::with(100, 5);
    scene.store = scene.store.slow(Duration::from_millis(200));
    for number in 1..=5 {
        scene.store.fail_once(key(number), Fault::new(Blame::Outage, "down"));
    }
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::StoreUnavailable, Exit::TemporaryFailure));
    assert_counts(&report, [5, 0, 0, 0, 5]);
}

/// A run that goes on taking messages into a store that takes none costs each of them a delivery and a delay.
#[tokio::test(start_paused = true)]
async fn a_batch_of_which_nothing_is_stored_ends_the_run() {
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

/// Runs that are killed cost attempts, but say nothing against the message.
#[tokio::test(start_paused = true)]
async fn a_valid_message_is_stored_however_often_it_was_delivered_in_vain() {
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

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_goes_to_the_dead_letter_with_its_words() {
    let mut scene = Scene::with(10, 2);
    scene.store.fail_once(key(1), Fault::new(Blame::Record, "record too big"));
    let report = scene.run().await;
    assert_counts(&report, [2, 1, 0, 1, 0]);
    assert_eq!(scene.dead_letter.letters()[0].detail, "refused by the store: record too big");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_set_up_stops_the_run_costs_no_attempt_more_and_exits_78() {
    let mut scene = Scene::with(1_000, 1_000);
    for number in 1..=100 {
        scene.store.fail_once(key(number), Fault::new(Blame::Setup, "no such namespace"));
    }
    let report = scene.run().await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::StoreSetup, Exit::Configuration));
    assert_eq!(report.fault.as_deref(), Some("no such namespace"));
    assert!(report.counters.received < 1_000 && report.counters.stored == 0, "{report}");
    assert_eq!((scene.queue.depth(), scene.queue.in_flight()), (1_000, 0), "all of it waits, with no delay");
}

/// A record that the store already has would be counted as stored a second time, or its message would come
/// again for ever.
#[tokio::test(start_paused = true)]
async fn what_is_stored_already_is_finished_and_counted_as_duplicate() {
    let mut scene = Scene::with(10, 3);
    scene.store = MemoryStore::create_only().slow(Duration::from_secs(1));
    let killed = tokio::time::timeout(Duration::from_millis(500), scene.run()).await;
    killed.expect_err("killed between the store's write and its answer");
    assert_eq!((scene.store.records().len(), scene.queue.in_flight()), (3, 3), "stored, and not settled");
    scene.queue.push(b"{}");
    tokio::time::advance(LEASE).await;
    let report = scene.run().await;
    assert_counts(&report, [4, 1, 3, 0, 0]);
    assert_eq!(scene.store.records().len(), 4);
    assert!(scene.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_stops_taking_and_what_is_under_way_is_finished() {
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

#[tokio::test(start_paused = true)]
async fn a_signal_drains_and_requeues_what_was_not_started() {
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

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up_after_the_shutdown_timeout() {
    let mut scene = Scene::new(100, 10); // a full window: the queue is known not to be empty
    scene.publish(20);
    scene.store = scene.store.slow(Duration::from_secs(3_600));
    let report = scene.run_until(tokio::time::sleep(Duration::from_millis(500))).await;
    assert_eq!((report.stop_reason, report.exit()), (StopReason::Signal, Exit::TemporaryFailure));
    assert_counts(&report, [10, 0, 0, 0, 10]);
    assert_eq!(report.elapsed.as_millis() / 100, 55, "{:?}", report.elapsed);
    assert_eq!((scene.queue.len(), scene.queue.in_flight()), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_keeps_its_messages_by_touching_them() {
    let mut scene = Scene::with(10, 10);
    scene.limits.timeout = LEASE * 10;
    scene.store = scene.store.slow(LEASE * 3);
    let report = scene.run().await;
    assert_counts(&report, [10, 10, 0, 0, 0]);
    assert_eq!(report.counters.unconfirmed, 0, "the queue would have given them to others after a lease");
    assert!(scene.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_goes_away_ends_the_run_with_69() {
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

/// An adapter with a fault that the traits do not rule out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    /// The store answers for all records of a batch but the first.
    DropsAnAnswer,
    /// The store keeps one answer, and is done.
    KeepsAnAnswer,
}

/// A store that writes every record, with a fault in what it says.
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

/// A store that answered for fewer records than it was given made messages vanish, in a release build without
/// a word.
#[tokio::test(start_paused = true)]
async fn a_record_that_the_store_does_not_answer_for_is_in_doubt_and_comes_again() {
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

/// Keeps all letters but the first, and says nothing of that one.
struct FaultyDeadLetter(MemoryDeadLetter);

impl DeadLetter for FaultyDeadLetter {
    fn keep<'a>(&'a mut self, mut letters: Vec<dead_letter::Pending<'a>>) -> BoxFuture<'a, ()> {
        letters.remove(0);
        self.0.keep(letters)
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        self.0.probe()
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_dead_letter_is_not_answered_for_stays_at_the_queue() {
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

/// A source that drops the first delivery of each batch, after it has arrived.
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

/// `received` was counted together with what became of the messages, so that no sum of a report could be
/// wrong, whatever was lost before.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_lost_between_its_arrival_and_its_outcome_is_a_bug_that_exits_70() {
    let scene = Scene::with(3, 3);
    let source = Box::new(LosingSource(scene.queue.source()));
    let report =
        scene.run_with(source, &scene.store, &mut scene.dead_letter.clone(), std::future::pending()).await;
    assert_counts(&report, [3, 2, 0, 0, 0]);
    assert_eq!(report.exit(), Exit::Software);
    let fault = report.fault.expect("it is told");
    assert!(fault.contains("3 messages were received, and 2 are accounted for"), "{fault}");
    assert_eq!((scene.queue.len(), scene.queue.in_flight()), (1, 1), "the queue still has it");
}
