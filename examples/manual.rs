//! Writes what follows from the definition of the command line: `man/x-msrv.1`, by filling in
//! `man/x-msrv.1.in`, and completions for shells.
//!
//! `cargo run --locked --example manual -- [OUTPUT_FOLDER]`; without a folder into the project itself.
//! `.ci/test` compares.

#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "pages are made rarely, and writing to a String cannot fail"
)]

use std::{collections::BTreeSet, env, error::Error, fs, path::PathBuf};

use clap::{Arg, Command};
use clap_complete::{
    generate_to,
    shells::{Bash, Fish, Zsh},
};
use x_msrv::adapters;
use x_msrv_cli::cli::{EXIT_CODES, command};

const PAGE: &str = include_str!("../man/x-msrv.1.in");

/// Bytes of the longest line of text; mandoc wants no more than 80.
const WIDTH: usize = 80;

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        env::args_os().nth(1).map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let name = env!("CARGO_PKG_NAME");
    generate_to(Bash, &mut command(adapters::ALL), name, &completions)?;
    generate_to(Zsh, &mut command(adapters::ALL), name, &completions)?;
    generate_to(Fish, &mut command(adapters::ALL), name, &completions)?;
    let mut program = command(adapters::ALL);
    program.build(); // adds --help and --version, and hands --config down to the commands
    fs::write(man.join("x-msrv.1"), page(&program))?;
    Ok(())
}

fn page(program: &Command) -> String {
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
    parts.iter().fold(PAGE.to_owned(), |page, (marker, text)| {
        assert!(page.contains(marker), "the page has no {marker}");
        page.replace(marker, text)
    })
}

/// The commands that do something, each with its whole name: of one that has commands of its own, those.
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

/// Whether it is --help or --version.
fn asks(argument: &Arg) -> bool {
    ["help", "version"].contains(&argument.get_id().as_str())
}

/// What a command takes, without --help and --version, in the order in which it is typed.
fn arguments(command: &Command) -> Vec<&Arg> {
    let mut arguments: Vec<_> = command.get_arguments().filter(|argument| !asks(argument)).collect();
    arguments.sort_by_key(|argument| (argument.is_positional(), !argument.is_global_set()));
    arguments
}

/// Whether it is the command that happens without one: it takes the same arguments as the program.
fn is_default(program: &Command, command: &Command) -> bool {
    let ids = |command| arguments(command).into_iter().map(Arg::get_id).collect::<BTreeSet<_>>();
    ids(command) == ids(program)
}

/// A paragraph for the program and one for each command, but none for that which happens without a command.
fn synopsis(program: &Command) -> String {
    let (default, others): (Vec<_>, Vec<_>) =
        commands(program).into_iter().partition(|(_, command)| is_default(program, command));
    let default: String = default.iter().map(|(name, _)| format!("[{}]\n", bold(name))).collect();
    let mut text = format!(".SY {}\n{}{default}.YS\n", escape(program.get_name()), usage(program));
    for (name, command) in others {
        text += &format!(".SY \"{} {}\"\n{}.YS\n", escape(program.get_name()), escape(&name), usage(command));
    }
    text
}

/// What a command takes, one argument a line, each of which stays whole.
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

/// An option or an argument: what is typed, and what it means.
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
    // Another command's option may have the name of one of the program's, and means something else.
    let is_own = |argument: &&Arg| !argument.is_global_set() && !asks(argument);
    let own = command.get_arguments().filter(|argument| is_own(argument) && !is_default(program, command));
    let own: String = own.map(entry).collect();
    format!(".SS {}\n{}{own}{}", escape(name), paragraphs.join(".PP\n"), examples(command.get_after_help()))
}

/// The command lines under "Examples:" at the end of a help text; what stands behind two spaces or more
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

/// With a capital letter and a full stop, which help leaves out.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}{}", rest.as_str(), if text.ends_with('.') { "" } else { "." })
}

/// Text in lines that are not too long. None can begin with what roff takes for a request.
fn fill(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace().map(escape) {
        let line = lines.last_mut().expect("never empty");
        if line.is_empty() {
            *line = word;
        } else if line.len() + 1 + word.len() <= WIDTH {
            *line += " ";
            *line += &word;
        } else {
            lines.push(word);
        }
    }
    lines.iter().map(|line| format!("{}{line}\n", if line.starts_with('.') { "\\&" } else { "" })).collect()
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fP", escape(text))
}

/// Every character as itself; roff has other plans for some.
fn escape(text: &str) -> String {
    [("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")]
        .iter()
        .fold(text.to_owned(), |text, (character, escaped)| text.replace(character, escaped))
}
