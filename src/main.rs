//! Parses the command line, runs the command, and maps its result to an exit code.

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

/// A fault in a configuration is only a warning. The generator fails only if it cannot work at all; systemd
/// then logs the failure and continues to boot.
fn generate(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match generator::run(adapters::ALL, arguments) {
        Ok(()) => Exit::Success.into(),
        Err(fault) => {
            logging::warn_early(generator::NAME, &[fault]);
            Exit::Usage.into()
        }
    }
}

/// A panic is a bug: the program prints it with a backtrace and exits at once with the exit code for bugs. The
/// queue delivers the messages in flight again.
fn exit_70_on_panic() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        show(panic);
        // A run started by a timer cannot be repeated with RUST_BACKTRACE set.
        if Backtrace::capture().status() == BacktraceStatus::Disabled {
            writeln!(io::stderr(), "{}", Backtrace::force_capture()).ok(); // the message is printed already
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "after a panic no state can be trusted for an orderly exit"
        )]
        std::process::exit(Exit::Software as i32);
    }));
}
