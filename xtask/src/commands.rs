//! Generated from the command line: `man/x-msrv.1`, by filling in `man/x-msrv.1.in`, and shell completions.

use std::{collections::BTreeSet, io};

use clap::{Arg, Command};
use clap_complete::{
    generate,
    shells::{Bash, Fish, Zsh},
};
use x_msrv::adapters;
use x_msrv_cli::cli::{EXIT_CODES, command};
use x_msrv_core::NAME;

use crate::{
    Files,
    roff::{bold, escape},
};

/// Wraps plain text into lines.
fn fill(text: &str) -> String {
    crate::roff::fill(&escape(text))
}

pub(crate) fn files(page: &str) -> io::Result<Files> {
    let completions = |write: &dyn Fn(&mut Command, &mut Vec<u8>)| {
        let mut text = Vec::new();
        write(&mut command(adapters::ALL), &mut text);
        String::from_utf8(text).map_err(io::Error::other)
    };
    let mut program = command(adapters::ALL);
    program.build(); // adds --help and --version, and passes --config on to the commands
    Ok([
        ("man/x-msrv.1", filled(page, &program)),
        ("completions/x-msrv.bash", completions(&|program, text| generate(Bash, program, NAME, text))?),
        ("completions/_x-msrv", completions(&|program, text| generate(Zsh, program, NAME, text))?),
        ("completions/x-msrv.fish", completions(&|program, text| generate(Fish, program, NAME, text))?),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into())
}

fn filled(page: &str, program: &Command) -> String {
    let parts = [
        ("@SYNOPSIS@\n", synopsis(program)),
        ("@OPTIONS@\n", program.get_arguments().map(entry).collect()),
        (
            "@COMMANDS@\n",
            commands(program).into_iter().map(|(name, command)| section(program, &name, command)).collect(),
        ),
        ("@EXIT@\n", exit_codes()),
        ("@EXAMPLES@\n", examples(program.get_after_long_help())),
    ];
    parts.iter().fold(page.to_owned(), |page, (marker, text)| {
        assert!(page.contains(marker), "the page has no {marker}");
        page.replace(marker, text)
    })
}

/// Returns the commands with their full names; a command with subcommands is replaced by them.
fn commands(program: &Command) -> Vec<(String, &Command)> {
    let own = program.get_subcommands().filter(|command| command.get_name() != "help");
    own.flat_map(|command| {
        let below = commands(command)
            .into_iter()
            .map(|(name, below)| (format!("{} {name}", command.get_name()), below));
        let below: Vec<_> = below.collect();
        if below.is_empty() { vec![(command.get_name().to_owned(), command)] } else { below }
    })
    .collect()
}

/// Returns whether it is --help or --version.
fn is_standard(argument: &Arg) -> bool {
    ["help", "version"].contains(&argument.get_id().as_str())
}

/// Returns the arguments of a command without --help and --version, in the order in which they are typed.
fn arguments(command: &Command) -> Vec<&Arg> {
    let mut arguments: Vec<_> = command.get_arguments().filter(|argument| !is_standard(argument)).collect();
    arguments.sort_by_key(|argument| (argument.is_positional(), !argument.is_global_set()));
    arguments
}

/// Returns whether it is the default command: it takes the arguments of the program, and perhaps others.
fn is_default(program: &Command, command: &Command) -> bool {
    let ids = |command| arguments(command).into_iter().map(Arg::get_id).collect::<BTreeSet<_>>();
    ids(command).is_superset(&ids(program))
}

/// Returns whether the entry of a command describes this argument: the options of the program have entries of
/// their own.
fn is_described(program: &Command, command: &Command, argument: &Arg) -> bool {
    let is_program_s = || arguments(program).into_iter().any(|other| other.get_id() == argument.get_id());
    let is_own = !argument.is_global_set() && !is_standard(argument);
    is_own && !(is_default(program, command) && is_program_s())
}

/// Returns a paragraph for the program and for each command except the default one.
fn synopsis(program: &Command) -> String {
    let (default, others): (Vec<_>, Vec<_>) =
        commands(program).into_iter().partition(|(_, command)| is_default(program, command));
    let default_usage = |(name, command): &(String, &Command)| {
        let own = arguments(command).into_iter().filter(|argument| is_described(program, command, argument));
        let own: String = own.filter_map(value).map(|value| format!("\\ [{value}]")).collect();
        format!("[{}{own}]\n", bold(name))
    };
    let default: String = default.iter().map(default_usage).collect();
    let mut text = format!(".SY {}\n{}{default}.YS\n", escape(program.get_name()), usage(program));
    for (name, command) in others {
        text += &format!(".SY \"{} {}\"\n{}.YS\n", escape(program.get_name()), escape(&name), usage(command));
    }
    text
}

/// Returns the arguments of a command, one per line, each without a line break.
fn usage(command: &Command) -> String {
    let usage = |argument: &Arg| {
        let words: Vec<_> = names(argument).into_iter().take(1).chain(value(argument)).collect();
        let words = words.join("\\ ");
        if argument.is_required_set() { format!("{words}\n") } else { format!("[{words}]\n") }
    };
    arguments(command).into_iter().map(usage).collect()
}

fn names(argument: &Arg) -> Vec<String> {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    short.into_iter().chain(long).map(|name| bold(&name)).collect()
}

fn value(argument: &Arg) -> Option<String> {
    let names = argument.get_value_names().filter(|_| argument.get_action().takes_values())?;
    Some(names.iter().map(|name| format!("\\fI{}\\fP", escape(name))).collect::<Vec<_>>().join(" "))
}

/// Returns the entry of an option or an argument.
fn entry(argument: &Arg) -> String {
    let names = names(argument).join(", ");
    let tag: Vec<_> =
        Some(names).filter(|names| !names.is_empty()).into_iter().chain(value(argument)).collect();
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut paragraphs: Vec<_> = help.split("\n\n").map(sentence).collect();
    if argument.get_action().takes_values() && !argument.is_hide_possible_values_set() {
        paragraphs.extend(argument.get_possible_values().iter().map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            format!("{}: {}", value.get_name(), sentence(&help))
        }));
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if !defaults.is_empty() {
            paragraphs.push(format!("Default: {}", defaults.join(" ")));
        }
    }
    let body: Vec<_> = paragraphs.iter().map(|paragraph| fill(paragraph)).collect();
    format!(".TP\n{}\n{}", tag.join(" "), body.join(".IP\n"))
}

fn section(program: &Command, name: &str, command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let paragraphs: Vec<_> = about.split("\n\n").map(|paragraph| fill(&sentence(paragraph))).collect();
    // Another command's option may have the same name as one of the program's and a different meaning.
    let own = command.get_arguments().filter(|argument| is_described(program, command, argument));
    let own: String = own.map(entry).collect();
    format!(".SS {}\n{}{own}{}", escape(name), paragraphs.join(".PP\n"), examples(command.get_after_help()))
}

/// Returns the command lines under "Examples:" at the end of a help text. Text after two or more spaces
/// becomes a comment above.
fn examples(help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut text = ".PP\n.RS 4\n.EX\n".to_owned();
    for line in help.lines().skip_while(|line| !line.starts_with("Example")).skip(1) {
        let (command, comment) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
        if !comment.is_empty() {
            text += &format!("# {}\n", escape(comment.trim()));
        }
        text += &format!("{}\n", escape(command));
    }
    text + ".EE\n.RE\n"
}

fn exit_codes() -> String {
    let codes = EXIT_CODES.lines().skip(1).filter_map(|line| line.trim().split_once("  "));
    codes.map(|(code, meaning)| format!(".TP\n.B {code}\n{}", fill(&sentence(meaning)))).collect()
}

/// Adds the capital letter and the full stop that help omits.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}{}", rest.as_str(), if text.ends_with('.') { "" } else { "." })
}
