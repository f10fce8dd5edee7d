//! A small client for nsqd's V2 protocol, shared by everything that speaks to nsqd. Knows nothing of runs and
//! records.
//!
//! It is our own because no crate can do what a run promises: an exact RDY, and settlements that are proven
//! to have arrived (docs/dependencies.md has the figures). The protocol:
//! <https://nsq.io/clients/tcp_protocol_spec.html>; where that is silent, nsqd's `protocol_v2.go` (version
//! 1.3.0).

mod connection;
pub mod name;
mod stream;
pub mod wire;

pub use connection::{Connection, Identity, NsqError, ServerLimits, servers};
