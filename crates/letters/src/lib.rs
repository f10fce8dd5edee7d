//! Dead letters in files: writing, reading, filtering, rotation.

pub mod file;
pub mod filter;
pub mod letters;
pub mod tidy;
