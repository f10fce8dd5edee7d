//! The suite of [`Publisher`]. What was published is read back through the queue's own source, so the fixture
//! is the one of [`source_suite!`](crate::source_suite):
//!
//! ```ignore
//! x_msrv_contract::publisher_suite!(nsqd_publisher, Nsq, [every, order, refusals, network]);
//! ```

use std::time::Duration;

use bytes::Bytes;
use x_msrv_core::{
    answer,
    fault::{Blame, Fault},
    message::{Details, Message, Settlement},
    source::{Event, Outgoing, Publisher},
};

use crate::{
    PATIENCE,
    faults::proxy::{Fault as Broken, Proxy, Way, What},
    source::{Queue, all, receive, started},
};

/// A queue that refuses some messages.
pub trait Refusing: Queue {
    /// Returns a body that the queue refuses whenever it is published, too large a one, say.
    fn refused(&self) -> Bytes;
}

/// A queue with a server. Its publishers connect through a proxy, its sources do not.
pub trait Remote: Queue {
    /// How long the server keeps a connection on which nothing is published and nothing is answered.
    const SERVER_PATIENCE: Duration;

    /// Returns the proxy.
    fn proxy(&self) -> &Proxy;
}

/// The verdict on a message; `None` if its answer was dropped, which means that it is in doubt.
type Verdict = Option<Result<(), Fault>>;

async fn publish(publisher: &dyn Publisher, messages: Vec<Outgoing>) -> Vec<Verdict> {
    let (batch, verdicts) = answer::batch(messages.into_iter());
    tokio::time::timeout(PATIENCE, publisher.publish(batch)).await.expect("a batch is answered");
    verdicts.take()
}

async fn publish_bodies(publisher: &dyn Publisher, bodies: &[Bytes]) -> Vec<Verdict> {
    let message = |body: &Bytes| Outgoing { body: body.clone(), ..Outgoing::default() };
    publish(publisher, bodies.iter().map(message).collect()).await
}

/// Publishes until a batch is accepted, at most twice: the first one may find out that the connection is lost.
async fn publish_again(publisher: &dyn Publisher, body: &'static str) -> Vec<Verdict> {
    let mut verdicts = publish_bodies(publisher, &[body.into()]).await;
    if verdicts != [Some(Ok(()))] {
        verdicts = publish_bodies(publisher, &[body.into()]).await;
    }
    verdicts
}

fn numbered(name: &str, count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("{{\"{name}\":{number}}}"))).collect()
}

/// Reads everything from the queue, in its order.
async fn drained(queue: &impl Queue) -> Vec<Message> {
    let mut source = started(queue, 100_000).await;
    let mut messages = Vec::new();
    loop {
        match receive(&mut source).await {
            Event::Deliveries(deliveries) => {
                messages.extend(deliveries.iter().map(|delivery| delivery.message.clone()));
                source.settle(all(deliveries, Settlement::Done)).await;
            }
            Event::Full => {}
            Event::Idle(_) => break,
            Event::Lost => panic!("the queue is lost"),
        }
    }
    source.close().await;
    messages
}

fn bodies(messages: &[Message]) -> Vec<Bytes> {
    messages.iter().map(|message| message.body.clone()).collect()
}

fn sorted(mut bodies: Vec<Bytes>) -> Vec<Bytes> {
    bodies.sort_unstable();
    bodies
}

/// A message that is reported as published and is not in the queue is lost. The publisher is closed as soon as
/// it has answered.
pub async fn every_message_has_a_verdict_and_is_in_the_queue_once_if_it_is_published(queue: &impl Queue) {
    let mut every = numbered("n", 250);
    every.extend([&b"\xff\x00\n"[..], b" ", b""].map(Bytes::from_static));
    let publisher = queue.publisher().await;
    let verdicts = publish_bodies(&*publisher, &every).await;
    drop(publisher);
    // Only an empty body may be refused: some protocols have no message without one.
    let (empty, others) = verdicts.split_last().expect("some");
    assert_eq!(others, vec![Some(Ok(())); others.len()]);
    assert!(empty.is_some(), "it has a verdict");
    if empty != &Some(Ok(())) {
        every.pop();
    }
    assert_eq!(sorted(bodies(&drained(queue).await)), sorted(every));
}

/// A caller that has nothing to publish must not wait, or end the connection.
pub async fn an_empty_batch_is_answered_and_publishes_nothing(queue: &impl Queue) {
    let publisher = queue.publisher().await;
    assert_eq!(publish_bodies(&*publisher, &[]).await, []);
    assert_eq!(publish_bodies(&*publisher, &numbered("n", 1)).await, [Some(Ok(()))]);
    assert_eq!(bodies(&drained(queue).await), numbered("n", 1));
}

/// Verdicts must not go to the wrong batch while several are in flight.
pub async fn several_batches_are_published_at_the_same_time(queue: &impl Queue) {
    let publisher = queue.publisher().await;
    let batches = ["a", "b", "c", "d"].map(|name| numbered(name, 25));
    let publish = |index: usize| publish_bodies(&*publisher, &batches[index]);
    let (a, b, c, d) = tokio::join!(publish(0), publish(1), publish(2), publish(3));
    assert_eq!([a, b, c, d].concat(), vec![Some(Ok(())); 100]);
    assert_eq!(sorted(bodies(&drained(queue).await)), sorted(batches.concat()));
}

/// A caller that gives up leaves its messages in doubt, and the publisher usable: the answer to the first batch
/// must not become the answer to the second.
pub async fn a_publisher_stays_usable_after_a_cancelled_batch(queue: &impl Queue) {
    let publisher = queue.publisher().await;
    let (batch, verdicts) = answer::batch(
        numbered("cancelled", 5).into_iter().map(|body| Outgoing { body, ..Outgoing::default() }),
    );
    {
        let mut cancelled = publisher.publish(batch);
        tokio::select! { biased; () = &mut cancelled => {}, () = tokio::task::yield_now() => {} }
    }
    let accepted = verdicts.take().into_iter().filter(|verdict| *verdict == Some(Ok(()))).count();
    assert_eq!(publish_bodies(&*publisher, &numbered("n", 5)).await, vec![Some(Ok(())); 5]);
    let found = bodies(&drained(queue).await);
    let (ours, cancelled): (Vec<_>, Vec<_>) = found.into_iter().partition(|body| body.starts_with(b"{\"n"));
    assert_eq!(sorted(ours), sorted(numbered("n", 5)));
    assert!(cancelled.len() >= accepted && cancelled.len() <= 5, "{accepted} published: {cancelled:?}");
}

/// Dead letters are listed in this order, and a log has no other.
pub async fn messages_keep_their_order_in_a_batch_and_over_batches(queue: &impl Queue) {
    let publisher = queue.publisher().await;
    for name in ["a", "b"] {
        assert_eq!(publish_bodies(&*publisher, &numbered(name, 100)).await, vec![Some(Ok(())); 100]);
    }
    assert_eq!(bodies(&drained(queue).await), [numbered("a", 100), numbered("b", 100)].concat());
}

/// Otherwise one message that is too large would be blamed on all others of its batch, or the other way round.
pub async fn a_refused_message_does_not_affect_the_others(queue: &impl Refusing) {
    let publisher = queue.publisher().await;
    let is_refused = |verdict: &Verdict| matches!(verdict, Some(Err(fault)) if fault.blame == Blame::Record && !fault.in_doubt);
    for (round, at) in [0, 3, 9].into_iter().enumerate() {
        let mut batch = numbered(&format!("round{round}"), 9);
        batch.insert(at, queue.refused());
        let mut verdicts = publish_bodies(&*publisher, &batch).await;
        let refused = verdicts.remove(at);
        assert!(is_refused(&refused), "{refused:?}");
        assert_eq!(verdicts, vec![Some(Ok(())); 9], "refused at {at}");
    }
    let alone = publish_bodies(&*publisher, &[queue.refused()]).await;
    assert!(is_refused(&alone[0]), "{alone:?}");
    assert_eq!(publish_bodies(&*publisher, &numbered("after", 1)).await, [Some(Ok(()))]);
    let expected = ["round0", "round1", "round2"].map(|name| numbered(name, 9)).concat();
    assert_eq!(sorted(bodies(&drained(queue).await)), sorted([expected, numbered("after", 1)].concat()));
}

/// The key of a record may be made from the id.
pub async fn an_id_is_delivered_with_its_message(queue: &impl Queue) {
    let message = |id: &str| Outgoing { body: "{}".into(), id: Some(id.into()), ..Outgoing::default() };
    let publisher = queue.publisher().await;
    let verdicts = publish(&*publisher, ["one", "two"].map(message).into()).await;
    assert_eq!(verdicts, vec![Some(Ok(())); 2]);
    let mut ids: Vec<_> = drained(queue).await.into_iter().map(|message| message.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["one".into(), "two".into()]);
}

/// Headers are data of the message: a store may keep them.
pub async fn headers_are_delivered_with_their_message(queue: &impl Queue) {
    let headers = |value: &'static str| vec![("kind".into(), value.into()), ("kind".into(), "again".into())];
    let message =
        |value: &'static str| Outgoing { body: value.into(), headers: headers(value), ..Outgoing::default() };
    let publisher = queue.publisher().await;
    let verdicts = publish(&*publisher, ["a", "b"].map(message).into()).await;
    assert_eq!(verdicts, vec![Some(Ok(())); 2]);
    let found = drained(queue).await;
    assert_eq!(found.len(), 2);
    for Message { body, details, .. } in found {
        let Details { headers: found, .. } = *details.expect("it has headers");
        assert_eq!(found, headers(if &body[..] == b"a" { "a" } else { "b" }));
    }
}

/// A publisher waits for slow input, or for the next dead letter. Its server must not end the connection
/// meanwhile, or the publisher must make a new one: the next batch is published at once, and not in doubt.
pub async fn a_publisher_that_was_idle_for_longer_than_its_server_waits_publishes_at_once(
    queue: &impl Remote,
) {
    idle(queue, async |publisher| {
        let waited = tokio::time::timeout(silence(queue), publisher.keep_alive()).await;
        assert!(waited.is_err(), "it only keeps the connection alive");
    })
    .await;
}

/// The same for a caller that was busy elsewhere and did not keep the connection alive. It may learn of the
/// loss from its next batch, which is not reported as published then.
pub async fn a_publisher_that_was_left_alone_publishes_again(queue: &impl Remote) {
    let publisher = queue.publisher().await;
    assert_eq!(publish_bodies(&*publisher, &["before".into()]).await, [Some(Ok(()))]);
    tokio::time::sleep(silence(queue)).await;
    assert_eq!(publish_again(&*publisher, "after").await, [Some(Ok(()))]);
    let found = bodies(&drained(queue).await);
    assert!(found.contains(&"before".into()) && found.contains(&"after".into()), "{found:?}");
}

/// Longer than the server waits.
fn silence<Q: Remote>(_queue: &Q) -> Duration {
    Q::SERVER_PATIENCE + Duration::from_secs(1)
}

async fn idle(queue: &impl Remote, wait: impl AsyncFnOnce(&dyn Publisher)) {
    let publisher = queue.publisher().await;
    assert_eq!(publish_bodies(&*publisher, &["before".into()]).await, [Some(Ok(()))]);
    wait(&*publisher).await;
    assert_eq!(publish_bodies(&*publisher, &["after".into()]).await, [Some(Ok(()))]);
    assert_eq!(bodies(&drained(queue).await), ["before", "after"]);
}

/// A message written to a connection that was reset while nobody looked is not published.
pub async fn a_connection_that_is_lost_while_idle_is_restored(queue: &impl Remote) {
    let publisher = queue.publisher().await;
    assert_eq!(publish_bodies(&*publisher, &["before".into()]).await, [Some(Ok(()))]);
    queue.proxy().cut();
    let first = publish_bodies(&*publisher, &["first".into()]).await;
    assert_eq!(publish_again(&*publisher, "again").await, [Some(Ok(()))]);
    let found = bodies(&drained(queue).await);
    assert!(found.contains(&"before".into()) && found.contains(&"again".into()), "{found:?}");
    agree(&["first".into()], &first, &found);
}

/// The verdicts on these messages agree with what the queue has: what is published is there once, what failed
/// for certain is not, and what is in doubt may be.
#[track_caller]
fn agree(messages: &[Bytes], verdicts: &[Verdict], found: &[Bytes]) {
    for (message, verdict) in messages.iter().zip(verdicts) {
        let times = found.iter().filter(|found| *found == message).count();
        let allowed = match verdict {
            Some(Ok(())) => 1..=1,
            Some(Err(fault)) if !fault.in_doubt => 0..=0,
            Some(Err(_)) | None => 0..=1,
        };
        assert!(allowed.contains(&times), "{message:?} is in the queue {times} times: {verdict:?}");
    }
}

/// Otherwise a broken connection would lose messages that were reported as published.
pub async fn a_connection_that_is_lost_in_the_middle_of_a_batch_is_reported_and_restored(
    queue: &impl Remote,
) {
    const STEPS: u64 = 12;
    // What passes while a publisher connects, and publishes.
    queue.proxy().plan(Vec::new());
    let publisher = queue.publisher().await;
    // A server may refuse a first attempt, and be asked for less by a second one.
    let connection = queue.proxy().passed().len() - 1;
    let connected = queue.proxy().passed()[connection];
    assert_eq!(publish_bodies(&*publisher, &numbered("measured", 20)).await, vec![Some(Ok(())); 20]);
    let done = queue.proxy().passed()[connection];
    drop(publisher);
    let (mut rounds, mut failures) = (Vec::new(), 0);
    for way in [Way::ToServer, Way::ToClient] {
        let (from, until) = (connected.bytes(way), done.bytes(way));
        for step in 0..STEPS {
            let after = from + (until - from) * step / STEPS;
            queue.proxy().plan(vec![Broken { connection, way, after, what: What::Cut }]);
            let publisher = queue.publisher().await;
            let batch = numbered(&format!("{way:?}{step}"), 20);
            let verdicts = publish_bodies(&*publisher, &batch).await;
            failures += u32::from(verdicts.iter().any(|verdict| *verdict != Some(Ok(()))));
            rounds.push((batch, verdicts));
            let after = numbered(&format!("after{way:?}{step}"), 1);
            let verdicts = publish_bodies(&*publisher, &after).await;
            assert_eq!(verdicts, [Some(Ok(()))], "the connection is restored, {way:?} {step}");
            rounds.push((after, verdicts));
        }
    }
    assert!(failures > 0, "no connection was lost in time");
    let found = bodies(&drained(queue).await);
    for (batch, verdicts) in rounds {
        agree(&batch, &verdicts, &found);
    }
}

/// Runs groups of claims on a publisher: `every` for all of them; `order` for queues that deliver in the order
/// of publishing; `refusals` for those that refuse messages ([`Refusing`]); `ids` and `headers` for those that
/// keep them; `network` for those with a server ([`Remote`]).
#[macro_export]
macro_rules! publisher_suite {
    ($kind:ident, $queue:ty, [$($group:ident),*]) => {
        mod $kind {
            use super::*;
            use $crate::source::LONG_LEASE;
            $($crate::publisher_suite!(@$group $queue);)*
        }
    };
    (@every $queue:ty) => {
        $crate::publisher_suite!(@claims $queue, [
            every_message_has_a_verdict_and_is_in_the_queue_once_if_it_is_published,
            an_empty_batch_is_answered_and_publishes_nothing,
            several_batches_are_published_at_the_same_time,
            a_publisher_stays_usable_after_a_cancelled_batch,
        ]);
    };
    (@order $queue:ty) => {
        $crate::publisher_suite!(@claims $queue, [messages_keep_their_order_in_a_batch_and_over_batches,]);
    };
    (@refusals $queue:ty) => {
        $crate::publisher_suite!(@claims $queue, [a_refused_message_does_not_affect_the_others,]);
    };
    (@ids $queue:ty) => {
        $crate::publisher_suite!(@claims $queue, [an_id_is_delivered_with_its_message,]);
    };
    (@headers $queue:ty) => {
        $crate::publisher_suite!(@claims $queue, [headers_are_delivered_with_their_message,]);
    };
    (@network $queue:ty) => {
        $crate::publisher_suite!(@claims $queue, [
            a_publisher_that_was_idle_for_longer_than_its_server_waits_publishes_at_once,
            a_publisher_that_was_left_alone_publishes_again,
            a_connection_that_is_lost_while_idle_is_restored,
            a_connection_that_is_lost_in_the_middle_of_a_batch_is_reported_and_restored,
        ]);
    };
    (@claims $queue:ty, [$($claim:ident,)*]) => {
        $(
            #[tokio::test]
            async fn $claim() {
                $crate::publisher::$claim(&<$queue as $crate::source::Queue>::open(100, LONG_LEASE).await).await;
            }
        )*
    };
}
