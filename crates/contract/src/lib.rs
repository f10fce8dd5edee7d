//! The contracts of the core as test suites that an adapter's test enters with one line, and in-memory
//! queues, stores and dead letters that pass them.

pub mod dead_letter;
pub mod faults;
pub mod memory;
pub mod publisher;
pub mod source;
pub mod store;

use std::time::Duration;

/// How long a test waits before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
