//! State files, and opening SQLite files.

pub mod sqlite;
pub mod state_file;
