//! `x-msrv run`

use std::{
    cell::Cell,
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{CommandError, close, progress};
use crate::{cli::ReportFormat, config::Settings, logging, shutdown};
use x_msrv_core::{
    budget::StopReason,
    error_chain,
    exit::Exit,
    report::{Depth, RunReport, Tally},
    run::{Parts, run as drain},
};
use x_msrv_history as history;
use x_msrv_history::Logbook;
use x_msrv_letters::tidy::tidy;
use x_msrv_state::failures::FailureFile;

pub(super) async fn run(settings: &Settings, report: Option<ReportFormat>) -> Result<Exit, CommandError> {
    let (time, began) = (now(), Instant::now());
    let mut logbook = Logbook::new(settings.history.clone(), settings.metrics.clone());
    logbook.begin(time);
    let mut outcome = attempt(settings, &mut logbook, began).await;
    let servers = outcome.as_ref().ok().and_then(|report| report.servers.as_ref());
    let previous = logbook.previous();
    let mut recorded = recorded(time, began.elapsed(), &outcome);
    logbook.enter(&mut recorded, servers, booted());
    if let Ok(outcome) = &mut outcome {
        outcome.unreached = recorded.unreached; // with those that only the history knows
        announce(outcome, report);
    }
    if let Some(file) = settings.dead_letter.file()
        && let Err(cause) = tidy(file, now(), previous).await
    {
        log::warn!(cause = cause.to_string(); "cannot delete old dead letters");
    }
    outcome.map(|outcome| outcome.exit())
}

async fn attempt(
    settings: &Settings,
    logbook: &mut Logbook,
    began: Instant,
) -> Result<RunReport, CommandError> {
    let shutdown = shutdown::on_signal()
        .map_err(|cause| CommandError::System { attempt: "cannot wait for signals", cause })?;
    let decoder = settings.decoder()?;
    let mut dead_letter = settings.dead_letter.open();
    let source = async {
        let source = settings.source.connect().await;
        logbook.open(); // meanwhile the store is connecting, and mostly waits for the network
        source
    };
    // Both connect at once, but no message is requested before the store is connected.
    let connect = async { tokio::join!(settings.store.connect(), source) };
    tokio::pin!(shutdown);
    let connected = tokio::select! {
        connected = connect => Some(connected),
        () = &mut shutdown => None,
    };
    // On a signal before both are connected, nothing was taken.
    let Some((store, source)) = connected else {
        return Ok(RunReport::new(
            StopReason::Signal,
            Tally::default(),
            Depth::default(),
            began.elapsed(),
            None,
        ));
    };
    let (store, source) = (store?, source?);
    let mut failures = FailureFile::new(settings.failures.clone(), now);
    let progress = Cell::default();
    let parts = Parts {
        source,
        stores: vec![&*store],
        dead_letter: &mut *dead_letter,
        decoder: &decoder,
        failures: &mut failures,
        clock: now,
        began,
        progress: &progress,
    };
    let outcome = progress::beside(drain(parts, settings.limits, shutdown), &progress).await?;
    close(store).await;
    // Closing a store that hangs also takes time.
    Ok(outcome.took(began.elapsed()))
}

fn announce(outcome: &RunReport, report: Option<ReportFormat>) {
    outcome.log();
    logging::status(&outcome.summary());
    if let Some(fault) = &outcome.fault {
        logging::fatal(fault);
    }
    if report == Some(ReportFormat::Json)
        && let Err(cause) = writeln!(io::stdout(), "{outcome}")
    {
        // The run is over, and its exit code must not depend on whether the report can be written.
        log::warn!(cause = cause.to_string(); "cannot write the report");
    }
}

fn recorded(
    started: SystemTime,
    elapsed: Duration,
    outcome: &Result<RunReport, CommandError>,
) -> history::Run {
    match outcome {
        Ok(report) => history::Run::of_report(started, report),
        Err(error) => history::Run::of_failure(started, elapsed, error.exit(), error_chain::text(error)),
    }
}

/// Returns the boot time, by the current clock.
fn booted() -> SystemTime {
    // A system call with whole seconds: valgrind cannot read the more precise clock, which uses the vDSO.
    let since_boot = Duration::from_secs(u64::try_from(rustix::system::sysinfo().uptime).unwrap_or_default());
    now().checked_sub(since_boot).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[expect(clippy::disallowed_methods, reason = "the edge: the run gets its time of day here")]
fn now() -> SystemTime {
    SystemTime::now().max(SystemTime::UNIX_EPOCH) // an earlier time is wrong and cannot be written
}
