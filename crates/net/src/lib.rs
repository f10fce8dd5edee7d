//! What adapters need of the network: addresses, TLS, secrets, a small HTTP client.

pub mod address;
pub mod http;
pub mod secret;
pub mod tls;
