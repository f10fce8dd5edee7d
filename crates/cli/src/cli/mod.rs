//! The command line.

mod dead;
mod init;
mod names;
mod options;
mod parse;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use dead::{DeadCommand, DeadListArgs, DeadPurgeArgs, DeadReplayArgs, DeadShowArgs, SelectArgs};
pub(crate) use init::{InitArgs, QUEUE, Role, STORE, queues, stores};
pub(crate) use options::{CheckArgs, ExplainArgs, HistoryArgs, RecordsArgs, SendArgs, StatusArgs, TryArgs};
pub use parse::{command, environment, parse};

use crate::{
    config::{self, Flag},
    pipeline::Pipeline,
};
pub(crate) use names::NameArg;
use names::NameOrFileArg;
use x_msrv_core::NAME;

/// The exit codes as shown in help: a heading, then one line for each code, with two spaces between code and
/// meaning.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  everything that was received is settled
   2  the command line is wrong
  65  the queue refuses a message (send), or a message would be rejected (try)
  66  a file given to a command cannot be used
  69  the queue or the store cannot be reached
  70  a bug
  74  standard output cannot be written
  75  some messages were requeued because of an outage, or their settlement is unconfirmed
  78  the configuration is wrong, or the store is not set up for it
 130, 143  a second SIGINT or SIGTERM ended the run at once
 1, 2, 3  of status: warning, critical, unknown";

/// Drains at most N messages from a queue into a database, exactly and safely, and exits.
///
/// Without a command it does one run: it takes messages until N are taken, the queue is empty or time is up,
/// checks that each is a JSON object, stores it, and acknowledges it. A message that cannot be stored becomes
/// a dead letter.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = EXIT_CODES, args_conflicts_with_subcommands = false, max_term_width = 100)]
#[command(after_long_help = format!("{EXIT_CODES}

Examples:
  x-msrv                                 one run with /etc/x-msrv/x-msrv.yml
  x-msrv -c orders.yml --report json     one run with its report as JSON on standard output
  x-msrv check --connect                 check that everything is set up
  X_MSRV__NSQ__TOPIC=orders x-msrv       override a key with an environment variable"))]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The heading of the options that every command has.
const EVERYWHERE: &str = "Options of every command";

#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// The configuration (YAML, TOML or JSON): a path, or a name in /etc/x-msrv [default: x-msrv]
    ///
    /// -c orders is /etc/x-msrv/orders.yml, .yaml, .toml or .json, unless a file named orders exists in the
    /// current folder. A path without an extension, such as ./etc/orders, is tried with the same four
    /// extensions if no such file exists. -cfg PATH and -cfg=PATH mean the same.
    #[arg(short, long, value_name = "PATH", global = true, help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = EVERYWHERE)]
    quiet: bool,
    /// Also log each step
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    verbose: bool,
}

impl GlobalArgs {
    /// Returns the options that set keys of the configuration.
    pub(crate) fn overrides(&self) -> Option<Flag> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(("--quiet", "log.level", "error".to_owned())),
            (_, true) => Some(("--verbose", "log.level", "debug".to_owned())),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Take at most this many messages
    #[arg(long, value_name = "N")]
    max_messages: Option<String>,
    /// Take no message after this time, for example 2s
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Keep listening to an empty queue for this time, for example 1s
    #[arg(long, value_name = "DURATION")]
    idle_timeout: Option<String>,
    /// Show what a run would do with the waiting messages; nothing is taken
    ///
    /// An embedded queue shows its messages. NSQ shows only how many messages wait, because nsqd shows a
    /// message only to the consumer that takes it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write the run's report to standard output
    #[arg(long, value_name = "FORMAT")]
    pub(crate) report: Option<ReportFormat>,
}

impl RunArgs {
    /// Returns the options that set keys of the configuration.
    pub(crate) fn overrides(&self) -> Vec<Flag> {
        let flags = [
            ("--max-messages", "max-messages", &self.max_messages),
            ("--timeout", "timeout", &self.timeout),
            ("--idle-timeout", "idle-timeout", &self.idle_timeout),
        ];
        flags
            .into_iter()
            .filter_map(|(flag, key, value)| value.clone().map(|value| (flag, key, value)))
            .collect()
    }

    /// Merges these options with those before the command; these take precedence.
    pub(crate) fn or(self, before: Self) -> Self {
        Self {
            max_messages: self.max_messages.or(before.max_messages),
            timeout: self.timeout.or(before.timeout),
            idle_timeout: self.idle_timeout.or(before.idle_timeout),
            dry_run: self.dry_run || before.dry_run,
            report: self.report.or(before.report),
        }
    }
}

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One JSON object on one line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Do one bounded run; this is the default command
    ///
    /// Its options may also precede it. If an option is given in both places, the one after the command
    /// counts.
    #[command(after_help = "Examples:
  x-msrv run orders --max-messages 1000 --timeout 5s
  x-msrv run -c orders.yml
  x-msrv run --dry-run")]
    Run {
        #[command(flatten)]
        which: NameArg,
        #[command(flatten)]
        arguments: RunArgs,
    },
    /// Create and check a configuration, prompting for missing values
    ///
    /// It creates /etc/x-msrv/x-msrv.yml, with a name /etc/x-msrv/NAME.yml, or the file given with -c. The
    /// file contains every key with a comment. An unchanged configuration from the package is replaced
    /// without --force and without a backup. If standard input is not a terminal, missing values get their
    /// suggestions without a prompt.
    #[command(after_help = "Examples:
  x-msrv init
  x-msrv init orders --nsqd queue:4150 --topic orders --aerospike db:3000 --namespace prod
  x-msrv init -c try/x-msrv.yml --queue embedded --store sqlite")]
    Init(InitArgs),
    /// Publish each line as one message to the configured queue
    ///
    /// Empty lines are skipped; the others need not be UTF-8. A line is sent as soon as it is complete, so
    /// slow output can be piped in. The number of messages sent is reported on standard error.
    #[command(after_help = "Examples:
  x-msrv send orders orders.ndjson
  echo '{\"id\": 1}' | x-msrv send -c orders.yml --count 1000")]
    Send(SendArgs),
    /// Show how sample messages would be stored or rejected
    ///
    /// Each line is a message, as for send. It is decoded, checked and shaped as in a run, without connecting
    /// to the queue or the store. The output is the record with its key as gid, or the reason why it would be
    /// rejected. Values that only the queue knows, such as the id in a key, are shown as names in angle
    /// brackets. The exit code is 0 if every line would be stored, and 65 if one would be rejected.
    /// Compressed bodies contain line ends and cannot be tried.
    #[command(after_help = "Examples:
  x-msrv try orders samples.ndjson
  echo '{\"id\": 1}' | x-msrv try
  x-msrv try samples.ndjson --json | jq 'select(.reason)'")]
    Try(TryArgs),
    /// Show records of the configured store as NDJSON
    ///
    /// One JSON object per line: the record's key as gid, and its fields.
    #[command(after_help = "Example:\n  x-msrv records orders --limit 5 | jq .id")]
    Records(RecordsArgs),
    /// Check the configuration and show the settings in force
    ///
    /// One setting per line, as in the configuration file, including defaults. No message is taken.
    #[command(after_help = "Examples:
  x-msrv check -c orders.yml
  x-msrv check orders
  x-msrv check --connect     also check that queue, store and dead letter answer")]
    Check(CheckArgs),
    /// Show the state of a pipeline: last and next run, backlog, rejected messages
    ///
    /// It reads the history of the runs and queries systemd for the timer. It does not connect to the queue
    /// or the store.
    ///
    /// The exit code is that of a monitoring plugin: 0 ok, 1 warning, 2 critical, 3 unknown. Every error is 3
    /// as well. It is a warning if no run has succeeded for 3 periods, if the last run failed or did not
    /// reach a known server of the queue, if the timer is not active, if the backlog grows although runs take
    /// as many messages as they may, or if no run has ever received a message from an NSQ topic. It is
    /// critical if no run has succeeded for 10 periods, or for twice the age of --warning if that is longer,
    /// or if a known server was not reached for 10 periods.
    ///
    /// A period is the time between two starts by the timer. A run is not late before the timer has started
    /// it. A pipeline without a timer is never late unless --warning or --critical sets age=.
    #[command(after_help = "Examples:
  x-msrv status
  x-msrv status orders --json | jq .backlog
  x-msrv status orders --warning backlog=1000 --critical backlog=100000 --warning rejected=1%
  x-msrv status --forget queue-2:4150     this nsqd was removed permanently")]
    Status(StatusArgs),
    /// Show past runs as a table, as JSON, or as a web page
    ///
    /// A row of the table sums up the runs of a span of time and shows when the span begins. The spans are
    /// longer if there are more runs. The column waiting is what the last run of the span left in the queue.
    #[command(after_help = "Examples:
  x-msrv history --since 1h
  x-msrv history orders
  x-msrv history --since 7d --html report.html
  x-msrv history --since 7d --json | jq -r 'select(.\"exit-code\" != 0) | [.started, .error] | @tsv'")]
    History(HistoryArgs),
    /// Explain an exit code, a stop reason or the reason of a dead letter, and what to do
    ///
    /// No configuration is read; --config only selects the pipeline for the commands in the text.
    #[command(
        after_help = "Examples:\n  x-msrv explain 75\n  x-msrv explain too-large -c orders\n  x-msrv explain"
    )]
    Explain(ExplainArgs),
    /// Work with dead letters: list, show, replay, purge
    ///
    /// They are read from the files and the queue of the configuration, or from the files given here.
    #[command(subcommand)]
    Dead(DeadCommand),
}

impl Command {
    /// Returns the argument that may be a name or a file.
    fn word(&mut self) -> Option<&mut NameOrFileArg> {
        match self {
            Self::Send(SendArgs { input, .. }) | Self::Try(TryArgs { input, .. }) => Some(&mut input.which),
            Self::Dead(command) => Some(command.which_mut()),
            _ => None,
        }
    }

    /// Returns the configuration that is given by its name.
    fn configuration(&self) -> Option<PathBuf> {
        match self {
            Self::Run { which, .. }
            | Self::Init(InitArgs { which, .. })
            | Self::Records(RecordsArgs { which, .. })
            | Self::Check(CheckArgs { which, .. })
            | Self::Status(StatusArgs { which, .. })
            | Self::History(HistoryArgs { which, .. }) => which.configuration(),
            Self::Send(SendArgs { input, .. }) | Self::Try(TryArgs { input, .. }) => {
                input.which.configuration()
            }
            Self::Dead(command) => command.select().which.configuration(),
            Self::Explain(_) => None,
        }
    }
}

impl Cli {
    /// Returns the configuration that is given by its path or its name.
    pub(crate) fn configuration(&self) -> Option<PathBuf> {
        self.global.config.clone().or_else(|| self.command.as_ref()?.configuration())
    }

    /// Returns the pipeline that the command is for.
    #[must_use]
    pub fn pipeline(&self) -> Pipeline {
        self.configuration().map_or_else(Pipeline::default_one, |path| Pipeline::of(&config::place(&path)))
    }
}
