//! Parses the command line, does what it says, and maps the result to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use x_msrv::{
    cli::{Cli, arguments},
    commands, error_chain,
    exit::Exit,
    logging,
};

fn main() -> ExitCode {
    exit_70_on_panic();
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    match commands::execute(cli) {
        Ok(exit) => exit,
        Err(error) => {
            logging::fatal(&error_chain::text(&error));
            error.exit().into()
        }
    }
}

/// A panic is a bug: it is shown as ever, and ends the program at once with the code for bugs. What was in flight comes again.
fn exit_70_on_panic() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        show(panic);
        #[expect(clippy::disallowed_methods, reason = "nothing that a panic left behind is to be trusted to end in order")]
        std::process::exit(Exit::Software as i32);
    }));
}
