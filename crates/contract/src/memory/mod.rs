//! In memory.

pub mod dead_letter;
pub mod source;
pub mod store;
