//! The program itself, run as a user runs it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use x_msrv_contract::faults::scene::{Ended, signal};

use super::wait_until;

/// A folder with a configuration in it, and the program to run there: the one built with the tests, or the
/// one that `X_MSRV_TEST_PROGRAM` names.
pub(crate) struct Program {
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// The file of dead letters, as the configuration names it.
    letters: &'static str,
}

/// The path of the program.
pub(crate) fn program() -> String {
    std::env::var("X_MSRV_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_x-msrv").to_owned())
}

impl Program {
    /// Creates a folder with this configuration, in YAML.
    pub(crate) fn new(configuration: &str) -> Self {
        let program = Self {
            folder: TempDir::new().expect("a folder"),
            environment: Vec::new(),
            letters: "dead-letter.ndjson",
        };
        program.write("x-msrv.yml", configuration);
        program
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// Sets an environment variable for the following commands.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Runs another program, which runs ours.
    pub(crate) fn run_by(&self, other: &str, arguments: &[&str]) -> Ended {
        self.prepared(other, arguments).output().expect("it starts").into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(&program(), arguments)
    }

    fn prepared(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("X_MSRV_"));
        for name in ours {
            command.env_remove(name);
        }
        command.env_remove("STATE_DIRECTORY").env_remove("JOURNAL_STREAM").envs(self.environment.clone());
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to completion with exactly these arguments.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().expect("the program starts").into()
    }

    /// Runs to completion with the configuration and these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.bare(&[arguments, &["-c", "x-msrv.yml"]].concat())
    }

    /// The same, with text on standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut child = self.spawn_with_input(arguments);
        child.stdin.take().expect("piped").write_all(input).expect("the program reads its input");
        Ended::of(child)
    }

    /// The same, but returns the child; the caller writes the text.
    pub(crate) fn spawn_with_input(&self, arguments: &[&str]) -> Child {
        self.command(&[arguments, &["-c", "x-msrv.yml"]].concat())
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program starts")
    }

    /// Starts a run and returns the child.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(&[arguments, &["-c", "x-msrv.yml"]].concat()).spawn().expect("the program starts")
    }

    /// Runs once and returns the report; fails unless the exit code is 0.
    #[track_caller]
    pub(crate) fn drain(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[&["run", "--report", "json"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.report()
    }

    /// The rows of the SQLite store: keys and documents.
    pub(crate) fn rows(&self, set: &str) -> Vec<(String, Value)> {
        rows(&self.path("store.db"), set)
    }

    /// Says that the configuration names another file of dead letters than the default one.
    pub(crate) fn with_letters_in(self, letters: &'static str) -> Self {
        Self { letters, ..self }
    }

    /// The dead letters in its file.
    pub(crate) fn letters(&self) -> Vec<Value> {
        self.letters_in(self.letters)
    }

    /// The dead letters in another file.
    pub(crate) fn letters_in(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a letter is JSON")).collect()
    }
}

/// The rows of a table of the SQLite store.
pub(crate) fn rows(path: &Path, set: &str) -> Vec<(String, Value)> {
    let connection = rusqlite::Connection::open(path).expect("the store");
    let mut statement = connection
        .prepare(&format!("SELECT CAST(gid AS TEXT), document FROM \"{set}\" ORDER BY rowid"))
        .expect("the table");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).expect("rows");
    let parse = |(key, document): (String, String)| {
        (key, serde_json::from_str(&document).expect("a document is JSON"))
    };
    rows.map(|row| parse(row.expect("a row"))).collect()
}

/// Sends a signal to a process by its number.
#[track_caller]
pub(crate) fn kill(pid: &str, name: &str) {
    let status = Command::new("kill").args(["-s", name, pid]).status().expect("kill runs");
    assert!(status.success(), "the process exists");
}

/// Waits until `condition` is true while the run continues; if the run ends first, panics with its standard
/// error.
#[track_caller]
pub(crate) fn wait_while_running(child: &mut Child, mut condition: impl FnMut() -> bool) {
    wait_until("the run is in progress", || {
        let done = condition();
        if !done && child.try_wait().expect("a child").is_some() {
            let mut said = String::new();
            let output = child.stderr.as_mut().expect("piped");
            std::io::Read::read_to_string(output, &mut said).expect("output is UTF-8");
            panic!("the run ended too early: {said}");
        }
        done
    });
}

/// Waits for the end of a run that [`Program::spawn`] started.
pub(crate) fn wait(mut child: Child) -> Ended {
    wait_until("the run ends", || child.try_wait().expect("a child").is_some());
    Ended::of(child)
}

/// Samples a process's memory and descriptors, at first at once, until it is stopped. It can miss changes in
/// the last millisecond of the process.
pub(crate) struct Scale {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Weight>,
}

/// The maximum usage of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weight {
    /// Resident bytes.
    pub(crate) memory: u64,
    /// Open file descriptors.
    pub(crate) descriptors: usize,
}

impl Weight {
    /// Adds a sample of the process with this folder in `/proc`; one that has ended has neither value.
    fn add(&mut self, folder: &Path) {
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        self.memory = self.memory.max(peak.unwrap_or(0) << 10);
        let descriptors = std::fs::read_dir(folder.join("fd")).map_or(0, Iterator::count);
        self.descriptors = self.descriptors.max(descriptors);
    }
}

impl Scale {
    #[expect(
        clippy::disallowed_methods,
        reason = "the system reports these values only when asked, so the thread polls"
    )]
    pub(crate) fn under(child: &Child) -> Self {
        let folder = PathBuf::from(format!("/proc/{}", child.id()));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let mut most = Weight::default();
        most.add(&folder); // not in the thread, which may start after a short run has ended
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                most.add(&folder);
            }
            most
        });
        Self { stop, thread }
    }

    /// Returns the maximum usage; fails if the process had ended before the first sample.
    #[track_caller]
    pub(crate) fn read(self) -> Weight {
        self.stop.store(true, Relaxed);
        let most = self.thread.join().expect("no panic");
        assert!(most.memory > 0 && most.descriptors > 0, "the process was sampled while it ran: {most:?}");
        most
    }
}
