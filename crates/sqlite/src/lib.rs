//! SQLite as source and store.

mod settings;
pub mod source;
pub mod store;

pub use settings::ADAPTER;
