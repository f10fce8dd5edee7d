//! A queue in memory, for tests of what stands above sources. Like a real one it delivers again what is not
//! settled in time.

use std::{cell::RefCell, num::NonZeroU64, rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use x_msrv_core::{
    BoxFuture,
    message::{Delivery, Message, Origin, Receipt, Settlement, bytes},
    source::{BYTES_IN_FLIGHT, Closing, Demand, Publisher, Received, Source, SourceError},
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
    is_counted: bool,
}

#[derive(Debug, Clone)]
struct Row {
    id: u64,
    body: Bytes,
    attempts: u32,
    ready_at: Instant,
    /// Which source has it, until then.
    lease: Option<u64>,
}

impl MemoryQueue {
    /// An empty queue with these limits.
    #[must_use]
    pub fn new(max_in_flight: NonZeroU64, lease: Duration) -> Self {
        Self {
            rows: Rc::default(),
            next_id: Rc::default(),
            sources: Rc::default(),
            closed: Rc::default(),
            max_in_flight: max_in_flight.get(),
            lease,
            is_counted: false,
        }
    }

    /// The same queue, known to be empty as soon as nothing waits, whatever is unsettled.
    #[must_use]
    pub fn counted(&self) -> Self {
        Self { is_counted: true, ..self.clone() }
    }

    /// Messages that could be delivered now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.rows.borrow().iter().filter(|row| row.ready_at <= Instant::now()).count()
    }

    /// Messages that are leased and not settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.rows.borrow().iter().filter(|row| row.lease.is_some() && row.ready_at > Instant::now()).count()
    }

    /// Messages that nobody has, those that were put off among them.
    fn left(&self) -> u64 {
        (self.len() - self.in_flight()) as u64
    }

    /// Messages in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.borrow().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on the queue is gone for its sources.
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

    /// A source that reads this queue.
    #[must_use]
    pub fn source(&self) -> MemorySource {
        *self.sources.borrow_mut() += 1;
        let number = *self.sources.borrow();
        MemorySource {
            queue: self.clone(),
            number,
            left: 0,
            idle_timeout: Duration::ZERO,
            unsettled: 0,
            bytes: 0,
            paused: false,
            closing: Closing::default(),
        }
    }
}

impl Publisher for MemoryQueue {
    fn publish<'a>(&'a mut self, bodies: &'a [Bytes]) -> BoxFuture<'a, Result<(), SourceError>> {
        for body in bodies {
            self.push(body);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The queue in memory as a [`Source`].
#[derive(Debug)]
pub struct MemorySource {
    queue: MemoryQueue,
    number: u64,
    left: u64,
    idle_timeout: Duration,
    unsettled: u64,
    bytes: usize,
    paused: bool,
    closing: Closing,
}

impl MemorySource {
    fn take(&mut self) -> Vec<Delivery> {
        let room = self.left.min(self.queue.max_in_flight - self.unsettled);
        let now = Instant::now();
        let mut rows = self.queue.rows.borrow_mut();
        let bytes = &mut self.bytes;
        let fits = |row: &&mut Row| {
            let fits = *bytes < BYTES_IN_FLIGHT;
            *bytes += if fits { row.body.len() } else { 0 };
            fits
        };
        let ready = rows
            .iter_mut()
            .filter(|row| row.ready_at <= now)
            .take(usize::try_from(room).unwrap_or(usize::MAX))
            .take_while(fits);
        let deliveries: Vec<_> = ready
            .map(|row| {
                row.attempts += 1;
                row.lease = Some(self.number);
                row.ready_at = now + self.queue.lease;
                let message = Message {
                    origin: Origin::new("memory"),
                    id: row.id.to_string().into(),
                    body: row.body.clone(),
                    attempts: row.attempts,
                    published: None,
                };
                Delivery { message, receipt: Receipt(row.id) }
            })
            .collect();
        self.closing.received += deliveries.len() as u64;
        self.left -= deliveries.len() as u64;
        self.unsettled += deliveries.len() as u64;
        deliveries
    }

    fn apply(&mut self, delivery: &Delivery, settlement: Settlement) {
        let now = Instant::now();
        let mut rows = self.queue.rows.borrow_mut();
        let Some(index) = rows.iter().position(|row| {
            row.id == delivery.receipt.0 && row.lease == Some(self.number) && row.ready_at > now
        }) else {
            self.closing.unconfirmed += 1;
            return;
        };
        match settlement {
            Settlement::Finish => drop(rows.remove(index)),
            Settlement::Requeue { delay } => {
                rows[index].lease = None;
                rows[index].ready_at = now + delay;
            }
        }
    }
}

impl Source for MemorySource {
    fn start(&mut self, demand: Demand) -> BoxFuture<'_, Result<Option<u64>, SourceError>> {
        self.left = demand.max_messages.get();
        self.idle_timeout = demand.idle_timeout;
        Box::pin(std::future::ready(Ok(Some(self.queue.left()))))
    }

    fn receive(&mut self) -> BoxFuture<'_, Received> {
        Box::pin(async move {
            if *self.queue.closed.borrow() {
                return Received::Closed;
            }
            if self.paused || self.left == 0 || self.is_full() {
                return std::future::pending().await;
            }
            let deliveries = self.take();
            if !deliveries.is_empty() {
                return Received::Deliveries(deliveries);
            }
            sleep_until(Instant::now() + self.idle_timeout).await;
            match self.take() {
                deliveries if !deliveries.is_empty() => Received::Deliveries(deliveries),
                _ if self.unsettled > 0 && !self.queue.is_counted => std::future::pending().await,
                _ => Received::Empty,
            }
        })
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.unsettled -= settled.len() as u64;
        self.bytes -= bytes(settled.iter().map(|(delivery, _)| delivery));
        for (delivery, settlement) in &settled {
            self.apply(delivery, *settlement);
        }
        Box::pin(std::future::ready(()))
    }

    fn touch<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
        let now = Instant::now();
        for row in self.queue.rows.borrow_mut().iter_mut() {
            if row.lease == Some(self.number)
                && row.ready_at > now
                && deliveries.iter().any(|delivery| delivery.receipt.0 == row.id)
            {
                row.ready_at = now + self.queue.lease;
            }
        }
        Box::pin(std::future::ready(()))
    }

    fn is_full(&self) -> bool {
        self.unsettled == self.queue.max_in_flight || self.bytes >= BYTES_IN_FLIGHT
    }

    fn lease(&self) -> Duration {
        self.queue.lease
    }

    fn pause(&mut self) -> BoxFuture<'_, ()> {
        self.paused = true;
        Box::pin(std::future::ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closing> {
        Box::pin(std::future::ready(Closing { depth: Some(self.queue.left()), ..self.closing }))
    }
}
