//! Messages, deliveries, and settlements.

use std::{
    fmt,
    num::{NonZeroI64, NonZeroU32},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

/// The origin of a message, for instance `orders@10.0.0.7:4150`.
///
/// A message id is unique only within its origin. Two nsqd on one host with the default node id generate the
/// same ids (measured: 37,929 of 50,000 were equal), so an id alone never identifies a message. If several
/// nsqd share one address, origin and id are not enough either; the publish time then distinguishes their
/// messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(Arc<Place>);

/// Shared by all messages of a connection, so that a message costs no allocation for it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    name: Box<str>,
    /// The length in bytes of the topic at the start of the name, if there is one.
    topic: Option<usize>,
}

impl Origin {
    /// Creates an origin without a topic; equal text is the same origin.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::new(Place { name: name.into(), topic: None }))
    }

    /// Creates an origin for a topic on a server, as `TOPIC@SERVER`.
    #[must_use]
    pub fn of_topic(topic: &str, server: &str) -> Self {
        Self(Arc::new(Place { name: format!("{topic}@{server}").into(), topic: Some(topic.len()) }))
    }

    /// Returns its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.name
    }

    /// Returns the topic, if the queue has topics.
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

/// One message as the queue delivered it, with any content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its origin.
    pub origin: Origin,
    /// Its id at the origin, in printable ASCII; the same for every delivery. Empty if only the publisher
    /// could have given one ([`Identity::PublisherGiven`](crate::source::Identity)) and did not.
    pub id: Arc<str>,
    /// The published body, not decoded yet.
    pub body: Bytes,
    /// How often the queue has delivered it, including this delivery; 1 is the first. `None` if the queue
    /// does not count: a queue that only marks redeliveries reports 1, and `None` for every later delivery.
    pub attempts: Option<NonZeroU32>,
    /// When it was published, in nanoseconds since the epoch by the queue's clock, if the queue reports it;
    /// the same for every delivery.
    pub published: Option<NonZeroI64>,
    /// Whether this is the queue's last delivery of it: the queue drops the message unless it is acknowledged
    /// now. Such a message is never retried or released.
    pub last: bool,
    /// Data that only some queues provide; `None` if there is none.
    pub details: Option<Box<Details>>,
}

/// Data that only some queues attach to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The subject, routing key or key that it was published with.
    pub subject: Option<Arc<str>>,
    /// The media type of its body.
    pub content_type: Option<Arc<str>>,
    /// Its headers, in order; a name may occur more than once.
    pub headers: Vec<(Arc<str>, Bytes)>,
    /// The reply subject, on queues whose settlement is a reply.
    pub reply_to: Option<Arc<str>>,
}

impl Message {
    /// Creates a message on its first delivery, with no other data.
    #[must_use]
    pub fn new(origin: Origin, id: &str, body: Bytes) -> Self {
        let attempts = NonZeroU32::new(1);
        Self { origin, id: id.into(), body, attempts, published: None, last: false, details: None }
    }

    /// Returns the reply subject, if there is one.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.details.as_ref()?.reply_to.as_deref()
    }
}

/// The source's own handle for a delivery; opaque to all other code.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt(pub u64);

/// A message in flight to this program, to be settled exactly once.
///
/// It is not `Clone`, and [`settle`](crate::source::Consumer::settle) takes it by value, so settling it twice
/// does not compile.
#[must_use = "a delivery that is not settled stays in flight until the queue's own timeout"]
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The source's handle for it.
    pub receipt: Receipt,
}

/// Returns the total size of the bodies.
pub fn bytes<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> usize {
    deliveries.into_iter().map(|delivery| delivery.message.body.len()).sum()
}

/// How a delivery is settled with its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Acknowledge: the message is safe elsewhere, and the queue may drop it.
    Done,
    /// Retry: it was tried, and the queue delivers it again.
    Retry {
        /// The minimum delay, if the queue can delay ([`Retry::Delayed`](crate::source::Retry)).
        after: Duration,
    },
    /// Release: it was not started, and the queue delivers it again at once. If the queue can distinguish the
    /// two, this does not count as an attempt.
    Release,
}
