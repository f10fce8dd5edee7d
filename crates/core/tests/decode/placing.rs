//! Fields that select the set and the lifetime of a record.

use std::num::NonZeroU32;

use x_msrv_core::decode::{SetRule, TtlRule};

use super::*;

fn placed(placing: Placing, document: &str) -> Result<Record, Rejection> {
    let targets = vec![Target { placing, ..Target::default() }];
    let decoder = Decoder { targets, ..decoder(KeyRule::Message) };
    decoder.decode(&message(document)).map(|routed| routed.record)
}

/// A new set for any value that a sender writes would use up the limited sets of a namespace, and sets
/// are never removed.
#[test]
fn a_message_whose_set_is_not_allowed_is_rejected() {
    let rule = SetRule { field: "/meta/type".to_owned(), allowed: vec!["orders".into(), "returns".into()] };
    let set = |document| {
        let placing = Placing { set: Some(rule.clone()), ttl: None };
        placed(placing, document).map(|record| record.set)
    };
    assert_eq!(set(r#"{"meta":{"type":"returns"}}"#), Ok(Some("returns".into())));
    for (document, words) in [
        ("{}", "is missing"),
        (r#"{"meta":{"type":"Orders"}}"#, "names a set that is not allowed"),
        (r#"{"meta":{"type":""}}"#, "names a set that is not allowed"),
        (r#"{"meta":{"type":7}}"#, "is not text"),
        (r#"{"meta":{"type":null}}"#, "is not text"),
    ] {
        let rejection = set(document).expect_err(document);
        assert_eq!(
            (rejection.reason(), rejection.to_string()),
            ("no-set", format!("the set field /meta/type {words}"))
        );
    }
}

#[test]
fn a_message_whose_ttl_the_store_does_not_accept_is_rejected() {
    let ttl = |is_required, document| {
        let longest = NonZeroU32::new(100).expect("not zero");
        let ttl = Some(TtlRule { field: "/ttl".to_owned(), is_required, longest });
        placed(Placing { set: None, ttl }, document).map(|record| record.ttl)
    };
    for (document, seconds) in [(r#"{"ttl":1}"#, 1), (r#"{"ttl":100}"#, 100)] {
        assert_eq!(ttl(true, document), Ok(NonZeroU32::new(seconds)));
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
        let rejection = ttl(true, document).expect_err(document);
        assert_eq!(
            (rejection.reason(), rejection.to_string()),
            ("no-ttl", format!("the TTL field /ttl {words}"))
        );
    }
    for document in ["{}", r#"{"ttl":null}"#] {
        assert_eq!(ttl(false, document), Ok(None), "{document}: the configured one");
    }
    ttl(false, r#"{"ttl":"soon"}"#).expect_err("an existing field must be valid");
}
