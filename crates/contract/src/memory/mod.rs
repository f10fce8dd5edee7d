//! In-memory queues with the rules of each kind, stores, and dead letters.

pub mod dead_letter;
pub mod no_delay;
pub mod position;
pub mod requests;
pub mod source;
pub mod store;
