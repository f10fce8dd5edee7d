//! `x-msrv check`

use std::io::{self, Write as _};

use super::CommandError;
use crate::{cli::CheckArgs, config::Settings, wiring};

pub(super) async fn check(settings: &Settings, arguments: &CheckArgs) -> Result<(), CommandError> {
    wiring::decoder(settings)?;
    let mut output = io::stdout();
    write!(output, "{settings}").map_err(CommandError::output)?;
    if arguments.connect {
        let (source, store) = tokio::join!(wiring::probe_source(&settings.source), wiring::probe_store(&settings.store));
        source?;
        store?;
        writeln!(output, "# queue and store answer").map_err(CommandError::output)?;
    }
    Ok(())
}
