//! Names and places of configurations.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{ConfigError, layers::Format};

/// Where the system's configurations are.
pub const SYSTEM: &str = "/etc/x-msrv";

/// Where a configuration is looked for when none is named.
pub const SEARCHED: [&str; 4] = [
    "/etc/x-msrv/x-msrv.yml",
    "/etc/x-msrv/x-msrv.yaml",
    "/etc/x-msrv/x-msrv.toml",
    "/etc/x-msrv/x-msrv.json",
];

/// The extensions of configurations; of several beside each other the first counts.
pub const FORMATS: [&str; 4] = ["yml", "yaml", "toml", "json"];

/// Whether a configuration of this name can have units: it is part of their names as it is (systemd.unit(5)).
#[must_use]
pub fn can_be_instance(name: &str) -> bool {
    const LONGEST: usize = 255 - "x-msrv@.service.d".len();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ":-_.@".contains(letter);
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(allowed)
}

/// The named file, or one of another format beside it, or the system's of this name; or the first of those
/// that are looked for.
pub(crate) fn find(path: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let candidates: Vec<PathBuf> = match path {
        None => SEARCHED.iter().map(PathBuf::from).collect(),
        Some(path) => match of_the_system(path) {
            Some(named) => [path.to_owned()].into_iter().filter(|own| !own.is_dir()).chain(named).collect(),
            // A folder of this name, such as /etc/x-msrv of /etc/x-msrv.yml, is told to be one where there is
            // no such file either.
            None if path.is_dir() => [beside(path), vec![path.to_owned()]].concat(),
            None => [vec![path.to_owned()], beside(path)].concat(),
        },
    };
    // One that can't be looked at is found, so that reading it says why.
    let there =
        |found: &PathBuf| !matches!(found.metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    candidates.iter().find(|path| there(path)).cloned().ok_or(ConfigError::Missing(candidates))
}

/// The same path with the extension of each format, in place of its own if that is one of them, else behind
/// the whole name.
#[must_use]
pub fn beside(path: &Path) -> Vec<PathBuf> {
    let name = if Format::of(path).is_some() { path.file_stem() } else { path.file_name() };
    let with = |extension| {
        let mut name = name?.to_owned();
        name.push(".");
        name.push(extension);
        Some(path.with_file_name(name))
    };
    FORMATS.into_iter().filter_map(with).filter(|other| other != path).collect()
}

/// Where a configuration is to be that is told like this.
#[must_use]
pub fn place(path: &Path) -> PathBuf {
    of_the_system(path).map_or_else(|| path.to_owned(), |[first, ..]| first)
}

/// Whether a configuration of the system's can be told like this: units can have it, and it is no file's.
#[must_use]
pub fn is_name(text: &str) -> bool {
    can_be_instance(text) && !text.starts_with('.') && Format::of(Path::new(text)).is_none()
}

/// The system's configurations of this name; `None` where it is a path, or the name of what is here.
fn of_the_system(path: &Path) -> Option<[PathBuf; FORMATS.len()]> {
    let name = path.to_str()?;
    let is_here = !path.is_dir()
        && !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    (is_name(name) && !is_here)
        .then(|| FORMATS.map(|format| Path::new(SYSTEM).join(format!("{name}.{format}"))))
}
