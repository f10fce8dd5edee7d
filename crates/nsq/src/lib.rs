//! NSQ: the source and the publisher.

pub mod client;
mod settings;
pub mod source;

pub use settings::ADAPTER;
