//! The state of the units of a configuration, queried with systemctl(1). A D-Bus client would be as large as
//! the rest of the command, which is run rarely.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use crate::config::SYSTEM;
use x_msrv_core::NAME;
use x_msrv_history::status::Timer;

/// The units of a configuration, as in `systemd/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// Without a suffix: `x-msrv`, or `x-msrv@NAME`.
    name: String,
}

/// The current time, on both clocks that systemd uses.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time of day.
    pub realtime: SystemTime,
    /// `CLOCK_MONOTONIC`, since boot.
    pub monotonic: Duration,
}

impl Now {
    /// Returns the current time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the edge: times shown to the user are relative to now")]
    pub fn take() -> Self {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic = Duration::try_from(monotonic).unwrap_or_default();
        Self { realtime: SystemTime::now().max(SystemTime::UNIX_EPOCH), monotonic }
    }
}

impl Units {
    /// Returns the units of a system configuration; `None` for a file elsewhere.
    #[must_use]
    pub fn of(configuration: &Path) -> Option<Self> {
        let name = configuration.file_stem()?.to_str()?;
        let is_system_s = configuration.parent() == Some(Path::new(SYSTEM));
        is_system_s
            .then(|| Self { name: if name == NAME { name.to_owned() } else { format!("x-msrv@{name}") } })
    }

    /// Returns the name of the timer.
    #[must_use]
    pub fn timer(&self) -> String {
        format!("{}.timer", self.name)
    }

    /// Queries systemd for the timer and its service. Returns `None` if the system was not booted with
    /// systemd or has no such timer.
    ///
    /// # Errors
    /// systemd does not answer; the error is text for the user.
    pub fn ask(&self, now: Now) -> Result<Option<Timer>, String> {
        const PROPERTIES: [&str; 8] = [
            "LoadState",
            "ActiveState",
            "UnitFileState",
            "LastTriggerUSec",
            "LastTriggerUSecMonotonic",
            "NextElapseUSecRealtime",
            "NextElapseUSecMonotonic",
            "Result",
        ];
        // As sd_booted(3) does.
        if !Path::new("/run/systemd/system").is_dir() {
            return Ok(None);
        }
        let [timer, service] = show([&self.timer(), &self.service()], &PROPERTIES)?;
        Ok(known(self.timer(), &timer, &service, now))
    }

    /// Queries systemd for properties of the service. Unknown properties are missing from the answer.
    ///
    /// # Errors
    /// As with [`ask`](Self::ask).
    pub fn service_properties(&self, names: &[&str]) -> Result<Properties, String> {
        show([&self.service()], names).map(|[service]| service)
    }

    /// Returns the name of the service.
    #[must_use]
    pub fn service(&self) -> String {
        format!("{}.service", self.name)
    }
}

/// Returns the state of the timer and its service; `None` without a timer.
fn known(unit: String, timer: &Properties, service: &Properties, now: Now) -> Option<Timer> {
    let active = |unit: &Properties| unit.get("ActiveState").to_owned();
    (timer.get("LoadState") == "loaded").then(|| Timer {
        unit,
        is_active: active(timer) == "active",
        unit_file_state: timer.get("UnitFileState").to_owned(),
        is_running: ["activating", "active", "deactivating"].contains(&&*active(service)),
        failure: Some(service.get("Result").to_owned())
            .filter(|result| !["", "success"].contains(&&**result)),
        last: since_boot(now, timer.get("LastTriggerUSecMonotonic"))
            .or_else(|| time_of_day(timer.get("LastTriggerUSec"))),
        next: next(now, timer.get("NextElapseUSecRealtime"), timer.get("NextElapseUSecMonotonic")),
    })
}

/// Returns the earlier of the two times. A time that has passed counts as now.
fn next(now: Now, realtime: &str, monotonic: &str) -> Option<SystemTime> {
    let monotonic = since_boot(now, monotonic).map(|at| at.max(now.realtime));
    [time_of_day(realtime), monotonic].into_iter().flatten().min()
}

/// Parses a time on the clock that counts from boot. systemctl(1) shows it in microseconds, but the time of
/// day only in whole seconds. 0 and the largest number mean none (`src/core/timer.c`).
fn since_boot(now: Now, text: &str) -> Option<SystemTime> {
    let since_boot = timespan(text).filter(|since_boot| !since_boot.is_zero())?;
    now.realtime.checked_sub(now.monotonic)?.checked_add(since_boot)
}

/// Parses a time such as `Sat 2026-11-28 14:00:06 UTC`; an empty text is `None`.
fn time_of_day(text: &str) -> Option<SystemTime> {
    let (_weekday, time) = text.split_once(' ')?;
    humantime::parse_rfc3339_weak(time.strip_suffix(" UTC")?).ok()
}

/// Parses a span such as `5h 1min 5.536721s`; `infinity` is `None` (`format_timespan` in
/// `src/basic/time-util.c`).
fn timespan(text: &str) -> Option<Duration> {
    text.split(' ').try_fold(Duration::ZERO, |sum, part| {
        let (count, unit) = part.split_at(part.find(|letter: char| letter.is_ascii_alphabetic())?);
        let seconds = match unit {
            "y" => 31_557_600.0,
            "month" => 2_629_800.0,
            "w" => 604_800.0,
            "d" => 86_400.0,
            "h" => 3_600.0,
            "min" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return None,
        };
        let span = Duration::try_from_secs_f64(count.parse::<f64>().ok()? * seconds).ok()?;
        sum.checked_add(span)
    })
}

/// Properties of a unit, as systemctl(1) shows them.
#[derive(Debug, Default)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Returns the value; an empty text if the unit does not have the property.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Self(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Queries properties of several units in one call. A missing unit has properties too; its `LoadState` is
/// `not-found`.
fn show<const COUNT: usize>(units: [&str; COUNT], names: &[&str]) -> Result<[Properties; COUNT], String> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["--system", "show", &format!("--property={}", names.join(","))]).args(units);
    // The timeout is in seconds. `--timestamp=` does not affect the properties of timers (systemd 252).
    systemctl.env("SYSTEMD_BUS_TIMEOUT", "2").env("TZ", "UTC").stdin(Stdio::null());
    let output = systemctl.output().map_err(|error| format!("cannot run systemctl: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let units: Vec<_> = text.split("\n\n").map(Properties::read).collect();
    let fault = || {
        let message = String::from_utf8_lossy(&output.stderr);
        format!("systemctl show failed: {}", if message.is_empty() { &text } else { &message }.trim())
    };
    if output.status.success() { units.try_into().map_err(|_| fault()) } else { Err(fault()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_system_configuration_has_units_and_they_have_its_name() {
        let timer = |path: &str| Units::of(Path::new(path)).map(|units| units.timer());
        assert_eq!(timer("/etc/x-msrv/x-msrv.yml").as_deref(), Some("x-msrv.timer"));
        assert_eq!(timer("/etc/x-msrv/orders.toml").as_deref(), Some("x-msrv@orders.timer"));
        assert_eq!(timer("/home/x-msrv.yml"), None);
    }

    fn now() -> Now {
        Now {
            realtime: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            monotonic: Duration::from_secs(50),
        }
    }

    #[test]
    fn the_next_run_is_the_earlier_time_of_both_clocks() {
        let seconds = |realtime: &str, monotonic: &str| {
            next(now(), realtime, monotonic)
                .map(|at| at.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs())
        };
        let at_1005 = "Thu 1970-01-01 00:16:45 UTC";
        assert_eq!(seconds("", "infinity"), None);
        assert_eq!(seconds("", "0"), None);
        assert_eq!(seconds("", "57s"), Some(1_007));
        assert_eq!(seconds(at_1005, "57s"), Some(1_005));
        assert_eq!(seconds(at_1005, "infinity"), Some(1_005));
        assert_eq!(seconds("", "40s"), Some(1_000), "a time that has passed is due now");
    }

    /// After a month of uptime, spans have units whose length systemd defines.
    #[test]
    fn time_spans_of_systemctl_are_parsed() {
        for (text, span) in [
            ("0", None),
            ("infinity", None),
            ("", None),
            ("500us", Some(Duration::from_micros(500))),
            ("1.500ms", Some(Duration::from_micros(1_500))),
            ("5h 1min 5.536721s", Some(Duration::from_micros(18_065_536_721))),
            ("1y 1month 1w 1d", Some(Duration::from_secs(31_557_600 + 2_629_800 + 604_800 + 86_400))),
        ] {
            assert_eq!(timespan(text), span, "{text}");
        }
    }

    /// With `LastTriggerUSec`, which has whole seconds, a period of ten seconds can look like eleven.
    #[test]
    fn the_state_of_a_timer_is_parsed_to_the_microsecond() {
        // systemd 252.
        const SHOWN: &str = "NextElapseUSecRealtime=\nNextElapseUSecMonotonic=1min 5.536721s\n\
            LastTriggerUSec=Thu 1970-01-01 00:16:35 UTC\nLastTriggerUSecMonotonic=45.524093s\nResult=success\n\
            LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n\
            Result=oom-kill\nLoadState=loaded\nActiveState=activating\nUnitFileState=static\n";
        let [timer, service] =
            SHOWN.split("\n\n").map(Properties::read).collect::<Vec<_>>().try_into().expect("two");
        let at = |micros| Some(SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
        let expected = Timer {
            unit: "x-msrv.timer".to_owned(),
            is_active: true,
            unit_file_state: "enabled".to_owned(),
            is_running: true,
            failure: Some("oom-kill".to_owned()),
            last: at(995_524_093),
            next: at(1_015_536_721),
        };
        assert_eq!(known("x-msrv.timer".to_owned(), &timer, &service, now()), Some(expected));
        // After a boot, only the time of day of the last start is known for a timer with `Persistent=`.
        let persistent = Properties::read(
            "LoadState=loaded\nLastTriggerUSec=Thu 1970-01-01 00:16:35 UTC\nLastTriggerUSecMonotonic=0\n",
        );
        let timer = known("x-msrv.timer".to_owned(), &persistent, &service, now()).expect("a timer");
        assert_eq!(timer.last, at(995_000_000));
        assert_eq!(known(String::new(), &Properties::read("LoadState=not-found\n"), &service, now()), None);
    }
}
