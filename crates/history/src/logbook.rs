//! What a run leaves behind: its row in the history, and the metrics that follow from it. Nothing here fails
//! a run.

use std::time::SystemTime;

use log::warn;

use super::{AnyError, History, Run, Settings, metrics};
use x_msrv_core::{error_chain, servers::Servers};
use x_msrv_state::sqlite;

/// The history as a run writes it, and the metrics.
pub struct Logbook {
    settings: Option<Settings>,
    metrics: Option<metrics::Settings>,
    opened: Option<Result<History, AnyError>>,
}

impl Logbook {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(settings: Option<Settings>, metrics: Option<metrics::Settings>) -> Self {
        Self { settings, metrics, opened: None }
    }

    /// Opens the history, while queue and store are waited for anyway.
    pub fn open(&mut self) {
        if let (None, Some(settings)) = (&self.opened, &self.settings) {
            self.opened = Some(History::open(&settings.path));
        }
    }

    /// When the run began that was remembered last; `None` where none was, or where that cannot be read.
    pub fn previous(&mut self) -> Option<SystemTime> {
        self.open();
        self.opened.as_ref()?.as_ref().ok()?.last_started().ok()?
    }

    /// Remembers a run and the servers that it found, if it came so far, of a machine that was booted then.
    /// What goes wrong is a warning.
    pub fn enter(mut self, run: &Run, servers: Option<&Servers>, booted: SystemTime) {
        self.open();
        let (Some(settings), Some(opened)) = (&self.settings, self.opened) else { return };
        let path = settings.path.display().to_string();
        let remembered = opened.and_then(|history| {
            history.count_since(booted)?;
            history.append(run, servers, settings)?;
            Ok(history)
        });
        let history = match remembered {
            Ok(history) => history,
            Err(cause) => {
                let cause = sqlite::in_plain_words(&settings.path, cause);
                warn!(path = path, cause = error_chain::text(&*cause); "the run is not in the history");
                return;
            }
        };
        let Some(metrics) = &self.metrics else { return };
        let written = history.with_totals(|totals, servers| {
            metrics::write(&metrics.textfile, &metrics::text(metrics, totals, servers, run))
        });
        if let Err(cause) = written {
            warn!(path = metrics.textfile.display().to_string(), cause = error_chain::text(&*cause); "the metrics are not written");
        }
    }
}
