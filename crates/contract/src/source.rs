//! The suite of [`Source`] and [`Consumer`].
//!
//! An adapter's test is its fixture and one line:
//!
//! ```ignore
//! x_msrv_contract::source_suite!(nsqd, Nsq, [every, window, listens, delays, leases]);
//! ```

#![expect(clippy::missing_panics_doc, reason = "each claim panics if it does not hold")]

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use crate::PATIENCE;
use x_msrv_core::{
    answer,
    message::{Delivery, Settlement},
    source::{
        Attempts, BYTES_IN_FLIGHT, Consumer, Demand, Event, Outgoing, Proof, Publisher, Source, Started,
    },
};

/// The lease in the claims about leases.
pub const LEASE: Duration = Duration::from_secs(2);

/// The lease in all other claims: long enough that a slow machine does not lose a message to another
/// consumer.
pub const LONG_LEASE: Duration = Duration::from_secs(600);

/// A queue of one kind, for one claim.
#[expect(async_fn_in_trait, reason = "everything runs on one thread")]
pub trait Queue {
    /// Whether it reports its depth.
    const IS_COUNTED: bool;

    /// What it knows about earlier deliveries.
    const ATTEMPTS: Attempts;

    /// Creates an empty queue with a limit on unsettled messages and a lease.
    async fn open(max_in_flight: u64, lease: Duration) -> Self;

    /// Returns a source that reads it.
    async fn source(&self) -> Box<dyn Source>;

    /// Returns a publisher for it.
    async fn publisher(&self) -> Box<dyn Publisher>;

    /// Returns the number of waiting messages and of messages in flight, as the queue reports them.
    async fn counts(&self) -> (u64, u64);
}

fn nonzero(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not zero")
}

async fn publish(queue: &impl Queue, count: usize) {
    let bodies = (0..count).map(|number| Bytes::from(format!("{{\"n\":{number}}}")));
    publish_all(&*queue.publisher().await, bodies.collect()).await;
}

fn demand(max_messages: u64) -> Demand {
    Demand { max_messages: nonzero(max_messages), idle_timeout: Duration::from_millis(20) }
}

pub(crate) async fn started(queue: &impl Queue, max_messages: u64) -> Box<dyn Consumer> {
    begun(queue, max_messages).await.0
}

/// Returns a consumer, and the depth that its start returned.
async fn begun(queue: &impl Queue, max_messages: u64) -> (Box<dyn Consumer>, Option<u64>) {
    let Started { consumer, depth } =
        queue.source().await.start(demand(max_messages)).await.expect("started");
    (consumer, depth.waiting())
}

pub(crate) async fn receive(source: &mut Box<dyn Consumer>) -> Event {
    tokio::time::timeout(PATIENCE, source.next()).await.expect("something is received")
}

/// Receives until there are `count` deliveries.
async fn take(source: &mut Box<dyn Consumer>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match receive(source).await {
            Event::Deliveries(mut deliveries) => {
                assert!(!deliveries.is_empty(), "a batch has at least one delivery");
                taken.append(&mut deliveries);
            }
            other => panic!("expected {count} deliveries, received {}, then {other:?}", taken.len()),
        }
    }
    assert_eq!(taken.len(), count);
    taken
}

pub(crate) fn all(deliveries: Vec<Delivery>, settlement: Settlement) -> Vec<(Delivery, Settlement)> {
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

/// An empty queue is reported as empty.
pub async fn an_empty_queue_is_reported(queue: &impl Queue) {
    let mut source = started(queue, 10).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    source.close().await;
}

/// A published message is delivered once and acknowledged.
pub async fn a_published_message_is_delivered_once_and_acknowledged(queue: &impl Queue) {
    publish(queue, 25).await;
    let mut source = started(queue, 100).await;
    let deliveries = take(&mut source, 25).await;
    let mut bodies: Vec<_> = deliveries.iter().map(|delivery| delivery.message.body.clone()).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), 25);
    assert!(deliveries.iter().all(|delivery| known_attempts(queue, delivery, Some(1))));
    source.settle(all(deliveries, Settlement::Done)).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// Fewer messages than requested must not be mistaken for none: nsqd holds them back for 250 ms, here for
/// longer than any run waits.
pub async fn fewer_messages_than_requested_arrive_at_once(queue: &impl Queue) {
    publish(queue, 9).await;
    let mut source = started(queue, 10).await;
    let deliveries = take(&mut source, 9).await;
    source.settle(all(deliveries, Settlement::Done)).await;
    source.close().await;
}

/// Never more than N are delivered, and the rest stays in the queue.
pub async fn never_more_than_n_and_the_rest_stays(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 20).await;
    let mut taken = 0;
    while taken < 20 {
        // Settled as they arrive, so that every settlement could admit another message.
        let Event::Deliveries(deliveries) = receive(&mut source).await else { panic!("20 were allowed") };
        taken += deliveries.len();
        source.settle(all(deliveries, Settlement::Done)).await;
    }
    assert_eq!(taken, 20);
    let closing = source.close().await;
    assert_eq!((closing.returned, closing.unconfirmed), (0, 0));
    assert_eq!(queue.counts().await, (30, 0));
}

/// `status` uses these numbers to report whether runs keep up: a reported number must be true. Messages
/// requeued for later because of an outage were not counted.
pub async fn a_reported_depth_is_true(queue: &impl Queue) {
    const LATER: Settlement = Settlement::Retry { after: Duration::from_secs(60) };
    publish(queue, 50).await;
    let (mut source, depth) = begun(queue, 20).await;
    assert_eq!(depth, counted(queue, 50));
    let mut first = take(&mut source, 20).await;
    source.settle(all(first.split_off(15), LATER)).await;
    source.settle(all(first, Settlement::Done)).await;
    assert_eq!(source.close().await.depth.waiting(), counted(queue, 35));
    let (mut source, depth) = begun(queue, 40).await;
    assert_eq!(depth, counted(queue, 35));
    let rest = take(&mut source, 30).await;
    source.settle(all(rest, Settlement::Done)).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    assert_eq!(
        source.close().await.depth.waiting(),
        counted(queue, 5),
        "nothing is ready, and five are delayed"
    );
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let more = take(&mut source, 3).await;
    source.settle(all(more, LATER)).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    assert_eq!(source.close().await.depth.waiting(), counted(queue, 8), "three of them by this run");
}

/// Messages held by another consumer do not count as waiting: two consumers of a queue would each report
/// those of the other as a backlog.
pub async fn messages_held_by_another_consumer_do_not_count_as_waiting(queue: &impl Queue) {
    publish(queue, 10).await;
    let mut other = started(queue, 4).await;
    let theirs = take(&mut other, 4).await;
    let (mut source, depth) = begun(queue, 6).await;
    assert_eq!(depth, counted(queue, 6));
    let ours = take(&mut source, 6).await;
    source.settle(all(ours, Settlement::Done)).await;
    assert_eq!(source.close().await.depth.waiting(), counted(queue, 0));
    other.settle(all(theirs, Settlement::Done)).await;
    assert_eq!(other.close().await.depth.waiting(), counted(queue, 0));
}

/// Returns whether the queue's number of earlier deliveries is `attempts`, as far as it knows.
fn known_attempts<Q: Queue>(_queue: &Q, delivery: &Delivery, attempts: Option<u32>) -> bool {
    let reported = delivery.message.attempts.map(NonZeroU32::get);
    match Q::ATTEMPTS {
        Attempts::Counted => reported == attempts,
        Attempts::Redelivered => reported == attempts.filter(|attempts| *attempts == 1),
        Attempts::Unknown => reported.is_none(),
    }
}

fn bodies(deliveries: &[Delivery]) -> Vec<Bytes> {
    let mut bodies: Vec<_> = deliveries.iter().map(|delivery| delivery.message.body.clone()).collect();
    bodies.sort_unstable();
    bodies
}

async fn publish_all(publisher: &dyn Publisher, bodies: Vec<Bytes>) {
    let count = bodies.len();
    let (batch, verdicts) =
        answer::batch(bodies.into_iter().map(|body| Outgoing { body, ..Outgoing::default() }));
    publisher.publish(batch).await;
    assert_eq!(verdicts.take(), vec![Some(Ok(())); count], "published");
}

fn counted<Q: Queue>(_queue: &Q, depth: u64) -> Option<u64> {
    Q::IS_COUNTED.then_some(depth)
}

/// Without this event, a run waits for messages that cannot arrive, while others wait to be written.
pub async fn a_full_window_is_reported_once_and_stays_within_the_limit(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 50).await;
    let first = take(&mut source, 10).await;
    assert!(matches!(receive(&mut source).await, Event::Full), "ten are unsettled, which is the limit");
    let more = tokio::time::timeout(Duration::from_millis(100), source.next()).await;
    assert!(more.is_err(), "it was reported, and nothing has changed: {more:?}");
    source.settle(all(first, Settlement::Done)).await;
    let rest = take(&mut source, 10).await;
    assert!(matches!(receive(&mut source).await, Event::Full), "the window was filled again");
    source.want(0).await;
    source.settle(all(rest, Settlement::Release)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (40, 0));
}

/// A store that waits for large batches depends on this: the records that it has gathered are unsettled.
pub async fn an_empty_queue_is_reported_with_any_number_of_unsettled_messages(queue: &impl Queue) {
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let unsettled = take(&mut source, 3).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    source.settle(all(unsettled, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// After a delivery that contradicts an inference, the same run must continue with the rest of the queue.
pub async fn a_stopped_consumer_reports_it_and_continues_when_more_is_wanted(queue: &impl Queue) {
    publish(queue, 5).await;
    let mut source = started(queue, 10).await;
    let first = take(&mut source, 5).await;
    source.settle(all(first, Settlement::Done)).await;
    source.want(0).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)), "nothing is on its way");
    publish(queue, 20).await;
    let none = tokio::time::timeout(Duration::from_millis(50), source.next()).await;
    assert!(none.is_err(), "nothing was asked for: {none:?}");
    source.close().await;
    // A log is read only up to its end at the start of the run.
    let mut source = started(queue, 25).await;
    source.want(0).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    source.want(10).await;
    let rest = take(&mut source, 10).await;
    source.settle(all(rest, Settlement::Done)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (10, 0));
}

/// A message that is requeued at the end of a run is delivered to the next run, however the queue requeues.
pub async fn a_requeued_message_is_delivered_unchanged_to_a_later_consumer(queue: &impl Queue) {
    const SOON: Settlement = Settlement::Retry { after: Duration::ZERO };
    publish(queue, 6).await;
    let mut source = started(queue, 6).await;
    let mut first = take(&mut source, 6).await;
    let before = bodies(&first);
    source.want(0).await;
    let retried = first.split_off(3);
    source.settle(all(first, Settlement::Release)).await;
    source.settle(all(retried, SOON)).await;
    assert_eq!(source.close().await.received, 6);
    let mut source = started(queue, 10).await;
    let again = take(&mut source, 6).await;
    assert_eq!(bodies(&again), before);
    source.settle(all(again, Settlement::Done)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (0, 0));
}

/// A requeued message is delivered again with the same id, and its attempts increase by one.
pub async fn a_requeued_message_is_delivered_unchanged_with_one_more_attempt(queue: &impl Queue) {
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let first = take(&mut source, 3).await;
    let published = |deliveries: &[Delivery]| {
        deliveries.iter().map(|delivery| delivery.message.published).collect::<Vec<_>>()
    };
    let before = (ids(&first), published(&first));
    source.settle(all(first, Settlement::Retry { after: Duration::ZERO })).await;
    let again = take(&mut source, 3).await;
    assert_eq!((ids(&again), published(&again)), before);
    assert!(again.iter().all(|delivery| known_attempts(queue, delivery, Some(2))));
    source.settle(all(again, Settlement::Done)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (0, 0));
}

/// A delay postpones the next delivery for that time.
pub async fn a_delay_postpones_the_next_delivery(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 10).await;
    let first = take(&mut source, 1).await;
    source.settle(all(first, Settlement::Retry { after: LEASE })).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)), "it is not delivered before its time");
    source.close().await;
    let mut source = wait_for_another(queue).await;
    let again = take(&mut source, 1).await;
    source.settle(all(again, Settlement::Done)).await;
    source.close().await;
}

/// Opens sources until one of them receives a message.
async fn wait_for_another(queue: &impl Queue) -> Box<dyn Consumer> {
    let waited = async {
        while queue.counts().await.0 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("the message is delivered again");
    started(queue, 10).await
}

/// Messages left behind by a crash are delivered again. The fake must do this as well, or tests above it
/// would never see a redelivery.
pub async fn an_unsettled_message_is_delivered_again(queue: &impl Queue) {
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
    tokio::time::timeout(PATIENCE, waited).await.expect("all of them are delivered again");
    let mut source = started(queue, 10).await;
    let again = take(&mut source, 5).await;
    assert_eq!(ids(&again), before);
    source.settle(all(again, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// The queue refuses a settlement after the end of the lease, and another consumer has the message. A run that
/// does not count it reports a message as settled that is delivered again.
pub async fn a_late_settlement_is_reported_as_unconfirmed(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 1).await; // so that it does not get the message again itself
    let late = take(&mut source, 1).await;
    let mut second = wait_for_another(queue).await;
    let again = take(&mut second, 1).await;
    source.settle(all(late, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 1);
    second.settle(all(again, Settlement::Done)).await;
    assert_eq!(second.close().await.unconfirmed, 0);
}

/// Another consumer would get a message that is being stored. The settlement does not show it: a queue may
/// accept it for as long as no other consumer has asked.
pub async fn an_extended_lease_keeps_the_message(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 1).await; // so that it does not get the message again itself
    let deliveries = take(&mut source, 1).await;
    let extended = async {
        for _ in 0..8 {
            sleep(LEASE / 3).await;
            source.extend(deliveries.iter().collect()).await;
        }
    };
    let other = async {
        sleep(LEASE * 3 / 2).await;
        let mut other = started(queue, 10).await;
        let event = receive(&mut other).await;
        other.close().await;
        event
    };
    let ((), event) = tokio::join!(extended, other);
    assert!(matches!(event, Event::Idle(_)), "its lease was extended: {event:?}");
    assert_eq!(queue.counts().await, (0, 1));
    source.settle(all(deliveries, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0, "it was held for more than twice the lease");
    assert_eq!(queue.counts().await, (0, 0));
}

/// A source may check the limit only after each mebibyte.
pub async fn the_total_size_of_unsettled_bodies_is_bounded(queue: &impl Queue) {
    const COUNT: usize = 50;
    let body = Bytes::from(vec![b'x'; 900_000]);
    for _ in 0..COUNT {
        publish_all(&*queue.publisher().await, vec![body.clone()]).await;
    }
    let mut source = started(queue, 100).await;
    let (mut unsettled, mut taken) = (Vec::new(), 0);
    while taken < COUNT {
        // If nothing arrives for a while, nothing arrives before something is settled.
        match tokio::time::timeout(Duration::from_millis(300), source.next()).await {
            Ok(Event::Deliveries(deliveries)) => {
                taken += deliveries.len();
                unsettled.extend(deliveries);
                assert!(
                    unsettled.len() * body.len() < BYTES_IN_FLIGHT + (3 << 20),
                    "{} at once",
                    unsettled.len()
                );
            }
            Ok(Event::Full) | Err(_) => {
                assert!(unsettled.len() * body.len() >= BYTES_IN_FLIGHT, "{} at once", unsettled.len());
                source.settle(all(std::mem::take(&mut unsettled), Settlement::Done)).await;
            }
            Ok(other) => panic!("{taken} received, then {other:?}"),
        }
    }
    source.settle(all(unsettled, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// Cancelling a receive loses no message.
pub async fn a_cancelled_receive_loses_nothing(queue: &impl Queue) {
    publish(queue, 200).await;
    let mut source = started(queue, 200).await;
    let mut seen = Vec::new();
    while seen.len() < 200 {
        // Dropped at once whenever nothing is ready.
        let received = tokio::select! { biased; received = source.next() => Some(received), () = tokio::task::yield_now() => None };
        if let Some(Event::Deliveries(deliveries)) = received {
            seen.extend(bodies(&deliveries));
            source.settle(all(deliveries, Settlement::Done)).await;
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

/// Closing leaves nothing in flight: what is not reported as unconfirmed has reached the queue.
pub async fn closing_leaves_nothing_in_flight(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 50).await;
    let Event::Deliveries(deliveries) = receive(&mut source).await else { panic!("fifty are waiting") };
    source.want(0).await;
    source.settle(all(deliveries, Settlement::Release)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (50, 0));
}

/// Polls `next` once and drops it, then lets the server answer. Returns what was handed out at once.
async fn begin_and_cancel(source: &mut Box<dyn Consumer>) -> Vec<Delivery> {
    let event = tokio::select! {
        biased;
        event = source.next() => Some(event),
        () = std::future::ready(()) => None,
    };
    sleep(Duration::from_millis(100)).await;
    match event {
        None => Vec::new(),
        Some(Event::Deliveries(deliveries)) => deliveries,
        Some(other) => panic!("five are waiting: {other:?}"),
    }
}

/// A run that is stopped between a request and its answer would keep the messages until their lease ends, or
/// could not account for them.
pub async fn closing_releases_messages_that_arrived_and_were_not_handed_out(queue: &impl Queue) {
    publish(queue, 5).await;
    let mut source = started(queue, 10).await;
    let deliveries = begin_and_cancel(&mut source).await;
    let handed_out = deliveries.len() as u64;
    source.settle(all(deliveries, Settlement::Release)).await;
    let closed = source.close().await;
    assert_eq!((closed.received - closed.returned, closed.unconfirmed), (handed_out, 0));
    assert_eq!(queue.counts().await, (5, 0));
}

/// A run that ends while messages are under way would not count them. They are handed out or, if the adapter
/// does not know of them, released by `close`.
pub async fn messages_under_way_when_no_more_is_wanted_are_accounted_for(queue: &impl Queue) {
    publish(queue, 5).await;
    let mut source = started(queue, 10).await;
    let mut deliveries = begin_and_cancel(&mut source).await;
    source.want(0).await;
    let proof = loop {
        match receive(&mut source).await {
            Event::Deliveries(mut more) => deliveries.append(&mut more),
            Event::Idle(proof) => break proof,
            other => panic!("expected deliveries or idle: {other:?}"),
        }
    };
    let handed_out = deliveries.len() as u64;
    source.settle(all(deliveries, Settlement::Release)).await;
    let closed = source.close().await;
    assert_eq!((closed.received - closed.returned, closed.unconfirmed), (handed_out, 0));
    assert!(proof == Proof::Inferred || closed.returned == 0, "nothing was under way: {closed:?}");
    assert_eq!(queue.counts().await, (5, 0));
}

/// A run that requeues everything because the store is down would receive it again without end.
pub async fn a_message_that_is_requeued_after_no_more_is_wanted_is_for_the_next_run(queue: &impl Queue) {
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let mut first = take(&mut source, 3).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    source.want(0).await;
    let retried = first.split_off(1);
    source.settle(all(first, Settlement::Release)).await;
    source.settle(all(retried, Settlement::Retry { after: Duration::ZERO })).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)), "this consumer has had them");
    let none = timeout(Duration::from_millis(100), source.next()).await;
    assert!(none.is_err(), "this consumer has had them: {none:?}");
    source.close().await;
    assert_eq!(queue.counts().await, (3, 0));
}

/// A run that listens would end at the first gap between messages, or never: `next` is cancelled all the time.
pub async fn an_empty_queue_is_reported_after_the_idle_timeout(queue: &impl Queue) {
    const IDLE: Duration = Duration::from_secs(2);
    let demand = Demand { idle_timeout: IDLE, ..demand(10) };
    let mut source = queue.source().await.start(demand).await.expect("started").consumer;
    let (event, ()) = tokio::join!(receive(&mut source), publish(queue, 1));
    let Event::Deliveries(deliveries) = event else { panic!("it was published in time: {event:?}") };
    let received_at = Instant::now();
    source.settle(all(deliveries, Settlement::Done)).await;
    let event = timeout(PATIENCE, async {
        loop {
            if let Ok(event) = timeout(Duration::from_millis(50), source.next()).await {
                break event;
            }
        }
    });
    assert!(matches!(event.await.expect("it does not wait forever"), Event::Idle(_)));
    // The adapter may have read the message earlier than it handed it out.
    assert!(received_at.elapsed() >= IDLE / 2);
    source.close().await;
    assert_eq!(queue.counts().await, (0, 0));
}

/// Runs groups of claims on a queue: `every` for every queue; `window` for queues with a limit on unsettled
/// messages; `listens` for queues that others may fill during a run; `delays` for queues that can requeue a
/// message during a run; `leases` for queues whose leases end and can be extended.
#[macro_export]
macro_rules! source_suite {
    ($kind:ident, $queue:ty, [$($group:ident),*]) => {
        mod $kind {
            use super::*;
            use $crate::source::{LEASE, LONG_LEASE};
            $($crate::source_suite!(@$group $queue);)*
        }
    };
    (@every $queue:ty) => {
        $crate::source_suite!(@claims $queue, 100, LONG_LEASE, [
            an_empty_queue_is_reported, an_empty_queue_is_reported_with_any_number_of_unsettled_messages,
            a_published_message_is_delivered_once_and_acknowledged, fewer_messages_than_requested_arrive_at_once,
            never_more_than_n_and_the_rest_stays, the_total_size_of_unsettled_bodies_is_bounded,
            a_requeued_message_is_delivered_unchanged_to_a_later_consumer,
            a_stopped_consumer_reports_it_and_continues_when_more_is_wanted,
            a_cancelled_receive_loses_nothing, closing_leaves_nothing_in_flight,
            closing_releases_messages_that_arrived_and_were_not_handed_out,
            messages_under_way_when_no_more_is_wanted_are_accounted_for,
            a_message_that_is_requeued_after_no_more_is_wanted_is_for_the_next_run,
        ]);
    };
    (@window $queue:ty) => {
        $crate::source_suite!(@claims $queue, 10, LONG_LEASE, [
            a_full_window_is_reported_once_and_stays_within_the_limit,
        ]);
    };
    (@listens $queue:ty) => {
        $crate::source_suite!(@claims $queue, 100, LONG_LEASE, [
            an_empty_queue_is_reported_after_the_idle_timeout,
        ]);
    };
    (@delays $queue:ty) => {
        $crate::source_suite!(@claims $queue, 100, LONG_LEASE, [
            a_reported_depth_is_true, messages_held_by_another_consumer_do_not_count_as_waiting,
            a_requeued_message_is_delivered_unchanged_with_one_more_attempt,
            a_delay_postpones_the_next_delivery,
        ]);
    };
    (@leases $queue:ty) => {
        $crate::source_suite!(@claims $queue, 100, LEASE, [
            an_unsettled_message_is_delivered_again, a_late_settlement_is_reported_as_unconfirmed,
            an_extended_lease_keeps_the_message,
        ]);
    };
    (@claims $queue:ty, $limit:expr, $lease:expr, [$($claim:ident,)*]) => {
        $(
            #[tokio::test]
            async fn $claim() {
                $crate::source::$claim(&<$queue>::open($limit, $lease).await).await;
            }
        )*
    };
}
