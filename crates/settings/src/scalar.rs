//! Scalar values. Environment variables and command-line options are text, so numbers are also parsed from
//! text.

use std::{fmt, num::NonZeroU64, time::Duration};

use crate::{Bounds, Kind, Reader, Setting, Told, Value, duration};

/// A number of bytes, such as `1048576`, `512KiB`, `1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A duration, shown as a user would write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

fn whole(found: &Value, reader: &mut Reader<'_>) -> Option<u64> {
    let number = found.as_u64().or_else(|| found.as_str()?.parse().ok());
    if number.is_none() {
        reader.wrong(found, "a non-negative whole number");
    }
    number
}

fn within(value: u64, bounds: Bounds) -> Result<(), String> {
    let Bounds { min, max } = bounds;
    if value < min {
        Err(format!("{value} is not allowed, at least {min} is required"))
    } else if value > max {
        Err(format!("{value} is too large, at most {max} is allowed"))
    } else {
        Ok(())
    }
}

macro_rules! whole {
    ($type:ty, $value:expr, $min:expr, $max:expr) => {
        impl Setting for $type {
            const KIND: Kind = Kind::Whole;
            const BOUNDS: Bounds = Bounds { min: $min, max: $max };

            fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
                let number = whole(found, reader)?;
                within(number, Self::BOUNDS).map_err(|fault| reader.fault(fault)).ok()?;
                Some(Self::try_from(number).expect("the bounds of its type were checked"))
            }

            fn check(&self, bounds: Bounds) -> Result<(), String> {
                within($value(*self), bounds)
            }

            fn tell(&self, key: &str, told: &mut Told) {
                told.line(key, self);
            }
        }
    };
}

whole!(u64, u64::from, 0, u64::MAX);
whole!(u32, u64::from, 0, u32::MAX as u64);
whole!(u16, u64::from, 0, u16::MAX as u64);
whole!(NonZeroU64, NonZeroU64::get, 1, u64::MAX);

impl Setting for bool {
    const KIND: Kind = Kind::Flag;

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let flag = found.as_bool().or_else(|| found.as_str()?.parse().ok());
        if flag.is_none() {
            reader.wrong(found, "true or false");
        }
        flag
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, self);
    }
}

impl Setting for String {
    const KIND: Kind = Kind::Text;

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(found).map(str::to_owned)
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, self);
    }
}

impl Setting for Duration {
    const KIND: Kind = Kind::Span;
    const BOUNDS: Bounds = Bounds { min: 1, max: Bounds::LONGEST };

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let text = found.as_str();
        let duration = text.and_then(duration::parse);
        match text.and_then(duration::calendar) {
            Some(fault) => reader.fault(fault),
            None if duration.is_none() => {
                reader.wrong(found, "a duration with a unit, such as 2s, 500ms or 1m 30s");
            }
            None => {}
        }
        duration
    }

    fn check(&self, Bounds { min, max }: Bounds) -> Result<(), String> {
        let nanos = u64::try_from(self.as_nanos()).unwrap_or(u64::MAX);
        if (min..=max).contains(&nanos) {
            return Ok(());
        }
        let least = if min <= 1 { String::new() } else { format!("{} ", Span(Duration::from_nanos(min))) };
        let from = match min {
            0 => "from 0s to",
            1 => "more than 0s and at most",
            _ => "at least",
        };
        let to = if min > 1 { "and at most " } else { "" };
        let most = match max {
            Bounds::LONGEST => "365 days".to_owned(),
            max => Span(Duration::from_nanos(max)).to_string(),
        };
        Err(format!("`{}` is out of range: {from} {least}{to}{most}", Span(*self)))
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, Span(*self));
    }
}

/// Uses no unit longer than a day: 365 days are shown as `365d`, not as months and a remainder.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const UNITS: [(u128, &str); 7] = [
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        let mut left = self.0.as_nanos();
        if left == 0 {
            return f.write_str("0s");
        }
        let mut gap = "";
        for (size, unit) in UNITS.into_iter().filter(|(size, _)| self.0.as_nanos() >= *size) {
            let (count, rest) = (left / size, left % size);
            if count > 0 {
                write!(f, "{gap}{count}{unit}")?;
                gap = " ";
            }
            left = rest;
        }
        Ok(())
    }
}

impl Setting for Size {
    const KIND: Kind = Kind::Size;

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let size = found.as_u64().or_else(|| bytes(found.as_str()?));
        if size.is_none() {
            reader.wrong(found, "a number of bytes, such as 1048576, 512KiB or 1MiB");
        }
        size.map(Self)
    }

    fn check(&self, Bounds { min, max }: Bounds) -> Result<(), String> {
        match self.0 {
            0 if min == 1 => Err("0 is not allowed, at least 1 is required".to_owned()),
            bytes if (min..=max).contains(&bytes) => Ok(()),
            bytes => Err(format!("{bytes} bytes is out of range: {min} to {}", rounded_size(max))),
        }
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, self.0);
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let factor = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Returns the size in the largest unit that gives a whole number.
#[must_use]
pub fn rounded_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}
