//! `x-msrv dead` on the command line.

use std::{num::NonZeroUsize, path::PathBuf, time::SystemTime};

use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser};

use super::{NameOrFileArg, at_least_one, time};
use x_msrv_core::decode::Rejection;
use x_msrv_letters::filter::Filter;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters without their bodies, the newest last
    ///
    /// Those that were replayed are left out. Letters in a topic can be looked at only by taking them: they
    /// are given back at once, count one attempt more, and come in another order.
    #[command(after_help = "Examples:
  x-msrv dead list
  x-msrv dead list orders
  x-msrv dead list --reason schema --since 1d --json | jq -r .detail | sort | uniq -c")]
    List(DeadListArgs),
    /// Show one dead letter as it is kept, body included
    #[command(after_help = "Example:\n  x-msrv dead show 1a2b3c4d5e6f7a8b --body | jq .")]
    Show(DeadShowArgs),
    /// Publish dead letters to the configured queue again, each once
    ///
    /// Each letter that went is marked with the time in its file, or finished in its topic, so that a second
    /// replay does not send it again, unless --replayed or --all say so. Whoever is killed in between may
    /// send one batch, of at most 100, twice.
    ///
    /// Letters become new messages, with a new attempt, and one that is refused again becomes a new letter.
    /// Where a record's key is made of the message, as by default, they get new keys: a letter whose reason
    /// is too-many-attempts, whose write may have arrived after all, can become a second record.
    #[command(after_help = "Examples:
  x-msrv dead replay --reason schema --dry-run
  x-msrv dead replay --id 1a2b3c4d5e6f7a8b --all
  x-msrv dead replay /var/lib/x-msrv/dead-letter.ndjson.1")]
    Replay(DeadReplayArgs),
    /// Remove dead letters for good
    ///
    /// Give at least one filter (--reason, --since, ...). A file is replaced as a whole, while runs wait for
    /// some milliseconds.
    #[command(after_help = "Examples:
  x-msrv dead purge --replayed
  x-msrv dead purge --all --until 30d --dry-run")]
    Purge(DeadPurgeArgs),
}

impl DeadCommand {
    /// Which letters are meant, but for whether they were replayed.
    pub(crate) fn select(&self) -> SelectArgs {
        match self {
            Self::List(DeadListArgs { which, .. })
            | Self::Replay(DeadReplayArgs { which, .. })
            | Self::Purge(DeadPurgeArgs { which, .. }) => which.select.clone(),
            Self::Show(arguments) => arguments.select(),
        }
    }

    /// The word that may be the name of a configuration.
    pub(super) fn which_mut(&mut self) -> &mut NameOrFileArg {
        match self {
            Self::List(DeadListArgs { which, .. })
            | Self::Replay(DeadReplayArgs { which, .. })
            | Self::Purge(DeadPurgeArgs { which, .. }) => &mut which.select.which,
            Self::Show(arguments) => &mut arguments.which,
        }
    }
}

/// Which letters are meant, wherever they are.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectArgs {
    /// Those that were rejected for this reason; may be said several times
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(Rejection::REASONS), hide_possible_values = true)]
    reason: Vec<String>,
    /// Those that were rejected then or later: a time in UTC such as 2026-01-31T12:00:00Z, or how long ago,
    /// such as 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Those that were rejected before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
    /// Those of the message with this id, or with SOURCE/ID where messages of several sources have the same
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    pub(super) which: NameOrFileArg,
    /// Files of dead letters, in place of those of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl SelectArgs {
    /// The files that are named.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.which.file().into_iter().chain(&self.files).cloned().collect()
    }

    fn filter(&self, replayed: Option<bool>) -> Filter {
        Filter {
            reasons: self.reason.clone(),
            since: self.since,
            until: self.until,
            id: self.id.clone(),
            replayed,
            source: None,
        }
    }
}

/// The same, and whether they were replayed.
#[derive(Debug, Args)]
pub(crate) struct WhichArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// Those that were replayed, in place of those that were not
    #[arg(long, conflicts_with = "all")]
    replayed: bool,
    /// All of them, replayed or not
    #[arg(long)]
    all: bool,
}

impl WhichArgs {
    pub(crate) fn filter(&self) -> Filter {
        self.select.filter((!self.all).then_some(self.replayed))
    }
}

#[derive(Debug, Args)]
pub(crate) struct DeadListArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the newest of them, at most this many; without it 100 in the table, and all as JSON
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
pub(crate) struct DeadShowArgs {
    /// The message's id, as `list` shows it, or SOURCE/ID where messages of several sources have the same
    pub(crate) id: String,
    /// The body alone, byte by byte
    #[arg(long)]
    pub(crate) body: bool,
    #[command(flatten)]
    which: NameOrFileArg,
    /// Files of dead letters, in place of those of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DeadReplayArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["reason", "since", "until", "id", "replayed", "all"]))]
pub(crate) struct DeadPurgeArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl DeadShowArgs {
    pub(crate) fn select(&self) -> SelectArgs {
        SelectArgs {
            reason: Vec::new(),
            since: None,
            until: None,
            id: Some(self.id.clone()),
            which: self.which.clone(),
            files: self.files.clone(),
        }
    }
}
