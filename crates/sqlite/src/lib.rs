//! SQLite as queue and as store.

pub mod source;
pub mod store;
