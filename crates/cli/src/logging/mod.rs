//! The log: a constant message with its values behind it, to the journal, to standard error or to syslog.

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

/// Where lines go, and how they begin.
enum Target {
    /// Standard error is the journal: each value is a field of its own as well.
    Journal(Journal),
    /// The same where the journal's socket is out of reach: `<6>` in front, which it takes off and keeps as
    /// the priority (sd-daemon(3)).
    JournalStream,
    /// Standard error is anything else: time and level in front.
    Stderr,
    /// The same as JSON.
    Json,
    Syslog(Mutex<syslog::Logger<LoggerBackend, Formatter3164>>),
}

struct Logger(Target);

/// Where syslog listens, the first that is there.
const SYSLOG_SOCKETS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// Logs from here on as configured. Where no syslog listens, standard error has to do: a log is no reason to
/// take no messages.
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

/// Where lines go, and what is wrong with syslog where they were to go there.
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

/// Not the crate's `init`: that falls back to UDP, where every line would be lost in silence.
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

/// The last words of a run that failed: to standard error, or the journal behind it, and to the log if that
/// is somewhere else.
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
    // The logger of standard error leaves this target to the line above.
    log::error!(target: FATAL, "{text}");
}

/// A line on a terminal about what to do next; nowhere else, for whoever reads a log has one line for one
/// error.
pub fn hint(text: &str) {
    if io::stderr().is_terminal() && !is_json() {
        write_stderr(&format!("{NAME}: hint: {text}\n"));
    }
}

/// Tells a person what a command has done. Where standard error is closed there is nobody to tell, and it was
/// done nevertheless.
pub fn say(text: &str) {
    write_stderr(&if is_json() {
        json::message(now().to_string(), Level::Info, text)
    } else {
        format!("{text}\n")
    });
}

/// Whether each line on standard error is a JSON object, which is known once the configuration is read.
static JSON: AtomicBool = AtomicBool::new(false);

fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Whether standard error is watched by somebody: it is a terminal that can go back in its line, and neither
/// the journal nor told to be quiet.
#[must_use]
pub fn is_watched() -> bool {
    let can_go_back = std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
    log::max_level() >= LevelFilter::Info && can_go_back && !is_json() && io::stderr().is_terminal()
}

/// Shows a line on the terminal that the next one takes the place of; an empty one is none.
pub fn passing(line: &str) {
    write_stderr(line);
    PASSING.store(!line.is_empty(), Ordering::Relaxed);
}

/// Whether the line that the cursor is in is a passing one.
static PASSING: AtomicBool = AtomicBool::new(false);

/// Goes to the beginning of the line and clears it (ECMA-48 EL).
const CLEAR_LINE: &str = "\r\x1b[K";

/// The status text of the unit that we are, for `systemctl status`; without a service manager nobody is told.
pub fn status(text: &str) {
    if let Err(error) = sd_notify::notify(&[NotifyState::Status(text)]) {
        log::debug!(cause = error.to_string(); "the service manager cannot be told");
    }
}

/// Warnings from a program that systemd starts before there may be a journal: there, else to the kernel's
/// log, else to standard error.
pub fn warn_early(identifier: &str, warnings: &[String]) {
    let priority = priority(Level::Warn);
    let journal = Journal::connect().ok();
    let mut kernel =
        if journal.is_none() { File::options().write(true).open("/dev/kmsg").ok() } else { None };
    for text in warnings.iter().map(|warning| one_line(warning)) {
        let to_journal =
            journal.as_ref().is_some_and(|journal| journal.send(identifier, priority, &text, &[]).is_ok());
        // A record of the kernel's log is one `write` (Documentation/ABI/testing/dev-kmsg).
        let record = format!("<{priority}>{identifier}: {text}");
        if !to_journal && kernel.as_mut().is_none_or(|kernel| kernel.write_all(record.as_bytes()).is_err()) {
            write_stderr(&format!("{identifier}: {text}\n"));
        }
    }
}

const FATAL: &str = "fatal";

/// systemd names the device and inode of the stream that it gave us (systemd.exec(5), `$JOURNAL_STREAM`);
/// standard error may be another by now.
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

/// One `write` a line, in the place of one that was passing. Where standard error is closed there is nobody
/// left to tell.
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
        // Other crates log in their own words what reaches us as an error anyway; at most that is of use, and
        // not what they are doing.
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

/// The values of a record as fields of the journal: `stop_reason` is `X_MSRV_STOP_REASON`.
fn fields(record: &Record) -> Vec<(String, String)> {
    let mut fields = Fields(Vec::new());
    // What cannot be shown is told in the line.
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

    /// Every run ended with 78 on a host without a syslog daemon, or while it was restarted.
    #[test]
    fn without_a_syslog_socket_lines_go_to_standard_error_and_the_reason_is_told() {
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
                .args(format_args!("nobody hears it, and it ends well"))
                .level(Level::Error)
                .target(FATAL)
                .build(),
        );
    }

    #[test]
    fn a_line_is_the_message_and_its_values_and_never_two_lines_while_fields_keep_them_as_they_are() {
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
