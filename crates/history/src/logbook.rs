//! Records a run: its row in the history, and the metrics. No error here fails a run.

use std::{fs::File, time::SystemTime};

use log::{debug, warn};

use super::{AnyError, History, Run, Settings, mark, metrics};
use x_msrv_core::{error_chain, servers::Servers};
use x_msrv_state::sqlite;

/// Writes the history and the metrics of a run.
pub struct Logbook {
    settings: Option<Settings>,
    metrics: Option<metrics::Settings>,
    opened: Option<Result<History, AnyError>>,
    /// Held until the run has its row.
    mark: Option<File>,
}

impl Logbook {
    /// Creates a logbook; nothing is opened yet.
    #[must_use]
    pub fn new(settings: Option<Settings>, metrics: Option<metrics::Settings>) -> Self {
        Self { settings, metrics, opened: None, mark: None }
    }

    /// Marks the start of a run, so that a run that is killed is known as well.
    pub fn begin(&mut self, started: SystemTime) {
        let set = self.settings.as_ref().map(|settings| mark::set(&settings.path, started));
        match set.transpose() {
            Ok(mark) => self.mark = mark,
            Err(cause) => debug!(cause = cause.to_string(); "the start of the run cannot be marked"),
        }
    }

    /// Opens the history, while the run waits for queue and store anyway.
    pub fn open(&mut self) {
        if let (None, Some(settings)) = (&self.opened, &self.settings) {
            self.opened = Some(History::open(&settings.path));
        }
    }

    /// Returns when the last recorded run started; `None` if there is none, or it cannot be read.
    pub fn previous(&mut self) -> Option<SystemTime> {
        self.open();
        self.opened.as_ref()?.as_ref().ok()?.last_started().ok()?
    }

    /// Records a run, and the servers that it found if it connected to the queue. The machine was booted at
    /// `booted`. Adds to the run's unreached servers those that only earlier runs have found, and logs a
    /// warning for each. An error is logged as a warning.
    pub fn enter(mut self, run: &mut Run, servers: Option<&Servers>, booted: SystemTime) {
        self.open();
        let (Some(settings), Some(opened)) = (&self.settings, self.opened) else { return };
        let path = settings.path.display().to_string();
        let recorded = opened.and_then(|history| {
            history.count_since(booted)?;
            let unreached = history.append(run, servers, settings)?;
            Ok((history, unreached))
        });
        let (history, unreached) = match recorded {
            Ok(recorded) => recorded,
            Err(cause) => {
                let cause = sqlite::in_plain_words(&settings.path, cause);
                warn!(path = path, cause = error_chain::text(&*cause); "the run is not in the history");
                return;
            }
        };
        for name in unreached.iter().filter(|name| !run.unreached.contains(name)) {
            warn!(server = name.as_str(); "a known server of the queue was not found; messages may be waiting there");
        }
        run.unreached = unreached;
        let Some(metrics) = &self.metrics else { return };
        let written = history.with_totals(|totals, servers| {
            metrics::write(&metrics.textfile, &metrics::text(metrics, totals, servers, run))
        });
        if let Err(cause) = written {
            warn!(path = metrics.textfile.display().to_string(), cause = error_chain::text(&*cause); "the metrics are not written");
        }
    }
}
