//! A small client for nsqd's V2 protocol, shared by all code that connects to nsqd. It knows nothing about
//! runs and records.
//!
//! It exists because no crate provides what a run promises: an exact RDY, and proof that settlements arrived
//! (figures are in docs/dependencies.md). The protocol: <https://nsq.io/clients/tcp_protocol_spec.html>; for
//! everything else, nsqd's `protocol_v2.go` (version 1.3.0).

mod connection;
pub mod name;
mod stream;
pub mod wire;

pub use connection::{Connection, Identity, NsqError, Role, ServerLimits, servers};
