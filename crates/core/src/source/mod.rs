//! The queue that messages come from: the contract that every adapter keeps.
//!
//! An adapter is one file (or folder) beside this one, with its own settings. `tests/it/contracts/source.rs`
//! holds the suite that each of them passes.

use std::{error::Error, num::NonZeroU64, time::Duration};

use bytes::Bytes;

use crate::{
    BoxFuture,
    message::{Delivery, Settlement},
    servers::Servers,
};

/// Bytes of bodies that are unsettled at once, and what a server sends in one go, which is a mebibyte and a
/// message. A run takes several times that at most: each body is there as it came, as a record, and on its
/// way to the store.
pub const BYTES_IN_FLIGHT: usize = 16 << 20;

/// How much a run wants, told to the source once, before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Messages that the run takes at most: N.
    pub max_messages: NonZeroU64,
    /// How long a queue that can get more at any moment is listened to after the last message, once the
    /// source has made sure that it is empty.
    pub idle_timeout: Duration,
}

/// What [`Source::receive`] brings.
#[derive(Debug)]
pub enum Received {
    /// At least one delivery.
    Deliveries(Vec<Delivery>),
    /// Nothing waits: the queue says so, or has been silent and has confirmed that nothing is on its way any
    /// more. A later call may bring something again. Never after [`Source::pause`]: a caller that drains
    /// would be told again and again, and never wait for anything else.
    Empty,
    /// The queue is gone; nothing will come any more, and what is in flight can't be settled.
    Closed,
}

/// What a source received in all, and did on its own account while it closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closing {
    /// Deliveries that reached it from [`Source::start`] on, counted as they arrive and before anything is
    /// decided: those that it handed out, and those that it gave back itself.
    pub received: u64,
    /// Messages that had been received, but not handed out: they were requeued with no delay.
    pub requeued: u64,
    /// Of those: the ones that arrived after [`Source::pause`].
    pub late: u64,
    /// Settlements that the queue refused, or that are not known to have reached it: these messages come
    /// again, or may.
    pub unconfirmed: u64,
    /// Messages that the queue held for us then and nobody had, on all of its servers: those that could be
    /// had, and those that were put off or are held back, which a queue that is empty for us may hold as
    /// well. `None` where one of the servers was not reached, or does not tell all of that.
    pub depth: Option<u64>,
    /// Why the queue could not be read, or may not have heard of settlements: the first cause, in words.
    pub trouble: Option<String>,
}

/// A queue, connected and able to answer; it gives nothing before [`start`](Self::start).
///
/// Between `start` and [`close`](Self::close) a source never hands out more than [`Demand::max_messages`],
/// save for a stray that was under way while it moved a share from one server to another, and never has more
/// unsettled than its own in-flight limit, nor much more than [`BYTES_IN_FLIGHT`] of bodies.
pub trait Source {
    /// Returns the servers that it is connected to, or tried to reach; none for a queue that has none.
    fn servers(&self) -> Servers {
        Servers::default()
    }

    /// Asks for messages. Called once. Brings the queue's depth as [`Closing::depth`] does, of before the
    /// first message, where it is known at no more cost than some milliseconds.
    ///
    /// # Errors
    /// The queue can't be reached any more.
    fn start(&mut self, demand: Demand) -> BoxFuture<'_, Result<Option<u64>, SourceError>>;

    /// Waits for messages, for the certainty that there are none, or for the end of the queue. Keeps the
    /// connection alive meanwhile, so it is to be called again and again as long as anything is unsettled,
    /// also when no more messages are wanted.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was read is handed out by the next call.
    fn receive(&mut self) -> BoxFuture<'_, Received>;

    /// Tells the queue what became of deliveries, in order. A failure is counted in [`Closing::unconfirmed`]:
    /// the message will come again, and its key makes that harmless.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()>;

    /// Starts the time anew that the queue gives us for these deliveries; called at least every
    /// [`lease`](Self::lease) / 3.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn touch<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()>;

    /// Whether a limit, ours or the queue's, lets nothing come before something is settled: silence does not
    /// mean then that nothing waits.
    fn is_full(&self) -> bool;

    /// How long the queue waits for a settlement before it delivers again.
    fn lease(&self) -> Duration;

    /// Asks for no more messages. What was under way may still be received.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn pause(&mut self) -> BoxFuture<'_, ()>;

    /// Requeues what was received and not handed out, makes sure that the queue has processed every
    /// settlement, and disconnects.
    ///
    /// # Cancel safety
    /// Not cancel safe; bounded in time by the adapter.
    fn close(self: Box<Self>) -> BoxFuture<'static, Closing>;
}

/// What a queue shows to somebody who takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// Its messages; so many wait, of which as many were shown as were asked for.
    Messages {
        /// Those that could be taken now.
        waiting: u64,
    },
    /// No message, for it shows them only to whoever takes them.
    Hidden {
        /// How many could be taken now, where it tells that.
        waiting: Option<u64>,
    },
}

/// The other end of a queue: for `send` and `replay`.
pub trait Publisher {
    /// Publishes a batch, all of it or nothing, and waits for the queue's acknowledgement.
    ///
    /// # Errors
    /// The queue can't be reached, or refuses the batch.
    ///
    /// # Cancel safety
    /// Not cancel safe: the batch may have been published.
    fn publish<'a>(&'a mut self, bodies: &'a [Bytes]) -> BoxFuture<'a, Result<(), SourceError>>;
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
    /// It refuses messages as they are: they are too large, or empty. Blame: those messages.
    #[error("{place} refuses these messages: {fault}")]
    Messages {
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
