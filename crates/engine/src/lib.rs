//! What a run of x-msrv is made of. It takes at most N messages from a queue, stores each in a database,
//! tells the queue what became of it, and ends.
//!
//! The layers, from the top; each knows only what stands below it. What stands above them all, the crate
//! `x-msrv-frontend`, no crate below can name:
//!
//! - [`run`]: receive, decode, put, settle, drain; knows the traits [`source`], [`store`] and [`dead_letter`]
//!   and no adapter.
//! - adapters, one file or folder each beside the trait that they implement: they know that trait, their own
//!   settings and the small clients [`nsq`], [`http`], [`sqlite`], [`state_file`], [`tls`] and [`secret`]
//!   below them.
//! - [`history`]: what runs leave behind for people, in a file of its own; knows a run by its report only.
//! - pure: [`decode`], [`outcome`], [`budget`], [`report`]; at the bottom [`message`], [`record`],
//!   [`address`], [`answer`], [`error_chain`], [`exit`], [`unique_json`].
//!
//! What never happens: an adapter that names another adapter or the run. `.ci/layers` checks it.

pub mod address;
pub mod answer;
pub mod budget;
pub mod dead_letter;
pub mod decode;
pub mod error_chain;
pub mod exit;
pub mod history;
pub mod http;
pub mod message;
pub mod nsq;
pub mod outcome;
pub mod record;
pub mod report;
pub mod run;
pub mod secret;
pub mod servers;
pub mod source;
pub mod sqlite;
pub mod state_file;
pub mod store;
pub mod tls;
pub mod unique_json;

/// What the program is called: on the command line, in logs, in its folders and units.
pub const NAME: &str = "x-msrv";

/// A future for one batch, not for one message. Everything runs on one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;
