//! Why a store did not accept a record, or a queue a message, and what is to blame. Pure.

use std::fmt;

/// Why something was not written. The text is for the user and contains nothing of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is to blame.
    pub blame: Blame,
    /// Whether it may have been written anyway.
    pub in_doubt: bool,
    /// The text for the user.
    pub text: String,
}

/// What is to blame for a failed write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The record: it will be refused again.
    Record,
    /// The store or the network: the same may work later.
    Outage,
    /// Unknown, so it may be the record. The write is retried up to the limit on attempts.
    Unknown,
    /// The record or the store, and the store reports no fault of its own. Whether the store accepts other
    /// records decides ([`outcome::weigh`](crate::outcome::weigh)).
    Suspect,
    /// The configuration, or the setup of the server: no record can be written.
    Setup,
}

impl Fault {
    /// Creates a fault after which nothing was written.
    #[must_use]
    pub fn new(blame: Blame, text: impl Into<String>) -> Self {
        Self { blame, in_doubt: false, text: text.into() }
    }

    /// Creates a fault after which the write is in doubt.
    #[must_use]
    pub fn in_doubt(text: impl Into<String>) -> Self {
        Self { blame: Blame::Outage, in_doubt: true, text: text.into() }
    }

    /// Returns the fault of a record without an answer.
    #[must_use]
    pub fn not_answered() -> Self {
        Self::in_doubt("the store did not answer for this record")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}
