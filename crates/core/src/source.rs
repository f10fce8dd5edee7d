//! The queue that messages come from or are published to: the contracts for adapters.
//!
//! `crates/contract` has the suite that each adapter passes.

mod books;

use std::{convert::Infallible, error::Error, num::NonZeroU64, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    BoxFuture, answer,
    fault::Fault,
    message::{Delivery, Settlement},
    servers::Servers,
};

pub use books::Books;

/// The limit on unsettled bodies in bytes. A server can exceed it by what it sends at once, which is a
/// mebibyte and a message. A run uses several times that amount: each body exists as received, as a record,
/// and on its way to the store.
pub const BYTES_IN_FLIGHT: usize = 16 << 20;

/// What a run asks of a source, once, before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The maximum number of messages for the run: N.
    pub max_messages: NonZeroU64,
    /// How long to wait after the last message, on a queue that others may fill during the run. A queue that
    /// only this machine fills may ignore it.
    pub idle_timeout: Duration,
}

/// What [`Consumer::next`] returns.
#[derive(Debug)]
pub enum Event {
    /// At least one delivery.
    Deliveries(Vec<Delivery>),
    /// No message is waiting, apart from what is unsettled here. A later call may return deliveries again.
    Idle(Proof),
    /// The window of unsettled messages is full: nothing can be delivered before something is settled.
    /// Returned once each time the window fills while more is wanted.
    Full,
    /// The queue is lost: nothing more is delivered, and messages in flight cannot be settled.
    Lost,
}

/// How well an adapter knows that a queue is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The queue reports it, and nothing is on its way to this consumer.
    Proven,
    /// Something suggests it, such as silence. The run stops asking ([`Consumer::want`] with 0), and
    /// continues if a delivery arrives after all.
    Inferred,
}

/// The abilities of an adapter's queue. The default is the simplest queue: it cannot delay, counts no deliveries,
/// waits for a settlement until the connection is closed, and gives messages no identity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceTraits {
    /// How a message is delivered again.
    pub retry: Retry,
    /// What the queue knows about earlier deliveries.
    pub attempts: Attempts,
    /// How long the queue waits for a settlement.
    pub lease: Lease,
    /// Where the identity of a message comes from.
    pub identity: Identity,
}

/// How a message is delivered again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retry {
    /// After the requested delay, or after the longest delay if that is shorter.
    Delayed {
        /// The longest delay that the queue accepts.
        most: Duration,
    },
    /// At once, also to this consumer while it consumes. Such messages are held until the run asks for no
    /// more.
    #[default]
    Immediate,
    /// The queue has only a position and does not know single messages. Everything from the first unsettled
    /// message on is delivered again to a later run.
    Prefix,
    /// A settlement is a reply. A retried or released request gets no reply; the requester asks again.
    Reply,
}

/// What the queue knows about earlier deliveries of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attempts {
    /// It counts them.
    Counted,
    /// It marks redeliveries: the first delivery is known, later ones are not counted.
    Redelivered,
    /// It knows nothing about them.
    #[default]
    Unknown,
}

/// How long a queue waits for a settlement before it delivers again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lease {
    /// Until the connection is closed, or the position is given up.
    #[default]
    None,
    /// For this time, which cannot be extended.
    Fixed(Duration),
    /// For this time, and again after each [`Consumer::extend`].
    Renewable(Duration),
}

/// Where the identity of a message comes from; the key of its record may be made from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Identity {
    /// The queue gives each message an id, the same for all its deliveries.
    Stable,
    /// The publisher may have given one.
    PublisherGiven,
    /// There is none: the key must come from the body.
    #[default]
    None,
}

/// How many messages a queue holds; each part is `None` if it is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready: messages that could be delivered now.
    pub ready: Option<u64>,
    /// Delayed or held back.
    pub later: Option<u64>,
    /// Held by other consumers.
    pub elsewhere: Option<u64>,
}

impl Depth {
    /// Returns the number of messages that no consumer holds, if both parts are known.
    #[must_use]
    pub fn waiting(self) -> Option<u64> {
        self.ready?.checked_add(self.later?)
    }
}

/// The total that a consumer received, and what it did while it closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closed {
    /// Deliveries that arrived since [`Source::start`], counted on arrival and before any decision: those
    /// handed out, and those that the consumer released itself.
    pub received: u64,
    /// Messages that arrived but were not handed out: they were released.
    pub returned: u64,
    /// Of those: the ones that arrived after the run had asked for no more.
    pub late: u64,
    /// Settlements that the queue refused, or that may not have reached it: these messages are or may be
    /// delivered again. The queue has certainly processed all others, by its own answer.
    pub unconfirmed: u64,
    /// Messages that are done and are delivered again anyway, because an earlier one pins the position
    /// ([`Retry::Prefix`]).
    pub behind: u64,
    /// The queue's depth at that time, over all its servers. A part is `None` if one of the servers was not
    /// reached or does not report it.
    pub depth: Depth,
    /// The first cause why the queue could not be read, or why settlements may not have reached it. A run
    /// logs it, and it is the error in the history.
    pub trouble: Option<String>,
}

/// A connected queue. It delivers nothing before [`start`](Self::start).
pub trait Source {
    /// Returns the abilities of the queue.
    fn traits(&self) -> SourceTraits;

    /// Returns the servers that it is connected to or tried to reach; none for a queue without servers.
    fn servers(&self) -> Servers {
        Servers::default()
    }

    /// Asks for messages. The returned depth is from before the first message, if it is known within some
    /// milliseconds.
    ///
    /// # Errors
    /// The queue can no longer be reached.
    ///
    /// # Cancel safety
    /// Not cancel safe: messages may be in flight until the queue's own timeout.
    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>>;
}

/// A source that has been asked for messages.
pub struct Started {
    /// The consumer that delivers them.
    pub consumer: Box<dyn Consumer>,
    /// The queue's depth before that.
    pub depth: Depth,
}

/// A queue that delivers messages.
///
/// Until [`close`](Self::close), a consumer never hands out more messages than allowed
/// ([`Demand::max_messages`], [`want`](Self::want)). It never has more unsettled messages than its own
/// in-flight limit, nor much more than [`BYTES_IN_FLIGHT`] of bodies.
pub trait Consumer {
    /// Waits for messages, for the knowledge that there are none, or for the end of the queue. It keeps the
    /// connection alive meanwhile, so it must be called as long as anything is unsettled, even if no more
    /// messages are wanted. After [`want`](Self::want) with 0 it returns deliveries that were under way.
    /// Then, within a bounded time, it returns [`Event::Idle`] once, when nothing is under way any more as
    /// far as the adapter can know.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call returns what was read.
    fn next(&mut self) -> BoxFuture<'_, Event>;

    /// Sets how many deliveries may arrive from now on; with 0, the queue is asked for no more. It may be
    /// called again with a larger number, for example if a delivery shows that the queue was not empty. From
    /// its return for 0 until a later call with more, a message that is requeued is not delivered to this
    /// consumer again. After that call, it may be, as to any other consumer.
    ///
    /// # Cancel safety
    /// Not cancel safe. The adapter limits the time.
    fn want(&mut self, more: u64) -> BoxFuture<'_, ()>;

    /// Settles deliveries, in order. A failure is counted in [`Closed::unconfirmed`]: the message is
    /// delivered again, and its key makes that harmless.
    ///
    /// # Cancel safety
    /// Not cancel safe. The adapter limits the time.
    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()>;

    /// Renews the lease of these deliveries. Called at least every third of a [`Lease::Renewable`], and never
    /// for other leases.
    ///
    /// # Cancel safety
    /// Not cancel safe. The adapter limits the time.
    fn extend<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
        drop(deliveries);
        Box::pin(std::future::ready(()))
    }

    /// Releases messages that were received and not handed out, ensures that the queue has processed every
    /// settlement, and disconnects.
    ///
    /// # Cancel safety
    /// Not cancel safe. The adapter limits the time.
    fn close(self: Box<Self>) -> BoxFuture<'static, Closed>;
}

/// What a queue shows without handing out messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// Its messages: the number that wait, of which at most the requested number was shown.
    Messages {
        /// The number of messages that could be taken now.
        waiting: u64,
    },
    /// No message: the queue shows them only to consumers.
    Hidden {
        /// The number that could be taken now, if the queue reports it.
        waiting: Option<u64>,
    },
}

/// A message to be published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Its body.
    pub body: Bytes,
    /// Its id, for queues that have a field for it or detect duplicates by it.
    pub id: Option<Arc<str>>,
    /// Its headers, for queues that have headers.
    pub headers: Vec<(Arc<str>, Bytes)>,
}

/// A message that waits for the verdict on its publication.
pub type PendingMessage = answer::Pending<Outgoing, Result<(), Fault>>;

/// The publishing end of a queue: for `send`, `dead replay`, dead letters and any other publishing.
///
/// It takes `&self`, so that several batches can be in flight. The next call restores a lost connection.
pub trait Publisher {
    /// Publishes messages, and answers for each when the queue has acknowledged or refused it. A message
    /// whose answer is dropped is in doubt.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the messages in doubt: each may have been published or not.
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()>;

    /// Keeps the connection alive while nothing is published. Poll it while waiting for other events.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    fn keep_alive(&self) -> BoxFuture<'_, Infallible> {
        Box::pin(std::future::pending())
    }
}

impl SourceError {
    /// Creates the error of a queue that does not answer.
    pub fn unreachable(place: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable { place: place.into(), cause: cause.into() }
    }
}

/// Why a queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It does not answer, or not in time. Blame: the network or the server; the same may work later.
    #[error("cannot reach {place}")]
    Unreachable {
        /// The queue, as text for the user.
        place: String,
        /// What happened.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// It answers, and refuses the request. Blame: the configuration.
    #[error("{place} refuses: {fault}")]
    Refused {
        /// Which queue.
        place: String,
        /// The server's own text.
        fault: String,
    },
    /// It cannot be used as configured. Blame: the configuration, or the files that it names.
    #[error("{place}: {fault}")]
    Setup {
        /// The queue, or the key of the configuration.
        place: String,
        /// What is wrong.
        fault: String,
    },
}
