//! In-memory queues with the rules of each kind, stores, and dead letters.

pub mod dead_letter;
pub mod no_delay;
pub mod position;
pub mod requests;
pub mod source;
pub mod store;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time since the last message. It is kept in the consumer: a call of `next` that is cancelled must not
/// start it again.
#[derive(Debug)]
struct Silence {
    idle_timeout: Duration,
    until: Instant,
}

impl Silence {
    fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, until: Instant::now() + idle_timeout }
    }

    /// A message arrived, or more is wanted.
    fn restart(&mut self) {
        *self = Self::new(self.idle_timeout);
    }

    /// Waits until it was silent for the idle timeout.
    async fn is_over(&self) {
        sleep_until(self.until).await;
    }
}
