//! The limits of a run: N messages, and a deadline. Pure: the caller passes in the time.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

/// Why a run stopped taking messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// N messages were taken.
    LimitReached,
    /// The queue is empty, and the run has confirmed it.
    QueueEmpty,
    /// The run's time is up.
    Deadline,
    /// SIGTERM or SIGINT.
    Signal,
    /// The connection to the queue was lost.
    QueueClosed,
    /// The store failed on every record of a batch.
    StoreUnavailable,
    /// The store reports a setup fault: no record can be stored.
    StoreSetup,
}

impl StopReason {
    /// All stop reasons.
    pub const ALL: [Self; 7] = [
        Self::LimitReached,
        Self::QueueEmpty,
        Self::Deadline,
        Self::Signal,
        Self::QueueClosed,
        Self::StoreUnavailable,
        Self::StoreSetup,
    ];

    /// Returns the word for logs and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LimitReached => "limit-reached",
            Self::QueueEmpty => "queue-empty",
            Self::Deadline => "deadline",
            Self::Signal => "signal",
            Self::QueueClosed => "queue-closed",
            Self::StoreUnavailable => "store-unavailable",
            Self::StoreSetup => "store-setup",
        }
    }
}

impl serde::Serialize for StopReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The atomic counter that limits a run to N messages, whatever the queue sends.
///
/// A source asks for at most N messages anyway; this counter is the safeguard.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
}

impl Budget {
    /// Creates a budget of `max_messages`.
    #[must_use]
    pub fn new(max_messages: NonZeroU64) -> Self {
        Self { left: AtomicU64::new(max_messages.get()) }
    }

    /// Takes one message from the budget. Returns false if the budget is spent; the message must then be
    /// released.
    #[must_use]
    pub fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Returns how many messages are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Returns whether all N were taken.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "threads show that the counter is atomic")]
    fn exactly_n_are_taken_with_any_number_of_threads() {
        let budget = Budget::new(NonZeroU64::new(1_000).expect("not zero"));
        let taken: usize = std::thread::scope(|scope| {
            let asking: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1_000).filter(|_| budget.take()).count())).collect();
            asking.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(taken, 1_000);
        assert!(budget.is_spent() && !budget.take());
    }
}
