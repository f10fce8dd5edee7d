//! The suite of [`Source`], [`Consumer`] and [`Publisher`].
//!
//! An adapter's test is its fixture and one line:
//!
//! ```ignore
//! x_msrv_contract::source_suite!(nsqd, Nsq, [every, window, delays, leases]);
//! ```

#![expect(clippy::missing_panics_doc, reason = "each claim panics where it does not hold")]

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use bytes::Bytes;

use crate::PATIENCE;
use x_msrv_core::{
    answer,
    message::{Delivery, Settlement},
    source::{Attempts, BYTES_IN_FLIGHT, Consumer, Demand, Event, Outgoing, Publisher, Source, Started},
};

/// How long an unsettled message stays away in the claims that are about this.
pub const LEASE: Duration = Duration::from_secs(2);

/// The same in all others, so that a busy machine gives no message to anybody else.
pub const LONG_LEASE: Duration = Duration::from_secs(600);

/// A queue of one kind, for one claim.
#[expect(async_fn_in_trait, reason = "everything runs on one thread")]
pub trait Queue {
    /// Whether it can tell its depth.
    const IS_COUNTED: bool;

    /// What it knows of earlier deliveries.
    const ATTEMPTS: Attempts;

    /// An empty queue, of which so many messages may be unsettled for so long.
    async fn open(max_in_flight: u64, lease: Duration) -> Self;

    /// A source that reads it.
    async fn source(&self) -> Box<dyn Source>;

    /// A publisher to it.
    async fn publisher(&self) -> Box<dyn Publisher>;

    /// Messages that wait, and that are in flight, by the queue's own word.
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

async fn started(queue: &impl Queue, max_messages: u64) -> Box<dyn Consumer> {
    begun(queue, max_messages).await.0
}

/// A consumer, and the depth that it was told.
async fn begun(queue: &impl Queue, max_messages: u64) -> (Box<dyn Consumer>, Option<u64>) {
    let Started { consumer, depth } =
        queue.source().await.start(demand(max_messages)).await.expect("started");
    (consumer, depth.waiting())
}

async fn receive(source: &mut Box<dyn Consumer>) -> Event {
    tokio::time::timeout(PATIENCE, source.next()).await.expect("something is received")
}

/// Receives until `count` deliveries are there.
async fn take(source: &mut Box<dyn Consumer>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match receive(source).await {
            Event::Deliveries(mut deliveries) => {
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

/// An empty queue says so.
pub async fn an_empty_queue_says_so(queue: &impl Queue) {
    let mut source = started(queue, 10).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    source.close().await;
}

/// What is published is delivered once and finished.
pub async fn what_is_published_is_delivered_once_and_finished(queue: &impl Queue) {
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

/// Fewer messages than are asked for must not be taken for none: nsqd holds them back for 250 ms, here for
/// longer than anybody waits.
pub async fn the_few_that_wait_come_at_once(queue: &impl Queue) {
    publish(queue, 9).await;
    let mut source = started(queue, 10).await;
    let deliveries = take(&mut source, 9).await;
    source.settle(all(deliveries, Settlement::Done)).await;
    source.close().await;
}

/// Never more than n and the rest stays.
pub async fn never_more_than_n_and_the_rest_stays(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 20).await;
    let mut taken = 0;
    while taken < 20 {
        // Settled as they come, so that every settlement could admit another message.
        let Event::Deliveries(deliveries) = receive(&mut source).await else { panic!("20 were allowed") };
        taken += deliveries.len();
        source.settle(all(deliveries, Settlement::Done)).await;
    }
    assert_eq!(taken, 20);
    let closing = source.close().await;
    assert_eq!((closing.returned, closing.unconfirmed), (0, 0));
    assert_eq!(queue.counts().await, (30, 0));
}

/// Whether runs keep up is asked of these numbers: where they are told, they have to be true. What an outage
/// had put off counted as nothing.
pub async fn how_much_is_left_is_told_truly_or_not_at_all(queue: &impl Queue) {
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
        "nothing is to be had, and five are put off"
    );
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let more = take(&mut source, 3).await;
    source.settle(all(more, LATER)).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    assert_eq!(source.close().await.depth.waiting(), counted(queue, 8), "three of them by this run");
}

/// Another's messages are not left to anybody: two who share a queue would each tell the other's as a
/// backlog.
pub async fn what_another_holds_is_not_left(queue: &impl Queue) {
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

/// Whether the queue's word on earlier deliveries is `attempts`, as far as it knows.
fn known_attempts<Q: Queue>(_queue: &Q, delivery: &Delivery, attempts: Option<u32>) -> bool {
    let told = delivery.message.attempts.map(NonZeroU32::get);
    match Q::ATTEMPTS {
        Attempts::Counted => told == attempts,
        Attempts::Redelivered => told == attempts.filter(|attempts| *attempts == 1),
        Attempts::Unknown => told.is_none(),
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

/// A run that is not told waits for messages that cannot come, with others that wait to be written.
pub async fn a_full_window_is_told_once_and_has_no_more_than_the_limit(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 50).await;
    let first = take(&mut source, 10).await;
    assert!(matches!(receive(&mut source).await, Event::Full), "ten are unsettled, which is the limit");
    let more = tokio::time::timeout(Duration::from_millis(100), source.next()).await;
    assert!(more.is_err(), "it was told, and nothing has changed: {more:?}");
    source.settle(all(first, Settlement::Done)).await;
    let rest = take(&mut source, 10).await;
    assert!(matches!(receive(&mut source).await, Event::Full), "the window was filled again");
    source.want(0).await;
    source.settle(all(rest, Settlement::Release)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (40, 0));
}

/// A store that waits for large batches waits for this: what it has gathered is unsettled.
pub async fn an_empty_queue_says_so_whatever_is_unsettled(queue: &impl Queue) {
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let unsettled = take(&mut source, 3).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    source.settle(all(unsettled, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// A delivery that contradicts an inference has to be followed by the rest of the queue, in the same run.
pub async fn a_consumer_that_has_stopped_says_so_and_goes_on_when_more_is_wanted(queue: &impl Queue) {
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
    // What the position was at the start, a log does not look beyond.
    let mut source = started(queue, 25).await;
    source.want(0).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)));
    source.want(10).await;
    let rest = take(&mut source, 10).await;
    source.settle(all(rest, Settlement::Done)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (10, 0));
}

/// What was given back at the end of a run is the next run's, however the queue gives back.
pub async fn what_is_given_back_comes_again_to_a_later_consumer_as_the_same(queue: &impl Queue) {
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

/// A requeued message comes again as the same and one attempt on.
pub async fn a_requeued_message_comes_again_as_the_same_and_one_attempt_on(queue: &impl Queue) {
    publish(queue, 3).await;
    let mut source = started(queue, 10).await;
    let first = take(&mut source, 3).await;
    let published = |deliveries: &[Delivery]| {
        deliveries.iter().map(|delivery| delivery.message.published).collect::<Vec<_>>()
    };
    let before = (ids(&first), published(&first));
    source.settle(all(first, Settlement::Release)).await;
    let again = take(&mut source, 3).await;
    assert_eq!((ids(&again), published(&again)), before);
    assert!(again.iter().all(|delivery| known_attempts(queue, delivery, Some(2))));
    source.settle(all(again, Settlement::Done)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (0, 0));
}

/// A delay keeps a message away for so long.
pub async fn a_delay_keeps_a_message_away_for_so_long(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 10).await;
    let first = take(&mut source, 1).await;
    source.settle(all(first, Settlement::Retry { after: LEASE })).await;
    assert!(matches!(receive(&mut source).await, Event::Idle(_)), "it does not come before its time");
    source.close().await;
    let mut source = wait_for_another(queue).await;
    let again = take(&mut source, 1).await;
    source.settle(all(again, Settlement::Done)).await;
    source.close().await;
}

/// Sources until one of them finds something.
async fn wait_for_another(queue: &impl Queue) -> Box<dyn Consumer> {
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
pub async fn what_was_never_settled_comes_again(queue: &impl Queue) {
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
    source.settle(all(again, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// A settlement that comes too late is told.
pub async fn a_settlement_that_comes_too_late_is_told(queue: &impl Queue) {
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

/// A lease that is extended keeps a message ours.
pub async fn a_lease_that_is_extended_keeps_a_message_ours(queue: &impl Queue) {
    publish(queue, 1).await;
    let mut source = started(queue, 10).await;
    let deliveries = take(&mut source, 1).await;
    for _ in 0..6 {
        tokio::time::sleep(LEASE / 3).await;
        source.extend(deliveries.iter().collect()).await;
    }
    source.settle(all(deliveries, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0, "it was ours for twice the lease");
    assert_eq!(queue.counts().await, (0, 0));
}

/// A source may look after each mebibyte only.
pub async fn bodies_that_are_unsettled_are_bounded_together(queue: &impl Queue) {
    const COUNT: usize = 50;
    let body = Bytes::from(vec![b'x'; 900_000]);
    for _ in 0..COUNT {
        publish_all(&*queue.publisher().await, vec![body.clone()]).await;
    }
    let mut source = started(queue, 100).await;
    let (mut unsettled, mut taken) = (Vec::new(), 0);
    while taken < COUNT {
        // Where nothing comes for a while, nothing comes before something is settled.
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
            Ok(other) => panic!("{taken} came, then {other:?}"),
        }
    }
    source.settle(all(unsettled, Settlement::Done)).await;
    assert_eq!(source.close().await.unconfirmed, 0);
    assert_eq!(queue.counts().await, (0, 0));
}

/// Receiving loses nothing when it is cancelled.
pub async fn receiving_loses_nothing_when_it_is_cancelled(queue: &impl Queue) {
    publish(queue, 200).await;
    let mut source = started(queue, 200).await;
    let mut seen = Vec::new();
    while seen.len() < 200 {
        // Dropped at once whenever nothing is there at this very moment.
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

/// Closing leaves nothing in flight.
pub async fn closing_leaves_nothing_in_flight(queue: &impl Queue) {
    publish(queue, 50).await;
    let mut source = started(queue, 50).await;
    let Event::Deliveries(deliveries) = receive(&mut source).await else { panic!("fifty are waiting") };
    source.want(0).await;
    source.settle(all(deliveries, Settlement::Release)).await;
    source.close().await;
    assert_eq!(queue.counts().await, (50, 0));
}

/// Runs the claims of these groups on a queue: `every` queue's; those with a `window` of unsettled messages;
/// those that can give a message back in the middle of a run, after `delays`; those with `leases` that end and
/// can be extended.
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
            an_empty_queue_says_so, an_empty_queue_says_so_whatever_is_unsettled,
            what_is_published_is_delivered_once_and_finished, the_few_that_wait_come_at_once,
            never_more_than_n_and_the_rest_stays, bodies_that_are_unsettled_are_bounded_together,
            what_is_given_back_comes_again_to_a_later_consumer_as_the_same,
            a_consumer_that_has_stopped_says_so_and_goes_on_when_more_is_wanted,
            receiving_loses_nothing_when_it_is_cancelled, closing_leaves_nothing_in_flight,
        ]);
    };
    (@window $queue:ty) => {
        $crate::source_suite!(@claims $queue, 10, LONG_LEASE, [
            a_full_window_is_told_once_and_has_no_more_than_the_limit,
        ]);
    };
    (@delays $queue:ty) => {
        $crate::source_suite!(@claims $queue, 100, LONG_LEASE, [
            how_much_is_left_is_told_truly_or_not_at_all, what_another_holds_is_not_left,
            a_requeued_message_comes_again_as_the_same_and_one_attempt_on,
            a_delay_keeps_a_message_away_for_so_long,
        ]);
    };
    (@leases $queue:ty) => {
        $crate::source_suite!(@claims $queue, 100, LEASE, [
            what_was_never_settled_comes_again, a_settlement_that_comes_too_late_is_told,
            a_lease_that_is_extended_keeps_a_message_ours,
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
