//! The mark of the newest run: its start, in a file beside the history that the run keeps locked until it has
//! a row. A run that is killed leaves no row, but it leaves its mark.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use x_msrv_state::state_file;

/// A run that has started and is not in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded {
    /// When it started.
    pub started: SystemTime,
    /// Whether it is in progress. Otherwise it was killed, or could not write the history.
    pub is_running: bool,
}

/// Returns the file of the mark.
pub(crate) fn path(history: &Path) -> PathBuf {
    let mut path = history.as_os_str().to_owned();
    path.push("-run");
    path.into()
}

/// Marks the start of a run. The lock is shared with other runs, and ends with the returned file, however the
/// process ends.
pub(crate) fn set(history: &Path, started: SystemTime) -> io::Result<File> {
    let mut file = state_file::open_or_create(&path(history))?;
    // `status` may hold the other lock for a moment, and no run waits for that. Until it ends, such a run seems
    // to be killed.
    file.try_lock_shared().ok();
    file.set_len(0)?;
    file.write_all(humantime::format_rfc3339_millis(started).to_string().as_bytes())?;
    Ok(file)
}

/// Returns the newest start, and whether a run is in progress. A run that has ended by now has a row by now,
/// if it could write one.
pub(crate) fn read(history: &Path) -> io::Result<Option<Unrecorded>> {
    let mut file = match state_file::open_to_read(&path(history)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let is_running = file.try_lock().is_err();
    let started = humantime::parse_rfc3339(&text).ok(); // empty for the moment in which it is written
    Ok(started.map(|started| Unrecorded { started, is_running }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{History, Logbook, tests};
    use tempfile::TempDir;

    /// A run that was started by hand and killed left nothing: the backlog before it was shown as the current
    /// one.
    #[test]
    fn a_run_is_unrecorded_from_its_start_until_it_has_a_row() {
        let folder = TempDir::new().expect("a folder");
        let settings = tests::settings(&folder);
        let history = History::open(&settings.path).expect("a file");
        let unrecorded = || history.unrecorded(&settings.path).expect("readable");
        assert_eq!(unrecorded(), None, "no run has started");
        let mut logbook = Logbook::new(Some(settings.clone()), None);
        logbook.begin(tests::at(0));
        assert_eq!(unrecorded(), Some(Unrecorded { started: tests::at(0), is_running: true }));
        drop(logbook); // killed
        assert_eq!(unrecorded(), Some(Unrecorded { started: tests::at(0), is_running: false }));
        let mut logbook = Logbook::new(Some(settings.clone()), None);
        logbook.begin(tests::at(10));
        logbook.enter(&mut tests::run(tests::at(10)), None, tests::at(0));
        assert_eq!(unrecorded(), None);
    }
}
