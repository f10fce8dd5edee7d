//! The options of the commands.

use std::{num::NonZeroUsize, path::PathBuf, time::SystemTime};

use clap::{Args, builder::PossibleValuesParser};

use super::{
    names::{InputArgs, NameArg},
    values::{at_least_one, past},
};
use crate::commands::explain::words;
use x_msrv_history::status::{Level, Threshold};

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Send all lines this many times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// Write one JSON object per line: line with key and record, or with reason and detail
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecordsArgs {
    #[command(flatten)]
    pub(crate) which: NameArg,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one)]
    pub(crate) limit: NonZeroUsize,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) which: NameArg,
    /// Also test queue, store and dead letter, and show what was proven
    #[arg(long)]
    pub(crate) connect: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) which: NameArg,
    /// Write one JSON object on one line
    #[arg(long)]
    pub(crate) json: bool,
    /// Warn if a limit is exceeded: age=DURATION, backlog=MESSAGES, drain=DURATION or rejected=PERCENT%
    ///
    /// age: the time since the last successful run. backlog: the number of waiting messages. drain: the
    /// estimated time until none waits. rejected: the share of recently received messages that were rejected.
    /// If the last run that reached the queue could not determine its depth, backlog and drain are unknown:
    /// exit code 3.
    #[arg(long, value_name = "MEASURE=LIMIT")]
    warning: Vec<Threshold>,
    /// The same for the critical level
    #[arg(long, value_name = "MEASURE=LIMIT")]
    critical: Vec<Threshold>,
    /// Forget a server of the queue that was removed permanently, by its HOST:PORT
    ///
    /// A server that nsqlookupd no longer lists is reported as missing for 7 days. A server that the
    /// configuration names is reported as long as it is named there.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) forget: Option<String>,
}

impl StatusArgs {
    pub(crate) fn thresholds(&self) -> Vec<(Level, Threshold)> {
        let warning = self.warning.iter().map(|threshold| (Level::Warning, *threshold));
        warning.chain(self.critical.iter().map(|threshold| (Level::Critical, *threshold))).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) which: NameArg,
    /// Show runs that began at or after this time: a time in UTC such as 2026-01-31T12:00:00Z, or an age such
    /// as 7d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = past)]
    pub(crate) since: SystemTime,
    /// Write one JSON object per line for each run, with the outcomes of its messages and why it failed
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page with charts to this file, replacing its content; - is standard output
    ///
    /// The page is one self-contained file for a browser of any size. It shows the state of the pipeline as
    /// status does, the messages, backlog and duration of the runs, why messages were rejected and runs
    /// failed, and the settings in force. It contains no bodies and no secrets.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// An exit code, a stop reason, or the reason of a dead letter; if omitted, all are listed
    #[arg(value_parser = PossibleValuesParser::new(words()), hide_possible_values = true)]
    pub(crate) word: Option<String>,
}
