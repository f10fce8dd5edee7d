//! State files, and how SQLite files are opened.

pub mod sqlite;
pub mod state_file;
