//! Deletes old dead letters if the configuration has a limit. Without a limit, nothing is deleted.
//!
//! Only renamed, complete files are deleted, never the current file, and never while letters in the folder
//! are being replayed or purged. Each deletion is logged first.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use log::{Level, debug, log};

use crate::{
    file::{Settings, complete, rename},
    letters::{self, Line},
};
use x_msrv_core::dead_letter::NOT_REPLAYED;
use x_msrv_state::state_file;

/// The limit on deleted files in one run: each is read first.
const FILES_AT_ONCE: usize = 10;

/// Deletes the files that exceed the limits. With an age limit, a file whose first letter exceeds it is
/// renamed first, so that a file that does not grow is also deleted eventually; a letter is kept for up to
/// twice the age. If the previous run at `previous` started longer ago than the age, nothing is deleted: the
/// clock may be wrong. If it is right, the next run deletes.
///
/// # Errors
/// The folder or a file in it cannot be read or changed; files that are not deleted are unchanged.
///
/// # Cancel safety
/// Dropping the future while it waits for the lock changes nothing.
pub async fn tidy(settings: &Settings, now: SystemTime, previous: Option<SystemTime>) -> io::Result<()> {
    let has_jumped = |age: &Duration| previous.is_some_and(|previous| is_past(previous, *age, now));
    let settings = &Settings { max_age: settings.max_age.filter(|age| !has_jumped(age)), ..settings.clone() };
    let path = &settings.path;
    if due(settings, now)?.is_empty() && !is_old(settings, now)? {
        return Ok(());
    }
    let Some(_one_at_a_time) = letters::lock_folder(path)? else {
        debug!("dead letters are being replayed or purged, deleting none now");
        return Ok(());
    };
    if is_old(settings, now)? {
        rename(path).await?;
    }
    for (file, limit) in due(settings, now)?.into_iter().take(FILES_AT_ONCE) {
        // A user who rotates files may have renamed one that a run is about to write to.
        if File::open(&file)?.try_lock().is_err() {
            continue;
        }
        log_deletion(&file, limit)?;
        std::fs::remove_file(&file)?;
    }
    File::open(state_file::folder(path))?.sync_all()
}

/// Returns the files that exceed a limit, the oldest first, with the key of the limit.
fn due(settings: &Settings, now: SystemTime) -> io::Result<Vec<(PathBuf, &'static str)>> {
    let Settings { max_files, max_age, .. } = settings;
    if max_files.is_none() && max_age.is_none() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for file in complete(&settings.path)? {
        files.push((file.symlink_metadata()?.modified()?, file));
    }
    files.sort_by_key(|(modified, _)| *modified); // another rotation may number them in reverse
    let most = max_files.map_or(usize::MAX, |most| usize::try_from(most.get()).unwrap_or(usize::MAX));
    let over = files.len().saturating_sub(most);
    let mut due = Vec::new();
    for (index, (modified, file)) in files.into_iter().enumerate() {
        if index < over {
            due.push((file, "max-files"));
        } else if let Some(age) = max_age
            && is_past(modified, *age, now)
        {
            due.push((file, "max-age"));
        }
    }
    Ok(due)
}

/// Returns whether the first letter of the current file exceeds the age.
fn is_old(settings: &Settings, now: SystemTime) -> io::Result<bool> {
    let Some(age) = settings.max_age else { return Ok(false) };
    let file = match state_file::open_to_read(&settings.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    for line in letters::lines(&file)? {
        if let Line::Letter(letter) = letters::parse(&line?.1) {
            return Ok(letter.rejected_at().is_some_and(|time| is_past(time, age, now)));
        }
    }
    Ok(false)
}

fn is_past(time: SystemTime, age: Duration, now: SystemTime) -> bool {
    now.duration_since(time).is_ok_and(|passed| passed >= age)
}

/// Logs how many letters are deleted, and how many of them were not replayed.
fn log_deletion(path: &Path, limit: &str) -> io::Result<()> {
    let (mut letters, mut not_replayed) = (0_u64, 0_u64);
    for line in letters::lines(&state_file::open_to_read(path)?)? {
        let (_, line) = line?;
        let is_replayed = !line.starts_with(NOT_REPLAYED)
            && matches!(letters::parse(&line), Line::Letter(letter) if letter.replayed.is_some());
        letters += 1;
        not_replayed += u64::from(!is_replayed);
    }
    let level = if not_replayed > 0 { Level::Warn } else { Level::Info };
    log!(level, path = path.display().to_string(), letters = letters, not_replayed = not_replayed, limit = limit; "deleting dead letters");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn letter(time: SystemTime) -> String {
        let time = humantime::format_rfc3339_millis(time);
        format!(
            r#"{{"time":"{time}","source":"q","id":"1","attempts":1,"reason":"schema","detail":"","body":""}}"#
        ) + "\n"
    }

    /// Creates a folder with files of these names, each with a letter as many hours old, and returns the
    /// names that are left.
    fn left(files: &[(&str, u32)], max_files: Option<u64>, max_age: Option<Duration>) -> Vec<String> {
        left_after(files, max_files, max_age, None)
    }

    fn left_after(
        files: &[(&str, u32)],
        max_files: Option<u64>,
        max_age: Option<Duration>,
        previous: Option<SystemTime>,
    ) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let now = now();
        for (name, hours) in files {
            let (path, time) = (folder.path().join(name), now - HOUR * *hours);
            std::fs::write(&path, letter(time)).expect("written");
            File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("set");
        }
        let path = folder.path().join("dead.ndjson");
        let settings =
            Settings { path, max_size: 1 << 20, max_files: max_files.and_then(NonZeroU64::new), max_age };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(tidy(&settings, now, previous)).expect("tidied");
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    /// Without a limit, or with a limit of the other kind, no letter may be lost, and neither may one of
    /// another pipeline in the same folder.
    #[test]
    fn only_complete_files_of_this_name_over_the_limit_are_deleted() {
        let files = [
            ("dead.ndjson", 9),
            ("dead.ndjson.2", 8),
            ("dead.ndjson.10", 1),
            ("dead.ndjson.9", 3),
            ("dead.ndjson.01", 9),
            ("dead.ndjson.gz", 9),
            ("dead.ndjson.2.bak", 9),
            ("other.ndjson.1", 9),
        ];
        let others = ["dead.ndjson.01", "dead.ndjson.2.bak", "dead.ndjson.gz", "other.ndjson.1"];
        let left = |max_files, max_age| -> Vec<_> {
            left(&files, max_files, max_age).into_iter().filter(|name| !others.contains(&&**name)).collect()
        };
        assert_eq!(left(None, None), ["dead.ndjson", "dead.ndjson.10", "dead.ndjson.2", "dead.ndjson.9"]);
        assert_eq!(
            left(Some(2), None),
            ["dead.ndjson", "dead.ndjson.10", "dead.ndjson.9"],
            "the oldest first, by number"
        );
        assert_eq!(left(Some(1), None), ["dead.ndjson", "dead.ndjson.10"]);
        assert_eq!(left(Some(9), None).len(), 4);
        assert_eq!(left(None, Some(HOUR * 10)).len(), 4);
        assert_eq!(
            left(None, Some(HOUR * 2)),
            ["dead.ndjson.10"],
            "the file of old letters is complete, and then over the age"
        );
        assert_eq!(left(Some(3), Some(HOUR * 5)), ["dead.ndjson.10", "dead.ndjson.9"]);
    }

    /// A machine that booted with a clock a year ahead would have deleted all letters.
    #[test]
    fn nothing_is_deleted_if_the_previous_run_is_too_old_as_well() {
        let files = [("dead.ndjson", 0), ("dead.ndjson.1", 9)];
        for (hours, left) in [(9, 2), (0, 1)] {
            assert_eq!(
                left_after(&files, None, Some(HOUR * 5), Some(now() - HOUR * hours)).len(),
                left,
                "{hours}"
            );
        }
    }

    /// Without dates, logrotate gives the newest file the number 1.
    #[test]
    fn the_oldest_file_is_deleted_first_with_any_number() {
        assert_eq!(left(&[("dead.ndjson.1", 1), ("dead.ndjson.2", 5)], Some(1), None), ["dead.ndjson.1"]);
    }

    /// If few messages were rejected, the file never reached its size limit, and letters exceeded any age.
    #[test]
    fn a_small_file_whose_first_letter_exceeds_the_age_is_renamed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, now) = (folder.path().join("dead.ndjson"), now());
        std::fs::write(&path, letter(now - HOUR * 3) + &letter(now)).expect("written");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(now)).expect("set");
        let settings =
            Settings { path: path.clone(), max_size: 1 << 20, max_files: None, max_age: Some(HOUR * 2) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(tidy(&settings, now, None)).expect("tidied");
        assert_eq!(
            complete(&path).expect("files"),
            [folder.path().join("dead.ndjson.1")],
            "its second letter is not old yet"
        );
        runtime.block_on(tidy(&settings, now + HOUR * 2, None)).expect("tidied");
        assert_eq!(complete(&path).expect("files"), [] as [PathBuf; 0]);
    }
}
