//! Parses the command line, does what it says, and maps the result to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use x_msrv::{
    cli::{Cli, arguments},
    commands, logging,
};

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    match commands::execute(cli) {
        Ok(exit) => exit,
        Err(error) => {
            logging::fatal(&commands::chain(&error));
            error.exit().into()
        }
    }
}
