//! State files, and opening SQLite files.

pub mod failures;
pub mod sqlite;
pub mod state_file;
