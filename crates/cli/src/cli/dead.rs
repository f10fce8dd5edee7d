//! `x-msrv dead` on the command line.

use std::{num::NonZeroUsize, path::PathBuf, time::SystemTime};

use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser};

use super::{
    names::NameOrFileArg,
    values::{at_least_one, time},
};
use x_msrv_core::decode::Rejection;
use x_msrv_letters::filter::Filter;

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters without their bodies, the newest last
    ///
    /// Replayed dead letters are not listed. Those in an NSQ topic can be read only by consuming them: they
    /// are requeued at once, which counts as an attempt and changes their order.
    #[command(after_help = "Examples:
  x-msrv dead list
  x-msrv dead list orders
  x-msrv dead list --reason schema --since 1d --json | jq -r .detail | sort | uniq -c")]
    List(DeadListArgs),
    /// Show one dead letter with its body
    #[command(after_help = "Example:\n  x-msrv dead show 1a2b3c4d5e6f7a8b --body | jq .")]
    Show(DeadShowArgs),
    /// Publish dead letters to the configured queue again, each once
    ///
    /// Each letter that was sent is marked with the time in its file, or acknowledged in its queue, so that a
    /// second replay does not send it again unless --replayed or --all is given. If a replay is killed, one
    /// batch of at most 100 may be sent twice.
    ///
    /// Letters become new messages with a new count of attempts; one that is rejected again becomes a new
    /// letter. If the key of a record is derived from the message, as by default, they get new keys: a letter
    /// with the reason too-many-attempts, whose write may have succeeded after all, can become a second
    /// record.
    #[command(after_help = "Examples:
  x-msrv dead replay --reason schema --dry-run
  x-msrv dead replay --id 1a2b3c4d5e6f7a8b --all
  x-msrv dead replay /var/lib/x-msrv/dead-letter.ndjson.1")]
    Replay(DeadReplayArgs),
    /// Remove dead letters permanently
    ///
    /// Give at least one filter (--reason, --since, ...). A file is replaced as a whole; meanwhile runs wait
    /// for a few milliseconds.
    #[command(after_help = "Examples:
  x-msrv dead purge --replayed
  x-msrv dead purge --all --until 30d --dry-run")]
    Purge(DeadPurgeArgs),
}

impl DeadCommand {
    /// Returns which letters are selected, regardless of whether they were replayed.
    pub(crate) fn select(&self) -> SelectArgs {
        match self {
            Self::List(DeadListArgs { which, .. })
            | Self::Replay(DeadReplayArgs { which, .. })
            | Self::Purge(DeadPurgeArgs { which, .. }) => which.select.clone(),
            Self::Show(arguments) => arguments.select(),
        }
    }

    /// Returns the argument that may be the name of a configuration.
    pub(super) fn which_mut(&mut self) -> &mut NameOrFileArg {
        match self {
            Self::List(DeadListArgs { which, .. })
            | Self::Replay(DeadReplayArgs { which, .. })
            | Self::Purge(DeadPurgeArgs { which, .. }) => &mut which.select.which,
            Self::Show(arguments) => &mut arguments.which,
        }
    }
}

/// Which letters are selected.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectArgs {
    /// Select letters with this reason; can be repeated
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(Rejection::REASONS), hide_possible_values = true)]
    reason: Vec<String>,
    /// Select letters rejected at or after this time: a time in UTC such as 2026-01-31T12:00:00Z, or an age
    /// such as 2h
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Select letters rejected before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
    /// Select the letters of the message with this id, or SOURCE/ID if messages of several sources have the
    /// same id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    pub(super) which: NameOrFileArg,
    /// Files of dead letters, instead of those of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl SelectArgs {
    /// Returns the files that are named.
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

/// Which letters are selected, including whether they were replayed.
#[derive(Debug, Args)]
pub(crate) struct WhichArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// Select replayed letters instead of the others
    #[arg(long, conflicts_with = "all")]
    replayed: bool,
    /// Select all letters, replayed or not
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
    /// Write one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Show at most this many, the newest [default: 100 in the table, all as JSON]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
pub(crate) struct DeadShowArgs {
    /// The id of the message as shown by `list`, or SOURCE/ID if messages of several sources have the same id
    pub(crate) id: String,
    /// Write only the body, unchanged
    #[arg(long)]
    pub(crate) body: bool,
    #[command(flatten)]
    which: NameOrFileArg,
    /// Files of dead letters, instead of those of the configuration
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DeadReplayArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// Show what would be sent, without sending it
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["reason", "since", "until", "id", "replayed", "all"]))]
pub(crate) struct DeadPurgeArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// Show what would be removed, without removing it
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
