//! x-msrv takes at most N messages from a queue, stores each in a database, tells the queue what became of it, and ends.
//!
//! The layers, from the top; each knows only what stands below it:
//!
//! - `main`, [`cli`], [`commands`]: the command line; [`generator`]: the same program as systemd's generator. [`wiring`] is the only place that names concrete adapters.
//! - [`config`]: files, environment and flags to typed settings; [`logging`], [`shutdown`]: the process around a run.
//! - [`run`]: receive, decode, put, settle, drain; knows the traits [`source`], [`store`] and [`dead_letter`] and no adapter.
//! - adapters, one file or folder each beside the trait that they implement: they know that trait, their own settings and the small clients
//!   [`nsq`], [`http`], [`sqlite`], [`state_file`], [`tls`] and [`secret`] below them.
//! - [`history`]: what runs leave behind for people, in a file of its own; knows a run by its report only.
//! - pure: [`decode`], [`outcome`], [`budget`], [`report`], [`status`], [`page`]; at the bottom [`message`], [`record`], [`address`], [`error_chain`], [`exit`].
//!
//! What never happens: an adapter that names another adapter or the run; a client crate or a socket above the adapters; the shape of the
//! configuration file outside `config`. `.ci/layers` checks it.

pub mod address;
pub mod budget;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dead_letter;
pub mod decode;
pub mod error_chain;
pub mod exit;
pub mod generator;
pub mod history;
pub mod http;
pub mod logging;
pub mod message;
pub mod nsq;
pub mod outcome;
pub mod page;
pub mod record;
pub mod report;
pub mod run;
pub mod secret;
pub mod shutdown;
pub mod source;
pub mod sqlite;
pub mod state_file;
pub mod status;
pub mod store;
pub mod terminal;
pub mod timer;
pub mod tls;
pub mod wiring;

/// A future for one batch, not for one message. Everything runs on one thread, so it need not be `Send`.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;
