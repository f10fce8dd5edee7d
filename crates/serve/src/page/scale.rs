//! Maps numbers, durations and times to positions on an axis, and chooses a few round ticks.

use std::time::{Duration, SystemTime};

use x_msrv_history::words::{number, span};

/// A duration, or a time since the epoch. At the resolution of the history, a microsecond, it is exact for
/// centuries.
pub(super) type Seconds = f64;

/// Returns the seconds since the epoch.
pub(super) fn seconds(time: SystemTime) -> Seconds {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A position on an axis, from 0 to 1, and its label.
pub(super) type Tick = (f64, String);

/// An axis from 0 to a round number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    step: u64,
    top: u64,
}

/// The most intervals between ticks of a linear axis.
const STEPS: u64 = 4;

impl Linear {
    pub(super) fn up_to(most: u64) -> Self {
        let wanted = most.max(1).div_ceil(STEPS);
        let powers = std::iter::successors(Some(1_u64), |power| power.checked_mul(10));
        let step = powers
            .flat_map(|power| [1, 2, 5].map(|digit| power.saturating_mul(digit)))
            .find(|step| *step >= wanted);
        let step = step.unwrap_or(wanted);
        Self { step, top: most.max(1).div_ceil(step).saturating_mul(step) }
    }

    #[expect(clippy::cast_precision_loss, reason = "a position on the screen")]
    pub(super) fn place(self, value: u64) -> f64 {
        value as f64 / self.top as f64
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        (0..=self.top / self.step)
            .map(|index| (self.place(index * self.step), short_number(index * self.step)))
            .collect()
    }
}

/// Formats a number with as many digits as fit into a label: `1,500`, `12k`, `1.5M`.
fn short_number(value: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match UNITS.into_iter().find(|(unit, _)| value >= 10_000 && value >= *unit) {
        None => number(value),
        Some((unit, name)) => match value % unit * 10 / unit {
            0 => format!("{}{name}", number(value / unit)),
            tenths => format!("{}.{tenths}{name}", value / unit),
        },
    }
}

/// A logarithmic axis of durations: 15 ms can be read on it beside 10 s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logarithmic {
    least: f64,
    most: f64,
}

/// The durations that can have a tick.
const ROUND: [Seconds; 11] =
    [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 36_000.0, 864_000.0, 8_640_000.0];

/// Shorter durations are not distinguished.
const SHORTEST: Seconds = 0.001;

impl Logarithmic {
    /// Creates an axis with some margin on both sides.
    pub(super) fn between(least: Seconds, most: Seconds) -> Self {
        Self { least: (least.max(SHORTEST) / 2.0).ln(), most: (most.max(SHORTEST) * 2.0).ln() }
    }

    pub(super) fn place(self, duration: Seconds) -> f64 {
        (duration.max(SHORTEST).ln() - self.least) / (self.most - self.least)
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        let mut ticks = Vec::new();
        for duration in ROUND {
            let place = self.place(duration);
            if (0.0..=1.0).contains(&place) {
                ticks.push((place, span(Duration::from_secs_f64(duration))));
            }
        }
        ticks
    }
}

/// Formats a duration with two or three digits: `3.7 ms`, `15 ms`, `1.9 s`, `2 min 5 s`.
pub(super) fn short_duration(duration: Seconds) -> String {
    match duration * 1e3 {
        millis if millis < 9.95 => format!("{millis:.1} ms"),
        millis if millis < 999.5 => format!("{millis:.0} ms"),
        millis if millis < 9_950.0 => format!("{duration:.1} s"),
        _ => span(Duration::from_secs_f64(duration.round())),
    }
}

/// Formats date and time in UTC.
pub(super) fn stamp(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    format!("{} {}", &text[..10], &text[11..19])
}

/// Formats date and time without the year, and optionally without seconds.
pub(super) fn short_stamp(time: SystemTime, with_seconds: bool) -> String {
    let stamp = stamp(time);
    format!("{} {}", date(&stamp), &stamp[11..if with_seconds { 19 } else { 16 }])
}

/// Returns `20 Nov` from a stamp.
fn date(stamp: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month: usize = stamp[5..7].parse().expect("a month");
    format!("{} {}", stamp[8..10].trim_start_matches('0'), MONTHS[month - 1])
}

/// The time axis, which all charts share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) from: Seconds,
    pub(super) until: Seconds,
}

/// The possible seconds between ticks; beyond them, whole weeks.
const STEPS_OF_TIME: [u64; 19] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, DAY, 2 * DAY];
const DAY: u64 = 86_400;
const WEEK: u64 = 7 * DAY;

/// A tick on the time axis.
#[derive(Debug, PartialEq)]
pub(super) struct TimeTick {
    pub(super) place: f64,
    /// `None` if there is no room for it.
    pub(super) label: Option<String>,
    /// Whether there is room for its label even on a phone.
    pub(super) is_main: bool,
}

impl Times {
    pub(super) fn length(self) -> Seconds {
        (self.until - self.from).max(SHORTEST)
    }

    /// Returns the position, always from 0 to 1, even if the clock was wrong.
    pub(super) fn place(self, time: Seconds) -> f64 {
        ((time - self.from) / self.length()).clamp(0.0, 1.0)
    }

    /// Returns the smallest round number of seconds that fits at most `most` times.
    pub(super) fn round_seconds(self, most: u32) -> u64 {
        let wanted = whole((self.length() / f64::from(most)).ceil());
        STEPS_OF_TIME.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| wanted.div_ceil(WEEK) * WEEK)
    }

    pub(super) fn ticks(self) -> Vec<TimeTick> {
        const MOST: u32 = 8;
        let step = self.round_seconds(MOST);
        // Where a label has room on both sides, even on a phone: the unit is on the left. A label with
        // seconds is longer.
        let room = if step < 60 { 0.12..0.92 } else { 0.065..0.96 };
        // Weeks are counted from the first Monday.
        let origin = if step.is_multiple_of(WEEK) { 4 * DAY } else { 0 };
        let mut index = whole(self.from.ceil()).saturating_sub(origin).div_ceil(step);
        let mut ticks = Vec::new();
        while origin + index * step <= whole(self.until) {
            let second = origin + index * step;
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            let place = self.place(seconds(time));
            let label = room.contains(&place).then(|| label(time, second, step));
            ticks.push(TimeTick { place, label, is_main: index % 2 == 0 });
            index += 1;
        }
        ticks
    }
}

/// Rounds down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times since the epoch are positive, and far from the end"
)]
pub(super) fn whole(seconds: Seconds) -> u64 {
    seconds as u64
}

fn label(time: SystemTime, seconds: u64, step: u64) -> String {
    let stamp = stamp(time);
    match (seconds % DAY, step) {
        (0, _) => date(&stamp),
        (_, ..60) => stamp[11..].to_owned(),
        _ => stamp[11..16].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Seconds {
        seconds(humantime::parse_rfc3339(text).expect("a time"))
    }

    #[test]
    fn ticks_are_round_numbers_and_all_values_fit() {
        let table: [(u64, &[&str]); 7] = [
            (0, &["0", "1"]),
            (1, &["0", "1"]),
            (7, &["0", "2", "4", "6", "8"]),
            (10, &["0", "5", "10"]),
            (1_234, &["0", "500", "1,000", "1,500"]),
            (70_000, &["0", "20k", "40k", "60k", "80k"]),
            (1_400_000, &["0", "500k", "1M", "1.5M"]),
        ];
        for (most, expected) in table {
            let ticks = Linear::up_to(most).ticks();
            assert_eq!(ticks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(), expected, "{most}");
            assert!(Linear::up_to(most).place(most) <= 1.0);
        }
        let most = Linear::up_to(u64::MAX);
        assert!(most.place(u64::MAX) <= 1.0 && most.ticks().len() <= 6, "{most:?}");
    }

    #[test]
    fn milliseconds_and_seconds_are_distinguishable_on_one_axis() {
        let scale = Logarithmic::between(0.015, 10.0);
        let ticks: Vec<_> = scale.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(ticks, ["10 ms", "100 ms", "1 s", "10 s"]);
        let [short, long] = [0.015, 10.0].map(|duration| scale.place(duration));
        assert!((0.05..0.2).contains(&short) && (0.8..0.95).contains(&long), "{short} {long}");
        let same = Logarithmic::between(0.0, 0.0);
        assert!((same.place(0.0) - 0.5).abs() < 1e-9, "{same:?}");
        let days = Logarithmic::between(0.003, 864_000.0);
        assert!(days.ticks().len() <= 10, "{:?}", days.ticks());
    }

    #[test]
    fn durations_have_two_or_three_digits() {
        let table = [
            (0.000_04, "0.0 ms"),
            (0.003_7, "3.7 ms"),
            (0.015_2, "15 ms"),
            (0.999_4, "999 ms"),
            (1.9, "1.9 s"),
            (12.4, "12 s"),
        ];
        for (duration, text) in table {
            assert_eq!(short_duration(duration), text);
        }
    }

    fn labels(from: &str, until: &str) -> Vec<String> {
        let times = Times { from: at(from), until: at(until) };
        times.ticks().into_iter().filter_map(|tick| tick.label).collect()
    }

    #[test]
    fn times_have_round_ticks_and_the_date_at_midnight() {
        let day = labels("2026-11-20T13:10:00Z", "2026-11-21T13:10:00Z");
        assert_eq!(day, ["15:00", "18:00", "21:00", "21 Nov", "03:00", "06:00", "09:00", "12:00"]);
        let seconds = labels("2026-11-20T13:10:00.2Z", "2026-11-20T13:10:08Z");
        assert_eq!(seconds, ["13:10:02", "13:10:03", "13:10:04", "13:10:05", "13:10:06", "13:10:07"]);
        let month = labels("2026-11-05T01:00:00Z", "2026-12-05T01:00:00Z");
        assert_eq!(month, ["9 Nov", "16 Nov", "23 Nov", "30 Nov"]);
        let years = labels("2016-11-20T00:00:00Z", "2026-11-20T00:00:00Z");
        assert!((4..=8).contains(&years.len()), "{years:?}");
    }

    #[test]
    fn times_outside_the_axis_are_at_its_edge() {
        let times = Times { from: at("2026-11-20T13:00:00Z"), until: at("2026-11-20T14:00:00Z") };
        let places = ["2000-01-01T00:00:00Z", "2026-11-20T13:30:00Z", "2030-01-01T00:00:00Z"]
            .map(|time| format!("{:.1}", times.place(at(time))));
        assert_eq!(places, ["0.0", "0.5", "1.0"]);
        let moment = Times { from: times.from, until: times.from };
        assert_eq!((moment.place(times.from), moment.place(times.until)), (0.0, 1.0));
    }
}
