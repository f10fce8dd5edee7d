//! Records in a PostgreSQL table: one connection, one statement for a batch.
//!
//! A record is a row of `gid` and a `jsonb` document, or its fields go to columns of a table that exists. The
//! server's answer to a statement decides for all of its rows; where it blames one of them, the batch is
//! divided until that row stands alone (`write`). `codes` is the table from SQLSTATE to verdict.
//!
//! Statements are unnamed and nothing is `SET`, so that a pool in transaction mode (`pgbouncer`) can stand in
//! between.

mod adapter;
mod codes;
mod connect;
mod read;
mod rows;
mod section;
mod settings;
mod sql;
mod table;
mod tls;
mod write;

pub use adapter::PostgresStore;
pub use section::ADAPTER;
pub use settings::{Column, Columns, Exists, Identifier, Settings, TableName};
