//! What a run of x-msrv is made of: it takes at most N messages from a queue, stores each in a database,
//! settles it with the queue, and exits.
//!
//! - [`run`]: receive, decode, put, settle, drain. It knows the contracts [`source`], [`store`] and
//!   [`dead_letter`], and no adapter.
//! - [`adapter`]: what an adapter brings.
//! - pure: [`decode`], [`outcome`], [`budget`], [`report`]; at the bottom [`message`], [`record`], [`answer`],
//!   [`error_chain`], [`exit`], [`servers`], [`unique_json`].
//!
//! No socket, no file, no client crate, and no adapter.

pub mod adapter;
pub mod answer;
pub mod budget;
pub mod dead_letter;
pub mod decode;
pub mod error_chain;
pub mod exit;
pub mod fault;
pub mod layers;
pub mod message;
pub mod outcome;
pub mod record;
pub mod report;
pub mod run;
pub mod servers;
pub mod source;
pub mod store;
pub mod template;
mod timestamp;
pub mod unique_json;

/// What the program is called: on the command line, in logs, in its folders and units.
pub const NAME: &str = "x-msrv";

/// A future for one batch, not for one message. Everything runs on one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;
