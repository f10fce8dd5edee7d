//! Parses the command line, does what it says, and maps the result to an exit code.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    ffi::OsString,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use x_msrv::adapters;
use x_msrv_cli::{cli, commands, generator, logging};
use x_msrv_core::exit::Exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    exit_70_on_panic();
    let mut arguments = std::env::args_os().peekable();
    let name = arguments.peek().and_then(|program| Path::new(program).file_name()).unwrap_or_default();
    if name == generator::NAME {
        return generate(arguments.skip(1));
    }
    let cli = match cli::parse(adapters::ALL, arguments) {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let pipeline = cli.pipeline();
    let exit = commands::execute(adapters::ALL, cli).unwrap_or_else(|error| {
        error.lines().iter().for_each(|line| logging::fatal(line));
        if let Some(hint) = error.hint(&pipeline) {
            logging::hint(&hint);
        }
        error.exit().into()
    });
    log::logger().flush();
    exit
}

/// What is wrong with a configuration is a warning; only a generator that cannot do its work at all fails,
/// and systemd says so and goes on.
fn generate(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match generator::run(adapters::ALL, arguments) {
        Ok(()) => Exit::Success.into(),
        Err(fault) => {
            logging::warn_early(generator::NAME, &[fault]);
            Exit::Usage.into()
        }
    }
}

/// A panic is a bug: it is shown with a backtrace, and ends the program at once with the code for bugs. What was
/// in flight comes again.
fn exit_70_on_panic() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        show(panic);
        // What a timer started cannot be repeated with RUST_BACKTRACE set.
        if Backtrace::capture().status() == BacktraceStatus::Disabled {
            writeln!(io::stderr(), "{}", Backtrace::force_capture()).ok(); // the message alone is no less
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing that a panic left behind is to be trusted to end in order"
        )]
        std::process::exit(Exit::Software as i32);
    }));
}
