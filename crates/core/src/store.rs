//! The database that records go to: the contract of adapters.
//!
//! `crates/contract` has the suite that each adapter passes.

mod compute;
mod reader;

use std::{error::Error, time::Duration};

use crate::{BoxFuture, answer, fault::Fault, record::Record};

pub use reader::{Aggregate, Bucket, Function, Group, Reader, See, Series, StoredRecord, Window};

/// A database, connected and checked.
pub trait Store {
    /// Returns what the store promises.
    fn traits(&self) -> StoreTraits;

    /// Returns how it is best given records.
    fn limits(&self) -> BatchLimits;

    /// Writes records, and answers for each of them before it is ready. A record whose answer is dropped
    /// counts as in doubt. Nothing that is only buffered is answered for as stored.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the records in doubt: each may have been written or not.
    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()>;

    /// Returns its reader, where records can be read back.
    fn reader(&self) -> Option<&dyn Reader> {
        None
    }

    /// Disconnects.
    ///
    /// # Errors
    /// The store did not end in order. Nothing that was answered for is lost by it.
    ///
    /// # Cancel safety
    /// Nothing is left to lose.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// A record that waits for its verdict.
pub type Pending = answer::Pending<Record, Result<Put, Fault>>;

/// What a store promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreTraits {
    /// What a record that is written twice becomes.
    pub repeat: Repeat,
    /// How far a fault reaches.
    pub reach: Reach,
    /// Whether it stores the message as it was published, beside or instead of the fields
    /// ([`Record::message`]).
    pub wants_message: bool,
}

/// What a record that is written twice becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// One record.
    Idempotent,
    /// One record, if the second time is no later than this after the first.
    IdempotentFor(Duration),
    /// Two records.
    AppendOnly,
}

/// How far a fault reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Each record has its own verdict.
    PerRecord,
    /// All records of a batch are taken, or none. [`Bisect`](crate::layers::Bisect) isolates the record at
    /// fault.
    WholeBatch,
}

/// How a store is best given records. A run keeps to it; [`Limit`](crate::layers::Limit) enforces it where
/// something else writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records in one call of [`Store::write`] at most.
    pub records: usize,
    /// Bytes of documents after which a batch is complete; one document may exceed it.
    pub bytes: usize,
    /// Calls that are in progress at once.
    pub at_once: usize,
    /// When a batch is written that is not complete.
    pub gather: Gather,
}

/// When a batch is written that is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gather {
    /// As soon as the store can take it.
    No,
    /// When nothing more can be gathered: the queue is idle, its window is full, or the run stops. For stores
    /// that want few large batches.
    UntilIdle,
}

impl BatchLimits {
    /// Returns the limits of a store that takes so many records in a call and so many calls at once, and is
    /// given what is there, a mebibyte at most.
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
    /// It was there already and was left alone (`exists: create-only`).
    Duplicate,
}

/// Why a store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or not in time. Blame: the network or the server; the same may work later.
    #[error("cannot reach {place}")]
    Unreachable {
        /// Which store, as text for a person.
        place: String,
        /// What happened.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// It answers, and takes no record now. Blame: the server's state; the same may work later.
    #[error("{place}: {fault}")]
    Outage {
        /// Which store.
        place: String,
        /// In which state it is.
        fault: String,
    },
    /// It answers, and can't do what is configured. Blame: the configuration.
    #[error("{place}: {fault}")]
    Setup {
        /// Which store.
        place: String,
        /// What is wrong.
        fault: String,
    },
}
