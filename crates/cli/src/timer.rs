//! What systemd knows of the units of a configuration, asked over D-Bus by busctl(1): a client of our own
//! would be as large as all the rest of a command that is run now and then.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use x_msrv_core::NAME;
use x_msrv_history::status::Timer;

/// Where the configurations are that have units.
pub const SYSTEM: &str = "/etc/x-msrv";

/// Whether a configuration of this name can have units: it is part of their names as it is (systemd.unit(5)).
#[must_use]
pub fn can_be_instance(name: &str) -> bool {
    const LONGEST: usize = 255 - "x-msrv@.service.d".len();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || ":-_.@".contains(letter);
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(allowed)
}

/// The units by a configuration's name, as `systemd/` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// Without a suffix: `x-msrv`, or `x-msrv@NAME`.
    name: String,
}

/// The moment of the question, by both clocks that systemd counts by.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time of day.
    pub realtime: SystemTime,
    /// `CLOCK_MONOTONIC`, since boot.
    pub monotonic: Duration,
}

impl Now {
    /// As it is.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the edge: what is shown to people is told from now on")]
    pub fn take() -> Self {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic = Duration::try_from(monotonic).unwrap_or_default();
        Self { realtime: SystemTime::now().max(SystemTime::UNIX_EPOCH), monotonic }
    }
}

impl Units {
    /// Those of a system's configuration; none belong to a file elsewhere.
    #[must_use]
    pub fn of(configuration: &Path) -> Option<Self> {
        let name = configuration.file_stem()?.to_str()?;
        let is_system_s = configuration.parent() == Some(Path::new(SYSTEM));
        is_system_s
            .then(|| Self { name: if name == NAME { name.to_owned() } else { format!("x-msrv@{name}") } })
    }

    /// The timer's name.
    #[must_use]
    pub fn timer(&self) -> String {
        format!("{}.timer", self.name)
    }

    /// Asks systemd. Returns `None` where the system was not booted by it, or where it has no such timer.
    ///
    /// # Errors
    /// It does not answer; in words for a person.
    pub fn ask(&self, now: Now) -> Result<Option<Timer>, String> {
        // As sd_booted(3) does.
        if !Path::new("/run/systemd/system").is_dir() {
            return Ok(None);
        }
        let (timer, service) = (self.timer(), self.service());
        let [load_state, active, unit_file_state] =
            properties(&timer, "Unit", ["LoadState", "ActiveState", "UnitFileState"])?;
        if load_state != "loaded" {
            return Ok(None);
        }
        let moments = ["LastTriggerUSec", "NextElapseUSecRealtime", "NextElapseUSecMonotonic"];
        let [last, next_realtime, next_monotonic] = properties(&timer, "Timer", moments)?;
        let [running] = properties(&service, "Unit", ["ActiveState"])?;
        let [result] = properties(&service, "Service", ["Result"])?;
        Ok(Some(Timer {
            unit: timer,
            is_active: active == "active",
            unit_file_state,
            is_running: running == "activating" || running == "active" || running == "deactivating",
            failure: Some(result).filter(|result| result != "success"),
            last: by_realtime(&last),
            next: next(now, &next_realtime, &next_monotonic),
        }))
    }

    /// Asks systemd for settings of the service.
    ///
    /// # Errors
    /// As with [`ask`](Self::ask).
    pub fn service_properties<const COUNT: usize>(
        &self,
        names: [&str; COUNT],
    ) -> Result<[String; COUNT], String> {
        properties(&self.service(), "Service", names)
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> String {
        format!("{}.service", self.name)
    }
}

/// Microseconds; 0 and the largest number stand for none (`src/core/timer.c`).
fn micros(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|micros| ![0, u64::MAX].contains(micros)).map(Duration::from_micros)
}

fn by_realtime(text: &str) -> Option<SystemTime> {
    micros(text).and_then(|since_epoch| SystemTime::UNIX_EPOCH.checked_add(since_epoch))
}

/// The earlier of the two moments.
fn next(now: Now, realtime: &str, monotonic: &str) -> Option<SystemTime> {
    let monotonic = micros(monotonic)
        .and_then(|since_boot| now.realtime.checked_add(since_boot.saturating_sub(now.monotonic)));
    [by_realtime(realtime), monotonic].into_iter().flatten().min()
}

fn properties<const COUNT: usize>(
    unit: &str,
    interface: &str,
    names: [&str; COUNT],
) -> Result<[String; COUNT], String> {
    let mut busctl = Command::new("busctl");
    busctl.args(["--system", "--timeout=2", "get-property", "org.freedesktop.systemd1", &object_path(unit)]);
    busctl.arg(format!("org.freedesktop.systemd1.{interface}")).args(names).stdin(Stdio::null());
    let output = busctl.output().map_err(|error| format!("systemd cannot be asked by busctl: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("systemd does not answer: {}", said.trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let values: Vec<String> = text.lines().filter_map(value).collect();
    values.try_into().map_err(|_| format!("systemd answers in a way that is not understood: {text:?}"))
}

/// The value in a line such as `t 42` or `s "active"`.
fn value(line: &str) -> Option<String> {
    let (_type, value) = line.split_once(' ')?;
    Some(value.trim_matches('"').to_owned())
}

/// A unit's object: what is no letter or digit is written as its code (`bus_label_escape` in
/// `src/basic/bus-label.c`, where a digit in front counts as such, but ours begin with a letter).
fn object_path(unit: &str) -> String {
    let escaped = unit.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("_{byte:02x}") }
    });
    format!("/org/freedesktop/systemd1/unit/{}", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_the_units_of_its_name_and_one_elsewhere_has_none() {
        let timer = |path: &str| Units::of(Path::new(path)).map(|units| units.timer());
        assert_eq!(timer("/etc/x-msrv/x-msrv.yml").as_deref(), Some("x-msrv.timer"));
        assert_eq!(timer("/etc/x-msrv/orders.toml").as_deref(), Some("x-msrv@orders.timer"));
        assert_eq!(timer("/home/x-msrv.yml"), None);
    }

    #[test]
    fn the_next_run_is_the_earlier_moment_by_either_clock() {
        let now = Now {
            realtime: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            monotonic: Duration::from_secs(50),
        };
        let none = u64::MAX.to_string();
        let seconds = |realtime: &str, monotonic: &str| {
            next(now, realtime, monotonic)
                .map(|at| at.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs())
        };
        assert_eq!(seconds("0", &none), None);
        assert_eq!(seconds("0", "57000000"), Some(1_007));
        assert_eq!(seconds("1005000000", "57000000"), Some(1_005));
        assert_eq!(seconds("0", "40000000"), Some(1_000), "it is over, and due now");
    }

    #[test]
    fn answers_are_read_as_busctl_writes_them() {
        assert_eq!(value("s \"active\"").as_deref(), Some("active"));
        assert_eq!(value("t 18446744073709551615").as_deref(), Some("18446744073709551615"));
        assert_eq!(value("s \"\"").as_deref(), Some(""));
        assert_eq!(
            object_path("x-msrv@a.b.timer"),
            "/org/freedesktop/systemd1/unit/x_2dmsrv_40a_2eb_2etimer"
        );
    }
}
