//! `x-msrv check`

use std::io::{self, Write as _};

use super::{CommandError, written};
use crate::{cli::CheckArgs, config::Settings, wiring};

pub(super) async fn check(settings: &Settings, arguments: &CheckArgs) -> Result<(), CommandError> {
    wiring::decoder(settings)?;
    let mut output = io::stdout();
    written(write!(output, "{settings}"))?;
    if arguments.connect {
        let (source, store) = tokio::join!(wiring::probe_source(&settings.source), wiring::probe_store(&settings.store));
        source?;
        store?;
        written(writeln!(output, "# queue and store answer"))?;
    }
    Ok(())
}
