//! Parses the command line, does what it says, and maps the result to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use x_msrv::{
    cli::{Cli, arguments},
    commands, error_chain, logging,
};

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    match commands::execute(cli) {
        Ok(exit) => exit,
        Err(error) => {
            logging::fatal(&error_chain::text(&error));
            error.exit().into()
        }
    }
}
