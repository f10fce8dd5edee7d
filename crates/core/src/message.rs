//! What a queue hands out, and what it is told in return.

use std::{fmt, num::NonZeroI64, sync::Arc, time::Duration};

use bytes::Bytes;

/// The place a message came from, for instance `orders@10.0.0.7:4150`.
///
/// A message id is unique within its origin only: two nsqd of one host that run with the default node id give
/// the same ids (measured: 37,929 of 50,000 were equal), so nothing may identify a message without its
/// origin. Nor is an origin and an id enough where several nsqd are behind one address; what tells their
/// messages apart as well is when they were published.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(Arc<Place>);

/// One for all messages of a connection, so that none of them pays for what it holds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    name: Box<str>,
    /// Bytes of the topic that the name begins with, where there is one.
    topic: Option<usize>,
}

impl Origin {
    /// Names an origin without topics; equal text is the same origin.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::new(Place { name: name.into(), topic: None }))
    }

    /// Names a topic at a server, as `TOPIC@SERVER`.
    #[must_use]
    pub fn of_topic(topic: &str, server: &str) -> Self {
        Self(Arc::new(Place { name: format!("{topic}@{server}").into(), topic: Some(topic.len()) }))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.name
    }

    /// The topic, where the queue has such.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.0.topic.map(|length| &self.0.name[..length])
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One message as the queue gave it, whatever its body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it came from.
    pub origin: Origin,
    /// Its id there, in printable ASCII; the same for every delivery.
    pub id: Arc<str>,
    /// The body as published, not yet looked at.
    pub body: Bytes,
    /// How often the queue has delivered it, this time included; 1 is the first.
    pub attempts: u32,
    /// When it was published, in nanoseconds since the epoch by the queue's clock, where the queue tells; the
    /// same for every delivery.
    pub published: Option<NonZeroI64>,
}

/// A source's own mark on a delivery; opaque to everybody else.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt(pub u64);

/// A message that is in flight to us, to be settled exactly once.
///
/// It is not `Clone` and [`settle`](crate::source::Source::settle) takes it by value, so settling twice does
/// not compile.
#[must_use = "a delivery that is not settled stays in flight until the queue's own timeout"]
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// What the source needs to find it again.
    pub receipt: Receipt,
}

/// Bytes of the bodies of all of these.
pub fn bytes<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> usize {
    deliveries.into_iter().map(|delivery| delivery.message.body.len()).sum()
}

/// What the queue is told about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is safe somewhere else: the queue may forget it.
    Finish,
    /// It is to be delivered again, no sooner than after `delay`.
    Requeue {
        /// Zero means at once.
        delay: Duration,
    },
}

impl Settlement {
    /// Back to the queue with no delay: for what was never started.
    pub const REQUEUE_NOW: Self = Self::Requeue { delay: Duration::ZERO };
}
