//! A queue that cannot delay, like those of AMQP. A requeued message is delivered again at once, also to the
//! same consumer. Redeliveries are only marked. The queue pushes as many messages as the window allows, and
//! it may drop a message after a number of deliveries. A message keeps its id and its headers.

use std::{cell::RefCell, collections::VecDeque, num::NonZeroU32, rc::Rc};

use bytes::Bytes;

use x_msrv_core::{
    BoxFuture,
    message::{Delivery, Details, Message, Origin, Receipt, Settlement},
    source::{
        Attempts, Books, Closed, Consumer, Demand, Depth, Event, Identity, Lease, Outgoing, PendingMessage,
        Proof, Publisher, Retry, Source, SourceError, SourceTraits, Started,
    },
};

/// A queue that sources and publishers share.
#[derive(Debug, Clone)]
pub struct NoDelayQueue {
    state: Rc<RefCell<State>>,
    window: u64,
    /// The number of deliveries after which a message is dropped.
    most_deliveries: Option<u32>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    ready: VecDeque<Row>,
    /// Messages that the queue does not count as ready, and that reach a consumer that has asked for no more.
    late: VecDeque<Row>,
    taken: Vec<Row>,
    dropped: u64,
}

#[derive(Debug, Clone)]
struct Row {
    id: u64,
    message: Outgoing,
    deliveries: u32,
}

impl NoDelayQueue {
    /// Creates an empty queue with a window of unsettled messages and a limit on deliveries.
    #[must_use]
    pub fn new(window: u64, most_deliveries: Option<u32>) -> Self {
        Self { state: Rc::default(), window, most_deliveries }
    }

    /// Publishes a message that reaches a consumer only after it has asked for no more.
    pub fn push_late(&self, body: &[u8]) {
        let row = self.row(Outgoing { body: Bytes::copy_from_slice(body), ..Outgoing::default() });
        self.state.borrow_mut().late.push_back(row);
    }

    /// Publishes a message.
    pub fn push(&self, body: &[u8]) {
        self.add(Outgoing { body: Bytes::copy_from_slice(body), ..Outgoing::default() });
    }

    fn add(&self, message: Outgoing) {
        let row = self.row(message);
        self.state.borrow_mut().ready.push_back(row);
    }

    fn row(&self, message: Outgoing) -> Row {
        let mut state = self.state.borrow_mut();
        state.next_id += 1;
        Row { id: state.next_id, message, deliveries: 0 }
    }

    /// Returns the number of messages that could be delivered, and of those that are unsettled.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.borrow();
        ((state.ready.len() + state.late.len()) as u64, state.taken.len() as u64)
    }

    /// Returns the number of dropped messages.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.borrow().dropped
    }

    /// Returns a source that reads this queue.
    #[must_use]
    pub fn source(&self) -> NoDelaySource {
        NoDelaySource(self.clone())
    }

    /// Requeues at the front, or drops the message.
    fn give_back(&self, id: u64) {
        let state = &mut *self.state.borrow_mut();
        let Some(index) = state.taken.iter().position(|row| row.id == id) else { return };
        let row = state.taken.remove(index);
        if self.most_deliveries.is_some_and(|most| row.deliveries >= most) {
            state.dropped += 1;
        } else {
            state.ready.push_front(row);
        }
    }
}

impl Publisher for NoDelayQueue {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        for message in messages {
            self.add(message.item);
            message.answer.give(Ok(()));
        }
        Box::pin(std::future::ready(()))
    }
}

/// The queue as a [`Source`].
#[derive(Debug)]
pub struct NoDelaySource(NoDelayQueue);

impl Source for NoDelaySource {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            retry: Retry::Immediate,
            attempts: Attempts::Redelivered,
            lease: Lease::None,
            identity: Identity::PublisherGiven,
        }
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        let Self(queue) = *self;
        let depth = Depth { ready: Some(queue.counts().0), later: Some(0), elsewhere: None };
        let books = Books::new(&demand, queue.window);
        let consumer =
            Box::new(NoDelayConsumer { queue, books, stopped: false, ours: Vec::new(), arrived: Vec::new() });
        Box::pin(std::future::ready(Ok(Started { consumer, depth })))
    }
}

struct NoDelayConsumer {
    queue: NoDelayQueue,
    books: Books,
    /// Whether the queue was asked for no more; messages on their way are still delivered.
    stopped: bool,
    /// Unsettled.
    ours: Vec<u64>,
    /// Pushed by the queue, and not handed out yet.
    arrived: Vec<Delivery>,
}

impl NoDelayConsumer {
    fn take(&mut self, most: usize) -> Vec<Delivery> {
        let state = &mut *self.queue.state.borrow_mut();
        let mut deliveries = Vec::new();
        while deliveries.len() < most && self.books.bytes_left() > 0 {
            let row = if self.stopped { state.late.pop_front() } else { state.ready.pop_front() };
            let Some(mut row) = row else { break };
            row.deliveries += 1;
            let Outgoing { body, id, headers } = &row.message;
            let id = id.as_deref().map_or_else(|| row.id.to_string(), str::to_owned);
            let message = Message {
                attempts: if row.deliveries == 1 { NonZeroU32::new(1) } else { None },
                last: self.queue.most_deliveries == Some(row.deliveries),
                details: Some(headers.clone())
                    .filter(|headers| !headers.is_empty())
                    .map(|headers| Box::new(Details { headers, ..Details::default() })),
                ..Message::new(Origin::new("queue"), &id, body.clone())
            };
            let delivery = Delivery { message, receipt: Receipt(row.id) };
            self.books.took(&delivery);
            self.ours.push(row.id);
            state.taken.push(row);
            deliveries.push(delivery);
        }
        deliveries
    }
}

impl Consumer for NoDelayConsumer {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async move {
            if self.stopped && self.arrived.is_empty() {
                // A message that was on its way when the queue was asked for no more; it is still within N.
                self.arrived = self.take(1);
            }
            if self.arrived.is_empty() {
                let most = match self.books.room().await {
                    Ok(most) => most,
                    Err(event) => return event,
                };
                self.arrived = self.take(most);
                tokio::task::yield_now().await; // the call may be cancelled when messages have arrived
            }
            match std::mem::take(&mut self.arrived) {
                deliveries if deliveries.is_empty() => Event::Idle(Proof::Inferred),
                deliveries => Event::Deliveries(deliveries),
            }
        })
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        self.stopped = more == 0;
        self.books.want(more);
        Box::pin(std::future::ready(()))
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.books.settled(&settled);
        for (delivery, settlement) in settled {
            let id = delivery.receipt.0;
            self.ours.retain(|ours| *ours != id);
            if settlement == Settlement::Done {
                self.queue.state.borrow_mut().taken.retain(|row| row.id != id);
            } else {
                self.queue.give_back(id);
            }
        }
        Box::pin(std::future::ready(()))
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Closed> {
        Box::pin(async move {
            let arrived = std::mem::take(&mut self.arrived);
            self.books.closed.returned += arrived.len() as u64;
            self.settle(arrived.into_iter().map(|delivery| (delivery, Settlement::Release)).collect()).await;
            let depth = Depth { ready: Some(self.queue.counts().0), later: Some(0), elsewhere: None };
            Closed { depth, ..self.books.closed.clone() }
        })
    }
}

/// A closed connection requeues what is unsettled.
impl Drop for NoDelayConsumer {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.ours) {
            self.queue.give_back(id);
        }
    }
}
