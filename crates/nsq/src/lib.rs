//! NSQ: the source, the publisher, and dead letters to a topic.

pub mod client;
pub mod dead_letter;
mod settings;
pub mod source;

pub use settings::ADAPTER;
