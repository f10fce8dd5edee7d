//! `x-msrv run`

use std::{
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use super::CommandError;
use crate::{
    budget::StopReason,
    cli::ReportFormat,
    config::Settings,
    exit::Exit,
    logging,
    report::{Counters, RunReport},
    run::{Parts, run as drain},
    shutdown, wiring,
};

pub(super) async fn run(settings: &Settings, report: Option<ReportFormat>) -> Result<Exit, CommandError> {
    let shutdown = shutdown::on_signal().map_err(|cause| CommandError::System { attempt: "cannot wait for signals", cause })?;
    let decoder = wiring::decoder(settings)?;
    let mut dead_letter = wiring::dead_letter(&settings.dead_letter);
    // Both at once; but the queue is not asked for a message before the store is there.
    let connect = async { tokio::join!(wiring::store(&settings.store), wiring::source(&settings.source)) };
    tokio::pin!(shutdown);
    let connected = tokio::select! {
        connected = connect => Some(connected),
        () = &mut shutdown => None,
    };
    let outcome = match connected {
        Some((store, source)) => {
            let (store, source) = (store?, source?);
            let parts = Parts { source, store: &*store, dead_letter: &mut *dead_letter, decoder: &decoder, clock: now };
            let outcome = drain(parts, settings.limits, shutdown).await?;
            store.close().await;
            outcome
        }
        // Nothing was taken.
        None => RunReport::new(StopReason::Signal, Counters::default(), Duration::ZERO, None),
    };
    outcome.log();
    logging::status(&outcome.summary());
    if let Some(fault) = &outcome.fault {
        logging::fatal(fault);
    }
    if report == Some(ReportFormat::Json)
        && let Err(cause) = writeln!(io::stdout(), "{outcome}")
    {
        // The run is over, and its exit code says how it went, whether anybody reads the report or not.
        log::warn!(cause = cause.to_string(); "the report cannot be written");
    }
    Ok(outcome.exit())
}

#[expect(clippy::disallowed_methods, reason = "the edge: the run gets its time of day from here")]
fn now() -> SystemTime {
    SystemTime::now()
}
