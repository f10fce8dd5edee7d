//! `x-msrv check`

use std::io::{self, Write as _};

use super::{CommandError, written};
use crate::{cli::CheckArgs, config::Settings, logging, sandbox};
use x_msrv_core::exit::Exit;
use x_msrv_settings::{Access, NamedFile};

pub(super) async fn check(settings: &Settings, arguments: &CheckArgs) -> Result<(), CommandError> {
    settings.decoder()?;
    written(write!(io::stdout(), "{settings}"))?;
    warn_about_service(settings);
    if arguments.connect {
        return connect(settings).await;
    }
    for file in missing_files(settings) {
        log::warn!("{}: {}: the file does not exist", file.key, file.path.display());
    }
    Ok(())
}

/// Returns the files to read that do not exist. Connecting reports them as faults.
fn missing_files(settings: &Settings) -> impl Iterator<Item = &NamedFile> {
    let is_read = |file: &&NamedFile| matches!(file.access, Access::Read | Access::ReadSecret);
    settings.files().iter().filter(is_read).filter(|file| file.path.try_exists().is_ok_and(|exists| !exists))
}

/// Warns about files that the service cannot use although the current user can.
pub(super) fn warn_about_service(settings: &Settings) {
    for warning in sandbox::warnings(settings) {
        log::warn!("{warning}");
    }
}

/// Tests queue, store and dead letter, shows what was proven of each, and names all that failed.
pub(super) async fn connect(settings: &Settings) -> Result<(), CommandError> {
    let mut dead_letter = settings.dead_letter.open();
    let (source, store, letters) =
        tokio::join!(settings.source.probe(), settings.store.probe(), dead_letter.probe());
    let tested: [(&str, Result<String, CommandError>); 3] = [
        ("queue", source.map_err(Into::into)),
        ("store", store.map_err(Into::into)),
        ("dead letter", letters.map_err(Into::into)),
    ];
    let mut faults = Vec::new();
    for (part, result) in tested {
        match result {
            Ok(proven) => written(writeln!(io::stdout(), "# {part}: {proven}"))?,
            Err(fault) => faults.push(fault),
        }
    }
    faults.extend(sandbox::unwritable(settings).map(CommandError::Unwritable));
    // A fault that only the configuration can correct decides the exit code, whatever else is down.
    let decides = faults.iter().position(|fault| fault.exit() == Exit::Configuration).unwrap_or(0);
    if faults.is_empty() {
        return Ok(());
    }
    let fault = faults.remove(decides);
    for other in faults {
        other.lines().iter().for_each(|line| logging::fatal(line));
    }
    Err(fault)
}
