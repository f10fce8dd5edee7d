//! The rules by which fields are chosen and named, and what can be wrong with them before there is any
//! message.

use sha2::{Digest, Sha256};

use super::{hex, selection::Path};
use crate::{
    message::Message,
    record::{Fields, KEY_FIELD, Value},
};

/// Hexadecimal digits of a long name's hash. With 32 bits, of a thousand long names that begin alike two are
/// the same in one case of 8,000.
const DIGITS: usize = 8;

/// What stands between the beginning of a long name and its hash.
const MARK: &str = "~";

/// The rules as they are configured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// These and no others; all where there is none.
    pub include: Option<Vec<Path>>,
    /// Not these.
    pub exclude: Vec<Path>,
    /// Objects become fields of their own, whose names are joined by this.
    pub flatten: Option<String>,
    /// Names of fields at the top level, and what they become.
    pub rename: Vec<(Path, String)>,
    /// What every record has.
    pub constant: Fields,
    /// What is known of the message, under which names.
    pub metadata: Vec<(String, Metadata)>,
    /// What becomes of names that the store does not take.
    pub on_long_name: OnLongName,
}

impl Rules {
    /// Shortens the names that the rules give, and checks everything that no message is needed for.
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
        // What every record has cannot get the name that another field is given. Of two that are renamed
        // alike, one message may have the one only.
        for (index, (key, name)) in names.iter().enumerate().skip(renamed) {
            if let Some((other, _)) = names[..index].iter().find(|(_, other)| other == name) {
                return Err(RuleFault::new(
                    key,
                    format!("`{name}` is a name that `fields.{other}` gives already"),
                ));
            }
        }
        Ok(())
    }
}

/// Something that is known of a message, whatever its body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum Metadata {
    /// When the queue received it, in milliseconds since 1970, as an integer.
    Timestamp,
    /// How often it was delivered, including this time. A message that is delivered again may change it in
    /// its record.
    Attempts,
    /// Its topic. The embedded queue has no topics: this field is omitted.
    Topic,
    /// Where it came from: topic and nsqd, or the embedded queue.
    Source,
    /// Its id there.
    Id,
}

impl Metadata {
    /// What it is, where the queue tells it.
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

/// What becomes of names that the store does not take because they are too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum OnLongName {
    /// The message is a dead letter.
    #[default]
    Reject,
    /// The name becomes its first 6 bytes (fewer if they would end within a character), `~`, and the first 8
    /// hexadecimal digits of the SHA-256 of the whole name.
    Hash,
}

/// What is wrong with a rule, and at which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// The key below the section.
    pub key: String,
    /// For a person.
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
        return Err(RuleFault::new("include", "the list is empty: without this key all fields are stored"));
    }
    for path in include {
        if let Some(around) = rules.exclude.iter().find(|other| other.leads_to(path)) {
            return Err(RuleFault::new(
                "exclude",
                format!("`{around}` takes away `{path}`, which `fields.include` names"),
            ));
        }
    }
    if rules.flatten.as_ref().is_some_and(String::is_empty) {
        return Err(RuleFault::new("flatten", "is empty, and names would run into each other"));
    }
    Ok(())
}

fn check_renamed(rules: &Rules) -> Result<(), RuleFault> {
    for (index, (path, _)) in rules.rename.iter().enumerate() {
        let fault = |fault: &str| Err(RuleFault::new(format!("rename.{path}"), fault));
        if path.top().is_none() {
            return fault(
                "is inside of an object, and fields are renamed at the top level; with `flatten` by the joined name, without a slash in front",
            );
        }
        if rules.rename[..index].iter().any(|(other, _)| other == path) {
            return fault("stands twice, as a name and as a JSON pointer");
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("a name is empty".to_owned()),
        KEY_FIELD => Err(format!("`{KEY_FIELD}` is kept for the record's key")),
        _ => Ok(()),
    }
}

/// The names that rules give to fields, each with the key that it stands at; those of renamed fields are the
/// first.
fn names(rules: &mut Rules) -> Vec<(String, &mut String)> {
    let renamed = rules.rename.iter_mut().map(|(path, name)| (format!("rename.{path}"), name));
    let constant = rules.constant.iter_mut().map(|(name, _)| (format!("constant.{name}"), name));
    let metadata = rules.metadata.iter_mut().map(|(name, _)| (format!("metadata.{name}"), name));
    renamed.chain(constant).chain(metadata).collect()
}

/// Makes a name fit that has more than `longest` bytes: as much of its beginning as there is room for, and
/// behind `~` eight digits of its SHA-256.
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
