//! Network code that adapters share: addresses, TLS, secrets, a small HTTP client.

pub mod address;
pub mod http;
pub mod secret;
pub mod tls;
