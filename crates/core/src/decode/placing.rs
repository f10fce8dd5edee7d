//! What fields of a message tell its store beside what is stored: which set the record goes to, and how long
//! it lives.

use std::{num::NonZeroU32, sync::Arc};

use super::{Rejection, find};
use crate::record::{Fields, Value};

/// Which of these are told by a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placing {
    /// The set.
    pub set: Option<SetRule>,
    /// How long the record lives.
    pub ttl: Option<TtlRule>,
}

/// A field names the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRule {
    /// Which field, by JSON pointer (RFC 6901).
    pub field: String,
    /// The sets that there may be: a store has room for few of them, and none is ever removed.
    pub allowed: Vec<Arc<str>>,
}

/// A field says for how many seconds the record lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TtlRule {
    /// Which field, by JSON pointer (RFC 6901).
    pub field: String,
    /// Whether a message without it is rejected.
    pub is_required: bool,
    /// As long as the store takes.
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
                .ok_or_else(|| fault("names no set that is allowed")),
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

    /// A set for whatever a sender writes there would use up all that a namespace can have, and none of them
    /// ever goes.
    #[test]
    fn a_set_is_one_of_those_that_are_allowed_or_the_message_is_rejected() {
        let rule =
            SetRule { field: "/meta/type".to_owned(), allowed: vec!["orders".into(), "returns".into()] };
        assert_eq!(rule.of(&fields(r#"{"meta":{"type":"returns"}}"#)), Ok("returns".into()));
        for (document, words) in [
            ("{}", "is missing"),
            (r#"{"meta":{"type":"Orders"}}"#, "names no set that is allowed"),
            (r#"{"meta":{"type":""}}"#, "names no set that is allowed"),
            (r#"{"meta":{"type":7}}"#, "is not text"),
            (r#"{"meta":{"type":null}}"#, "is not text"),
        ] {
            let rejection = rule.of(&fields(document)).expect_err(document);
            assert_eq!(
                (rejection.reason(), rejection.to_string()),
                ("no-set", format!("the field /meta/type of the set {words}"))
            );
        }
    }

    #[test]
    fn a_ttl_is_whole_seconds_that_the_store_takes_or_the_message_is_rejected() {
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
                ("no-ttl", format!("the field /ttl of the TTL {words}"))
            );
        }
        for document in ["{}", r#"{"ttl":null}"#] {
            assert_eq!(rule(false).of(&fields(document)), Ok(None), "{document}: the configured one");
        }
        rule(false).of(&fields(r#"{"ttl":"soon"}"#)).expect_err("one that is there has to be right");
    }
}
