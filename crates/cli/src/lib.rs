//! What stands around a run of x-msrv; the run itself is the crate [`x_msrv_core`].
//!
//! The layers, from the top; each knows only what stands below it:
//!
//! - [`cli`], [`commands`]: the command line; [`generator`]: the same program as systemd's generator.
//!   [`wiring`] is the only place that names concrete adapters.
//! - [`config`]: files, environment and flags to typed settings; [`logging`], [`shutdown`], [`timer`],
//!   [`sandbox`]: the process and the system around a run.
//! - pure: [`pipeline`]; at the bottom [`terminal`].
//!
//! What never happens: a client crate, or a socket to a queue or a store; the shape of the configuration file
//! outside `config`. `.ci/layers` checks it.

pub mod cli;
pub mod commands;
pub mod config;
pub mod generator;
pub mod logging;
pub mod pipeline;
pub mod sandbox;
pub mod schema_file;
pub mod shutdown;
pub mod terminal;
pub mod timer;
pub mod wiring;
