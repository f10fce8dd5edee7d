//! Finding the file, and laying environment and flags over it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    ConfigError,
    error::{Fault, in_plain_words, with_nearest},
    file::{FileShape, keys},
    warnings::{everybody_can_read, in_the_open},
    yaml,
};
use crate::timer::{SYSTEM, can_be_instance};
use x_msrv_core::unique_json::Unique;

/// Where a configuration is looked for when none is named.
pub const SEARCHED: [&str; 4] = [
    "/etc/x-msrv/x-msrv.yml",
    "/etc/x-msrv/x-msrv.yaml",
    "/etc/x-msrv/x-msrv.toml",
    "/etc/x-msrv/x-msrv.json",
];

/// What the names of configurations end with; of several beside each other the first counts.
pub const FORMATS: [&str; 4] = ["yml", "yaml", "toml", "json"];

/// Keys whose values are secrets.
const SECRETS: [&str; 6] = [
    "nsq.auth-secret",
    "nsq.tls.key",
    "aerospike.password",
    "aerospike.tls.key",
    "dead-letter.nsq.auth-secret",
    "dead-letter.nsq.tls.key",
];

/// Sections whose keys are names of fields, which the environment can write as JSON only.
const TABLES: [&str; 3] = ["fields.rename", "fields.constant", "fields.metadata"];

/// The places at which N may stand. An override of one of them is meant for all.
const MAX_MESSAGES: [&str; 3] = ["max-messages", "nsq.max-messages", "embedded-queue.max-messages"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    Toml,
    Json,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
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
pub(super) struct Layers {
    path: PathBuf,
    tree: Value,
    origins: BTreeMap<String, String>,
}

pub(super) fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Layers, ConfigError> {
    let path = find(path)?;
    let text =
        std::fs::read_to_string(&path).map_err(|cause| ConfigError::Read { path: path.clone(), cause })?;
    let mut tree = parse(&path, &text)?;
    refuse_unread_variables(overrides)?;
    let mut origins = BTreeMap::new();
    // In the order of their names, so that of `…__KEY` and `…__KEY__FIELD` the second always counts.
    let environment: BTreeMap<_, _> = overrides
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)))
        .collect();
    let environment = environment.into_iter().map(|(keys, value)| {
        (
            format!("environment variable {PREFIX}{keys}"),
            keys.to_ascii_lowercase().replace("__", ".").replace('_', "-"),
            value,
        )
    });
    let flags =
        overrides.flags.iter().map(|(flag, key, value)| ((*flag).to_owned(), (*key).to_owned(), value));
    for (origin, key, value) in environment.chain(flags) {
        // `X_MSRV__NSQ__TOPIC` and `X_MSRV__nsq__topic`. A flag wins over a variable.
        if let Some(other) = origins.get(&key).filter(|_| origin.contains(PREFIX)) {
            let fault = format!("{other} sets it as well");
            return Err(ConfigError::Value { origin, key, fault });
        }
        if MAX_MESSAGES.contains(&key.as_str()) {
            for place in MAX_MESSAGES {
                remove(&mut tree, place);
            }
        }
        let value =
            if TABLES.contains(&key.as_str()) { table(value) } else { Ok(Value::String(value.clone())) };
        let set = value.and_then(|value| set(&mut tree, &key, value));
        set.map_err(|fault| ConfigError::Value { origin: origin.clone(), key: key.clone(), fault })?;
        origins.insert(key, origin);
    }
    Ok(Layers { path, tree, origins })
}

/// A variable that was meant for us and would be ignored.
fn refuse_unread_variables(overrides: &Overrides) -> Result<(), ConfigError> {
    let is_ours = |name: &str| name.starts_with("X_MSRV_") && !name.starts_with("X_MSRV_TEST_");
    let refused = |name: &str, fault| {
        Err(ConfigError::Value { origin: format!("environment variable {name}"), key: String::new(), fault })
    };
    if let Some(name) = overrides.not_text.iter().find(|name| is_ours(name)) {
        return refused(name, "is not UTF-8".to_owned());
    }
    let near_miss = |(name, value): &&(String, String)| {
        is_ours(name) && !name.starts_with(PREFIX) && !is_service_link(name, value)
    };
    match overrides.environment.iter().find(near_miss) {
        None => Ok(()),
        Some((name, _)) => refused(
            name,
            format!("is unknown: variables for x-msrv begin with {PREFIX}, with two underscores"),
        ),
    }
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

/// The named file, or one of another format beside it, or the system's of this name; or the first of those
/// that are looked for.
fn find(path: Option<&Path>) -> Result<PathBuf, ConfigError> {
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

/// The path of a key with nothing behind it. That is no key that was left out: who writes `tls:` and comments
/// out all below it does not mean a connection in plain, and who leaves `ca-file:` empty does not mean
/// everybody's authorities.
fn without_value(section: &Value, path: &str) -> Option<String> {
    section.as_object()?.iter().find_map(|(name, value)| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // `dead-letter: {log: }` is a choice that needs nothing.
        let is_empty = value.is_null() && keys(&[]).contains(&path);
        if is_empty { Some(path) } else { without_value(value, &path) }
    })
}

/// Adds where an unknown key belongs, if that is in another section.
fn elsewhere(fault: String) -> String {
    let Some(unknown) = fault.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) else {
        return fault;
    };
    let places: Vec<_> = keys(&[])
        .into_iter()
        .filter(|key| key.rsplit('.').next() == Some(unknown))
        .map(|key| format!("`{key}`"))
        .collect();
    match places[..] {
        [] => fault,
        _ => format!("{fault}; there is {}", places.join(" and ")),
    }
}

/// Adds the key that is meant where only a separator is another: `nsq-topic`, from a variable with one `_`
/// too few, is `nsq.topic`.
fn with_separator(fault: String) -> String {
    let Some(unknown) = fault.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) else {
        return fault;
    };
    let meant = keys(&[]).into_iter().find(|key| key.contains('.') && key.replace('.', "-") == unknown);
    match meant {
        Some(key) => format!(
            "{fault}; did you mean `{key}`, {PREFIX}{}?",
            key.to_ascii_uppercase().replace('.', "__").replace('-', "_")
        ),
        None => fault,
    }
}

impl Layers {
    /// The file, by its absolute path.
    pub(super) fn file(&self) -> PathBuf {
        std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// Secrets in a file that everybody can read.
    pub(super) fn warnings(&self) -> Vec<String> {
        let in_file = |key: &&str| {
            let value = self.tree.pointer(&format!("/{}", key.replace('.', "/")));
            value.is_some_and(Value::is_string) && !self.origins.contains_key(*key)
        };
        SECRETS
            .into_iter()
            .filter(|key| in_file(key) && everybody_can_read(&self.path))
            .map(|key| in_the_open(&self.path, key))
            .collect()
    }

    /// The tree as the shape that is known.
    pub(super) fn shape(&self) -> Result<FileShape, ConfigError> {
        let shape = serde_path_to_error::deserialize(&self.tree).map_err(|error| {
            let key = error.path().to_string();
            let fault =
                with_separator(elsewhere(with_nearest(in_plain_words(&key, error.inner().to_string()))));
            // An unknown key is reported at its section; with the key itself the origin can be told.
            let unknown = fault.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let full = match unknown {
                Some(name) if key == "." => name.to_owned(),
                // The path ends with the unknown key itself, or with its section.
                Some(name) if key != name && !key.ends_with(&format!(".{name}")) => format!("{key}.{name}"),
                _ if key == "." => String::new(),
                _ => key,
            };
            self.locate(Fault::new(full, fault))
        })?;
        match without_value(&self.tree, "") {
            None => Ok(shape),
            Some(key) => Err(self.locate(Fault::new(key, "has no value: give it one, or leave the key out"))),
        }
    }

    /// Names the layer that a key comes from.
    pub(super) fn locate(&self, Fault { key, fault }: Fault) -> ConfigError {
        let from = self.origins.iter().find(|(other, _)| {
            **other == key || key.starts_with(&format!("{other}.")) || key.starts_with(&format!("{other}["))
        });
        let origin = from.map_or_else(|| self.path.display().to_string(), |(_, origin)| origin.clone());
        ConfigError::Value { origin, key, fault }
    }
}
