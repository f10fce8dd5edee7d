//! Timestamps, and the parts of their names. Pure.

use std::fmt;

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 24 * 3600;

/// A point in time in UTC, in nanoseconds since the epoch: the years 1677 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// The parts of a date in the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) day_of_year: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) nanos: i64,
}

impl Timestamp {
    /// Returns the time this many seconds after the epoch, if it can be represented.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        seconds.checked_mul(NANOS).map(Self)
    }

    pub(crate) fn parts(self) -> Parts {
        let (seconds, nanos) = (self.0.div_euclid(NANOS), self.0.rem_euclid(NANOS));
        let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        // Years that start in March have the leap day at their end; 400 of them have 146,097 days.
        let since_march = days + 719_468;
        let (era, of_era) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year = if month <= 2 { of_year - 306 + 1 } else { of_year + 60 + i64::from(is_leap) };
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        Parts { year, month, day, day_of_year, hour, minute, second, nanos }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, with as many decimals of the second as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { year, month, day, hour, minute, second, nanos, .. } = self.parts();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match nanos {
            0 => {}
            _ if nanos % 1_000_000 == 0 => write!(f, ".{:03}", nanos / 1_000_000)?,
            _ if nanos % 1_000 == 0 => write!(f, ".{:06}", nanos / 1_000)?,
            _ => write!(f, ".{nanos:09}")?,
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    /// Handwritten date code failed on leap days, the ends of years and centuries, and times before the
    /// epoch.
    #[test]
    fn dates_agree_with_the_library_and_with_the_calendar() {
        for day in (0..150_000).step_by(7).chain([11_016, 11_017, 47_540, 47_541]) {
            let at = day * DAY + day % DAY;
            if let Some(moment) = Timestamp::from_seconds(at) {
                let expected =
                    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at).expect("not negative"));
                assert_eq!(moment.to_string(), humantime::format_rfc3339(expected).to_string());
            }
        }
        for (nanos, text) in [
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (1_500_000, "1970-01-01T00:00:00.001500Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(Timestamp(nanos).to_string(), text);
        }
        let day_of_year = |seconds| Timestamp(seconds * NANOS).parts().day_of_year;
        assert_eq!(
            [0, 59, 60, 365, 789, 790, 1_095].map(|day| day_of_year(day * DAY)),
            [1, 60, 61, 1, 60, 61, 366]
        );
    }
}
