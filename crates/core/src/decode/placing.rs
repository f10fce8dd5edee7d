//! Fields of a message that control how the store keeps it: the set of the record, and its lifetime.

use std::{num::NonZeroU32, sync::Arc};

use super::{Rejection, find};
use crate::record::{Fields, Value};

/// The placing rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placing {
    /// The rule for the set.
    pub set: Option<SetRule>,
    /// The rule for the lifetime.
    pub ttl: Option<TtlRule>,
}

/// A field selects the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRule {
    /// The field, as a JSON pointer (RFC 6901).
    pub field: String,
    /// The allowed sets: a store has room for few of them, and sets are never removed.
    pub allowed: Vec<Arc<str>>,
}

/// A field sets the lifetime of the record in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TtlRule {
    /// The field, as a JSON pointer (RFC 6901).
    pub field: String,
    /// Whether a message without the field is rejected.
    pub is_required: bool,
    /// The longest lifetime that the store accepts.
    pub longest: NonZeroU32,
}

impl SetRule {
    pub(super) fn of(&self, fields: &Fields) -> Result<Arc<str>, Rejection> {
        let fault = |fault| Rejection::NoSet { pointer: self.field.clone(), fault };
        match find(fields, &self.field).ok_or_else(|| fault("is missing"))? {
            Value::Text(name) => self
                .allowed
                .iter()
                .find(|set| ***set == **name)
                .cloned()
                .ok_or_else(|| fault("names a set that is not allowed")),
            _ => Err(fault("is not text")),
        }
    }
}

impl TtlRule {
    pub(super) fn of(&self, fields: &Fields) -> Result<Option<NonZeroU32>, Rejection> {
        let fault = |fault| Err(Rejection::NoTtl { pointer: self.field.clone(), fault });
        match find(fields, &self.field) {
            None | Some(Value::Null) if !self.is_required => Ok(None),
            None => fault("is missing".to_owned()),
            Some(Value::Int(seconds)) => match u32::try_from(*seconds).ok().and_then(NonZeroU32::new) {
                Some(seconds) if seconds <= self.longest => Ok(Some(seconds)),
                _ => fault(format!("is not a number of seconds from 1 to {}", self.longest)),
            },
            Some(_) => fault("is not a whole number of seconds".to_owned()),
        }
    }
}
