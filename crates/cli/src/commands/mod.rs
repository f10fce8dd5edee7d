//! What each command does, and how an error becomes an exit code.

mod check;
pub mod dead;
mod dry_run;
pub(crate) mod explain;
mod history;
mod init;
mod progress;
mod publish;
mod records;
mod run;
mod send;
mod status;
mod try_out;

use std::{error::Error, io, path::Path, process::ExitCode};

use crate::{
    cli::{Cli, Command},
    config::{self, ConfigError, Flag, Overrides, Settings},
    logging::{self, say},
    pipeline::Pipeline,
};
use x_msrv_config::UnusableSchema;
use x_msrv_core::{
    adapter::Adapters,
    dead_letter::DeadLetterError,
    error_chain,
    exit::Exit,
    fault::{Blame, Fault},
    source::SourceError,
    store::{Store, StoreError},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The schema that it names cannot be used.
    #[error(transparent)]
    Schema(#[from] UnusableSchema),
    /// The queue can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The queue did not take what was to be published.
    #[error(transparent)]
    Publish(#[from] Fault),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Dead letters can't be kept.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    /// A file that the command was given can't be used.
    #[error("cannot {attempt} {name}")]
    File {
        /// Which file.
        name: String,
        /// What was attempted, as it stands in front of the name.
        attempt: &'static str,
        /// What happened.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A configuration that would be written is there.
    #[error("{name} is there already; --force replaces it, and keeps it with .old behind its name")]
    Exists {
        /// Which file.
        name: String,
    },
    /// What cannot be guessed was neither said nor could it be asked.
    #[error("{flag} is required")]
    Missing {
        /// By which flag it is said.
        flag: String,
    },
    /// No letter has this id.
    #[error("no dead letter has the id {id}")]
    NoLetter {
        /// Which id.
        id: String,
    },
    /// Letters of several messages have this id.
    #[error("id {id} is ambiguous; use SOURCE/ID: {which}")]
    SeveralLetters {
        /// Which id.
        id: String,
        /// Those messages.
        which: String,
    },
    /// One message has several letters, with different bodies.
    #[error("there are {count} letters of {id} with different bodies; without --body they are shown whole")]
    SeveralBodies {
        /// Whose.
        id: String,
        /// How many.
        count: usize,
    },
    /// Lines that were tried would not be stored.
    #[error("{rejected} of {total} lines would be rejected")]
    Rejected {
        /// How many.
        rejected: u64,
        /// Of how many.
        total: u64,
    },
    /// The queue has not said that letters are gone from it.
    #[error("the queue has not confirmed that {count} of them are gone from it: they may come again")]
    Unconfirmed {
        /// How many.
        count: u64,
    },
    /// There is no history, because none is wanted.
    #[error("{file}: `history` is false, so no run is remembered")]
    NoHistory {
        /// Which configuration.
        file: String,
    },
    /// No run knows this server.
    #[error("no server {name} is known to the history")]
    NoServer {
        /// Which one.
        name: String,
    },
    /// How the pipeline is can't be said.
    #[error(transparent)]
    Unknown(Box<CommandError>),
    /// Something stopped half way.
    #[error("{done}")]
    Partly {
        /// What was done until then, and where it stopped.
        done: String,
        /// What happened.
        #[source]
        cause: Box<CommandError>,
    },
    /// Another process is at it.
    #[error("another replay or purge is under way in the folder of {name}")]
    Busy {
        /// Which file.
        name: String,
    },
    /// The store cannot be read back.
    #[error("records cannot be read back from this store")]
    NotReadable,
    /// Standard output can't be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The runtime or the signals: the system refuses what every program needs.
    #[error("{attempt}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// What happened.
        #[source]
        cause: io::Error,
    },
}

/// Disconnects from a store. Everything that it has answered for is safe already.
async fn close(store: Box<dyn Store>) {
    if let Err(error) = store.close().await {
        log::debug!(cause = error_chain::text(&error); "the store was not closed in order");
    }
}

/// What writing to standard output came to. A reader who has seen enough, as `head` does, is no error.
fn written(result: io::Result<()>) -> Result<(), CommandError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CommandError::Output),
    }
}

impl CommandError {
    /// Its lines: every fault of a configuration is one.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unknown(cause) => cause.lines(),
            Self::Config(ConfigError::Faults(faults)) => faults.iter().map(ToString::to_string).collect(),
            other => vec![error_chain::text(other)],
        }
    }

    /// The exit code that this error deserves.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(error) if error.is_usage() => Exit::Usage,
            Self::Missing { .. } | Self::SeveralLetters { .. } | Self::SeveralBodies { .. } => Exit::Usage,
            Self::Config(_)
            | Self::NotReadable
            | Self::Publish(Fault { blame: Blame::Setup, .. })
            | Self::NoHistory { .. }
            | Self::Schema(_)
            | Self::Source(SourceError::Refused { .. } | SourceError::Setup { .. })
            | Self::Store(StoreError::Setup { .. })
            | Self::DeadLetter(DeadLetterError { is_setup: true, .. }) => Exit::Configuration,
            Self::Publish(Fault { blame: Blame::Record, .. }) | Self::Rejected { .. } => Exit::DataError,
            Self::Source(SourceError::Unreachable { .. })
            | Self::Publish(_)
            | Self::Store(StoreError::Unreachable { .. })
            | Self::DeadLetter(_) => Exit::Unavailable,
            Self::Unknown(_) => Exit::Unknown,
            Self::File { .. } | Self::NoLetter { .. } | Self::NoServer { .. } | Self::Exists { .. } => {
                Exit::NoInput
            }
            Self::Store(StoreError::Outage { .. }) | Self::Busy { .. } | Self::Unconfirmed { .. } => {
                Exit::TemporaryFailure
            }
            Self::Partly { cause, .. } => cause.exit(),
            Self::Output(_) => Exit::OutputFailed,
            Self::System { .. } => Exit::Software,
        }
    }
}

impl CommandError {
    /// What to do next with this pipeline, for somebody who sits in front of a terminal.
    #[must_use]
    pub fn hint(&self, pipeline: &Pipeline) -> Option<String> {
        let command = |words: &str, does: &str| Some(format!("{} {does}", pipeline.command(words)));
        let hint = match self {
            Self::Unknown(cause) | Self::Partly { cause, .. } => return cause.hint(pipeline),
            _ if self.is_about_rights() => {
                "the service's files are for root and the group x-msrv: sudo x-msrv …, or as the service itself, sudo -u x-msrv x-msrv …"
            }
            Self::Config(ConfigError::Missing(_)) => "x-msrv init writes a configuration; -c PATH names one",
            Self::Config(_) => {
                return command(
                    "check",
                    "tries the configuration and takes no message; man x-msrv.yml has every key",
                );
            }
            Self::Source(_) | Self::Store(_) | Self::DeadLetter(_) => {
                return command(
                    "check --connect",
                    "asks queue, store and dead letter, and shows the settings in force",
                );
            }
            Self::Busy { .. } => "it goes on when the other one has ended",
            Self::NoLetter { .. } => return command("dead list --all", "shows the ids"),
            Self::NoHistory { .. } => "without that line each run is remembered from now on",
            Self::Missing { .. } => "on a terminal it is asked for",
            Self::Rejected { .. } => "x-msrv explain REASON says what to do about a reason",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn is_about_rights(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
            {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Does what the command line says.
///
/// # Errors
/// See [`CommandError`].
pub fn execute(adapters: Adapters, cli: Cli) -> Result<ExitCode, CommandError> {
    let (path, pipeline) = (cli.configuration(), cli.pipeline());
    let Cli { global, run: before, command } = cli;
    let (flags, command) = match command {
        None => (before.overrides(), Command::Run(before)),
        Some(Command::Run(arguments)) => {
            let arguments = arguments.or(before);
            (arguments.overrides(), Command::Run(arguments))
        }
        Some(other) => (before.overrides(), other),
    };
    // Its own output shows them.
    let shows_warnings = matches!(command, Command::Status(_));
    let load = || {
        let settings =
            load(adapters, path.as_deref(), flags.into_iter().chain(global.overrides()).collect())?;
        if !shows_warnings {
            settings.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        }
        Ok::<_, CommandError>(settings)
    };
    let done = |()| Exit::Success;
    let exit = match command {
        Command::Run(arguments) if arguments.dry_run => {
            wait(dry_run::dry_run(&load()?, arguments.report))?.map(done)
        }
        Command::Run(arguments) => wait(run::run(&load()?, arguments.report))?,
        Command::Init(arguments) => {
            let path = global.config.as_deref().map_or_else(|| arguments.configuration(), config::place);
            let settings = init::init(adapters, &path, &arguments)?;
            logging::start(settings.log);
            check::of_service(&settings);
            wait(check::connect(&settings))??;
            init::say_what_is_next(&path);
            Ok(Exit::Success)
        }
        Command::Send(arguments) => wait(send::send(&load()?, &arguments))?.map(done),
        Command::Try(arguments) => try_out::try_out(&load()?, &arguments).map(done),
        Command::Records(arguments) => wait(records::records(&load()?, &arguments))?.map(done),
        Command::Check(arguments) => wait(check::check(&load()?, &arguments))?.map(done),
        Command::Status(arguments) => {
            let level = load().and_then(|settings| status::status(&settings, &arguments));
            return level.map(ExitCode::from).map_err(|error| CommandError::Unknown(Box::new(error)));
        }
        Command::History(arguments) => history::history(&load()?, &arguments).map(done),
        Command::Explain(arguments) => explain::explain(&arguments, &pipeline).map(done),
        Command::Dead(command) => wait(dead::dead(&load()?, &command))?.map(done),
    };
    exit.map(ExitCode::from)
}

fn load(adapters: Adapters, path: Option<&Path>, flags: Vec<Flag>) -> Result<Settings, CommandError> {
    let overrides = Overrides { flags, ..crate::cli::environment() };
    let mut settings = config::load(adapters, path, &overrides)?;
    // A larger run by hand is no reason for alerts to expect as much of the timer's.
    if let Some(metrics) = &mut settings.metrics
        && overrides.flags.iter().any(|(_, key, _)| *key == "max-messages")
        && let Ok(configured) =
            config::load(adapters, path, &Overrides { flags: Vec::new(), ..overrides.clone() })
    {
        metrics.max_messages = configured.limits.max_messages;
    }
    logging::start(settings.log);
    for name in config::service_links(&overrides) {
        log::debug!(variable = name; "an environment variable of Kubernetes is ignored");
    }
    Ok(settings)
}

/// Waits for what needs sockets and timers. Brings what it came to, or why it could not begin.
fn wait<T>(command: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| CommandError::System { attempt: "cannot start the runtime", cause })?;
    let output = runtime.block_on(command);
    // What is left are tasks of the Aerospike client and look-ups of names, which may hang on a server that
    // does.
    runtime.shutdown_background();
    Ok(output)
}
