//! What a queue delivers, and how it is settled.

use std::{
    fmt,
    num::{NonZeroI64, NonZeroU32},
    sync::Arc,
    time::Duration,
};

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

/// One message as the queue delivered it, whatever its body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it came from.
    pub origin: Origin,
    /// Its id there, in printable ASCII; the same for every delivery. Empty where only the publisher could
    /// have given one ([`Identity::PublisherGiven`](crate::source::Identity)) and did not.
    pub id: Arc<str>,
    /// The body as published, not yet looked at.
    pub body: Bytes,
    /// How often the queue has delivered it, this time included; 1 is the first. `None` where the queue does
    /// not count: a queue that only marks redeliveries knows 1, and `None` for every later one.
    pub attempts: Option<NonZeroU32>,
    /// When it was published, in nanoseconds since the epoch by the queue's clock, where the queue says so;
    /// the same for every delivery.
    pub published: Option<NonZeroI64>,
    /// Whether this is the queue's last delivery of it: the queue drops the message unless it is acknowledged
    /// now. Such a message is never retried or released.
    pub last: bool,
    /// What only some queues have; `None` where there is nothing of it.
    pub details: Option<Box<Details>>,
}

/// What only some queues attach to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The subject, routing key or key that it was published with.
    pub subject: Option<Arc<str>>,
    /// The media type of its body.
    pub content_type: Option<Arc<str>>,
    /// Its headers, in their order; a name may occur more than once.
    pub headers: Vec<(Arc<str>, Bytes)>,
    /// Where a reply is expected, on queues whose settlement is a reply.
    pub reply_to: Option<Arc<str>>,
}

impl Message {
    /// Creates a message that is delivered for the first time, of which no more is known.
    #[must_use]
    pub fn new(origin: Origin, id: &str, body: Bytes) -> Self {
        let attempts = NonZeroU32::new(1);
        Self { origin, id: id.into(), body, attempts, published: None, last: false, details: None }
    }

    /// Returns where a reply is expected, if somewhere.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.details.as_ref()?.reply_to.as_deref()
    }
}

/// A source's own mark on a delivery; opaque to everybody else.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt(pub u64);

/// A message that is in flight to us, to be settled exactly once.
///
/// It is not `Clone` and [`settle`](crate::source::Consumer::settle) takes it by value, so settling twice does
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

/// How a delivery is settled with its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Acknowledged: it is safe somewhere else, and the queue may forget it.
    Done,
    /// It was tried, and is to be delivered again.
    Retry {
        /// No sooner than after this long, where the queue can delay
        /// ([`Retry::Delayed`](crate::source::Retry)).
        after: Duration,
    },
    /// It was not started, and is to be delivered again at once. Where the queue can tell the two apart, this
    /// counts as no attempt.
    Release,
}
