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

/// The exit codes as help shows them: a heading, and below it one line for each, with two spaces between code
/// and meaning.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  everything that was received is settled
   2  the command line is wrong
  65  a message was refused by the queue (send), or would be rejected (try)
  66  a file given to a command cannot be used
  69  the queue or the store cannot be reached
  70  a bug
  74  standard output cannot be written
  75  some messages were given back because of an outage, or are not known to be settled
  78  the configuration is wrong, or the store is not set up for it
 130, 143  a second SIGINT or SIGTERM ended the run at once
 1, 2, 3  of status: warning, critical, unknown";

/// Drains at most N messages from a queue into a database, exactly and safely, and ends.
///
/// Without a command it does one run: it takes messages until N are taken, the queue is empty or time is up,
/// checks that each is a JSON object, stores it, and tells the queue what became of it. What cannot be stored
/// goes to the dead letter.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = EXIT_CODES, args_conflicts_with_subcommands = false, max_term_width = 100)]
#[command(after_long_help = format!("{EXIT_CODES}

Examples:
  x-msrv                                 one run by /etc/x-msrv/x-msrv.yml
  x-msrv -c orders.yml --report json     one run, its report as JSON on standard output
  x-msrv check --connect                 is everything set up?
  X_MSRV__NSQ__TOPIC=orders x-msrv       every key can be set by the environment"))]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The heading of what every command has.
const EVERYWHERE: &str = "Options of every command";

#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// The configuration: YAML, TOML or JSON, by its path, or by its name where it is in /etc/x-msrv
    /// [default: x-msrv]
    ///
    /// -c orders is /etc/x-msrv/orders.yml, .yaml, .toml or .json, unless there is a file orders here. A path
    /// without an extension, such as ./etc/orders, stands for the same four where there is no such file. -cfg
    /// PATH and -cfg=PATH mean the same.
    #[arg(short, long, value_name = "PATH", global = true, help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = EVERYWHERE)]
    quiet: bool,
    /// Log more: what a run asks and decides
    #[arg(short, long, global = true, help_heading = EVERYWHERE)]
    verbose: bool,
}

impl GlobalArgs {
    /// Flags by the keys that they stand for.
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
    /// Take no message after this long, for instance 2s
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Listen to an empty queue for this long before the end, for instance 1s
    #[arg(long, value_name = "DURATION")]
    idle_timeout: Option<String>,
    /// Look at what waits and say what a run would do; nothing is taken
    ///
    /// An embedded queue shows its messages; of NSQ no more is known than how many wait, for nsqd shows a
    /// message only to whoever takes it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show the run's report on standard output
    #[arg(long, value_name = "FORMAT")]
    pub(crate) report: Option<ReportFormat>,
}

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One JSON object on one line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One bounded run; what happens without a command
    ///
    /// Its options may stand in front of it as well; one that stands in both places counts as it stands
    /// behind.
    #[command(
        after_help = "Examples:\n  x-msrv run -c orders.yml --max-messages 1000 --timeout 5s\n  x-msrv run --dry-run"
    )]
    Run(RunArgs),
    /// Write a configuration, and check it: what no option says is asked for
    ///
    /// Without a name it is /etc/x-msrv/x-msrv.yml; with one, /etc/x-msrv/NAME.yml; with -c, that file. Every
    /// key stands in it with a comment. The configuration as the package brought it is replaced without
    /// --force, and not kept. Where standard input is no terminal nothing is asked, and what no option says
    /// has the value that would have been suggested.
    #[command(after_help = "Examples:
  x-msrv init
  x-msrv init orders --nsqd queue:4150 --topic orders --aerospike db:3000 --namespace prod
  x-msrv init -c try/x-msrv.yml --queue embedded --store sqlite")]
    Init(InitArgs),
    /// Publish lines to the configured queue, each as one message
    ///
    /// Empty lines are left out; the others need not be UTF-8. A line goes as soon as it is complete, so what
    /// is written slowly can be piped in. How many went is told on standard error.
    #[command(after_help = "Examples:
  x-msrv send orders orders.ndjson
  echo '{\"id\": 1}' | x-msrv send -c orders.yml --count 1000")]
    Send(SendArgs),
    /// Show what would become of sample messages
    ///
    /// Each line is a message, as for send. It is decoded, checked and shaped as a run would do it, with
    /// neither queue nor store: what is shown is the record with its key as gid, or the reason for which it
    /// would be rejected. What only the queue can tell, such as the id in a key that is made of it, is a name
    /// in angle brackets. The exit code is 0 if every line would be stored, and 65 if one would be rejected.
    /// A body that is compressed has line ends in it, and cannot be tried as a line.
    #[command(after_help = "Examples:
  x-msrv try orders samples.ndjson
  echo '{\"id\": 1}' | x-msrv try
  x-msrv try samples.ndjson --json | jq 'select(.reason)'")]
    Try(TryArgs),
    /// Show records of the configured store, as NDJSON
    ///
    /// One JSON object a line: the record's key as gid, and its fields.
    #[command(after_help = "Example:\n  x-msrv records orders --limit 5 | jq .id")]
    Records(RecordsArgs),
    /// Check the configuration and show the settings in force
    ///
    /// One setting a line, in the words of the configuration file, with everything that the file leaves to
    /// its default. No message is taken.
    #[command(after_help = "Examples:
  x-msrv check -c orders.yml
  x-msrv check orders
  x-msrv check --connect     asks queue, store and dead letter as well")]
    Check(CheckArgs),
    /// Say how a pipeline is: last and next run, backlog, what was rejected
    ///
    /// It asks the history of the runs, and systemd for the timer; neither queue nor store.
    ///
    /// The exit code is that of a monitoring plugin: 0 ok, 1 warning, 2 critical, 3 unknown, which is also
    /// that of every error. It is a warning when no run has succeeded for 3 periods, when the last run failed
    /// or did not reach a known server of the queue, when the timer is not active, when the backlog grows
    /// although runs take all that they may, and when no run has ever received a message from an NSQ topic.
    /// It is critical when no run has succeeded for 10 periods, or for twice the age of --warning if that is
    /// longer, and when a known server was not reached for 10 periods.
    ///
    /// A period is the time between two starts by the timer. No run is late before the timer has started it,
    /// and a pipeline without a timer is never late unless --warning or --critical say age=.
    #[command(after_help = "Examples:
  x-msrv status
  x-msrv status orders --json | jq .backlog
  x-msrv status orders --warning backlog=1000 --critical backlog=100000 --warning rejected=1%
  x-msrv status --forget queue-2:4150     that nsqd is gone for good")]
    Status(StatusArgs),
    /// Show past runs as a table, as JSON, or as a page for the browser
    ///
    /// A line of the table sums up the runs of a span of time, which is the longer the more there are; with
    /// it stands when the span begins. What waits is what the last of them left.
    #[command(after_help = "Examples:
  x-msrv history --since 1h
  x-msrv history orders
  x-msrv history --since 7d --html report.html
  x-msrv history --since 7d --json | jq -r 'select(.\"exit-code\" != 0) | [.started, .error] | @tsv'")]
    History(HistoryArgs),
    /// Say what an exit code, a stop reason or a reason of a dead letter means, and what to do
    ///
    /// No configuration is read; --config says which pipeline the commands in the text are to be for.
    #[command(
        after_help = "Examples:\n  x-msrv explain 75\n  x-msrv explain too-large -c orders\n  x-msrv explain"
    )]
    Explain(ExplainArgs),
    /// Work with dead letters: list, show, replay, purge
    ///
    /// They are those of the configuration, in the files and in the topic that it names, or in files that are
    /// named here.
    #[command(subcommand)]
    Dead(DeadCommand),
}

impl Command {
    /// The word that may be a name or a file.
    fn word(&mut self) -> Option<&mut NameOrFileArg> {
        match self {
            Self::Send(SendArgs { input, .. }) | Self::Try(TryArgs { input, .. }) => Some(&mut input.which),
            Self::Dead(command) => Some(command.which_mut()),
            _ => None,
        }
    }

    /// The configuration that is told by its name.
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
    /// The configuration that is told by its path or its name.
    pub(crate) fn configuration(&self) -> Option<PathBuf> {
        self.global.config.clone().or_else(|| self.command.as_ref()?.configuration())
    }

    /// The pipeline that the command is for.
    #[must_use]
    pub fn pipeline(&self) -> Pipeline {
        self.configuration().map_or_else(Pipeline::default_one, |path| Pipeline::of(&config::place(&path)))
    }
}

/// A word in front of files: the name of a configuration, or a file as well.
#[derive(Debug, Clone, Args)]
pub(crate) struct NameOrFileArg {
    /// The name of a configuration in /etc/x-msrv, such as orders for orders.yml, unless a file has this name
    #[arg(value_name = "NAME")]
    word: Option<PathBuf>,
    /// Whether it can only be a file, because it is told otherwise which configuration is meant.
    #[arg(skip)]
    is_file: bool,
}

impl NameOrFileArg {
    /// The configuration that is asked for. A word with a dot in it is rather a file that is not there,
    /// unless there is such a configuration.
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

    /// The word where it is a file.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.word.as_ref().filter(|_| self.configuration().is_none())
    }
}

/// The messages that a command is given, and the configuration that it goes by.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    #[command(flatten)]
    which: NameOrFileArg,
    /// A file with one message a line; - is standard input, which is the default
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
    /// One JSON object a line: line with key and record, or with reason and detail
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
    /// Also prove that queue, store and dead letter answer
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
    /// One JSON object on one line
    #[arg(long)]
    pub(crate) json: bool,
    /// Warn from here on: age=DURATION, backlog=MESSAGES, drain=DURATION or rejected=PERCENT%
    ///
    /// age: the last run that succeeded ended longer ago. backlog: more messages wait. drain: it takes longer
    /// until none waits. rejected: a greater part of what was received lately. Where the last run that
    /// reached the queue does not know how much waits, backlog and drain are unknown: exit code 3.
    #[arg(long, value_name = "MEASURE=LIMIT")]
    warning: Vec<Threshold>,
    /// The same for what is critical
    #[arg(long, value_name = "MEASURE=LIMIT")]
    critical: Vec<Threshold>,
    /// Forget a server of the queue that is gone for good, by its HOST:PORT
    ///
    /// A server that nsqlookupd listed once and lists no more is missed for 7 days. One that the
    /// configuration names is missed as long as it is named there.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) forget: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) which: NameArg,
    /// Show runs that began then or later: a time in UTC such as 2026-01-31T12:00:00Z, or how long ago, such
    /// as 7d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = past)]
    pub(crate) since: SystemTime,
    /// One JSON object a line for each run, with what became of its messages and why it failed
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page with charts into this file, in place of what is there; - is standard output
    ///
    /// It is one file that needs no other and no network, for a browser of any size. It tells how the
    /// pipeline is, as status does; messages, backlog and duration of the runs; why messages were rejected
    /// and runs failed; and the settings in force. There are no bodies and no secrets in it.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// An exit code, a stop reason, or a reason of a dead letter; without it, all of them are listed
    #[arg(value_parser = PossibleValuesParser::new(words()), hide_possible_values = true)]
    pub(crate) word: Option<String>,
}

/// A system's configuration by its name.
fn configuration(name: &str) -> PathBuf {
    Path::new(SYSTEM).join(format!("{name}.yml"))
}

impl NameArg {
    /// The configuration that is asked for.
    pub(crate) fn configuration(&self) -> Option<PathBuf> {
        self.name.as_deref().map(configuration)
    }
}

impl InputArgs {
    /// The file with the messages; - is standard input.
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
    /// Flags by the keys that they stand for.
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

    /// These flags, or those in front of the command where these say nothing.
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

/// Reads the command line; help and errors are shown here, and end the program with the code that is brought.
///
/// # Errors
/// There is nothing to be done any more.
pub fn parse(adapters: Adapters, arguments: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let arguments = self::arguments(arguments);
    read(adapters, &arguments).map_err(|error| {
        // Where standard error is closed there is nobody to tell.
        drop(error.print());
        match error.exit_code() {
            0 => Exit::Success,
            // For a monitoring plugin 2 is critical.
            _ if is_status(adapters, &arguments) => Exit::Unknown,
            _ => Exit::Usage,
        }
        .into()
    })
}

/// The command line with the options that adapters bring.
#[must_use]
pub fn command(adapters: Adapters) -> clap::Command {
    Cli::command().mut_subcommands(|command| match command.get_name() {
        "init" => init::command(command, adapters),
        _ => command,
    })
}

fn read(adapters: Adapters, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    // The options of `init` are made only where they can be asked for: a run starts thousands of times a day.
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
    // clap does not look at conflicts where one stands before the command and the other behind it.
    let contradiction = |text: &str| Err(command(adapters).error(ErrorKind::ArgumentConflict, text));
    if cli.global.quiet && cli.global.verbose {
        return contradiction("--quiet and --verbose contradict each other");
    }
    if !matches!(cli.command, None | Some(Command::Run(_))) && (cli.run.dry_run || cli.run.report.is_some()) {
        return contradiction(
            "--dry-run and --report in front of a command are those of run; another command's own stand behind it",
        );
    }
    if cli.global.config.is_some()
        && cli.command.as_ref().is_some_and(|command| command.configuration().is_some())
    {
        return contradiction("a configuration is told by its name or by --config, not by both");
    }
    if let Some(Command::Send(SendArgs { input, .. }) | Command::Try(TryArgs { input, .. })) = &cli.command
        && let (Some(word), Some(_)) = (input.which.file(), &input.file)
    {
        return contradiction(&format!("{} is a file, and one file at a time can be read", word.display()));
    }
    Ok(cli)
}

/// Whether a command line that cannot be read is one of `status`.
fn is_status(adapters: Adapters, arguments: &[OsString]) -> bool {
    let read = command(adapters).ignore_errors(true).try_get_matches_from(arguments);
    read.is_ok_and(|found| found.subcommand_name() == Some("status"))
}

/// The command line with the original's `-cfg PATH` and `-cfg=PATH` as `--config`.
fn arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    arguments
        .map(|argument| match argument.to_str() {
            Some("-cfg") => "--config".into(),
            Some(text) if text.starts_with("-cfg=") => text.replacen("-cfg=", "--config=", 1).into(),
            _ => argument,
        })
        .collect()
}

/// The name of a configuration.
fn name(text: &str) -> Result<String, &'static str> {
    let wanted = "a name is wanted, such as orders for /etc/x-msrv/orders.yml; a path goes with --config";
    config::is_name(text).then(|| text.to_owned()).ok_or(wanted)
}

/// A moment that is over.
fn past(text: &str) -> Result<SystemTime, String> {
    time(text).and_then(|time| {
        if time > Now::take().realtime { Err("that time has not come yet".to_owned()) } else { Ok(time) }
    })
}

/// A moment, or how long ago it was.
fn time(text: &str) -> Result<SystemTime, String> {
    const WANTED: &str =
        "a time in UTC is required, such as 2026-01-31 or 2026-01-31T12:00:00Z, or how long ago, such as 2h";
    let ago = || Now::take().realtime.checked_sub(duration::parse(text)?);
    let day = || humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    let time = humantime::parse_rfc3339_weak(text).ok().or_else(day).or_else(ago);
    time.ok_or_else(|| duration::calendar(text).unwrap_or_else(|| WANTED.to_owned()))
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "a whole number of at least 1 is wanted")
}

/// What the environment adds to a configuration.
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
        // systemd joins several directories by colons; the first is ours.
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
    fn what_contradicts_is_told_wherever_it_stands() {
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
    fn a_name_is_one_that_units_can_have() {
        for wrong in ["../x", "a/b", "a b", "x.yml", "x.json", ".hidden", "", "\u{e9}", "a\nb"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        for right in ["orders", "orders.v2", "a-b_c:1"] {
            assert_eq!(name(right).as_deref(), Ok(right));
        }
    }

    #[test]
    fn a_wrong_command_line_is_one_of_status_by_its_command() {
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
    fn run_is_what_happens_without_a_command_with_the_same_flags() {
        let before = parse(&["x-msrv", "--max-messages", "7"]).run.overrides();
        let Some(Command::Run(after)) = parse(&["x-msrv", "run", "--max-messages", "7"]).command else {
            panic!("a run")
        };
        assert_eq!(before, after.overrides());
        assert_eq!(before, [("--max-messages", "max-messages", "7".to_owned())]);
    }
}
