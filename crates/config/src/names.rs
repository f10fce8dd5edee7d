//! Names and paths of configurations.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{ConfigError, layers::Format};

/// The folder of the system's configurations.
pub const SYSTEM: &str = "/etc/x-msrv";

/// The default paths of the configuration; the first that exists is used.
pub const SEARCHED: [&str; 4] = [
    "/etc/x-msrv/x-msrv.yml",
    "/etc/x-msrv/x-msrv.yaml",
    "/etc/x-msrv/x-msrv.toml",
    "/etc/x-msrv/x-msrv.json",
];

/// The extensions of configurations. If several exist, the first is used.
pub const FORMATS: [&str; 4] = ["yml", "yaml", "toml", "json"];

/// Returns whether a configuration with this name can have units, whose names contain it unchanged
/// (systemd.unit(5)).
#[must_use]
pub fn can_be_instance(name: &str) -> bool {
    const LONGEST: usize = 255 - "x-msrv@.service.d".len();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ":-_.@".contains(letter);
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(allowed)
}

/// Returns the named file, the same name with another extension, or the system's configuration of this name;
/// without a name, the first default path that exists.
pub(crate) fn find(path: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let candidates: Vec<PathBuf> = match path {
        None => SEARCHED.iter().map(PathBuf::from).collect(),
        Some(path) => match of_the_system(path) {
            Some(named) => [path.to_owned()].into_iter().filter(|own| !own.is_dir()).chain(named).collect(),
            // If the path is a folder, such as /etc/x-msrv for /etc/x-msrv.yml, and there is no such file
            // either, the error says that it is a folder.
            None if path.is_dir() => [beside(path), vec![path.to_owned()]].concat(),
            None => [vec![path.to_owned()], beside(path)].concat(),
        },
    };
    // A file that cannot be accessed counts as found, so that reading it reports the cause.
    let there =
        |found: &PathBuf| !matches!(found.metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    candidates.iter().find(|path| there(path)).cloned().ok_or(ConfigError::Missing(candidates))
}

/// Returns the same path with the extension of each other format. It replaces a known extension and is
/// otherwise appended.
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

/// Returns the path of the configuration that this name or path refers to.
#[must_use]
pub fn place(path: &Path) -> PathBuf {
    of_the_system(path).map_or_else(|| path.to_owned(), |[first, ..]| first)
}

/// Returns whether this is a valid name of a system configuration: units can contain it, and it has no
/// extension of a configuration.
#[must_use]
pub fn is_name(text: &str) -> bool {
    can_be_instance(text) && !text.starts_with('.') && Format::of(Path::new(text)).is_none()
}

/// Returns the system's configurations with this name; `None` if it is a path or the name of an existing
/// file.
fn of_the_system(path: &Path) -> Option<[PathBuf; FORMATS.len()]> {
    let name = path.to_str()?;
    let is_here = !path.is_dir()
        && !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    (is_name(name) && !is_here)
        .then(|| FORMATS.map(|format| Path::new(SYSTEM).join(format!("{name}.{format}"))))
}
