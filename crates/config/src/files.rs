//! The files that a configuration names: what is written has to be a file of its own.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use x_msrv_settings::{NamedFile, Reader};
use x_msrv_state::state_file;

use crate::Settings;

impl Settings {
    /// All files that it names, itself first.
    #[must_use]
    pub fn files(&self) -> &[NamedFile] {
        &self.told.files
    }

    /// As what the configuration has a file, by whatever name; `None` where it has no such file.
    #[must_use]
    pub fn name_of_file(&self, path: &Path) -> Option<String> {
        let place = Place::of(path);
        self.files().iter().find(|file| place.is(&Place::of(&file.path))).map(NamedFile::name)
    }
}

/// Refuses a file that is written and named twice, by whatever names: a dead letter in a database is lost,
/// and the database may be.
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
                (false, true) => "cannot be kept apart from the files beside",
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

/// A file, however it is called.
struct Place {
    path: PathBuf,
    /// Device and inode, where it is there: hard links, and file systems on which two spellings are one name.
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

/// The one absolute name of a file: symlinks are followed as far as they lead, and what is not there yet is
/// named after its folder.
#[must_use]
pub fn resolved(path: &Path) -> PathBuf {
    /// As many as Linux follows (`path_resolution(7)`).
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

    /// A folder in which `prepare` has made files, and what is wrong with this configuration there.
    fn fault(text: &str, prepare: impl FnOnce(&Path)) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x-msrv.yml");
        fs::write(&path, text.replace("FOLDER", &folder.path().display().to_string())).expect("written");
        prepare(folder.path());
        match crate::load(ADAPTERS, Some(&path), &Overrides::default()) {
            Ok(_) => None,
            Err(ConfigError::Faults(faults)) => {
                let [fault] = &faults[..] else { panic!("one fault is meant: {faults:?}") };
                let folder = folder.path().canonicalize().expect("there").display().to_string();
                Some(format!("{}: {}", fault.key, fault.fault.replace(&folder, "")))
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// A dead letter was appended to the database and vanished with the next write of SQLite's.
    #[test]
    fn two_keys_that_name_one_file_are_refused_and_both_are_named() {
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
            // By another name.
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
            // Beside another.
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
            let fault = fault(&text, |_| ()).unwrap_or_else(|| panic!("it is taken: {text}"));
            assert!(fault.starts_with(&format!("{key}: ")) && fault.contains(other), "{text}: {fault}");
        }
    }

    #[test]
    fn a_file_is_one_by_a_symlink_and_by_a_hard_link_as_well() {
        let text = format!("{QUEUE}sqlite: {{path: other.db, set: s}}\n");
        let both = "other.db is the same file as `embedded-queue.path`";
        let links: Links = [
            ("a symlink", |folder| {
                fs::write(folder.join("queue.db"), "").expect("written");
                symlink("queue.db", folder.join("other.db")).expect("a symlink");
            }),
            ("a symlink to what is not there yet", |folder| {
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
    fn files_that_are_only_read_may_be_one_and_others_are_left_alone() {
        let twice_read = format!(
            "{NSQ}, auth-secret: {{file: a}}, tls: {{ca-file: a, certificate: a, key: {{file: a}}}}}}\n{STORE}schema: a\n"
        );
        assert_eq!(fault(&twice_read, |_| ()), None);
        assert_eq!(
            fault(&format!("{QUEUE}{STORE}"), |folder| symlink(folder, folder.join("link"))
                .expect("a symlink")),
            None
        );
        // A symlink that leads to itself names nothing.
        assert_eq!(
            fault(&format!("{QUEUE}{STORE}"), |folder| symlink("store.db", folder.join("store.db"))
                .expect("a symlink")),
            None
        );
    }
}
