//! The command line and everything else around a run of x-msrv; the run itself is in the crate
//! [`x_msrv_core`].
//!
//! The layers from top to bottom; each uses only those below it:
//!
//! - [`cli`], [`commands`]: the command line; [`generator`]: the same program as a systemd generator.
//! - [`logging`], [`shutdown`], [`timer`], [`sandbox`]: the process and the system around a run.
//! - pure: [`pipeline`]; at the bottom [`terminal`].
//!
//! This crate names no adapter, uses no client crate, and opens no socket to a queue or a store. The program
//! passes its list of adapters.

use x_msrv_config as config;

pub mod cli;
pub mod commands;
pub mod generator;
pub mod logging;
pub mod pipeline;
pub mod sandbox;
pub mod shutdown;
pub mod terminal;
pub mod timer;
