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
        wiring::dead_letter(&settings.dead_letter).probe().await?;
        written(writeln!(output, "# queue, store and dead letter answer"))?;
    }
    Ok(())
}
