//! The command line.

mod dead;
mod init;

use std::{
    ffi::OsString,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::PossibleValuesParser, error::ErrorKind,
};

pub(crate) use dead::{DeadCommand, DeadListArgs, DeadPurgeArgs, DeadReplayArgs, DeadShowArgs, SelectArgs};
pub(crate) use init::{InitArgs, QUEUE, Role, STORE, queues, stores};

use crate::{
    commands::explain::words,
    config::{self, Flag, Overrides, SYSTEM},
    pipeline::Pipeline,
    timer::Now,
};
use x_msrv_core::{NAME, adapter::Adapters, exit::Exit};
use x_msrv_history::status::{Level, Threshold};
use x_msrv_settings::duration;

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
    #[command(
        after_help = "Examples:\n  x-msrv run -c orders.yml --max-messages 1000 --timeout 5s\n  x-msrv run --dry-run"
    )]
    Run(RunArgs),
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
            Self::Init(InitArgs { which, .. })
            | Self::Records(RecordsArgs { which, .. })
            | Self::Check(CheckArgs { which, .. })
            | Self::Status(StatusArgs { which, .. })
            | Self::History(HistoryArgs { which, .. }) => which.configuration(),
            Self::Send(SendArgs { input, .. }) | Self::Try(TryArgs { input, .. }) => {
                input.which.configuration()
            }
            Self::Dead(command) => command.select().which.configuration(),
            Self::Run(_) | Self::Explain(_) => None,
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

/// The first argument before files: the name of a configuration, or a file.
#[derive(Debug, Clone, Args)]
pub(crate) struct NameOrFileArg {
    /// The name of a configuration in /etc/x-msrv, such as orders for orders.yml, unless a file with this
    /// name exists
    #[arg(value_name = "NAME")]
    word: Option<PathBuf>,
    /// Whether it can only be a file, because the configuration is given by an option.
    #[arg(skip)]
    is_file: bool,
}

impl NameOrFileArg {
    /// Returns the configuration with this name. A name with a dot counts as a missing file, unless such a
    /// configuration exists.
    fn configuration(&self) -> Option<PathBuf> {
        let name = self
            .word
            .as_deref()
            .filter(|word| !self.is_file && word.symlink_metadata().is_err())?
            .to_str()?;
        let has_dot = name.contains('.');
        let is_there = || {
            config::FORMATS.iter().any(|format| Path::new(SYSTEM).join(format!("{name}.{format}")).exists())
        };
        (name != "-" && config::is_name(name) && (!has_dot || is_there())).then(|| configuration(name))
    }

    /// Returns the argument if it is a file.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.word.as_ref().filter(|_| self.configuration().is_none())
    }
}

/// The input of a command and its configuration.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    #[command(flatten)]
    which: NameOrFileArg,
    /// A file with one message per line; - is standard input, the default
    file: Option<PathBuf>,
}

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
    /// Also check that queue, store and dead letter answer
    #[arg(long)]
    pub(crate) connect: bool,
}

/// A configuration by its name.
#[derive(Debug, Args)]
pub(crate) struct NameArg {
    /// The name of a configuration in /etc/x-msrv, such as orders for orders.yml
    #[arg(value_name = "NAME", conflicts_with = "config", value_parser = name)]
    name: Option<String>,
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

/// Returns the path of a system configuration.
fn configuration(name: &str) -> PathBuf {
    Path::new(SYSTEM).join(format!("{name}.yml"))
}

impl NameArg {
    /// Returns the path of the configuration.
    pub(crate) fn configuration(&self) -> Option<PathBuf> {
        self.name.as_deref().map(configuration)
    }
}

impl InputArgs {
    /// Returns the file with the messages; - is standard input.
    pub(crate) fn file(&self) -> &Path {
        self.which.file().or(self.file.as_ref()).map_or(Path::new("-"), PathBuf::as_path)
    }
}

impl StatusArgs {
    pub(crate) fn thresholds(&self) -> Vec<(Level, Threshold)> {
        let warning = self.warning.iter().map(|threshold| (Level::Warning, *threshold));
        warning.chain(self.critical.iter().map(|threshold| (Level::Critical, *threshold))).collect()
    }
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

/// Parses the command line. Prints help and errors, and returns the exit code for them.
///
/// # Errors
/// The program must exit with this code.
pub fn parse(adapters: Adapters, arguments: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let arguments = self::arguments(arguments);
    read(adapters, &arguments).map_err(|error| {
        // If standard error is closed, the text is lost.
        drop(error.print());
        match error.exit_code() {
            0 => Exit::Success,
            // For a monitoring plugin, 2 means critical.
            _ if is_status(adapters, &arguments) => Exit::Unknown,
            _ => Exit::Usage,
        }
        .into()
    })
}

/// Returns the command line with the options of the adapters.
#[must_use]
pub fn command(adapters: Adapters) -> clap::Command {
    Cli::command().mut_subcommands(|command| match command.get_name() {
        "init" => init::command(command, adapters),
        _ => command,
    })
}

fn read(adapters: Adapters, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    // The options of `init` are built only if it may be the command: a run starts thousands of times a day.
    let may_be_init = arguments.iter().any(|argument| argument == "init");
    let program = if may_be_init { command(adapters) } else { Cli::command() };
    let matches = program.try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Some(Command::Init(init)), Some(matches)) = (&mut cli.command, matches.subcommand_matches("init"))
    {
        init.take(adapters, matches);
    }
    if let (Some(_), Some(word)) = (&cli.global.config, cli.command.as_mut().and_then(Command::word)) {
        word.is_file = true;
    }
    // clap does not detect conflicts between options before and after the command.
    let contradiction = |text: &str| Err(command(adapters).error(ErrorKind::ArgumentConflict, text));
    if cli.global.quiet && cli.global.verbose {
        return contradiction("--quiet and --verbose cannot be used together");
    }
    if !matches!(cli.command, None | Some(Command::Run(_))) && (cli.run.dry_run || cli.run.report.is_some()) {
        return contradiction(
            "--dry-run and --report before a command are options of run; put the options of another command after it",
        );
    }
    if cli.global.config.is_some()
        && cli.command.as_ref().is_some_and(|command| command.configuration().is_some())
    {
        return contradiction("give the configuration by its name or by --config, not both");
    }
    if let Some(Command::Send(SendArgs { input, .. }) | Command::Try(TryArgs { input, .. })) = &cli.command
        && let (Some(word), Some(_)) = (input.which.file(), &input.file)
    {
        return contradiction(&format!("{} is a file; only one file can be read", word.display()));
    }
    Ok(cli)
}

/// Returns whether an invalid command line is one of `status`.
fn is_status(adapters: Adapters, arguments: &[OsString]) -> bool {
    let read = command(adapters).ignore_errors(true).try_get_matches_from(arguments);
    read.is_ok_and(|found| found.subcommand_name() == Some("status"))
}

/// Replaces the original's `-cfg PATH` and `-cfg=PATH` by `--config`.
fn arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    arguments
        .map(|argument| match argument.to_str() {
            Some("-cfg") => "--config".into(),
            Some(text) if text.starts_with("-cfg=") => text.replacen("-cfg=", "--config=", 1).into(),
            _ => argument,
        })
        .collect()
}

/// Parses the name of a configuration.
fn name(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str =
        "expected a name such as orders for /etc/x-msrv/orders.yml; use --config for a path";
    config::is_name(text).then(|| text.to_owned()).ok_or(EXPECTED)
}

/// Parses a time in the past.
fn past(text: &str) -> Result<SystemTime, String> {
    time(text).and_then(|time| {
        if time > Now::take().realtime { Err("the time is in the future".to_owned()) } else { Ok(time) }
    })
}

/// Parses a time or an age.
fn time(text: &str) -> Result<SystemTime, String> {
    const EXPECTED: &str =
        "expected a time in UTC such as 2026-01-31 or 2026-01-31T12:00:00Z, or an age such as 2h";
    let ago = || Now::take().realtime.checked_sub(duration::parse(text)?);
    let day = || humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    let time = humantime::parse_rfc3339_weak(text).ok().or_else(day).or_else(ago);
    time.ok_or_else(|| duration::calendar(text).unwrap_or_else(|| EXPECTED.to_owned()))
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "expected a whole number of at least 1")
}

/// Returns what the environment adds to a configuration.
#[must_use]
pub fn environment() -> Overrides {
    let (mut environment, mut not_text) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let shown = name.to_string_lossy().into_owned();
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => environment.push((name, value)),
            _ => not_text.push(shown),
        }
    }
    Overrides {
        environment,
        not_text,
        flags: Vec::new(),
        // systemd separates several directories by colons; the first is x-msrv's.
        state_directory: std::env::var_os("STATE_DIRECTORY")
            .and_then(|list| std::env::split_paths(&list).next())
            .filter(|path| path.is_absolute()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Adapters = Adapters { list: &[], codec: x_msrv_json::codec };

    fn parse(words: &[&str]) -> Cli {
        Cli::try_parse_from(arguments(words.iter().map(OsString::from))).expect("a command line")
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_original_s_single_dash_works_in_both_forms() {
        for words in [
            &["x-msrv", "-cfg", "a.yml"][..],
            &["x-msrv", "-cfg=a.yml"],
            &["x-msrv", "-c", "a.yml"],
            &["x-msrv", "run", "--config=a.yml"],
        ] {
            assert_eq!(parse(words).global.config, Some("a.yml".into()), "{words:?}");
        }
    }

    #[test]
    fn options_that_conflict_are_refused_before_and_after_the_command() {
        let read = |line: &str| read(NONE, &line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "x-msrv -q -v run",
            "x-msrv -q run -v",
            "x-msrv run -v -q",
            "x-msrv -c a.yml status orders",
            "x-msrv history orders -c a.yml",
            "x-msrv -c a.yml init orders",
            "x-msrv --dry-run dead purge --all",
            "x-msrv --dry-run send",
            "x-msrv --report json dead list",
        ] {
            assert_eq!(read(line).expect_err("two").kind(), ErrorKind::ArgumentConflict, "{line}");
        }
        for line in [
            "x-msrv -q run",
            "x-msrv -c a.yml status",
            "x-msrv init orders",
            "x-msrv --dry-run run",
            "x-msrv --report json",
        ] {
            assert!(read(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_name_must_be_valid_in_the_names_of_units() {
        for wrong in ["../x", "a/b", "a b", "x.yml", "x.json", ".hidden", "", "\u{e9}", "a\nb"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        for right in ["orders", "orders.v2", "a-b_c:1"] {
            assert_eq!(name(right).as_deref(), Ok(right));
        }
    }

    #[test]
    fn an_invalid_command_line_is_one_of_status_if_status_is_the_command() {
        let is_status =
            |line: &str| is_status(NONE, &line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in [
            "x-msrv status --bogus",
            "x-msrv -c a.yml status --warning backlog",
            "x-msrv status a b c",
            "x-msrv -q status -v",
        ] {
            assert!(is_status(line), "{line}");
        }
        for line in [
            "x-msrv explain status",
            "x-msrv -c status run --bogus",
            "x-msrv dead show --bogus status",
            "x-msrv --status",
        ] {
            assert!(!is_status(line), "{line}");
        }
    }

    #[test]
    fn run_is_the_default_command_and_has_the_same_options() {
        let before = parse(&["x-msrv", "--max-messages", "7"]).run.overrides();
        let Some(Command::Run(after)) = parse(&["x-msrv", "run", "--max-messages", "7"]).command else {
            panic!("a run")
        };
        assert_eq!(before, after.overrides());
        assert_eq!(before, [("--max-messages", "max-messages", "7".to_owned())]);
    }
}
