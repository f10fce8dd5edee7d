//! What every consumer counts: the messages that may still arrive, and those that are unsettled. Pure.

use std::future::pending;

use super::{BYTES_IN_FLIGHT, Closed, Demand, Event, Proof};
use crate::message::{Delivery, Settlement, bytes};

/// The books of a [`Consumer`](super::Consumer): N, the window of unsettled messages, and what it received.
///
/// A consumer asks for [`room`](Self::room) in `next`, and enters what it took, what was settled and what is
/// wanted. It returns [`closed`](Self::closed) at the end, with the queue's depth.
#[derive(Debug)]
pub struct Books {
    /// Messages that may still arrive.
    pub left: u64,
    /// What [`Consumer::close`](super::Consumer::close) returns; `received` is counted here.
    pub closed: Closed,
    window: u64,
    unsettled: u64,
    bytes: usize,
    reported: Option<Reported>,
}

/// The last event that the run received; each is reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    Full,
    Stopped,
}

impl Books {
    /// Creates the books of a consumer whose window holds this number of unsettled messages.
    #[must_use]
    pub fn new(demand: &Demand, window: u64) -> Self {
        let left = demand.max_messages.get();
        Self { left, window, unsettled: 0, bytes: 0, reported: None, closed: Closed::default() }
    }

    /// Returns how many messages may be taken now, at least one. If none may be, it returns once what
    /// [`Consumer::next`](super::Consumer::next) has to return, and then waits.
    ///
    /// # Errors
    /// Nothing is wanted any more, or the window is full.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn room(&mut self) -> Result<usize, Event> {
        let is_full = self.unsettled >= self.window || self.bytes_left() == 0;
        let (reported, event) = match (self.left, is_full) {
            (0, _) => (Reported::Stopped, Event::Idle(Proof::Proven)),
            (_, true) => (Reported::Full, Event::Full),
            (left, false) => {
                self.reported = None;
                return Ok(usize::try_from(left.min(self.window - self.unsettled)).unwrap_or(usize::MAX));
            }
        };
        if self.reported.replace(reported) == Some(reported) { pending().await } else { Err(event) }
    }

    /// Returns how many bytes of bodies may be added. The last message may exceed it.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        BYTES_IN_FLIGHT.saturating_sub(self.bytes)
    }

    /// Enters a message that arrived, handed out or not. One that was under way when nothing more was wanted is
    /// entered as well.
    pub fn took(&mut self, delivery: &Delivery) {
        self.bytes += delivery.message.body.len();
        self.closed.received += 1;
        self.left = self.left.saturating_sub(1);
        self.unsettled += 1;
    }

    /// Enters how many more may arrive. The answer to a pending request for messages is entered first: otherwise
    /// its messages come in addition.
    pub fn want(&mut self, more: u64) {
        (self.left, self.reported) = (more, None);
    }

    /// Enters what was settled.
    pub fn settled(&mut self, settled: &[(Delivery, Settlement)]) {
        self.unsettled -= settled.len() as u64;
        self.bytes -= bytes(settled.iter().map(|(delivery, _)| delivery));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::message::{Message, Origin, Receipt};

    fn delivery(bytes: usize) -> Delivery {
        let message = Message::new(Origin::new("queue"), "1", vec![0; bytes].into());
        Delivery { message, receipt: Receipt(1) }
    }

    /// If `Full` is returned twice, a run writes half a batch; if never, it waits forever.
    #[test]
    fn each_event_is_returned_once_until_something_changes() {
        let demand =
            Demand { max_messages: 3.try_into().expect("three"), idle_timeout: std::time::Duration::ZERO };
        let mut books = Books::new(&demand, 2);
        let next = |books: &mut Books| books.room().now_or_never();
        assert!(matches!(next(&mut books), Some(Ok(2))));
        let (small, large) = (delivery(1), delivery(BYTES_IN_FLIGHT));
        books.took(&large);
        assert!(matches!(next(&mut books), Some(Err(Event::Full))), "by its bytes");
        assert!(next(&mut books).is_none());
        books.settled(&[(large, Settlement::Done)]);
        books.took(&small);
        assert!(matches!(next(&mut books), Some(Ok(1))), "one of three is left");
        books.want(0);
        assert!(matches!(next(&mut books), Some(Err(Event::Idle(Proof::Proven)))));
        assert!(next(&mut books).is_none());
        books.want(0);
        assert!(matches!(next(&mut books), Some(Err(Event::Idle(_)))), "each request is answered");
        books.want(5);
        assert!(matches!(next(&mut books), Some(Ok(1))), "one of the two in the window is unsettled");
        assert_eq!(books.closed.received, 2);
    }

    /// A message that was under way made the number that may still arrive huge: the run exceeded N.
    #[test]
    fn a_message_that_arrives_after_no_more_is_wanted_admits_no_other() {
        let demand =
            Demand { max_messages: 3.try_into().expect("three"), idle_timeout: std::time::Duration::ZERO };
        let mut books = Books::new(&demand, 2);
        books.want(0);
        books.took(&delivery(1));
        assert_eq!((books.left, books.closed.received), (0, 1));
    }
}
