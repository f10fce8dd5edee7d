//! Queues, stores and dead letters in memory, for tests of what stands above them.

pub mod memory;
