//! The database that records go to: the contract that every adapter keeps.
//!
//! An adapter is one file (or folder) beside this one, with its own settings. `tests/it/contracts/store.rs`
//! holds the suite that each of them passes.

use std::{error::Error, ops::ControlFlow};

use crate::{
    BoxFuture, answer,
    record::{Fields, Key, Record},
};

/// A database, connected and checked.
pub trait Store {
    /// How it is best given records.
    fn batches(&self) -> Batches;

    /// Writes records, and answers for each of them before it is ready. The same record may be put any number
    /// of times. A record whose answer is dropped counts as in doubt.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the records in doubt: each may have been written or not.
    fn put(&self, records: Vec<Pending>) -> BoxFuture<'_, ()>;

    /// Shows at most `limit` records, in no particular order, each as it comes: no more than a bounded number
    /// of them is in memory.
    ///
    /// # Errors
    /// The store does not answer.
    ///
    /// # Cancel safety
    /// Reads only.
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Disconnects.
    ///
    /// # Cancel safety
    /// Nothing is left to lose.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A record that waits for its verdict.
pub type Pending = answer::Pending<Record, Result<Put, PutError>>;

/// Is shown one record after the other, and says whether it wants more.
pub type See<'a> = &'a mut dyn FnMut(StoredRecord) -> ControlFlow<()>;

/// What a store takes best. More in one call is no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// Records in one call of [`Store::put`] at most.
    pub records: usize,
    /// Calls that are under way at once.
    pub at_once: usize,
}

/// A record as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its key, where the store keeps it.
    pub key: Option<Key>,
    /// Its fields; those that were null may be missing, and their order may differ.
    pub fields: Fields,
}

/// A record that is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Written now.
    Stored,
    /// It was there already and was left alone (`exists: create-only`).
    Duplicate,
}

/// Why a record was not written. The text is for a person and holds no part of the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The record is at fault and will be refused again. Blame: the message.
    #[error("{0}")]
    Refused(String),
    /// The store is in trouble, or it is unknown whether the write arrived. Blame: the store or the network;
    /// it may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The store failed in a way that is not known, so it may be the record; it is tried again as often as is
    /// allowed.
    #[error("{0}")]
    Unknown(String),
    /// The store refuses the record in a way that can be the record's fault or the store's, and knows of no
    /// fault of its own. What the store takes besides decides ([`outcome::weigh`](crate::outcome::weigh)).
    #[error("{0}")]
    Suspect(String),
    /// The set-up is wrong, and no record can be written. Blame: the configuration or the server's.
    #[error("{0}")]
    Setup(String),
}

impl PutError {
    /// For a record that the store did not answer for.
    #[must_use]
    pub fn not_answered() -> Self {
        Self::Unavailable("the store did not answer for this record".to_owned())
    }
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
