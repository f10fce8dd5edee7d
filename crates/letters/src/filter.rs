//! Filters for dead letters. Pure.

use std::time::SystemTime;

use x_msrv_core::dead_letter::Letter;

/// The conditions on a letter; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Rejected for one of these reasons; an empty list allows any.
    pub reasons: Vec<String>,
    /// Rejected at this time or later.
    pub since: Option<SystemTime>,
    /// Rejected before this time.
    pub until: Option<SystemTime>,
    /// With this message id, either the queue's id or as in [`Letter::full_id`].
    pub id: Option<String>,
    /// Whether it was published again.
    pub replayed: Option<bool>,
    /// From this source; a value that ends with `@` is a prefix.
    pub source: Option<String>,
}

impl Filter {
    /// Returns whether the letter matches. A letter without a valid time matches only if no time is given.
    #[must_use]
    pub fn matches(&self, letter: &Letter) -> bool {
        let time = letter.rejected_at();
        (self.reasons.is_empty() || self.reasons.contains(&letter.reason))
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time.is_some_and(|time| time < until))
            && self.id.as_ref().is_none_or(|id| *id == letter.id || *id == letter.full_id())
            && self.replayed.is_none_or(|replayed| replayed == letter.replayed.is_some())
            && self.source.as_ref().is_none_or(|source| {
                letter.source == *source || source.ends_with('@') && letter.source.starts_with(source)
            })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use x_msrv_core::dead_letter::Body;

    fn letter(reason: &str, time: &str, replayed: Option<&str>) -> Letter {
        Letter {
            replayed: replayed.map(str::to_owned),
            time: time.to_owned(),
            source: "t@h:1".to_owned(),
            id: "0a".to_owned(),
            attempts: Some(1),
            reason: reason.to_owned(),
            detail: String::new(),
            body: Body::Body("{".to_owned()),
        }
    }

    #[test]
    fn a_letter_matches_only_if_all_conditions_hold() {
        let early = letter("not-json", "1970-01-01T00:00:10.000Z", None);
        let late = letter("schema", "1970-01-01T00:00:20.000Z", Some("1970-01-01T00:01:00.000Z"));
        let odd = letter("schema", "yesterday", None);
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let any = Filter::default;
        let table = [
            (any(), [true, true, true]),
            (
                Filter { reasons: vec!["not-json".to_owned(), "too-large".to_owned()], ..any() },
                [true, false, false],
            ),
            (Filter { since: at(20), ..any() }, [false, true, false]),
            (Filter { until: at(20), ..any() }, [true, false, false]),
            (Filter { since: at(10), until: at(11), ..any() }, [true, false, false]),
            (Filter { id: Some("0a".to_owned()), ..any() }, [true, true, true]),
            (Filter { id: Some("0b".to_owned()), ..any() }, [false, false, false]),
            (Filter { id: Some("t@h:1/0a".to_owned()), ..any() }, [true, true, true]),
            (Filter { id: Some("t@h:2/0a".to_owned()), ..any() }, [false, false, false]),
            (Filter { replayed: Some(true), ..any() }, [false, true, false]),
            (Filter { source: Some("t@h:1".to_owned()), ..any() }, [true, true, true]),
            (Filter { source: Some("t@".to_owned()), ..any() }, [true, true, true]),
            (Filter { source: Some("t".to_owned()), ..any() }, [false, false, false]),
            (Filter { source: Some("other@".to_owned()), ..any() }, [false, false, false]),
            (
                Filter { replayed: Some(false), reasons: vec!["schema".to_owned()], ..any() },
                [false, false, true],
            ),
        ];
        for (filter, expected) in table {
            assert_eq!([&early, &late, &odd].map(|letter| filter.matches(letter)), expected, "{filter:?}");
        }
    }
}
