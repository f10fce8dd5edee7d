//! `x-msrv init`

mod answers;
mod template;

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{CommandError, say};
use crate::{
    cli::InitArgs,
    config::{self, ConfigError, Overrides, Settings},
    timer::Units,
};
use answers::{Answers, Question};
use x_msrv_core::adapter::Adapters;
use x_msrv_settings::Fault;
use x_msrv_state::state_file;

/// Writes the configuration and loads it.
pub(super) fn init(adapters: Adapters, path: &Path, arguments: &InitArgs) -> Result<Settings, CommandError> {
    refuse_to_replace(path, arguments.force)?;
    let answers = Answers::take(
        adapters,
        path,
        arguments,
        if io::stdin().is_terminal() { ask } else { |question| Ok(question.suggestion.to_owned()) },
    )?;
    let settings = write(adapters, path, &answers.text())?;
    say(&format!("written: {}", path.display()));
    Ok(settings)
}

/// Reports the next steps.
pub(super) fn say_next_steps(path: &Path) {
    match Units::of(path) {
        Some(units) => {
            say(&format!(
                "next:    sudo systemctl daemon-reload && sudo systemctl enable --now {}",
                units.timer()
            ));
            say(&format!("then:    sudo x-msrv status {}", path.file_stem().unwrap_or_default().display()));
        }
        None => say(&format!("next:    x-msrv -c {}", path.display())),
    }
}

fn error(path: &Path, attempt: &'static str, cause: io::Error) -> CommandError {
    CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() }
}

/// Refuses to replace a configuration, also one of the same name in another format, which would be ignored
/// from now on. An unchanged configuration from the package may be replaced.
fn refuse_to_replace(path: &Path, force: bool) -> Result<(), CommandError> {
    for there in [config::beside(path), vec![path.to_owned()]].concat() {
        let is_there = !force && state_file::exists(&there).map_err(|cause| error(&there, "find", cause))?;
        if is_there && !(there == path && is_as_shipped(path)) {
            return Err(CommandError::Exists { name: there.display().to_string() });
        }
    }
    Ok(())
}

/// Returns whether the file is the unchanged one from the package. A special file is not read.
fn is_as_shipped(path: &Path) -> bool {
    let is_file = path
        .symlink_metadata()
        .is_ok_and(|found| found.is_file() && found.len() == template::SHIPPED.len() as u64);
    is_file && fs::read_to_string(path).is_ok_and(|text| text == template::SHIPPED)
}

/// Asks on the terminal until the answer is valid; an empty line selects the suggestion.
fn ask(question: Question<'_>) -> Result<String, CommandError> {
    let failed = |cause| CommandError::File {
        name: "standard input".to_owned(),
        attempt: "read an answer from",
        cause: io::Error::into(cause),
    };
    let suggested =
        if question.suggestion.is_empty() { String::new() } else { format!(" [{}]", question.suggestion) };
    loop {
        drop(write!(io::stderr(), "{}{suggested}: ", question.text));
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).map_err(failed)? == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer = if line.trim().is_empty() { question.suggestion } else { line.trim() };
        match (question.fault)(answer) {
            None => return Ok(answer.to_owned()),
            Some(fault) => say(&format!("  {fault}")),
        }
    }
}

/// Writes under a temporary name first and loads it from there, so that a faulty configuration replaces
/// nothing.
fn write(adapters: Adapters, path: &Path, text: &str) -> Result<Settings, CommandError> {
    let new = state_file::new_name(path); // no configuration can have this name
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&new)
        .map_err(|cause| error(path, "write", cause))?;
    let written = file.write_all(text.as_bytes()).map_err(|cause| error(path, "write", cause));
    let placed = written.and_then(|()| place(adapters, &new, path));
    if placed.is_err() {
        drop(fs::remove_file(&new));
    }
    placed?;
    Ok(config::load(adapters, Some(path), &crate::cli::environment())?)
}

/// Moves the valid file into place and backs up an existing one.
fn place(adapters: Adapters, new: &Path, path: &Path) -> Result<(), CommandError> {
    config::load(adapters, Some(new), &Overrides::default()).map_err(|fault| in_flags(new, fault))?;
    if state_file::exists(path).is_ok_and(|there| there) && !is_as_shipped(path) {
        let old = free_name(path).map_err(|cause| error(path, "back up", cause))?;
        // A copy, so that a run always finds one of the two.
        fs::copy(path, &old).map_err(|cause| error(path, "back up", cause))?;
        say(&format!("backup: {}", old.display()));
    }
    fs::rename(new, path).map_err(|cause| error(path, "write", cause))
}

/// Returns the first free name of `PATH.old`, `PATH.old.1`, `PATH.old.2`, …, so that a second attempt does
/// not overwrite the backup of a manual configuration.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".old".to_owned() } else { format!(".old.{number}") });
        if !state_file::exists(Path::new(&name))? {
            return Ok(name.into());
        }
        number += 1;
    }
}

/// Replaces the name of the temporary file in a fault.
fn in_flags(new: &Path, fault: ConfigError) -> CommandError {
    match fault {
        ConfigError::Faults(faults) => {
            let asked = |fault: Fault| {
                let is_of_file = Path::new(&fault.origin) == new;
                let origin = if is_of_file { "the new configuration".to_owned() } else { fault.origin };
                Fault { origin, ..fault }
            };
            ConfigError::Faults(faults.into_iter().map(asked).collect()).into()
        }
        other => other.into(),
    }
}
