//! Finds the file and applies environment variables and options to it.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use x_msrv_settings::{Fault, Kind, Known, Origins};

use crate::{ConfigError, FORMATS, names::find, unique_json::Unique, yaml};

/// The format of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Toml,
    Json,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        let formats = [Self::Yaml, Self::Yaml, Self::Toml, Self::Json];
        FORMATS.iter().position(|known| extension == *known).map(|at| formats[at])
    }

    fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Yaml => yaml::parse(text),
            // Not its `Display`, which shows the line: it may contain a secret.
            Self::Toml => toml::from_str(text).map_err(|error| match error.span() {
                Some(span) => {
                    let words = match error.message() {
                        "duplicate key" => match text.get(span.clone()).filter(|key| is_plain(key)) {
                            Some(key) => format!("duplicate field `{key}`"),
                            None => "duplicate field".to_owned(),
                        },
                        words => words.to_owned(),
                    };
                    format!("line {}: {words}", 1 + text[..span.start].matches('\n').count())
                }
                None => error.message().to_owned(),
            }),
            Self::Json => json(text),
        }
    }
}

/// Returns whether a text can only be the name of a key.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Parses JSON. An error begins with the path of the section that contains it.
fn json(text: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let tree = serde_path_to_error::deserialize::<_, Unique>(&mut reader).map_err(|error| {
        let words = error.inner().to_string().replace("EOF while parsing", "unexpected end within");
        match error.path().to_string() {
            path if path == "." => words,
            path => format!("{path}: {words}"),
        }
    });
    let Unique(tree) = tree?;
    reader.end().map(|()| tree).map_err(|error| error.to_string())
}

/// The prefix of x-msrv's variables. The rest of the name is the path of a key, with `_` for `-` and `__` for
/// `.`.
const PREFIX: &str = "X_MSRV__";

/// A command-line option: its name as typed, the path of the key that it sets, and the value.
pub type Flag = (&'static str, &'static str, String);

/// Values from outside the file, as text.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The environment. Only x-msrv's variables are used.
    pub environment: Vec<(String, String)>,
    /// The names of variables whose name or value is not UTF-8.
    pub not_text: Vec<String>,
    /// The values of command-line options.
    pub flags: Vec<Flag>,
    /// The state directory created by systemd.
    pub state_directory: Option<PathBuf>,
}

/// All layers as one tree, and the origin of each override.
pub(crate) struct Layers {
    pub(crate) path: PathBuf,
    pub(crate) tree: Value,
    pub(crate) origins: Origins,
    /// Faults of variables and options.
    pub(crate) faults: Vec<Fault>,
}

/// Returns the keys that set N. An override of one of them replaces all.
fn places_of_n(known: &Known) -> Vec<String> {
    let names = known.paths().into_iter().filter(|path| path.rsplit('.').next() == Some("max-messages"));
    names.collect()
}

pub(crate) fn load(path: Option<&Path>, overrides: &Overrides, known: &Known) -> Result<Layers, ConfigError> {
    let path = find(path)?;
    let text =
        std::fs::read_to_string(&path).map_err(|cause| ConfigError::Read { path: path.clone(), cause })?;
    let tree = parse(&path, &text)?;
    let origins = Origins { file: path.display().to_string(), ..Origins::default() };
    let mut layers = Layers { path, tree, origins, faults: unread_variables(overrides) };
    // In the order of their names, so that `…__KEY__FIELD` always overrides `…__KEY`.
    let environment: BTreeMap<_, _> = overrides
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)))
        .collect();
    for (keys, value) in environment {
        let origin = format!("environment variable {PREFIX}{keys}");
        let key = keys.to_ascii_lowercase().replace("__", ".").replace('_', "-");
        // Both `X_MSRV__NSQ__TOPIC` and `X_MSRV__nsq__topic` are set.
        match layers.origins.others.get(&key) {
            Some(other) => {
                let fault = format!("already set by {other}");
                layers.faults.push(Fault { origin, key, fault });
            }
            None => layers.lay(origin, key, value, known),
        }
    }
    for (flag, key, value) in &overrides.flags {
        layers.lay((*flag).to_owned(), (*key).to_owned(), value, known);
    }
    Ok(layers)
}

impl Layers {
    /// Applies one override.
    fn lay(&mut self, origin: String, key: String, value: &str, known: &Known) {
        let places_of_n = if key.ends_with("max-messages") { places_of_n(known) } else { Vec::new() };
        if places_of_n.contains(&key) {
            for place in &places_of_n {
                remove(&mut self.tree, place);
            }
        }
        // Names of fields cannot be written as names of variables.
        let is_table = known.find(&key).is_some_and(|key| matches!(key.kind, Kind::Table(_)));
        let value = if is_table { table(value) } else { Ok(Value::String(value.to_owned())) };
        match value.and_then(|value| set(&mut self.tree, &key, value)) {
            Ok(()) => drop(self.origins.others.insert(key, origin)),
            Err(fault) => self.faults.push(Fault { origin, key, fault }),
        }
    }

    /// Returns the absolute path of the file.
    pub(crate) fn file(&self) -> PathBuf {
        std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// Returns a warning for each secret in a file that every user can read.
    pub(crate) fn warnings(&self, known: &Known) -> Vec<String> {
        let mut warnings = Vec::new();
        known.visit(&mut |path, key| {
            let value = || self.tree.pointer(&format!("/{}", path.replace('.', "/")));
            if matches!(key.kind, Kind::Secret { text_is_path: false })
                && value().is_some_and(Value::is_string)
                && !self.origins.others.contains_key(path)
                && every_user_can_read(&self.path)
            {
                warnings.push(readable_secret(&self.path, path));
            }
        });
        warnings
    }
}

/// Returns the warning about a secret that every user can read.
pub(crate) fn readable_secret(path: &Path, key: &str) -> String {
    format!("{}: {key} is a secret, but every user of this machine can read the file", path.display())
}

pub(crate) fn every_user_can_read(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

/// Returns a fault for each variable that is probably meant for x-msrv and would be ignored.
fn unread_variables(overrides: &Overrides) -> Vec<Fault> {
    let is_ours = |name: &str| name.starts_with("X_MSRV_") && !name.starts_with("X_MSRV_TEST_");
    let refused = |name: &str, fault: String| Fault {
        origin: format!("environment variable {name}"),
        key: String::new(),
        fault,
    };
    let not_text = overrides.not_text.iter().filter(|name| is_ours(name));
    let not_text = not_text.map(|name| refused(name, "not UTF-8".to_owned()));
    let near_misses = overrides
        .environment
        .iter()
        .filter(|(name, value)| is_ours(name) && !name.starts_with(PREFIX) && !is_service_link(name, value));
    let near_misses = near_misses.map(|(name, _)| {
        refused(
            name,
            format!("unknown variable; x-msrv reads variables that begin with {PREFIX} (two underscores)"),
        )
    });
    not_text.chain(near_misses).collect()
}

/// Returns the names of the variables with which Kubernetes announces services.
pub fn service_links(overrides: &Overrides) -> impl Iterator<Item = &str> {
    overrides.environment.iter().filter(|(name, value)| is_service_link(name, value)).map(|(name, _)| &**name)
}

/// Whether Kubernetes set the variable because of a service named `x-msrv`, or `x-msrv-NAME`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>). The value is
/// checked as well: `X_MSRV_AEROSPIKE_ADDRESS_PORT=3000` is a setting with an underscore missing.
fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("X_MSRV_").filter(|_| !name.starts_with(PREFIX)) else { return false };
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_protocol = |word: &str| ["TCP", "UDP", "SCTP"].contains(&word);
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    (0..words.len()).any(|from| match words[from..] {
        ["SERVICE", "HOST"] => true,
        ["SERVICE", "PORT", ..] => is_number(value),
        ["PORT"] => is_url,
        ["PORT", number, protocol] => is_url && is_number(number) && is_protocol(protocol),
        ["PORT", number, protocol, "PROTO" | "PORT" | "ADDR"] => is_number(number) && is_protocol(protocol),
        _ => false,
    })
}

/// Tries the format of the extension first, then the others: the content decides. If all fail, returns the
/// error of the first.
fn parse(path: &Path, text: &str) -> Result<Value, ConfigError> {
    let first = Format::of(path).unwrap_or(Format::Yaml);
    let formats = [Format::Yaml, Format::Toml, Format::Json];
    let mut failure = None;
    for format in std::iter::once(first).chain(formats.into_iter().filter(|format| *format != first)) {
        match format.parse(text) {
            Ok(tree @ Value::Object(_)) => return Ok(tree),
            Ok(Value::Null) => return Ok(Value::Object(serde_json::Map::new())), // comments only
            Ok(_) => drop(failure.get_or_insert_with(|| "keys and values are required".to_owned())),
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    let fault = failure.unwrap_or_default();
    // The errors of the parsers may have several lines; an error of x-msrv has one.
    let fault = fault.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(ConfigError::Syntax {
        path: path.to_owned(),
        fault: format!("not a configuration in YAML, TOML or JSON: {fault}"),
    })
}

fn table(text: &str) -> Result<Value, String> {
    match json(text) {
        Ok(table @ Value::Object(_)) => Ok(table),
        Err(fault) if fault.contains("duplicate field") => Err(fault),
        _ => Err(format!("`{text}` is not a JSON object such as {{\"a\":\"b\"}}")),
    }
}

/// Sets the value of a key and creates the sections in its path.
fn set(tree: &mut Value, key: &str, value: Value) -> Result<(), String> {
    let mut place = tree;
    let mut steps = key.split('.').peekable();
    while let Some(step) = steps.next() {
        if step.is_empty() {
            return Err("does not name a key".to_owned());
        }
        // A section replaces a word in the same place, such as `key: message`.
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        let section = place.as_object_mut().expect("it was just made an object");
        if steps.peek().is_none() {
            section.insert(step.to_owned(), value);
            return Ok(());
        }
        place = section.entry(step).or_insert(Value::Null);
    }
    Ok(())
}

/// Removes the value of a key, if it exists.
fn remove(tree: &mut Value, key: &str) {
    let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
    let pointer =
        if sections.is_empty() { String::new() } else { format!("/{}", sections.replace('.', "/")) };
    if let Some(Value::Object(section)) = tree.pointer_mut(&pointer) {
        section.remove(name);
    }
}
