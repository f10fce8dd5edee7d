//! Finding the file, and laying environment and flags over it.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use x_msrv_settings::{Fault, Kind, Known, Origins};

use crate::{ConfigError, FORMATS, names::find, unique_json::Unique, yaml};

/// What a configuration is written in.
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
            // Not its `Display`: that shows the line, which may hold a secret.
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

/// Whether a text can be nothing but the name of a key.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// JSON as a tree, and what is wrong with it after the path of the section that it is in.
fn json(text: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let tree = serde_path_to_error::deserialize::<_, Unique>(&mut reader).map_err(|error| {
        let words = error.inner().to_string().replace("EOF while parsing", "the text ends in the middle of");
        match error.path().to_string() {
            path if path == "." => words,
            path => format!("{path}: {words}"),
        }
    });
    let Unique(tree) = tree?;
    reader.end().map(|()| tree).map_err(|error| error.to_string())
}

/// What every variable of ours begins with; the rest are the keys on the way to a value, with `_` for `-` and
/// `__` between them.
const PREFIX: &str = "X_MSRV__";

/// A flag: its name as typed, the path of the key that it sets, and the value.
pub type Flag = (&'static str, &'static str, String);

/// Values from outside the file, as text.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The environment; only what is ours is looked at.
    pub environment: Vec<(String, String)>,
    /// Names of variables that are not UTF-8, or whose values are not.
    pub not_text: Vec<String>,
    /// What flags set.
    pub flags: Vec<Flag>,
    /// The state directory that systemd made for us.
    pub state_directory: Option<PathBuf>,
}

/// All layers as one tree, and where each override came from.
pub(crate) struct Layers {
    pub(crate) path: PathBuf,
    pub(crate) tree: Value,
    pub(crate) origins: Origins,
    /// What is wrong with variables and flags themselves.
    pub(crate) faults: Vec<Fault>,
}

/// The places at which N may stand. An override of one of them is meant for all.
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
    // In the order of their names, so that of `…__KEY` and `…__KEY__FIELD` the second always counts.
    let environment: BTreeMap<_, _> = overrides
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)))
        .collect();
    for (keys, value) in environment {
        let origin = format!("environment variable {PREFIX}{keys}");
        let key = keys.to_ascii_lowercase().replace("__", ".").replace('_', "-");
        // `X_MSRV__NSQ__TOPIC` and `X_MSRV__nsq__topic`.
        match layers.origins.others.get(&key) {
            Some(other) => {
                let fault = format!("{other} sets it as well");
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
    /// Lays one value over what is there.
    fn lay(&mut self, origin: String, key: String, value: &str, known: &Known) {
        let places_of_n = if key.ends_with("max-messages") { places_of_n(known) } else { Vec::new() };
        if places_of_n.contains(&key) {
            for place in &places_of_n {
                remove(&mut self.tree, place);
            }
        }
        // Names of fields are not the names of variables.
        let is_table = known.find(&key).is_some_and(|key| matches!(key.kind, Kind::Table(_)));
        let value = if is_table { table(value) } else { Ok(Value::String(value.to_owned())) };
        match value.and_then(|value| set(&mut self.tree, &key, value)) {
            Ok(()) => drop(self.origins.others.insert(key, origin)),
            Err(fault) => self.faults.push(Fault { origin, key, fault }),
        }
    }

    /// The file, by its absolute path.
    pub(crate) fn file(&self) -> PathBuf {
        std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// Secrets in a file that everybody can read.
    pub(crate) fn warnings(&self, known: &Known) -> Vec<String> {
        let mut warnings = Vec::new();
        known.visit(&mut |path, key| {
            let value = || self.tree.pointer(&format!("/{}", path.replace('.', "/")));
            if matches!(key.kind, Kind::Secret { text_is_path: false })
                && value().is_some_and(Value::is_string)
                && !self.origins.others.contains_key(path)
                && everybody_can_read(&self.path)
            {
                warnings.push(in_the_open(&self.path, path));
            }
        });
        warnings
    }
}

/// The warning of a secret that is in the open.
pub(crate) fn in_the_open(path: &Path, key: &str) -> String {
    format!("{}: {key} is a secret, and everybody on this machine can read the file", path.display())
}

pub(crate) fn everybody_can_read(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

/// Variables that were meant for us and would be ignored.
fn unread_variables(overrides: &Overrides) -> Vec<Fault> {
    let is_ours = |name: &str| name.starts_with("X_MSRV_") && !name.starts_with("X_MSRV_TEST_");
    let refused = |name: &str, fault: String| Fault {
        origin: format!("environment variable {name}"),
        key: String::new(),
        fault,
    };
    let not_text = overrides.not_text.iter().filter(|name| is_ours(name));
    let not_text = not_text.map(|name| refused(name, "is not UTF-8".to_owned()));
    let near_misses = overrides
        .environment
        .iter()
        .filter(|(name, value)| is_ours(name) && !name.starts_with(PREFIX) && !is_service_link(name, value));
    let near_misses = near_misses.map(|(name, _)| {
        refused(name, format!("is unknown: variables for x-msrv begin with {PREFIX}, with two underscores"))
    });
    not_text.chain(near_misses).collect()
}

/// Names of the variables in which Kubernetes tells of services.
pub fn service_links(overrides: &Overrides) -> impl Iterator<Item = &str> {
    overrides.environment.iter().filter(|(name, value)| is_service_link(name, value)).map(|(name, _)| &**name)
}

/// Whether Kubernetes set the variable because of a service named `x-msrv`, or `x-msrv-NAME`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>). The values
/// count as well: `X_MSRV_AEROSPIKE_ADDRESS_PORT=3000` is a key of ours with an underscore too few.
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

/// By the extension's format first, then by the others: the content decides. When none fits, the extension's
/// error is shown.
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
    // The parsers draw their errors over several lines; ours are one line.
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

/// Sets a value by the path of its key; the sections on the way are made.
fn set(tree: &mut Value, key: &str, value: Value) -> Result<(), String> {
    let mut place = tree;
    let mut steps = key.split('.').peekable();
    while let Some(step) = steps.next() {
        if step.is_empty() {
            return Err("names no key".to_owned());
        }
        // A section that stood there as a single word, such as `key: message`, gives way to the section.
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        let section = place.as_object_mut().expect("made an object just now");
        if steps.peek().is_none() {
            section.insert(step.to_owned(), value);
            return Ok(());
        }
        place = section.entry(step).or_insert(Value::Null);
    }
    Ok(())
}

/// Removes a value by the path of its key, if it is there.
fn remove(tree: &mut Value, key: &str) {
    let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
    let pointer =
        if sections.is_empty() { String::new() } else { format!("/{}", sections.replace('.', "/")) };
    if let Some(Value::Object(section)) = tree.pointer_mut(&pointer) {
        section.remove(name);
    }
}
