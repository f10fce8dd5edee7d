//! A queue with a position and no single messages, like Kafka: the settled prefix is committed, and
//! everything after it is delivered again to a later consumer. Marks beside the position, if they are kept,
//! record what is settled above it.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use bytes::Bytes;

use x_msrv_core::{
    BoxFuture,
    message::{Delivery, Message, Origin, Receipt, Settlement},
    source::{
        Attempts, Books, Closed, Consumer, Demand, Depth, Event, Identity, Lease, PendingMessage, Proof,
        Publisher, Retry, Source, SourceError, SourceTraits, Started,
    },
};

/// A log that sources and publishers share.
#[derive(Debug, Clone)]
pub struct PositionQueue {
    log: Rc<RefCell<Log>>,
    /// How many marks fit beside the position.
    most_marks: usize,
    window: u64,
}

#[derive(Debug, Default)]
struct Log {
    messages: Vec<Bytes>,
    position: u64,
    marks: BTreeSet<u64>,
}

impl PositionQueue {
    /// Creates an empty queue with a window of unsettled messages and a limit on marks.
    #[must_use]
    pub fn new(window: u64, most_marks: usize) -> Self {
        Self { log: Rc::default(), most_marks, window }
    }

    /// Returns the number of messages from the position to the end, without those marked as settled.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let log = self.log.borrow();
        log.messages.len() as u64 - log.position - log.marks.len() as u64
    }

    /// Returns a source that reads this queue.
    #[must_use]
    pub fn source(&self) -> PositionSource {
        PositionSource(self.clone())
    }
}

impl Publisher for PositionQueue {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        for message in messages {
            self.log.borrow_mut().messages.push(message.item.body);
            message.answer.give(Ok(()));
        }
        Box::pin(std::future::ready(()))
    }
}

/// The log as a [`Source`].
#[derive(Debug)]
pub struct PositionSource(PositionQueue);

impl Source for PositionSource {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            retry: Retry::Prefix,
            attempts: Attempts::Unknown,
            lease: Lease::None,
            identity: Identity::Stable,
        }
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        let Self(queue) = *self;
        let depth = Depth { ready: Some(queue.lag()), later: Some(0), elsewhere: None };
        let (next, end) = {
            let log = queue.log.borrow();
            (log.position, log.messages.len() as u64)
        };
        let books = Books::new(&demand, queue.window);
        let consumer = Box::new(PositionConsumer { queue, books, next, end, done: BTreeSet::new() });
        Box::pin(std::future::ready(Ok(Started { consumer, depth })))
    }
}

struct PositionConsumer {
    queue: PositionQueue,
    books: Books,
    /// The offset of the next message.
    next: u64,
    /// The end of the log at the start: later messages are for the next run.
    end: u64,
    /// Offsets that are settled above the position.
    done: BTreeSet<u64>,
}

impl PositionConsumer {
    fn take(&mut self, most: usize) -> Vec<Delivery> {
        let log = self.queue.log.borrow();
        let mut deliveries = Vec::new();
        while deliveries.len() < most && self.next < self.end && self.books.bytes_left() > 0 {
            let offset = self.next;
            self.next += 1;
            if log.marks.contains(&offset) {
                self.done.insert(offset);
                continue;
            }
            let body = log.messages[usize::try_from(offset).expect("a small log")].clone();
            let message =
                Message { attempts: None, ..Message::new(Origin::new("log"), &offset.to_string(), body) };
            let delivery = Delivery { message, receipt: Receipt(offset) };
            self.books.took(&delivery);
            deliveries.push(delivery);
        }
        deliveries
    }

    /// Commits the settled prefix, and the marks that fit.
    fn commit(&mut self) {
        let log = &mut *self.queue.log.borrow_mut();
        while self.done.remove(&log.position) {
            log.position += 1;
        }
        log.marks = log.marks.split_off(&log.position);
        let marks = self.done.iter().copied().chain(log.marks.iter().copied()).collect::<BTreeSet<_>>();
        log.marks = marks.into_iter().take(self.queue.most_marks).collect();
    }
}

impl Consumer for PositionConsumer {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async move {
            let most = match self.books.room().await {
                Ok(most) => most,
                Err(event) => return event,
            };
            match self.take(most) {
                deliveries if deliveries.is_empty() => Event::Idle(Proof::Proven),
                deliveries => Event::Deliveries(deliveries),
            }
        })
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        self.books.want(more);
        Box::pin(std::future::ready(()))
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.books.settled(&settled);
        let done = settled.iter().filter(|(_, settlement)| *settlement == Settlement::Done);
        self.done.extend(done.map(|(delivery, _)| delivery.receipt.0));
        self.commit();
        Box::pin(std::future::ready(()))
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Closed> {
        self.commit();
        let marks = &self.queue.log.borrow().marks;
        let behind = self.done.iter().filter(|offset| !marks.contains(offset)).count() as u64;
        let depth = Depth { ready: Some(self.queue.lag()), later: Some(0), elsewhere: None };
        Box::pin(std::future::ready(Closed { behind, depth, ..self.books.closed }))
    }
}
