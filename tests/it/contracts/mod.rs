//! One suite for each trait, which every adapter passes, including the ones in memory.

pub(crate) mod dead_letter;
mod source;
mod store;
