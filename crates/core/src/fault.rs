//! Why a store did not take a record, or a queue a message, and whose fault that is. Pure.

use std::fmt;

/// Why something was not written. The text is for a person and holds no part of what was to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault it is.
    pub blame: Blame,
    /// Whether it may have been written nevertheless.
    pub in_doubt: bool,
    /// What happened.
    pub text: String,
}

/// Whose fault it is that something was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The record's: it will be refused again.
    Record,
    /// The store's or the network's: it may work later.
    Outage,
    /// Nobody knows, so it may be the record's; it is tried again as often as is allowed.
    Unknown,
    /// The record's or the store's, and the store knows of no fault of its own. What the store takes besides
    /// decides ([`outcome::weigh`](crate::outcome::weigh)).
    Suspect,
    /// The configuration's or the server's set-up: no record can be written.
    Setup,
}

impl Fault {
    /// Creates a fault of which it is known that nothing was written.
    #[must_use]
    pub fn new(blame: Blame, text: impl Into<String>) -> Self {
        Self { blame, in_doubt: false, text: text.into() }
    }

    /// Creates a fault after which it is unknown whether the write arrived.
    #[must_use]
    pub fn in_doubt(text: impl Into<String>) -> Self {
        Self { blame: Blame::Outage, in_doubt: true, text: text.into() }
    }

    /// Returns the fault of a record that was not answered for.
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
