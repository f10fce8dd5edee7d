//! A queue in memory, for tests of the code above sources. Like a real queue, it delivers messages again that
//! are not settled in time.

use std::{
    cell::RefCell,
    num::{NonZeroU32, NonZeroU64},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::Silence;
use x_msrv_core::{
    BoxFuture,
    fault::{Blame, Fault},
    message::{Delivery, Message, Origin, Receipt, Settlement},
    source::{
        Attempts, Books, Closed, Consumer, Demand, Depth, Event, Identity, Lease, PendingMessage, Proof,
        Publisher, Retry, Source, SourceError, SourceTraits, Started,
    },
};

/// A queue that sources and publishers share.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    rows: Rc<RefCell<Vec<Row>>>,
    next_id: Rc<RefCell<u64>>,
    sources: Rc<RefCell<u64>>,
    closed: Rc<RefCell<bool>>,
    max_in_flight: u64,
    lease: Duration,
    most_bytes: usize,
}

#[derive(Debug, Clone)]
struct Row {
    id: u64,
    body: Bytes,
    attempts: u32,
    ready_at: Instant,
    /// The source that holds it, and until when.
    lease: Option<u64>,
}

impl MemoryQueue {
    /// Creates an empty queue with these limits.
    #[must_use]
    pub fn new(max_in_flight: NonZeroU64, lease: Duration) -> Self {
        Self {
            rows: Rc::default(),
            next_id: Rc::default(),
            sources: Rc::default(),
            closed: Rc::default(),
            max_in_flight: max_in_flight.get(),
            lease,
            most_bytes: usize::MAX,
        }
    }

    /// Makes it refuse larger bodies.
    #[must_use]
    pub fn refusing_over(self, most_bytes: usize) -> Self {
        Self { most_bytes, ..self }
    }

    /// Returns the number of messages that could be delivered now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.rows.borrow().iter().filter(|row| row.ready_at <= Instant::now()).count()
    }

    /// Returns the number of messages that are leased and not settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.rows.borrow().iter().filter(|row| row.lease.is_some() && row.ready_at > Instant::now()).count()
    }

    /// Returns its depth, including messages that other consumers hold.
    fn held(&self) -> Depth {
        let (rows, now) = (self.rows.borrow(), Instant::now());
        let count =
            |state: fn(&Row, Instant) -> bool| rows.iter().filter(|row| state(row, now)).count() as u64;
        Depth {
            ready: Some(count(|row, now| row.ready_at <= now)),
            later: Some(count(|row, now| row.ready_at > now && row.lease.is_none())),
            elsewhere: Some(count(|row, now| row.ready_at > now && row.lease.is_some())),
        }
    }

    /// Returns the number of messages in any state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.borrow().len()
    }

    /// Returns whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the queue unreachable for its sources.
    pub fn go_away(&self) {
        *self.closed.borrow_mut() = true;
    }

    /// Publishes one message.
    pub fn push(&self, body: &[u8]) {
        let mut id = self.next_id.borrow_mut();
        *id += 1;
        let row = Row {
            id: *id,
            body: Bytes::copy_from_slice(body),
            attempts: 0,
            ready_at: Instant::now(),
            lease: None,
        };
        self.rows.borrow_mut().push(row);
    }

    /// Returns a source that reads this queue.
    #[must_use]
    pub fn source(&self) -> MemorySource {
        *self.sources.borrow_mut() += 1;
        MemorySource { queue: self.clone(), number: *self.sources.borrow() }
    }
}

impl Publisher for MemoryQueue {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        for message in messages {
            if message.item.body.len() > self.most_bytes {
                message.answer.give(Err(Fault::new(Blame::Record, "it is too large")));
            } else {
                self.push(&message.item.body);
                message.answer.give(Ok(()));
            }
        }
        Box::pin(std::future::ready(()))
    }
}

/// The queue in memory as a [`Source`].
#[derive(Debug)]
pub struct MemorySource {
    queue: MemoryQueue,
    number: u64,
}

impl Source for MemorySource {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            retry: Retry::Delayed { most: Duration::MAX },
            attempts: Attempts::Counted,
            lease: Lease::Renewable(self.queue.lease),
            identity: Identity::Stable,
        }
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        let depth = self.queue.held();
        let books = Books::new(&demand, self.queue.max_in_flight);
        let silence = Silence::new(demand.idle_timeout);
        let consumer = Box::new(MemoryConsumer { queue: self.queue, number: self.number, silence, books });
        Box::pin(std::future::ready(Ok(Started { consumer, depth })))
    }
}

/// The queue in memory as a [`Consumer`].
#[derive(Debug)]
struct MemoryConsumer {
    queue: MemoryQueue,
    number: u64,
    silence: Silence,
    books: Books,
}

impl MemoryConsumer {
    fn take(&mut self, most: usize) -> Vec<Delivery> {
        let now = Instant::now();
        let mut rows = self.queue.rows.borrow_mut();
        let mut deliveries = Vec::new();
        for row in rows.iter_mut().filter(|row| row.ready_at <= now) {
            if deliveries.len() == most || self.books.bytes_left() == 0 {
                break;
            }
            row.attempts += 1;
            row.lease = Some(self.number);
            row.ready_at = now + self.queue.lease;
            let message = Message {
                attempts: NonZeroU32::new(row.attempts),
                ..Message::new(Origin::new("memory"), &row.id.to_string(), row.body.clone())
            };
            let delivery = Delivery { message, receipt: Receipt(row.id) };
            self.books.took(&delivery);
            self.silence.restart();
            deliveries.push(delivery);
        }
        deliveries
    }

    fn apply(&mut self, delivery: &Delivery, settlement: Settlement) {
        let now = Instant::now();
        let mut rows = self.queue.rows.borrow_mut();
        let ours = |row: &Row| row.id == delivery.receipt.0 && row.lease == Some(self.number);
        let Some(index) = rows.iter().position(|row| ours(row) && row.ready_at > now) else {
            self.books.closed.unconfirmed += 1;
            return;
        };
        match settlement {
            Settlement::Done => drop(rows.remove(index)),
            Settlement::Retry { after } => {
                rows[index].lease = None;
                rows[index].ready_at = now + after;
            }
            Settlement::Release => {
                rows[index].lease = None;
                rows[index].ready_at = now;
            }
        }
    }
}

impl Consumer for MemoryConsumer {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async move {
            if *self.queue.closed.borrow() {
                return Event::Lost;
            }
            let most = match self.books.room().await {
                Ok(most) => most,
                Err(event) => return event,
            };
            let deliveries = self.take(most);
            if !deliveries.is_empty() {
                return Event::Deliveries(deliveries);
            }
            self.silence.is_over().await;
            match self.take(most) {
                deliveries if deliveries.is_empty() => Event::Idle(Proof::Proven),
                deliveries => Event::Deliveries(deliveries),
            }
        })
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        self.books.want(more);
        self.silence.restart();
        Box::pin(std::future::ready(()))
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.books.settled(&settled);
        for (delivery, settlement) in &settled {
            self.apply(delivery, *settlement);
        }
        Box::pin(std::future::ready(()))
    }

    fn extend<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
        let now = Instant::now();
        let is_meant = |row: &Row| deliveries.iter().any(|delivery| delivery.receipt.0 == row.id);
        for row in self.queue.rows.borrow_mut().iter_mut() {
            if row.lease == Some(self.number) && row.ready_at > now && is_meant(row) {
                row.ready_at = now + self.queue.lease;
            }
        }
        Box::pin(std::future::ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        Box::pin(std::future::ready(Closed { depth: self.queue.held(), ..self.books.closed }))
    }
}
