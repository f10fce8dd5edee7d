//! NSQ: the source, the publisher, and dead letters to a topic.

pub mod client;
pub mod dead_letter;
pub mod source;
