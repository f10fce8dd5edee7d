//! Values of options.

use std::{num::NonZeroUsize, time::SystemTime};

use crate::timer::Now;
use x_msrv_settings::duration;

/// Parses a time in the past.
pub(super) fn past(text: &str) -> Result<SystemTime, String> {
    time(text).and_then(|time| {
        if time > Now::take().realtime { Err("the time is in the future".to_owned()) } else { Ok(time) }
    })
}

/// Parses a time or an age.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    const EXPECTED: &str =
        "expected a time in UTC such as 2026-01-31 or 2026-01-31T12:00:00Z, or an age such as 2h";
    let ago = || Now::take().realtime.checked_sub(duration::parse(text)?);
    let day = || humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    let time = humantime::parse_rfc3339_weak(text).ok().or_else(day).or_else(ago);
    time.ok_or_else(|| duration::calendar(text).unwrap_or_else(|| EXPECTED.to_owned()))
}

pub(super) fn at_least_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "expected a whole number of at least 1")
}
