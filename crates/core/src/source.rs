//! The queue that messages come from, and the one that they are published to: the contracts of adapters.
//!
//! `crates/contract` has the suite that each adapter passes.

use std::{convert::Infallible, error::Error, num::NonZeroU64, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    BoxFuture, answer,
    fault::Fault,
    message::{Delivery, Settlement},
    servers::Servers,
};

/// Bytes of bodies that are unsettled at once, give or take what a server sends in one go, which is a
/// mebibyte and a message. A run uses several times that at most: each body exists as it came, as a record,
/// and on its way to the store.
pub const BYTES_IN_FLIGHT: usize = 16 << 20;

/// What a run asks of a source, once, before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Messages that the run takes at most: N.
    pub max_messages: NonZeroU64,
    /// How long a queue that may get more at any moment is listened to after the last message.
    pub idle_timeout: Duration,
}

/// What [`Consumer::next`] returns.
#[derive(Debug)]
pub enum Event {
    /// At least one delivery.
    Deliveries(Vec<Delivery>),
    /// Nothing is waiting, whatever is unsettled here. A later call may return deliveries again.
    Idle(Proof),
    /// The window of unsettled messages is full: nothing can come before something is settled. Returned once
    /// each time the window fills while more is wanted.
    Full,
    /// The queue is gone: nothing comes any more, and what is in flight cannot be settled.
    Lost,
}

/// How well an adapter knows that a queue is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The queue says so, and nothing is on its way to us.
    Proven,
    /// Something suggests it, such as silence. The run stops asking ([`Consumer::want`] with 0) and goes on
    /// when a delivery arrives after all.
    Inferred,
}

/// What an adapter's queue can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceTraits {
    /// What becomes of a message that is to be delivered again.
    pub retry: Retry,
    /// What the queue knows of earlier deliveries.
    pub attempts: Attempts,
    /// How long the queue waits for a settlement.
    pub lease: Lease,
    /// Where a message's identity comes from.
    pub identity: Identity,
}

/// What becomes of a message that is to be delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It comes again after the delay that it was given back with, or after this long where that is less.
    Delayed {
        /// The longest delay that the queue accepts.
        most: Duration,
    },
    /// It comes again at once, to us as well while we consume: such messages are held until the run asks for
    /// no more.
    Immediate,
    /// The queue has a position only, and knows no single messages: everything from the first message that is
    /// not done comes again to a later run.
    Prefix,
    /// A settlement is a reply. Retried and released requests get none; the requester asks again.
    Reply,
}

/// What the queue knows of a message's earlier deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// It counts them.
    Counted,
    /// It marks redeliveries: the first delivery is known, later ones are not counted.
    Redelivered,
    /// It knows nothing of them.
    Unknown,
}

/// How long a queue waits for a settlement before it delivers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Until the connection, or the position, is given up.
    None,
    /// This long, which cannot be extended.
    Fixed(Duration),
    /// This long, and as long again after each [`Consumer::extend`].
    Renewable(Duration),
}

/// Where a message's identity comes from; its record's key may be made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The queue gives each message an id that all its deliveries have.
    Stable,
    /// The publisher may have given one.
    PublisherGiven,
    /// There is none: the key has to come from the body.
    None,
}

/// How much a queue holds; each part is `None` where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that could be delivered now.
    pub ready: Option<u64>,
    /// Messages that are delayed or held back.
    pub later: Option<u64>,
    /// Messages that other consumers hold.
    pub elsewhere: Option<u64>,
}

impl Depth {
    /// Returns the messages that nobody holds, where both parts of that are known.
    #[must_use]
    pub fn waiting(self) -> Option<u64> {
        self.ready?.checked_add(self.later?)
    }
}

/// What a consumer received in all, and what it did on its own account while it closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closed {
    /// Deliveries that reached it from [`Source::start`] on, counted as they arrive and before anything is
    /// decided: those that it handed out, and those that it gave back itself.
    pub received: u64,
    /// Messages that had been received, but not handed out: they were released.
    pub returned: u64,
    /// Of those: the ones that arrived after the run had asked for no more.
    pub late: u64,
    /// Settlements that the queue has confirmed, where it confirms them.
    pub confirmed: Option<u64>,
    /// Settlements that the queue refused, or that are not known to have reached it: these messages come
    /// again, or may.
    pub unconfirmed: u64,
    /// Messages that are done and come again all the same, because an earlier one pins the position
    /// ([`Retry::Prefix`]).
    pub behind: u64,
    /// What the queue held then, on all of its servers. A part is `None` where one of the servers was not
    /// reached, or does not say.
    pub depth: Depth,
    /// Why the queue could not be read, or settlements may not have reached it: the first cause, in words.
    pub trouble: Option<String>,
}

/// A queue, connected and able to answer; it delivers nothing before [`start`](Self::start).
pub trait Source {
    /// Returns what the queue can do.
    fn traits(&self) -> SourceTraits;

    /// Returns the servers that it is connected to, or tried to reach; none for a queue that has none.
    fn servers(&self) -> Servers {
        Servers::default()
    }

    /// Asks for messages. The depth is that of before the first message, where it is known at no more cost
    /// than some milliseconds.
    ///
    /// # Errors
    /// The queue cannot be reached any more.
    ///
    /// # Cancel safety
    /// Not cancel safe: messages may be in flight until the queue's own timeout.
    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>>;
}

/// A source that has been asked for messages.
pub struct Started {
    /// What delivers them.
    pub consumer: Box<dyn Consumer>,
    /// What the queue held before.
    pub depth: Depth,
}

/// A queue that delivers messages.
///
/// Until [`close`](Self::close) a consumer never hands out more than it is allowed to ([`Demand::max_messages`],
/// [`want`](Self::want)), and never has more unsettled than its own in-flight limit, nor much more than
/// [`BYTES_IN_FLIGHT`] of bodies.
pub trait Consumer {
    /// Waits for messages, for the knowledge that there are none, or for the end of the queue. Keeps the
    /// connection alive meanwhile, so it is to be called again and again as long as anything is unsettled,
    /// also when no more messages are wanted. After [`want`](Self::want) with 0 it returns deliveries that
    /// were under way, then [`Event::Idle`] once, within a bound, when nothing is under way any more as far as
    /// the adapter can know.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was read is returned by the next call.
    fn next(&mut self) -> BoxFuture<'_, Event>;

    /// Says how many deliveries may come from now on; with 0, the queue is asked for no more. May be called
    /// again with a larger number, as when a delivery shows that a queue was not empty. When it has returned
    /// after 0, a message that is given back does not come to this consumer again.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn want(&mut self, more: u64) -> BoxFuture<'_, ()>;

    /// Settles deliveries, in order. A failure is counted in [`Closed::unconfirmed`]: the message comes again,
    /// and its key makes that harmless.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()>;

    /// Starts the lease of these deliveries anew; called at least every third of a [`Lease::Renewable`], and
    /// never for other leases.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn extend<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
        drop(deliveries);
        Box::pin(std::future::ready(()))
    }

    /// Releases what was received and not handed out, makes sure that the queue has processed every
    /// settlement, and disconnects.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn close(self: Box<Self>) -> BoxFuture<'static, Closed>;
}

/// What a queue shows to somebody who takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// Its messages; so many wait, of which as many were shown as were asked for.
    Messages {
        /// Those that could be taken now.
        waiting: u64,
    },
    /// No message: it shows them to consumers only.
    Hidden {
        /// How many could be taken now, where the queue says so.
        waiting: Option<u64>,
    },
}

/// A message to be published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Its body.
    pub body: Bytes,
    /// Its id, for queues that have a place for one or recognize duplicates by it.
    pub id: Option<Arc<str>>,
    /// Its headers, for queues that have them.
    pub headers: Vec<(Arc<str>, Bytes)>,
}

/// A message that waits for the verdict on its publication.
pub type PendingMessage = answer::Pending<Outgoing, Result<(), Fault>>;

/// The other end of a queue: for `send`, `dead replay`, dead letters and whatever else publishes.
///
/// It takes `&self`, so that several batches can be in flight. A connection that was lost is made anew by the
/// next call.
pub trait Publisher {
    /// Publishes messages, and answers for each when the queue has acknowledged or refused it. One whose
    /// answer is dropped counts as in doubt.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the messages in doubt: each may have been published or not.
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()>;

    /// Keeps the connection alive while nothing is published: to be polled beside whatever is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    fn keep_alive(&self) -> BoxFuture<'_, Infallible> {
        Box::pin(std::future::pending())
    }
}

/// Why a queue can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It does not answer, or not in time. Blame: the network or the server; the same may work later.
    #[error("cannot reach {place}")]
    Unreachable {
        /// Which queue, as text for a person.
        place: String,
        /// What happened.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// It answers, and refuses what it was asked for. Blame: the configuration.
    #[error("{place} refuses: {fault}")]
    Refused {
        /// Which queue.
        place: String,
        /// The server's own words.
        fault: String,
    },
    /// It can't be used as it is configured. Blame: the configuration, or the files that it names.
    #[error("{place}: {fault}")]
    Setup {
        /// Which queue, or which key of the configuration.
        place: String,
        /// What is wrong.
        fault: String,
    },
}
