//! Requests that expect a reply, like those of core NATS: the reply is the settlement. A request without a
//! reply is sent again by its requester.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use bytes::Bytes;

use super::Silence;
use x_msrv_core::{
    BoxFuture,
    message::{Delivery, Details, Message, Origin, Receipt, Settlement},
    source::{
        Attempts, Books, Closed, Consumer, Demand, Depth, Event, Identity, Lease, PendingMessage, Proof,
        Publisher, Retry, Source, SourceError, SourceTraits, Started,
    },
};

/// Requests that sources and requesters share.
#[derive(Debug, Clone, Default)]
pub struct Requests(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: VecDeque<Request>,
    /// Without a reply: sent again when the requester's wait is over, which is longer than a run.
    unanswered: Vec<Request>,
    taken: Vec<Request>,
    replies: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Request {
    id: u64,
    body: Bytes,
    expects_reply: bool,
}

impl Requests {
    /// Sends a request that expects a reply.
    pub fn ask(&self, body: &[u8]) {
        self.push(Bytes::copy_from_slice(body), true);
    }

    /// Publishes a message without a reply subject.
    pub fn tell(&self, body: &[u8]) {
        self.push(Bytes::copy_from_slice(body), false);
    }

    fn push(&self, body: Bytes, expects_reply: bool) {
        let mut state = self.0.borrow_mut();
        state.next += 1;
        let id = state.next;
        state.waiting.push_back(Request { id, body, expects_reply });
    }

    /// Returns the number of waiting requests, and of those in progress.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let state = self.0.borrow();
        ((state.waiting.len() + state.unanswered.len()) as u64, state.taken.len() as u64)
    }

    /// Returns the number of replies.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.0.borrow().replies.len() as u64
    }

    /// Returns a source that answers these requests.
    #[must_use]
    pub fn source(&self) -> RequestSource {
        RequestSource(self.clone())
    }
}

impl Publisher for Requests {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        for message in messages {
            self.ask(&message.item.body);
            message.answer.give(Ok(()));
        }
        Box::pin(std::future::ready(()))
    }
}

/// The requests as a [`Source`].
#[derive(Debug)]
pub struct RequestSource(Requests);

impl Source for RequestSource {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            retry: Retry::Reply,
            attempts: Attempts::Unknown,
            lease: Lease::None,
            identity: Identity::None,
        }
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        {
            let state = &mut *self.0.0.borrow_mut();
            state.waiting.extend(state.unanswered.drain(..));
        }
        let books = Books::new(&demand, u64::MAX);
        let silence = Silence::new(demand.idle_timeout);
        let consumer = Box::new(RequestConsumer { requests: self.0, books, silence });
        Box::pin(std::future::ready(Ok(Started { consumer, depth: Depth::default() })))
    }
}

struct RequestConsumer {
    requests: Requests,
    books: Books,
    silence: Silence,
}

impl RequestConsumer {
    fn take(&mut self, most: usize) -> Vec<Delivery> {
        let state = &mut *self.requests.0.borrow_mut();
        let mut deliveries = Vec::new();
        while deliveries.len() < most
            && self.books.bytes_left() > 0
            && let Some(request) = state.waiting.pop_front()
        {
            let reply_to = request.expects_reply.then(|| format!("inbox.{}", request.id).into());
            let details = Some(Box::new(Details { reply_to, ..Details::default() }));
            // No id: the queue gives none.
            let message = Message {
                attempts: None,
                details,
                ..Message::new(Origin::new("requests"), "", request.body.clone())
            };
            let delivery = Delivery { message, receipt: Receipt(request.id) };
            self.books.took(&delivery);
            self.silence.restart();
            state.taken.push(request);
            deliveries.push(delivery);
        }
        deliveries
    }
}

impl Consumer for RequestConsumer {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async move {
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
                deliveries if deliveries.is_empty() => Event::Idle(Proof::Inferred),
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
        let state = &mut *self.requests.0.borrow_mut();
        for (delivery, settlement) in settled {
            let id = delivery.receipt.0;
            let Some(index) = state.taken.iter().position(|request| request.id == id) else { continue };
            let request = state.taken.remove(index);
            match settlement {
                Settlement::Done => state.replies.push(id),
                Settlement::Retry { .. } | Settlement::Release => state.unanswered.push(request),
            }
        }
        Box::pin(std::future::ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        Box::pin(std::future::ready(self.books.closed))
    }
}
