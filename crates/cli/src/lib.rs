//! What stands around a run of x-msrv; the run itself is the crate [`x_msrv_core`].
//!
//! The layers, from the top; each knows only what stands below it:
//!
//! - [`cli`], [`commands`]: the command line; [`generator`]: the same program as systemd's generator.
//! - [`logging`], [`shutdown`], [`timer`], [`sandbox`]: the process and the system around a run.
//! - pure: [`pipeline`]; at the bottom [`terminal`].
//!
//! What never happens: the name of an adapter, a client crate, or a socket to a queue or a store. The program hands
//! its list of adapters in.

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
