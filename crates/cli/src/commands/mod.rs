//! The commands, and the mapping from errors to exit codes.

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
    cli::{Cli, Command, NameArg},
    config::{self, ConfigError, Flag, Overrides, Settings},
    logging::{self, say},
    pipeline::Pipeline,
    sandbox::Unwritable,
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
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configured schema cannot be used.
    #[error(transparent)]
    Schema(#[from] UnusableSchema),
    /// The queue cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The queue did not accept a published message.
    #[error(transparent)]
    Publish(#[from] Fault),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Dead letters cannot be kept.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    /// A file given to the command cannot be used.
    #[error("cannot {attempt} {name}")]
    File {
        /// The file.
        name: String,
        /// What was attempted, as a verb before the name.
        attempt: &'static str,
        /// The cause.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The configuration to be created already exists.
    #[error("{name} already exists; --force overwrites it (a backup is kept as NAME.old)")]
    Exists {
        /// The file.
        name: String,
    },
    /// A value without a default was neither given nor entered.
    #[error("{flag} is required")]
    Missing {
        /// The option that sets it.
        flag: String,
    },
    /// No dead letter has this id.
    #[error("no dead letter has the id {id}")]
    NoLetter {
        /// The id.
        id: String,
    },
    /// Dead letters of several messages have this id.
    #[error("id {id} is ambiguous; use SOURCE/ID: {which}")]
    SeveralLetters {
        /// The id.
        id: String,
        /// The messages.
        which: String,
    },
    /// One message has several dead letters with different bodies.
    #[error("{id} has {count} dead letters with different bodies; omit --body to show them")]
    SeveralBodies {
        /// The id of the message.
        id: String,
        /// How many.
        count: usize,
    },
    /// Some of the tried lines would be rejected.
    #[error("{rejected} of {total} lines would be rejected")]
    Rejected {
        /// How many.
        rejected: u64,
        /// The number of lines.
        total: u64,
    },
    /// The queue has not confirmed that dead letters were removed.
    #[error("the queue has not confirmed the removal of {count} of them; they may be delivered again")]
    Unconfirmed {
        /// How many.
        count: u64,
    },
    /// The service cannot write what the user of this command can.
    #[error("{0}")]
    Unwritable(Unwritable),
    /// The configuration disables the history.
    #[error("{file}: `history` is `false`: runs are not recorded")]
    NoHistory {
        /// The configuration.
        file: String,
    },
    /// The history does not contain this server.
    #[error("the history contains no server {name}")]
    NoServer {
        /// The server.
        name: String,
    },
    /// The state of the pipeline is unknown.
    #[error(transparent)]
    Unknown(Box<CommandError>),
    /// The command failed halfway.
    #[error("{done}")]
    Partly {
        /// What was done, and where it failed.
        done: String,
        /// The cause.
        #[source]
        cause: Box<CommandError>,
    },
    /// Another process is doing the same.
    #[error("another replay or purge is running in the folder of {name}")]
    Busy {
        /// The file.
        name: String,
    },
    /// The store cannot be read back.
    #[error("records cannot be read back from this store")]
    NotReadable,
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The system refuses the runtime or the signal handlers.
    #[error("{attempt}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// The cause.
        #[source]
        cause: io::Error,
    },
}

/// Disconnects from a store. Every record that it has acknowledged is already safe.
async fn close(store: Box<dyn Store>) {
    if let Err(error) = store.close().await {
        log::debug!(cause = error_chain::text(&error); "cannot close the connection to the store");
    }
}

/// Maps the result of writing to standard output. A reader that stops early, such as `head`, is not an error.
fn written(result: io::Result<()>) -> Result<(), CommandError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CommandError::Output),
    }
}

impl CommandError {
    /// Returns its lines: one for each fault of a configuration.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unknown(cause) => cause.lines(),
            Self::Config(ConfigError::Faults(faults)) => faults.iter().map(ToString::to_string).collect(),
            other => vec![error_chain::text(other)],
        }
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(error) if error.is_usage() => Exit::Usage,
            Self::Missing { .. } | Self::SeveralLetters { .. } | Self::SeveralBodies { .. } => Exit::Usage,
            Self::Config(_)
            | Self::NotReadable
            | Self::Unwritable(_)
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
    /// Returns what to do next with this pipeline, for a user at a terminal.
    #[must_use]
    pub fn hint(&self, pipeline: &Pipeline) -> Option<String> {
        let command = |words: &str, does: &str| Some(format!("{} {does}", pipeline.command(words)));
        let hint = match self {
            Self::Unknown(cause) | Self::Partly { cause, .. } => return cause.hint(pipeline),
            _ if self.is_permission_denied() => {
                "only root and the group x-msrv can read the service's files: use sudo x-msrv …, or sudo -u x-msrv x-msrv … to run as the service"
            }
            Self::Config(ConfigError::Missing(_)) => {
                "x-msrv init creates a configuration; -c PATH selects one"
            }
            Self::Config(_) => {
                return command(
                    "check",
                    "checks the configuration without taking messages; man x-msrv.yml describes every key",
                );
            }
            Self::Source(_) | Self::Store(_) | Self::DeadLetter(_) => {
                return command(
                    "check --connect",
                    "checks that queue, store and dead letter answer, and shows the settings in force",
                );
            }
            Self::Busy { .. } => "try again when the other one has finished",
            Self::NoLetter { .. } => return command("dead list --all", "shows the ids"),
            Self::NoHistory { .. } => "remove that line to record runs from now on",
            Self::Missing { .. } => "on a terminal, init prompts for it",
            Self::Rejected { .. } => "x-msrv explain REASON shows what to do",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn is_permission_denied(&self) -> bool {
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

/// Executes the command line.
///
/// # Errors
/// See [`CommandError`].
pub fn execute(adapters: Adapters, cli: Cli) -> Result<ExitCode, CommandError> {
    let (path, pipeline) = (cli.configuration(), cli.pipeline());
    let Cli { global, run: before, command } = cli;
    let (flags, command) = match command {
        None => (before.overrides(), Command::Run { which: NameArg::default(), arguments: before }),
        Some(Command::Run { which, arguments }) => {
            let arguments = arguments.or(before);
            (arguments.overrides(), Command::Run { which, arguments })
        }
        Some(other) => (before.overrides(), other),
    };
    // Its output contains them.
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
        Command::Run { arguments, .. } if arguments.dry_run => {
            wait(dry_run::dry_run(&load()?, arguments.report))?.map(done)
        }
        Command::Run { arguments, .. } => wait(run::run(&load()?, arguments.report))?,
        Command::Init(arguments) => {
            let path = global.config.as_deref().map_or_else(|| arguments.configuration(), config::place);
            let settings = init::init(adapters, &path, &arguments)?;
            logging::start(settings.log);
            check::warn_about_service(&settings);
            wait(check::connect(&settings))??;
            init::say_next_steps(&path);
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
    // A larger run by hand must not make alerts expect the same from the timer.
    if let Some(metrics) = &mut settings.metrics
        && overrides.flags.iter().any(|(_, key, _)| *key == "max-messages")
        && let Ok(configured) =
            config::load(adapters, path, &Overrides { flags: Vec::new(), ..overrides.clone() })
    {
        metrics.max_messages = configured.limits.max_messages;
    }
    logging::start(settings.log);
    for name in config::service_links(&overrides) {
        log::debug!(variable = name; "ignoring an environment variable of Kubernetes");
    }
    Ok(settings)
}

/// Runs a future that needs sockets and timers. Returns its output, or why the runtime could not start.
fn wait<T>(command: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| CommandError::System { attempt: "cannot start the runtime", cause })?;
    let output = runtime.block_on(command);
    // Remaining tasks are those of a client library and name lookups, which may hang if their server does.
    runtime.shutdown_background();
    Ok(output)
}
