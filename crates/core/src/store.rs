//! The database that records are written to: the contract for adapters.
//!
//! `crates/contract` has the suite that each adapter passes.

mod compute;
mod reader;

use std::{error::Error, time::Duration};

use crate::{BoxFuture, answer, fault::Fault, record::Record};

pub use reader::{Aggregate, Bucket, Function, Group, Reader, See, Series, StoredRecord, Window};

/// A connected and checked database.
pub trait Store {
    /// Returns the store's guarantees.
    fn traits(&self) -> StoreTraits;

    /// Returns the limits on batches.
    fn limits(&self) -> BatchLimits;

    /// Writes records, and answers for each of them before the future is ready. A record whose answer is
    /// dropped is in doubt. A record that is only buffered must not be answered as stored.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the records in doubt: each may have been written or not.
    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()>;

    /// Returns its reader, if records can be read back.
    fn reader(&self) -> Option<&dyn Reader> {
        None
    }

    /// Disconnects.
    ///
    /// # Errors
    /// The store did not close cleanly. No answered record is lost.
    ///
    /// # Cancel safety
    /// There is nothing to lose.
    #[must_use = "the store disconnects only if this is awaited"]
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        drop(self);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A record that waits for its verdict.
pub type Pending = answer::Pending<Record, Result<Put, Fault>>;

/// The guarantees of a store. The default is what most databases can give: a repeated write is one record, and each
/// record has its own verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreTraits {
    /// The effect of writing a record twice.
    pub repeat: Repeat,
    /// How many records a fault affects.
    pub reach: Reach,
    /// Whether it stores the published message, in addition to or instead of the fields
    /// ([`Record::message`]).
    pub wants_message: bool,
}

/// The effect of writing a record twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Repeat {
    /// One record.
    #[default]
    Idempotent,
    /// One record, if the second write is at most this much later.
    IdempotentFor(Duration),
    /// Two records.
    AppendOnly,
}

/// How many records a fault affects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Each record has its own verdict.
    #[default]
    PerRecord,
    /// All records of a batch are stored, or none. [`Bisect`](crate::layers::Bisect) isolates the record at
    /// fault.
    WholeBatch,
}

/// The limits on batches. A run respects them; [`Limit`](crate::layers::Limit) enforces them for other
/// callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The maximum number of records in one call of [`Store::write`].
    pub records: usize,
    /// The size of documents in bytes at which a batch is complete; one document may exceed it.
    pub bytes: usize,
    /// The maximum number of calls in progress at once.
    pub at_once: usize,
    /// When an incomplete batch is written.
    pub gather: Gather,
}

/// When an incomplete batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gather {
    /// As soon as the store can take it.
    No,
    /// When nothing more can be gathered: the queue is idle, its window is full, or the run stops. For stores
    /// that prefer few large batches.
    UntilIdle,
}

impl BatchLimits {
    /// Returns limits of `records` in a call and `at_once` calls, with batches that are written at once and
    /// hold at most a mebibyte.
    #[must_use]
    pub fn new(records: usize, at_once: usize) -> Self {
        Self { records, bytes: 1 << 20, at_once, gather: Gather::No }
    }
}

/// A record that is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Written now.
    Stored,
    /// Already there, and left unchanged (`exists: create-only`).
    Duplicate,
}

impl StoreError {
    /// Creates the error of a store that does not answer.
    pub fn unreachable(place: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable { place: place.into(), cause: cause.into() }
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or not in time. Blame: the network or the server; the same may work later.
    #[error("cannot reach {place}")]
    Unreachable {
        /// The store, as text for the user.
        place: String,
        /// What happened.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// It answers, but accepts no record now. Blame: the server's state; the same may work later.
    #[error("{place}: {fault}")]
    Outage {
        /// The store.
        place: String,
        /// The state of the store.
        fault: String,
    },
    /// It answers, but cannot do what is configured. Blame: the configuration.
    #[error("{place}: {fault}")]
    Setup {
        /// The store.
        place: String,
        /// What is wrong.
        fault: String,
    },
}
