//! `x-msrv check`

use std::io::{self, Write as _};

use super::{CommandError, written};
use crate::{cli::CheckArgs, config::Settings, wiring};

pub(super) async fn check(settings: &Settings, arguments: &CheckArgs) -> Result<(), CommandError> {
    wiring::decoder(settings)?;
    written(write!(io::stdout(), "{settings}"))?;
    if arguments.connect { connect(settings).await } else { Ok(()) }
}

/// Asks queue, store and dead letter whether they are there.
pub(super) async fn connect(settings: &Settings) -> Result<(), CommandError> {
    let (source, store) = tokio::join!(wiring::probe_source(&settings.source), wiring::probe_store(&settings.store));
    source?;
    store?;
    wiring::dead_letter(&settings.dead_letter).probe().await?;
    written(writeln!(io::stdout(), "# queue, store and dead letter answer"))
}
