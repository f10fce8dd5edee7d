//! The rules that select and name fields, and the faults that can be found in them before any message is
//! read.

use sha2::{Digest, Sha256};

use super::{hex, selection::Path};
use crate::{
    message::Message,
    record::{Fields, KEY_FIELD, Value},
};

/// Hexadecimal digits of a long name's hash. With 32 bits, the chance that two of a thousand long names with
/// the same beginning collide is 1 in 8,000.
const DIGITS: usize = 8;

/// Separates the beginning of a long name from its hash.
const MARK: &str = "~";

/// The configured rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// The fields to include; all fields if unset.
    pub include: Option<Vec<Path>>,
    /// The fields to exclude.
    pub exclude: Vec<Path>,
    /// The separator for the names of flattened objects.
    pub flatten: Option<String>,
    /// New names for top-level fields.
    pub rename: Vec<(Path, String)>,
    /// Constant fields of every record.
    pub constant: Fields,
    /// Metadata of the message, with the names of the fields.
    pub metadata: Vec<(String, Metadata)>,
    /// How names that the store does not accept are handled.
    pub on_long_name: OnLongName,
}

impl Rules {
    /// Shortens the configured names, and checks everything that does not depend on a message.
    pub(super) fn make_ready(
        &mut self,
        longest: Option<usize>,
        check: fn(&str) -> Result<(), String>,
    ) -> Result<(), RuleFault> {
        check_selection(self)?;
        check_renamed(self)?;
        let renamed = self.rename.len();
        let mut names = names(self);
        for (key, name) in &mut names {
            shorten(name, longest);
            check_name(name)
                .and_then(|()| check(name))
                .map_err(|fault| RuleFault::new(key.as_str(), fault))?;
        }
        // A constant must not have the name that another rule gives to a field. Two fields may be renamed to
        // the same name, because a message may contain only one of them.
        for (index, (key, name)) in names.iter().enumerate().skip(renamed) {
            if let Some((other, _)) = names[..index].iter().find(|(_, other)| other == name) {
                return Err(RuleFault::new(
                    key,
                    format!("the name `{name}` is already given by `fields.{other}`"),
                ));
            }
        }
        Ok(())
    }
}

/// Metadata that is known for any body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum Metadata {
    /// When the queue received the message, in milliseconds since 1970, as an integer.
    Timestamp,
    /// How often the message was delivered, including this delivery. A later delivery may change the value in
    /// its record.
    Attempts,
    /// The topic. The embedded queue has no topics: this field is omitted.
    Topic,
    /// The origin: topic and nsqd, or the embedded queue.
    Source,
    /// The id at that origin.
    Id,
}

impl Metadata {
    /// Returns the value, if the queue provides it.
    pub(super) fn of(self, message: &Message) -> Option<Value> {
        const NANOS_IN_MILLI: i64 = 1_000_000;
        Some(match self {
            Self::Timestamp => Value::Int(message.published?.get().div_euclid(NANOS_IN_MILLI)),
            Self::Attempts => Value::Int(message.attempts?.get().into()),
            Self::Topic => Value::Text(message.origin.topic()?.to_owned()),
            Self::Source => Value::Text(message.origin.as_str().to_owned()),
            Self::Id => Value::Text(message.id.to_string()),
        })
    }
}

/// How names that are too long for the store are handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum OnLongName {
    /// The message is rejected.
    #[default]
    Reject,
    /// The name becomes its first 6 bytes (fewer if they would end within a character), `~`, and the first 8
    /// hexadecimal digits of the SHA-256 of the whole name.
    Hash,
}

/// A fault in a rule, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// The key, relative to the section.
    pub key: String,
    /// The text for the user.
    pub fault: String,
}

impl RuleFault {
    fn new(key: impl Into<String>, fault: impl Into<String>) -> Self {
        Self { key: key.into(), fault: fault.into() }
    }
}

fn check_selection(rules: &Rules) -> Result<(), RuleFault> {
    let include = rules.include.as_deref().unwrap_or_default();
    if rules.include.is_some() && include.is_empty() {
        return Err(RuleFault::new("include", "the list is empty; omit this key to store all fields"));
    }
    for path in include {
        if let Some(around) = rules.exclude.iter().find(|other| other.leads_to(path)) {
            return Err(RuleFault::new(
                "exclude",
                format!("`{around}` excludes `{path}`, which `fields.include` includes"),
            ));
        }
    }
    if rules.flatten.as_ref().is_some_and(String::is_empty) {
        return Err(RuleFault::new("flatten", "is empty; the names of nested fields would be ambiguous"));
    }
    Ok(())
}

fn check_renamed(rules: &Rules) -> Result<(), RuleFault> {
    for (index, (path, _)) in rules.rename.iter().enumerate() {
        let fault = |fault: &str| Err(RuleFault::new(format!("rename.{path}"), fault));
        if path.top().is_none() {
            return fault(
                "is inside an object, and only top-level fields can be renamed; with `flatten`, use the joined name without a leading slash",
            );
        }
        if rules.rename[..index].iter().any(|(other, _)| other == path) {
            return fault("is a duplicate: given as a name and as a JSON pointer");
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("a name is empty".to_owned()),
        KEY_FIELD => Err(format!("`{KEY_FIELD}` is reserved for the record's key")),
        _ => Ok(()),
    }
}

/// Returns the names that rules give to fields, each with its key; the renamed fields come first.
fn names(rules: &mut Rules) -> Vec<(String, &mut String)> {
    let renamed = rules.rename.iter_mut().map(|(path, name)| (format!("rename.{path}"), name));
    let constant = rules.constant.iter_mut().map(|(name, _)| (format!("constant.{name}"), name));
    let metadata = rules.metadata.iter_mut().map(|(name, _)| (format!("metadata.{name}"), name));
    renamed.chain(constant).chain(metadata).collect()
}

/// Shortens a name that has more than `longest` bytes: as much of its beginning as fits, `~`, and eight
/// digits of its SHA-256.
pub(super) fn shorten(name: &mut String, longest: Option<usize>) {
    if let Some(longest) = longest
        && name.len() > longest
    {
        let hash = hex(&Sha256::digest(name.as_bytes())[..DIGITS / 2]);
        let room = longest.saturating_sub(MARK.len() + DIGITS);
        let end = (0..=room).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name.truncate(end);
        name.push_str(MARK);
        name.push_str(&hash);
    }
}
