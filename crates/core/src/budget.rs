//! How much a run may do: N messages, and until when. Pure: the caller brings the time.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

/// Why a run stopped taking messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// N messages were taken.
    LimitReached,
    /// The queue has nothing more, which was made sure of.
    QueueEmpty,
    /// The run's time is up.
    Deadline,
    /// SIGTERM or SIGINT.
    Signal,
    /// The queue went away.
    QueueClosed,
    /// The store took nothing of a whole batch: it is in trouble.
    StoreUnavailable,
    /// The store says that the set-up is wrong: no message can be stored.
    StoreSetup,
}

impl StopReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LimitReached,
        Self::QueueEmpty,
        Self::Deadline,
        Self::Signal,
        Self::QueueClosed,
        Self::StoreUnavailable,
        Self::StoreSetup,
    ];

    /// The word for logs and reports.
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

/// The atomic counter that keeps a run at no more than N messages, whatever the queue sends.
///
/// A source asks for no more than N to begin with; this is the guard behind it.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
}

impl Budget {
    /// A budget of `max_messages`.
    #[must_use]
    pub fn new(max_messages: NonZeroU64) -> Self {
        Self { left: AtomicU64::new(max_messages.get()) }
    }

    /// Takes one message off the budget; false when it is spent, and then the message is to be requeued.
    #[must_use]
    pub fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Returns how many messages are left of it.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Whether all N were taken.
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
    fn exactly_n_are_taken_however_many_threads_ask() {
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
