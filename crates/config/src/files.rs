//! The files that a configuration names. No file may be written under two keys.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use x_msrv_settings::{NamedFile, Reader};
use x_msrv_state::state_file;

use crate::Settings;

impl Settings {
    /// Returns all files that the configuration names, first itself.
    #[must_use]
    pub fn files(&self) -> &[NamedFile] {
        &self.told.files
    }

    /// Returns the key that names this file, even by another path; `None` if no key does.
    #[must_use]
    pub fn name_of_file(&self, path: &Path) -> Option<String> {
        let place = Place::of(path);
        self.files().iter().find(|file| place.is(&Place::of(&file.path))).map(NamedFile::name)
    }
}

/// Refuses a file that is written and that two keys name, even by different paths: a dead letter written into
/// a database is lost and may destroy the database.
pub(crate) fn refuse_shared(files: &[NamedFile], reader: &mut Reader<'_>) {
    let mut seen: Vec<(&NamedFile, Place)> = Vec::new();
    for file in files {
        let place = Place::of(&file.path);
        let shared = seen.iter().find_map(|(other, other_place)| {
            if !file.is_written() && !other.is_written() {
                return None;
            }
            let is_beside = (file.is_beside)(&place.path, &other_place.path)
                || (other.is_beside)(&other_place.path, &place.path);
            let how = match (place.is(other_place), is_beside) {
                (true, _) => "is the same file as",
                (false, true) => "conflicts with the companion files of",
                (false, false) => return None,
            };
            Some(format!("{} {how} {} ({})", file.path.display(), other.name(), other.path.display()))
        });
        if let Some(fault) = shared {
            reader.fault_at(&file.key, fault);
        }
        seen.push((file, place));
    }
}

/// The identity of a file, whatever path names it.
struct Place {
    path: PathBuf,
    /// Device and inode, if the file exists. They detect hard links, and case-insensitive file systems.
    inode: Option<(u64, u64)>,
}

impl Place {
    fn of(path: &Path) -> Self {
        let path = resolved(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let inode = path.metadata().ok().map(|found| (found.dev(), found.ino()));
        Self { path, inode }
    }

    fn is(&self, other: &Self) -> bool {
        self.path == other.path || self.inode.is_some() && self.inode == other.inode
    }
}

/// Returns the canonical path of a file. Symlinks are followed as far as possible; a missing file gets the
/// canonical path of its folder.
#[must_use]
pub fn resolved(path: &Path) -> PathBuf {
    /// The limit of Linux (`path_resolution(7)`).
    const MOST_LINKS: u32 = 40;
    fn follow(path: &Path, links: u32) -> PathBuf {
        if let Ok(found) = path.canonicalize() {
            return found;
        }
        if let (Ok(target), Some(links)) = (path.read_link(), links.checked_sub(1)) {
            return follow(&state_file::folder(path).join(target), links);
        }
        let Some(folder) = path.parent() else { return path.to_owned() };
        let mut folder = follow(folder, links);
        match path.components().next_back() {
            Some(Component::Normal(name)) => folder.join(name),
            Some(Component::ParentDir) => {
                folder.pop();
                folder
            }
            _ => folder,
        }
    }
    follow(path, MOST_LINKS)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{ConfigError, Overrides};

    const ADAPTERS: x_msrv_core::adapter::Adapters = x_msrv_core::adapter::Adapters {
        list: &[&x_msrv_nsq::ADAPTER, &x_msrv_aerospike::ADAPTER, &x_msrv_sqlite::ADAPTER],
        codec: x_msrv_json::codec,
    };
    const QUEUE: &str = "embedded-queue: {path: queue.db}\n";
    const STORE: &str = "sqlite: {path: store.db, set: s}\n";
    const NSQ: &str = "nsq: {nsqd-tcp-address: 'h:1', topic: t";

    type Links = [(&'static str, fn(&Path)); 4];

    /// Returns the fault of this configuration in a folder in which `prepare` has created files.
    fn fault(text: &str, prepare: impl FnOnce(&Path)) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x-msrv.yml");
        fs::write(&path, text.replace("FOLDER", &folder.path().display().to_string())).expect("written");
        prepare(folder.path());
        match crate::load(ADAPTERS, Some(&path), &Overrides::default()) {
            Ok(_) => None,
            Err(ConfigError::Faults(faults)) => {
                let [fault] = &faults[..] else { panic!("one fault is expected: {faults:?}") };
                let folder = folder.path().canonicalize().expect("it exists").display().to_string();
                Some(format!("{}: {}", fault.key, fault.fault.replace(&folder, "")))
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Otherwise a dead letter is appended to a database and lost with the next write of SQLite.
    #[test]
    fn two_keys_for_one_file_are_refused_and_both_are_named() {
        let cases = [
            (format!("{QUEUE}sqlite: {{path: queue.db, set: s}}\n"), "sqlite.path", "`embedded-queue.path`"),
            (
                format!("{QUEUE}{STORE}dead-letter: {{file: {{path: store.db}}}}\n"),
                "dead-letter.file.path",
                "`sqlite.path`",
            ),
            (
                format!("{QUEUE}{STORE}dead-letter: {{file: {{path: queue.db}}}}\n"),
                "dead-letter.file.path",
                "`embedded-queue.path`",
            ),
            (format!("{QUEUE}{STORE}history: {{path: store.db}}\n"), "history.path", "`sqlite.path`"),
            (
                format!("{QUEUE}{STORE}history: {{path: dead-letter.ndjson}}\n"),
                "history.path",
                "`dead-letter.file.path`",
            ),
            (format!("{QUEUE}sqlite: {{path: history.db, set: s}}\n"), "history.path", "`sqlite.path`"),
            (
                format!("{QUEUE}sqlite: {{path: x-msrv.yml, set: s}}\n"),
                "sqlite.path",
                "the configuration itself",
            ),
            (
                format!("{QUEUE}{STORE}dead-letter: {{file: {{path: x-msrv.yml}}}}\n"),
                "dead-letter.file.path",
                "the configuration itself",
            ),
            (
                format!("{QUEUE}sqlite: {{path: s.prom, set: s}}\nmetrics: {{textfile: s.prom}}\n"),
                "metrics.textfile",
                "`sqlite.path`",
            ),
            (format!("{QUEUE}{STORE}schema: store.db\n"), "sqlite.path", "`schema`"),
            (
                format!("{NSQ}, auth-secret: {{file: store.db}}}}\n{STORE}"),
                "sqlite.path",
                "`nsq.auth-secret`",
            ),
            (format!("{NSQ}, tls: {{ca-file: store.db}}}}\n{STORE}"), "sqlite.path", "`nsq.tls.ca-file`"),
            (
                format!("{NSQ}, tls: {{certificate: c, key: {{file: store.db}}}}}}\n{STORE}"),
                "sqlite.path",
                "`nsq.tls.key`",
            ),
            (
                format!(
                    "{NSQ}}}\nsqlite: {{path: dead-letter.ndjson, set: s}}\ndead-letter: {{nsq: {{topic: u}}}}\n"
                ),
                "dead-letter.nsq",
                "`sqlite.path`",
            ),
            // By another path.
            (
                format!("{QUEUE}sqlite: {{path: ./a/../queue.db, set: s}}\n"),
                "sqlite.path",
                "`embedded-queue.path`",
            ),
            (
                format!("{QUEUE}sqlite: {{path: FOLDER/queue.db, set: s}}\n"),
                "sqlite.path",
                "`embedded-queue.path`",
            ),
            // A companion file.
            (
                format!("{QUEUE}sqlite: {{path: queue.db-wal, set: s}}\n"),
                "sqlite.path",
                "`embedded-queue.path`",
            ),
            (
                format!("{QUEUE}sqlite: {{path: queue.db-shm, set: s}}\n"),
                "sqlite.path",
                "`embedded-queue.path`",
            ),
            (
                format!("{QUEUE}{STORE}history: {{path: queue.db-journal}}\n"),
                "history.path",
                "`embedded-queue.path`",
            ),
            (format!("{QUEUE}{STORE}schema: store.db-wal\n"), "sqlite.path", "`schema`"),
            (
                format!("{QUEUE}{STORE}history: {{path: dead-letter.ndjson.1}}\n"),
                "history.path",
                "`dead-letter.file.path`",
            ),
            (
                format!("{QUEUE}{STORE}history: {{path: dead-letter.ndjson.new}}\n"),
                "history.path",
                "`dead-letter.file.path`",
            ),
        ];
        for (text, key, other) in cases {
            let fault = fault(&text, |_| ()).unwrap_or_else(|| panic!("it is accepted: {text}"));
            assert!(fault.starts_with(&format!("{key}: ")) && fault.contains(other), "{text}: {fault}");
        }
    }

    #[test]
    fn a_file_is_recognized_through_symlinks_and_hard_links() {
        let text = format!("{QUEUE}sqlite: {{path: other.db, set: s}}\n");
        let both = "other.db is the same file as `embedded-queue.path`";
        let links: Links = [
            ("a symlink", |folder| {
                fs::write(folder.join("queue.db"), "").expect("written");
                symlink("queue.db", folder.join("other.db")).expect("a symlink");
            }),
            ("a symlink to a missing file", |folder| {
                symlink("queue.db", folder.join("other.db")).expect("a symlink");
            }),
            ("a symlink of a symlink", |folder| {
                symlink(folder.join("queue.db"), folder.join("between")).expect("a symlink");
                symlink("between", folder.join("other.db")).expect("a symlink");
            }),
            ("a hard link", |folder| {
                fs::write(folder.join("queue.db"), "").expect("written");
                fs::hard_link(folder.join("queue.db"), folder.join("other.db")).expect("a hard link");
            }),
        ];
        for (what, prepare) in links {
            let fault = fault(&text, prepare).unwrap_or_else(|| panic!("{what}"));
            assert!(fault.contains(both), "{what}: {fault}");
        }
        let by_folder = fault(&format!("{QUEUE}sqlite: {{path: link/queue.db, set: s}}\n"), |folder| {
            symlink(folder, folder.join("link")).expect("a symlink");
        });
        assert!(
            by_folder.is_some_and(|fault| fault.starts_with("sqlite.path: ")),
            "by a symlink to the folder"
        );
    }

    #[test]
    fn keys_may_share_a_file_that_is_only_read() {
        let twice_read = format!(
            "{NSQ}, auth-secret: {{file: a}}, tls: {{ca-file: a, certificate: a, key: {{file: a}}}}}}\n{STORE}schema: a\n"
        );
        assert_eq!(fault(&twice_read, |_| ()), None);
        assert_eq!(
            fault(&format!("{QUEUE}{STORE}"), |folder| symlink(folder, folder.join("link"))
                .expect("a symlink")),
            None
        );
        // A symlink to itself names no file.
        assert_eq!(
            fault(&format!("{QUEUE}{STORE}"), |folder| symlink("store.db", folder.join("store.db"))
                .expect("a symlink")),
            None
        );
    }
}
