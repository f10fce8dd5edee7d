//! Formats durations, numbers, rates and sparklines for people.

use std::time::Duration;

/// Formats a duration in its two largest units: `3 s`, `2 min 5 s`, `1 d 4 h`.
#[must_use]
pub fn span(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{} ms", duration.as_millis());
    }
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).expect("at least a second");
    let (unit, name) = UNITS[first];
    let rest = UNITS
        .get(first + 1)
        .map(|(smaller, name)| (seconds % unit / smaller, name))
        .filter(|(count, _)| *count > 0);
    match rest {
        Some((count, smaller)) => format!("{} {name} {count} {smaller}", seconds / unit),
        None => format!("{} {name}", seconds / unit),
    }
}

/// Formats a number with commas between the thousands.
#[must_use]
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(std::str::from_utf8(group).expect("digits"));
    }
    text
}

/// Formats messages per second, or per minute or hour if they are few, with two or three digits.
#[must_use]
pub fn rate(per_second: f64) -> String {
    let (value, unit) = [(1.0, "s"), (60.0, "min"), (3_600.0, "h")]
        .into_iter()
        .map(|(seconds, unit)| (per_second * seconds, unit))
        .find(|(value, unit)| *value >= 1.0 || *unit == "h")
        .expect("the last unit always fits");
    if value >= 10.0 { format!("{value:.0}/{unit}") } else { format!("{value:.1}/{unit}") }
}

/// Returns a block for each value, in proportion to the largest; a space for 0, and a dot for an unknown
/// value.
#[must_use]
pub fn sparkline(values: impl IntoIterator<Item = Option<u64>>) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values: Vec<_> = values.into_iter().collect();
    let most = values.iter().flatten().copied().max().unwrap_or(0);
    let block = |value: u64| {
        let eighth = u128::from(value) * 8 / u128::from(most.max(1));
        BLOCKS[usize::try_from(eighth).unwrap_or(8).clamp(1, 8) - 1]
    };
    values
        .into_iter()
        .map(|value| value.map_or('·', |value| if value == 0 { ' ' } else { block(value) }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        let table = [
            (0, "0 ms"),
            (59, "59 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (3_600, "1 h"),
            (3_661, "1 h 1 min"),
            (100_000, "1 d 3 h"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_millis(15)), "15 ms");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (value, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn rates_are_shown_in_a_fitting_unit() {
        for (per_second, text) in [
            (174_000.4, "174000/s"),
            (12.34, "12/s"),
            (1.26, "1.3/s"),
            (0.5, "30/min"),
            (0.001, "3.6/h"),
            (0.0, "0.0/h"),
        ] {
            assert_eq!(rate(per_second), text);
        }
    }

    #[test]
    fn a_sparkline_is_proportional_to_its_values() {
        assert_eq!(sparkline([Some(0), Some(1), Some(50), Some(100), None]), " ▁▄█·");
        assert_eq!(sparkline([Some(0), Some(0)]), "  ");
        assert_eq!(sparkline([Some(u64::MAX), Some(1)]), "█▁");
    }
}
