//! Parses the command line and the environment.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, error::ErrorKind};

use super::{Cli, Command, SendArgs, TryArgs, init};
use crate::config::Overrides;
use x_msrv_core::{adapter::Adapters, exit::Exit};

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
    if !matches!(cli.command, None | Some(Command::Run { .. }))
        && (cli.run.dry_run || cli.run.report.is_some())
    {
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
    use clap::Parser as _;

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
            "x-msrv -c a.yml run orders",
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
        let Some(Command::Run { arguments, .. }) = parse(&["x-msrv", "run", "--max-messages", "7"]).command
        else {
            panic!("a run")
        };
        assert_eq!(before, arguments.overrides());
        assert_eq!(before, [("--max-messages", "max-messages", "7".to_owned())]);
    }
}
