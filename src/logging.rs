//! The log: a constant message with its values behind it, to standard error or to syslog.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    sync::Mutex,
    time::SystemTime,
};

use log::{
    Level, LevelFilter, Log, Metadata, Record,
    kv::{Error, Key, Value, VisitSource},
};
use syslog::{Facility, Formatter3164, LoggerBackend};

use crate::config::{LogSettings, LogTarget};

/// Where lines go, and how they begin.
enum Target {
    /// Standard error is the journal: `<6>` in front, which it takes off and keeps as the priority (sd-daemon(3)).
    Journal,
    /// Standard error is anything else: time and level in front.
    Stderr,
    Syslog(Mutex<syslog::Logger<LoggerBackend, Formatter3164>>),
}

struct Logger(Target);

/// Why logging can't start. Blame: the host has no syslog socket, though one is configured.
#[derive(Debug, thiserror::Error)]
#[error("cannot log to syslog")]
pub struct LoggingError(#[from] syslog::Error);

/// Logs from here on as configured.
///
/// # Errors
/// There is no syslog socket.
pub fn start(settings: LogSettings) -> Result<(), LoggingError> {
    let target = match settings.target {
        LogTarget::Stderr if stderr_is_journal() => Target::Journal,
        LogTarget::Stderr => Target::Stderr,
        LogTarget::Syslog => {
            let process = env!("CARGO_PKG_NAME").to_owned();
            let formatter = Formatter3164 { facility: Facility::LOG_DAEMON, hostname: None, process, pid: std::process::id() };
            // Not the crate's `init`: that falls back to UDP, where every line would be lost in silence.
            Target::Syslog(Mutex::new(syslog::unix(formatter)?))
        }
    };
    if log::set_boxed_logger(Box::new(Logger(target))).is_ok() {
        log::set_max_level(settings.level);
    }
    Ok(())
}

/// The last words of a run that failed: to standard error, and to the log if that is somewhere else.
pub fn fatal(text: &str) {
    let prefix = if stderr_is_journal() { "<3>" } else { "" };
    let text = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    write_stderr(&format!("{prefix}{}: {text}\n", env!("CARGO_PKG_NAME")));
    // The logger of standard error leaves this target to the line above.
    log::error!(target: FATAL, "{text}");
}

const FATAL: &str = "fatal";

/// systemd names the device and inode of the stream that it gave us (systemd.exec(5), `$JOURNAL_STREAM`); standard error may be another by now.
fn stderr_is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let ours = io::stderr().as_fd().try_clone_to_owned().and_then(|descriptor| File::from(descriptor).metadata());
    match (named, ours) {
        (Some(named), Ok(ours)) => named == format!("{}:{}", ours.dev(), ours.ino()),
        _ => false,
    }
}

/// One `write` a line. Where standard error is closed there is nobody left to tell.
fn write_stderr(line: &str) {
    drop(io::stderr().lock().write_all(line.as_bytes()));
}

fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        // Other crates log in their own words what reaches us as an error anyway.
        let ours = record.target().starts_with("x_msrv") || record.target() == FATAL;
        if !self.enabled(record.metadata()) || (!ours && log::max_level() < LevelFilter::Debug) {
            return;
        }
        let text = line(record);
        match &self.0 {
            Target::Journal | Target::Stderr if record.target() == FATAL => {}
            Target::Journal => write_stderr(&format!("<{}>{text}\n", priority(record.level()))),
            Target::Stderr => write_stderr(&format!("{} {:5} {text}\n", now(), record.level())),
            Target::Syslog(logger) => {
                let Ok(mut logger) = logger.lock() else { return };
                let sent = match record.level() {
                    Level::Error => logger.err(text),
                    Level::Warn => logger.warning(text),
                    Level::Info => logger.info(text),
                    Level::Debug | Level::Trace => logger.debug(text),
                };
                if let Err(error) = sent {
                    write_stderr(&format!("cannot log to syslog: {error}\n"));
                }
            }
        }
    }

    fn flush(&self) {}
}

#[expect(clippy::disallowed_methods, reason = "log lines carry the time of day")]
fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(SystemTime::now())
}

fn line(record: &Record) -> String {
    let mut line = Line(record.args().to_string());
    if record.key_values().visit(&mut line).is_err() {
        line.0.push_str(" (some values cannot be shown)");
    }
    // A value may hold anything: a line is one line.
    if line.0.contains(char::is_control) { line.0.replace(char::is_control, " ") } else { line.0 }
}

struct Line(String);

impl<'kvs> VisitSource<'kvs> for Line {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        let key = key.as_str().replace('_', "-");
        if value.is_empty() || value.contains([' ', '"', '=']) || value.contains(char::is_control) {
            write!(self.0, " {key}={value:?}")?;
        } else {
            write!(self.0, " {key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_message_and_its_values_and_never_two_lines() {
        let values =
            [("stop_reason", Value::from("queue-empty")), ("detail", Value::from("a \"b\"\n<3>forged")), ("received", Value::from(3))];
        let record = Record::builder().args(format_args!("run finished")).key_values(&values).build();
        assert_eq!(line(&record), r#"run finished stop-reason=queue-empty detail="a \"b\"\n<3>forged" received=3"#);
    }
}
