//! The log: a constant message followed by its values, to the journal, to standard error or to syslog.

mod journal;
mod json;

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use journal::Journal;

use log::{
    Level, LevelFilter, Log, Metadata, Record,
    kv::{Error, Key, Value, VisitSource},
};
use sd_notify::NotifyState;
use syslog::{Facility, Formatter3164, LoggerBackend};

use crate::config::{LogFormat, LogSettings, LogTarget};
use x_msrv_core::{NAME, error_chain::one_line};

/// The target of log lines and their format.
enum Target {
    /// Standard error is the journal: each value is also a field of the entry.
    Journal(Journal),
    /// The same if the journal's socket cannot be reached: lines begin with `<6>`, which the journal removes
    /// and uses as the priority (sd-daemon(3)).
    JournalStream,
    /// Standard error is not the journal: lines begin with time and level.
    Stderr,
    /// The same as JSON.
    Json,
    Syslog(Mutex<syslog::Logger<LoggerBackend, Formatter3164>>),
}

struct Logger(Target);

/// The sockets of syslog; the first that exists is used.
const SYSLOG_SOCKETS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// Starts the configured log. If no syslog daemon listens, it logs to standard error: a missing log must not
/// prevent a run.
pub fn start(settings: LogSettings) {
    let (target, fault) = target(settings, &SYSLOG_SOCKETS);
    JSON.store(matches!(target, Target::Json), Ordering::Relaxed);
    if log::set_boxed_logger(Box::new(Logger(target))).is_ok() {
        log::set_max_level(settings.level);
    }
    if let Some(fault) = fault {
        log::warn!(cause = fault; "cannot log to syslog; logging to standard error instead");
    }
}

/// Returns the target, and the fault of syslog if it is configured but cannot be used.
fn target(settings: LogSettings, sockets: &[&str]) -> (Target, Option<String>) {
    let fault = match settings.target {
        LogTarget::Stderr => None,
        LogTarget::Syslog => match syslog(sockets) {
            Ok(logger) => return (Target::Syslog(Mutex::new(logger)), None),
            Err(fault) => Some(fault),
        },
    };
    let target = match journal_behind_stderr() {
        Some(Ok(journal)) => Target::Journal(journal),
        Some(Err(_)) => Target::JournalStream,
        None if settings.format == LogFormat::Json => Target::Json,
        None => Target::Stderr,
    };
    (target, fault)
}

/// Connects to syslog. Not with the `init` of the crate, which falls back to UDP, where every line would be
/// lost silently.
fn syslog(sockets: &[&str]) -> Result<syslog::Logger<LoggerBackend, Formatter3164>, String> {
    for socket in sockets {
        let formatter = Formatter3164 {
            facility: Facility::LOG_DAEMON,
            hostname: None,
            process: NAME.to_owned(),
            pid: std::process::id(),
        };
        if let Ok(logger) = syslog::unix_custom(formatter, socket) {
            return Ok(logger);
        }
    }
    Err(format!("no syslog daemon answers at {}", sockets.join(" or ")))
}

/// Reports the error of a command: to standard error or the journal, and to the log if that is elsewhere.
pub fn fatal(text: &str) {
    let text = one_line(text);
    status(&text);
    let priority = priority(Level::Error);
    match journal_behind_stderr() {
        Some(Ok(journal)) if journal.send(NAME, priority, &text, &[]).is_ok() => journal.flush(),
        Some(_) => write_stderr(&format!("<{priority}>{text}\n")),
        None if is_json() => write_stderr(&json::message(now().to_string(), Level::Error, &text)),
        None => write_stderr(&format!("{NAME}: {text}\n")),
    }
    // The logger of standard error ignores this target, because the line above reports it.
    log::error!(target: FATAL, "{text}");
}

/// Shows what to do next, but only on a terminal: in a log, one error is one line.
pub fn hint(text: &str) {
    if io::stderr().is_terminal() && !is_json() {
        write_stderr(&format!("{NAME}: hint: {text}\n"));
    }
}

/// Reports what a command has done. If standard error is closed, the report is lost, but the command has
/// succeeded.
pub fn say(text: &str) {
    write_stderr(&if is_json() {
        json::message(now().to_string(), Level::Info, text)
    } else {
        format!("{text}\n")
    });
}

/// Whether each line on standard error is a JSON object; set when the configuration is loaded.
static JSON: AtomicBool = AtomicBool::new(false);

fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Returns whether a user watches standard error: it is a terminal that can overwrite a line, and `--quiet`
/// is not set.
#[must_use]
pub fn is_watched() -> bool {
    let can_go_back = std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
    log::max_level() >= LevelFilter::Info && can_go_back && !is_json() && io::stderr().is_terminal()
}

/// Shows a temporary line on the terminal, which the next line replaces; an empty line removes it.
pub fn passing(line: &str) {
    write_stderr(line);
    PASSING.store(!line.is_empty(), Ordering::Relaxed);
}

/// Whether the current line of the terminal is a temporary one.
static PASSING: AtomicBool = AtomicBool::new(false);

/// Moves to the beginning of the line and clears it (ECMA-48 EL).
const CLEAR_LINE: &str = "\r\x1b[K";

/// Sets the status text of the unit for `systemctl status`; without a service manager it does nothing.
pub fn status(text: &str) {
    if let Err(error) = sd_notify::notify(&[NotifyState::Status(text)]) {
        log::debug!(cause = error.to_string(); "cannot notify the service manager");
    }
}

/// Logs warnings of a program that systemd may start before the journal: to the journal, otherwise to the
/// kernel log, otherwise to standard error.
pub fn warn_early(identifier: &str, warnings: &[String]) {
    let priority = priority(Level::Warn);
    let journal = Journal::connect().ok();
    let mut kernel =
        if journal.is_none() { File::options().write(true).open("/dev/kmsg").ok() } else { None };
    for text in warnings.iter().map(|warning| one_line(warning)) {
        let to_journal =
            journal.as_ref().is_some_and(|journal| journal.send(identifier, priority, &text, &[]).is_ok());
        // A record of the kernel log is one `write` (Documentation/ABI/testing/dev-kmsg).
        let record = format!("<{priority}>{identifier}: {text}");
        if !to_journal && kernel.as_mut().is_none_or(|kernel| kernel.write_all(record.as_bytes()).is_err()) {
            write_stderr(&format!("{identifier}: {text}\n"));
        }
    }
}

const FATAL: &str = "fatal";

/// Returns whether standard error is the journal. systemd names the device and inode of the stream that it
/// passed (systemd.exec(5), `$JOURNAL_STREAM`); standard error may have been redirected since.
fn stderr_is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let ours =
        io::stderr().as_fd().try_clone_to_owned().and_then(|descriptor| File::from(descriptor).metadata());
    match (named, ours) {
        (Some(named), Ok(ours)) => named == format!("{}:{}", ours.dev(), ours.ino()),
        _ => false,
    }
}

fn journal_behind_stderr() -> Option<io::Result<Journal>> {
    stderr_is_journal().then(Journal::connect)
}

/// Writes a line in one `write`, replacing a temporary line. If standard error is closed, the line is lost.
fn write_stderr(line: &str) {
    if PASSING.swap(false, Ordering::Relaxed) {
        drop(io::stderr().lock().write_all(format!("{CLEAR_LINE}{line}").as_bytes()));
    } else {
        drop(io::stderr().lock().write_all(line.as_bytes()));
    }
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
        // Errors of other crates are returned and reported anyway. Their warnings are logged only at level
        // debug, their other lines never.
        let ours = record.target().starts_with("x_msrv") || record.target() == FATAL;
        let useful = ours || (record.level() <= Level::Warn && log::max_level() >= LevelFilter::Debug);
        if !self.enabled(record.metadata()) || !useful {
            return;
        }
        let text = line(record);
        match &self.0 {
            Target::Journal(_) | Target::JournalStream | Target::Stderr | Target::Json
                if record.target() == FATAL => {}
            Target::Journal(journal)
                if journal.send(NAME, priority(record.level()), &text, &fields(record)).is_ok() => {}
            // A message that is too large for a datagram, for instance.
            Target::Journal(_) | Target::JournalStream => {
                write_stderr(&format!("<{}>{text}\n", priority(record.level())));
            }
            Target::Stderr => write_stderr(&format!("{} {:5} {text}\n", now(), record.level())),
            Target::Json => write_stderr(&json::record(now().to_string(), record)),
            Target::Syslog(logger) => {
                let Ok(mut logger) = logger.lock() else { return };
                let sent = match record.level() {
                    Level::Error => logger.err(&text),
                    Level::Warn => logger.warning(&text),
                    Level::Info => logger.info(&text),
                    Level::Debug | Level::Trace => logger.debug(&text),
                };
                if let Err(error) = sent {
                    write_stderr(&format!(
                        "{} {:5} {text} (cannot log to syslog: {error})\n",
                        now(),
                        record.level()
                    ));
                }
            }
        }
    }

    fn flush(&self) {
        if let Target::Journal(journal) = &self.0 {
            journal.flush();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "log lines carry the time of day")]
fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(SystemTime::now().max(SystemTime::UNIX_EPOCH))
}

fn line(record: &Record) -> String {
    let mut line = Line(record.args().to_string());
    if record.key_values().visit(&mut line).is_err() {
        line.0.push_str(" (some values cannot be shown)");
    }
    // A value may contain control characters, but a line must be one line.
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

/// Returns the values of a record as fields of the journal: `stop_reason` becomes `X_MSRV_STOP_REASON`.
fn fields(record: &Record) -> Vec<(String, String)> {
    let mut fields = Fields(Vec::new());
    // The line says if a value cannot be shown.
    drop(record.key_values().visit(&mut fields));
    fields.0
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let letter =
            |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
        let key = key.as_str().chars().map(letter).collect::<String>();
        self.0.push((format!("X_MSRV_{key}"), value.to_string()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise every run exits with 78 on a host without a syslog daemon, or while the daemon restarts.
    #[test]
    fn without_a_syslog_socket_lines_go_to_standard_error_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log").display().to_string();
        let settings =
            LogSettings { level: LevelFilter::Error, target: LogTarget::Syslog, format: LogFormat::Text };
        let (fallback, fault) = target(settings, &["/nonexistent/log", &path]);
        assert!(!matches!(fallback, Target::Syslog(_)), "nobody listens");
        assert_eq!(
            fault.as_deref(),
            Some(&*format!("no syslog daemon answers at /nonexistent/log or {path}"))
        );
        let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
        let (found, fault) = target(settings, &["/nonexistent/log", &path]);
        assert!(matches!(found, Target::Syslog(_)) && fault.is_none(), "{fault:?}");
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("set");
        log::set_max_level(LevelFilter::Error);
        let logger = Logger(found);
        logger.log(&Record::builder().args(format_args!("hello")).level(Level::Error).target(FATAL).build());
        let mut line = [0; 200];
        let length = socket.recv(&mut line).expect("a line");
        assert!(String::from_utf8_lossy(&line[..length]).ends_with("hello"), "{:?}", &line[..length]);
        drop(socket);
        logger.log(
            &Record::builder()
                .args(format_args!("nobody receives this, and the program continues"))
                .level(Level::Error)
                .target(FATAL)
                .build(),
        );
    }

    #[test]
    fn a_line_is_the_message_with_its_values_on_one_line_and_fields_keep_them_unchanged() {
        let values = [
            ("stop_reason", Value::from("queue-empty")),
            ("detail", Value::from("a \"b\"\n<3>forged")),
            ("received", Value::from(3)),
        ];
        let record = Record::builder().args(format_args!("run finished")).key_values(&values).build();
        assert_eq!(
            line(&record),
            r#"run finished stop-reason=queue-empty detail="a \"b\"\n<3>forged" received=3"#
        );
        let expected = [
            ("X_MSRV_STOP_REASON", "queue-empty"),
            ("X_MSRV_DETAIL", "a \"b\"\n<3>forged"),
            ("X_MSRV_RECEIVED", "3"),
        ];
        assert_eq!(fields(&record), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
