//! Generates the files that follow from the settings and the command line.
//!
//! `cargo xtask` writes the man pages x-msrv(1) and x-msrv.yml(5), shell completions, the JSON Schema, the
//! shipped configuration, and the tables of README and docs. `cargo xtask --check` writes nothing and fails
//! if a file differs.

#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "pages are generated rarely, and writing to a String cannot fail"
)]

mod commands;
mod page;
mod roff;
mod schema;
mod tables;
mod template;

use std::{collections::BTreeMap, env, fs, io, path::Path, process::ExitCode};

use x_msrv::adapters;

/// Generated files by path, with their content.
type Files = BTreeMap<String, String>;

fn main() -> ExitCode {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments: Vec<_> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => files(&project).and_then(|files| write(&project, &files)).map(|()| Vec::new()),
        ["--check"] => files(&project).map(|files| different(&project, &files)),
        _ => {
            eprintln!("usage: cargo xtask [--check]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(different) if different.is_empty() => ExitCode::SUCCESS,
        Ok(different) => {
            eprintln!("out of date, run `make man`: {}", different.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn files(project: &Path) -> io::Result<Files> {
    let read = |name: &str| fs::read_to_string(project.join(name));
    let all = adapters::ALL;
    let mut files = commands::files(&read("man/x-msrv.1.in")?)?;
    let mut add = |name: &str, text: String| drop(files.insert(name.to_owned(), text));
    add("man/x-msrv.yml.5", page::page(&read("man/x-msrv.yml.5.in")?, all));
    add("etc/x-msrv.schema.json", schema::text(all));
    add("etc/x-msrv.yml", template::template(all));
    let support = tables::support(all);
    add("README.md", tables::between(&read("README.md")?, "support", &support));
    let page = tables::between(&read("docs/configuration.md")?, "settings", &tables::settings(all));
    add("docs/configuration.md", tables::between(&page, "support", &support));
    Ok(files)
}

fn write(project: &Path, files: &Files) -> io::Result<()> {
    files.iter().try_for_each(|(name, text)| fs::write(project.join(name), text))
}

fn different(project: &Path, files: &Files) -> Vec<String> {
    let is_different = |(name, text): &(&String, &String)| {
        fs::read_to_string(project.join(name)).ok().as_ref() != Some(*text)
    };
    files.iter().filter(is_different).map(|(name, _)| name.clone()).collect()
}
