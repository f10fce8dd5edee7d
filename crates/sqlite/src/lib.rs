//! SQLite as queue and as store.

mod settings;
pub mod source;
pub mod store;

pub use settings::ADAPTER;
