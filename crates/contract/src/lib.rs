//! What adapters are held to: the contracts of the core as suites that an adapter's test enters with one line,
//! and queues, stores and dead letters in memory that pass them.

pub mod memory;
pub mod source;
pub mod store;

use std::time::Duration;

/// How long anything is waited for in a test before it counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(20);
