//! The parts of a run of x-msrv: it takes at most N messages from a queue, stores each in a database, settles
//! it with the queue, and exits.
//!
//! - [`run`]: receive, decode, write, settle, drain. It uses the contracts [`source`], [`store`] and
//!   [`dead_letter`], and knows no adapter.
//! - [`adapter`]: what an adapter provides.
//! - pure: [`decode`], [`outcome`], [`budget`], [`report`]; below them [`message`], [`record`], [`answer`],
//!   [`error_chain`], [`exit`], [`servers`].
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

/// The name of the program: on the command line, in logs, in its folders and units.
pub const NAME: &str = "x-msrv";

/// A future for one batch, not for one message. Everything runs on one thread, so it does not have to be
/// `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;
