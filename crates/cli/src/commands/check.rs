//! `x-msrv check`

use std::io::{self, Write as _};

use super::{CommandError, written};
use crate::{cli::CheckArgs, config::Settings, logging, sandbox};
use x_msrv_core::exit::Exit;

pub(super) async fn check(settings: &Settings, arguments: &CheckArgs) -> Result<(), CommandError> {
    settings.decoder()?;
    written(write!(io::stdout(), "{settings}"))?;
    warn_about_service(settings);
    if arguments.connect { connect(settings).await } else { Ok(()) }
}

/// Warns about files that the service cannot use although the current user can.
pub(super) fn warn_about_service(settings: &Settings) {
    for warning in sandbox::warnings(settings) {
        log::warn!("{warning}");
    }
}

/// Checks that queue, store and dead letter answer, and reports all that do not.
pub(super) async fn connect(settings: &Settings) -> Result<(), CommandError> {
    let mut dead_letter = settings.dead_letter.open();
    let (source, store, letters) =
        tokio::join!(settings.source.probe(), settings.store.probe(), dead_letter.probe());
    let mut faults: Vec<CommandError> =
        [source.err().map(Into::into), store.err().map(Into::into), letters.err().map(Into::into)]
            .into_iter()
            .flatten()
            .collect();
    // A fault that only the user can correct determines the exit code, even if others are unreachable.
    let decides = faults.iter().position(|fault| fault.exit() == Exit::Configuration).unwrap_or(0);
    if faults.is_empty() {
        return written(writeln!(io::stdout(), "# queue, store and dead letter answer"));
    }
    let fault = faults.remove(decides);
    for other in faults {
        other.lines().iter().for_each(|line| logging::fatal(line));
    }
    Err(fault)
}
