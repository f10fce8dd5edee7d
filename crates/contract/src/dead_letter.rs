//! The suite of dead letters: what is accepted can be listed, replayed and purged.
//!
//! [`OnQueue`] is the fixture for any queue that passes [`publisher_suite!`](crate::publisher_suite):
//!
//! ```ignore
//! x_msrv_contract::dead_letter_suite!(letters_in_nsqd, OnQueue<Nsq>, [every, refusals]);
//! ```

use std::{num::NonZeroU32, rc::Rc, time::SystemTime};

use bytes::Bytes;
use x_msrv_core::{
    answer,
    dead_letter::{
        DeadLetter, DeadLetterError, Kept, Letter,
        fallback::Fallback,
        published::{Attempt, Published},
    },
    decode::Rejection,
    message::{Delivery, Message, Origin, Settlement},
    source::{Event, Publisher, SourceError},
};

use crate::{
    memory::dead_letter::MemoryDeadLetter,
    publisher::Refusing,
    source::{LONG_LEASE, Queue, all, receive, started},
};

/// The id of every letter of the suite.
pub const ID: &str = "0a";

/// A place for dead letters, for one claim.
#[expect(async_fn_in_trait, reason = "everything runs on one thread")]
pub trait Letters {
    /// Creates an empty place.
    async fn open() -> Self;

    /// Returns what a run keeps its dead letters with.
    fn destination(&self) -> Box<dyn DeadLetter>;

    /// Returns the same with a place that cannot be reached.
    fn unreachable(&self) -> Box<dyn DeadLetter>;

    /// Lists all letters, as `dead list` and `dead show` do.
    async fn list(&self) -> Vec<Letter>;

    /// Replays the letters with this reason, as `dead replay` does, and returns the published bodies.
    async fn replay(&self, reason: &str) -> Vec<Bytes>;

    /// Purges the letters with this reason, as `dead purge` does.
    async fn purge(&self, reason: &str);
}

/// A place that refuses letters that are too large.
pub trait RefusingLetters: Letters {
    /// Returns the size of a letter that is refused, in bytes.
    fn too_large(&self) -> usize;
}

/// A queue for dead letters, and a second one that they are replayed to. Each letter is taken, and then put
/// back or done with, as a command does it.
pub struct OnQueue<Q> {
    letters: Rc<Q>,
    replayed: Q,
}

impl<Q: Queue + 'static> OnQueue<Q> {
    /// Takes every letter from the queue; those that `act` does not return are released.
    async fn take(&self, mut act: impl FnMut(&Letter) -> bool) -> Vec<Letter> {
        let mut consumer = started(&*self.letters, 100_000).await;
        let (mut held, mut taken) = (Vec::<Delivery>::new(), Vec::new());
        while let Event::Deliveries(deliveries) = receive(&mut consumer).await {
            for delivery in deliveries {
                let letter = serde_json::from_slice(&delivery.message.body).expect("a letter is JSON");
                if act(&letter) {
                    taken.push(letter);
                    consumer.settle(all(vec![delivery], Settlement::Done)).await;
                } else {
                    held.push(delivery);
                }
            }
        }
        consumer.want(0).await;
        consumer.settle(all(held, Settlement::Release)).await;
        assert_eq!(consumer.close().await.unconfirmed, 0);
        taken
    }
}

impl<Q: Queue + 'static> Letters for OnQueue<Q> {
    async fn open() -> Self {
        // More than the letters of any claim: all of them are held while they are listed.
        let open = || Q::open(1_000, LONG_LEASE);
        Self { letters: Rc::new(open().await), replayed: open().await }
    }

    fn destination(&self) -> Box<dyn DeadLetter> {
        let letters = Rc::clone(&self.letters);
        let connect: Attempt<Box<dyn Publisher>> = Box::new(move || {
            let letters = Rc::clone(&letters);
            Box::pin(async move { Ok(letters.publisher().await) })
        });
        let probe: Attempt<String> = Box::new(|| Box::pin(std::future::ready(Ok("in memory".to_owned()))));
        Box::new(Published::new("the queue for letters".to_owned(), connect, probe))
    }

    fn unreachable(&self) -> Box<dyn DeadLetter> {
        fn fails<T: 'static>() -> Attempt<T> {
            Box::new(|| {
                let error =
                    SourceError::Unreachable { place: "the queue".into(), cause: "it is gone".into() };
                Box::pin(std::future::ready(Err(error)))
            })
        }
        Box::new(Published::new("the queue for letters".to_owned(), fails(), fails()))
    }

    async fn list(&self) -> Vec<Letter> {
        let mut letters = Vec::new();
        self.take(|letter| {
            letters.push(letter.clone());
            false
        })
        .await;
        letters
    }

    async fn replay(&self, reason: &str) -> Vec<Bytes> {
        let publisher = self.replayed.publisher().await;
        let letters = self.take(|letter| letter.reason == reason).await;
        let bodies: Vec<_> = letters.iter().map(body).collect();
        let message =
            |body: &Bytes| x_msrv_core::source::Outgoing { body: body.clone(), ..Default::default() };
        let (batch, verdicts) = answer::batch(bodies.iter().map(message));
        publisher.publish(batch).await;
        assert_eq!(verdicts.take(), vec![Some(Ok(())); bodies.len()]);
        let mut consumer = started(&self.replayed, 100_000).await;
        let mut found = Vec::new();
        while let Event::Deliveries(deliveries) = receive(&mut consumer).await {
            found.extend(deliveries.iter().map(|delivery| delivery.message.body.clone()));
            consumer.settle(all(deliveries, Settlement::Done)).await;
        }
        consumer.close().await;
        found
    }

    async fn purge(&self, reason: &str) {
        self.take(|letter| letter.reason == reason).await;
    }
}

impl<Q: Refusing + 'static> RefusingLetters for OnQueue<Q> {
    fn too_large(&self) -> usize {
        self.letters.refused().len()
    }
}

fn body(letter: &Letter) -> Bytes {
    letter.body.to_bytes().expect("not damaged").into()
}

fn letter(reason: &str, body: &[u8]) -> Letter {
    let message = Message {
        attempts: NonZeroU32::new(2),
        ..Message::new(Origin::new("t@h:1"), ID, Bytes::copy_from_slice(body))
    };
    let letter = Letter::new(&message, &Rejection::ReservedField, SystemTime::UNIX_EPOCH);
    Letter { reason: reason.to_owned(), ..letter }
}

/// Letters with two reasons, any bytes, and each key that may be missing.
fn letters() -> Vec<Letter> {
    vec![
        letter("not-json", b"{a: 1}"),
        letter("too-large", b" "),
        letter("not-json", b"\xff\n\x00"),
        Letter { attempts: None, ..letter("too-large", "ä\n\"".as_bytes()) },
        Letter { detail: "\"quoted\" \\ and\nlong ".repeat(50), ..letter("not-json", b"last") },
    ]
}

/// Letters that were put back may come in another order.
fn sorted(mut letters: Vec<Letter>) -> Vec<Letter> {
    letters.sort_by_key(body);
    letters
}

fn with_reason<'a>(letters: &'a [Letter], reason: &'a str) -> impl Iterator<Item = Letter> + 'a {
    letters.iter().filter(move |letter| letter.reason == reason).cloned()
}

async fn keep(
    destination: &mut dyn DeadLetter,
    letters: &[Letter],
) -> Vec<Option<Result<Kept, DeadLetterError>>> {
    let (batch, verdicts) = answer::batch(letters.iter());
    destination.keep(batch).await;
    verdicts.take()
}

async fn kept(destination: &mut dyn DeadLetter, letters: &[Letter]) {
    assert_eq!(keep(destination, letters).await, vec![Some(Ok(Kept::Durably)); letters.len()]);
}

/// Otherwise a message would be acknowledged whose dead letter nobody can use. A second run must not replace
/// the letters of the first.
pub async fn every_accepted_letter_is_listed_with_all_its_keys_in_order(place: &impl Letters) {
    for _run in 0..2 {
        let mut destination = place.destination();
        destination.probe().await.expect("letters can be kept");
        kept(&mut *destination, &[]).await;
        kept(&mut *destination, &letters()).await;
    }
    assert_eq!(place.list().await, [letters(), letters()].concat());
}

/// Letters are written in batches, by number and by size; none may be lost between two of them.
pub async fn more_letters_than_fit_in_one_batch_are_all_kept_in_order(place: &impl Letters) {
    let mut many: Vec<_> =
        (0..250).map(|number| letter("not-json", format!("{{{number}").as_bytes())).collect();
    for large in [30, 31, 32] {
        many[large].detail = "x".repeat(450_000);
    }
    kept(&mut *place.destination(), &many).await;
    let found = place.list().await;
    let bodies = |letters: &[Letter]| letters.iter().map(body).collect::<Vec<_>>();
    assert_eq!(bodies(&found), bodies(&many));
    assert!(found == many, "and all their keys");
}

/// A look at the letters must not remove them.
pub async fn listing_takes_no_letter(place: &impl Letters) {
    kept(&mut *place.destination(), &letters()).await;
    let count = |letters: &[Letter]| (letters.len(), with_reason(letters, "not-json").count());
    for _look in 0..3 {
        assert_eq!(count(&place.list().await), (5, 3));
    }
}

/// A replay that changes a body, or repeats it, makes another message of it.
pub async fn a_replay_publishes_the_original_bodies_once(place: &impl Letters) {
    kept(&mut *place.destination(), &letters()).await;
    let expected: Vec<_> = with_reason(&letters(), "not-json").map(|letter| body(&letter)).collect();
    assert_eq!(place.replay("not-json").await, expected);
    assert_eq!(place.replay("not-json").await, Vec::<Bytes>::new(), "they were sent before");
    let mut left = place.list().await;
    left.retain(|letter| letter.replayed.is_none());
    assert_eq!(sorted(left), sorted(with_reason(&letters(), "too-large").collect()));
}

/// A purge cannot be undone.
pub async fn a_purge_removes_exactly_the_selected_letters(place: &impl Letters) {
    kept(&mut *place.destination(), &letters()).await;
    place.purge("schema").await;
    place.purge("too-large").await;
    assert_eq!(sorted(place.list().await), sorted(with_reason(&letters(), "not-json").collect()));
}

/// Otherwise messages would be acknowledged whose letters do not exist, or wait for a place that does not come
/// back.
pub async fn letters_that_cannot_be_kept_are_reported_and_go_to_the_fallback(place: &impl Letters) {
    let mut unreachable = place.unreachable();
    unreachable.probe().await.expect_err("it cannot be reached");
    let verdicts = keep(&mut *unreachable, &letters()).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Some(Err(_)))), "{verdicts:?}");
    let behind = MemoryDeadLetter::default();
    let mut both = Fallback { first: unreachable, second: Box::new(behind.clone()) };
    kept(&mut both, &letters()).await;
    assert_eq!(behind.letters(), letters());
    assert_eq!(place.list().await, [], "nothing reached it");
    let mut both = Fallback { first: place.destination(), second: Box::new(behind.clone()) };
    kept(&mut both, &letters()).await;
    assert_eq!((behind.letters(), place.list().await), (letters(), letters()), "the fallback got no more");
}

/// A letter is larger than its message, so the largest messages make letters that a queue refuses. Without the
/// fallback their messages would be retried forever.
pub async fn a_refused_letter_goes_to_the_fallback_alone(place: &impl RefusingLetters) {
    let large = Letter { detail: "x".repeat(place.too_large()), ..letter("not-json", b"large") };
    let mut many = letters();
    many.insert(2, large.clone());
    let behind = MemoryDeadLetter::default();
    let mut both = Fallback { first: place.destination(), second: Box::new(behind.clone()) };
    kept(&mut both, &many).await;
    assert_eq!((behind.letters(), place.list().await), (vec![large], letters()));
}

/// Runs groups of claims on a place for dead letters: `every` for all of them, `refusals` for those that refuse
/// large letters ([`RefusingLetters`]).
#[macro_export]
macro_rules! dead_letter_suite {
    ($kind:ident, $place:ty, [$($group:ident),*]) => {
        mod $kind {
            use super::*;
            $($crate::dead_letter_suite!(@$group $place);)*
        }
    };
    (@every $place:ty) => {
        $crate::dead_letter_suite!(@claims $place, [
            every_accepted_letter_is_listed_with_all_its_keys_in_order,
            more_letters_than_fit_in_one_batch_are_all_kept_in_order,
            listing_takes_no_letter,
            a_replay_publishes_the_original_bodies_once,
            a_purge_removes_exactly_the_selected_letters,
            letters_that_cannot_be_kept_are_reported_and_go_to_the_fallback,
        ]);
    };
    (@refusals $place:ty) => {
        $crate::dead_letter_suite!(@claims $place, [a_refused_letter_goes_to_the_fallback_alone,]);
    };
    (@claims $place:ty, [$($claim:ident,)*]) => {
        $(
            #[tokio::test]
            async fn $claim() {
                $crate::dead_letter::$claim(&<$place as $crate::dead_letter::Letters>::open().await).await;
            }
        )*
    };
}
