//! Durations as users write them. Pure.

use std::time::Duration;

/// Reads a duration such as `2s` or `1m 30s`; days and weeks are the longest units.
///
/// Months and years are refused: they have no fixed length, and `5M` may be meant as minutes. See
/// [`calendar`].
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if calendar(text).is_some() { None } else { humantime::parse_duration(text).ok() }
}

/// Returns the error message for a duration in months or years; `None` for any other text.
#[must_use]
pub fn calendar(text: &str) -> Option<String> {
    let units = text.split(|letter: char| !letter.is_ascii_alphabetic()).find_map(calendar_unit)?;
    humantime::parse_duration(text).ok()?;
    Some(format!(
        "`{text}` is in {units}, which have no fixed length; the longest units are days (d) and weeks (w), and m means minutes"
    ))
}

/// Returns the name of a calendar unit that `humantime` accepts.
fn calendar_unit(word: &str) -> Option<&'static str> {
    match word {
        "M" | "month" | "months" => Some("months"),
        "y" | "yr" | "yrs" | "year" | "years" => Some("years"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise `period: 5M` starts a run every 150 days.
    #[test]
    fn months_and_years_are_refused_and_minutes_are_accepted() {
        for (text, units) in [
            ("5M", "months"),
            ("1d 2months", "months"),
            ("1y", "years"),
            ("2 years", "years"),
            ("1yr", "years"),
        ] {
            assert_eq!(parse(text), None, "{text}");
            assert!(
                calendar(text).is_some_and(|words| words.starts_with(&format!("`{text}` is in {units}, "))),
                "{text}"
            );
        }
        for (text, seconds) in
            [("5m", 300), ("5min", 300), ("1w", 604_800), ("365days", 31_536_000), ("1m 30s", 90)]
        {
            assert_eq!((parse(text), calendar(text)), (Some(Duration::from_secs(seconds)), None), "{text}");
        }
        for text in ["M", "soon", "5", "", "5 May"] {
            assert_eq!((parse(text), calendar(text)), (None, None), "{text}");
        }
    }
}
