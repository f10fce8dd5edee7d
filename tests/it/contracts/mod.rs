//! One suite for each trait, which every adapter passes, the ones in memory included.

mod dead_letter;
mod source;
mod store;
