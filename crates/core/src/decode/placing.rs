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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{BigIntegers, parse_object};

    fn fields(document: &str) -> Fields {
        parse_object(document.as_bytes(), BigIntegers::Text).expect(document)
    }

    /// A new set for any value that a sender writes would use up the limited sets of a namespace, and sets
    /// are never removed.
    #[test]
    fn a_message_whose_set_is_not_allowed_is_rejected() {
        let rule =
            SetRule { field: "/meta/type".to_owned(), allowed: vec!["orders".into(), "returns".into()] };
        assert_eq!(rule.of(&fields(r#"{"meta":{"type":"returns"}}"#)), Ok("returns".into()));
        for (document, words) in [
            ("{}", "is missing"),
            (r#"{"meta":{"type":"Orders"}}"#, "names a set that is not allowed"),
            (r#"{"meta":{"type":""}}"#, "names a set that is not allowed"),
            (r#"{"meta":{"type":7}}"#, "is not text"),
            (r#"{"meta":{"type":null}}"#, "is not text"),
        ] {
            let rejection = rule.of(&fields(document)).expect_err(document);
            assert_eq!(
                (rejection.reason(), rejection.to_string()),
                ("no-set", format!("the set field /meta/type {words}"))
            );
        }
    }

    #[test]
    fn a_message_whose_ttl_the_store_does_not_accept_is_rejected() {
        let rule = |is_required| TtlRule {
            field: "/ttl".to_owned(),
            is_required,
            longest: NonZeroU32::new(100).expect("not zero"),
        };
        for (document, seconds) in [(r#"{"ttl":1}"#, 1), (r#"{"ttl":100}"#, 100)] {
            assert_eq!(rule(true).of(&fields(document)), Ok(NonZeroU32::new(seconds)));
        }
        for (document, words) in [
            ("{}", "is missing"),
            (r#"{"ttl":null}"#, "is not a whole number of seconds"),
            (r#"{"ttl":0}"#, "is not a number of seconds from 1 to 100"),
            (r#"{"ttl":-1}"#, "is not a number of seconds from 1 to 100"),
            (r#"{"ttl":101}"#, "is not a number of seconds from 1 to 100"),
            (r#"{"ttl":4294967297}"#, "is not a number of seconds from 1 to 100"),
            (r#"{"ttl":1.0}"#, "is not a whole number of seconds"),
            (r#"{"ttl":"1h"}"#, "is not a whole number of seconds"),
        ] {
            let rejection = rule(true).of(&fields(document)).expect_err(document);
            assert_eq!(
                (rejection.reason(), rejection.to_string()),
                ("no-ttl", format!("the TTL field /ttl {words}"))
            );
        }
        for document in ["{}", r#"{"ttl":null}"#] {
            assert_eq!(rule(false).of(&fields(document)), Ok(None), "{document}: the configured one");
        }
        rule(false).of(&fields(r#"{"ttl":"soon"}"#)).expect_err("one that is there has to be right");
    }
}
