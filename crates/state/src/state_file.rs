//! State files. They are accessible only to the service's user and group, never created through a foreign
//! symlink, and never left with root as the owner in a folder of the service.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

/// Opens a file for reading and appending, without creating it. A symlink at the path is refused, and so is a
/// symlink in its folders unless root or this user owns it.
///
/// # Errors
/// It does not exist, is not accessible, or is a symlink.
pub fn open(path: &Path) -> io::Result<File> {
    refuse_links_of_others(path)?;
    options().open(path).map_err(in_plain_words)
}

/// Opens a file in the same way, for reading only.
///
/// # Errors
/// As with [`open`].
pub fn open_to_read(path: &Path) -> io::Result<File> {
    refuse_links_of_others(path)?;
    options().append(false).open(path).map_err(in_plain_words)
}

/// Opens a file in the same way, for reading and overwriting.
///
/// # Errors
/// As with [`open`].
pub fn open_to_overwrite(path: &Path) -> io::Result<File> {
    refuse_links_of_others(path)?;
    options().append(false).write(true).open(path).map_err(in_plain_words)
}

/// Proves that the file can be written, and returns that as text for the user: opens it if it exists, and writes
/// a page beside it, which is removed. The folders of a missing file are created with it; until then the page is
/// written to the nearest folder that exists.
///
/// # Errors
/// The file or the folder cannot be written, or the disk has no room.
pub fn try_to_write(path: &Path) -> io::Result<String> {
    let file = path.display();
    let proven = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("the file {file} can be created"),
        opened => opened.map(|_| format!("the file {file} can be written"))?,
    };
    let existing = folder(path).ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let of_folder =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", existing.display()));
    let trial = new_name(&existing.join(path.file_name().unwrap_or_default()));
    let mut page = File::create_new(&trial).map_err(of_folder)?;
    let written = page.write_all(&[0; PAGE]).and_then(|()| page.sync_data());
    let removed = std::fs::remove_file(&trial);
    written.and(removed).and_then(|()| leaves_room_for_others(existing)).map_err(of_folder)?;
    Ok(proven)
}

/// The size of what is written to prove that there is room.
const PAGE: usize = 4 << 10;

/// A file system keeps its last blocks for root, whose trial proves nothing for the service.
fn leaves_room_for_others(folder: &Path) -> io::Result<()> {
    let disk = rustix::fs::statvfs(folder)?;
    if rustix::process::geteuid().is_root() && disk.f_bavail == 0 && disk.f_bfree > 0 {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on its disk, except for root"));
    }
    Ok(())
}

/// Returns whether the path exists, as a file or anything else.
///
/// # Errors
/// The folder is not accessible.
pub fn exists(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns a temporary name for a new version of a file. Its extension differs, so that programs that collect
/// such files ignore one that a killed process left behind.
#[must_use]
pub fn new_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder(path).join(format!(".{name}.{}", std::process::id()))
}

/// Replaces a file with `text` atomically: a reader sees the old or the new content. Without permissions, the
/// process's umask applies.
///
/// Not synced: the content can be written again after a power failure.
///
/// # Errors
/// It cannot be written; the old content is unchanged.
pub fn replace(path: &Path, text: &str, permissions: Option<Permissions>) -> io::Result<()> {
    let new = new_name(path);
    let written = File::create_new(&new).and_then(|mut file| {
        permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&new, path)
    });
    if written.is_err() {
        drop(std::fs::remove_file(&new));
    }
    written
}

/// Returns whether the file stays inaccessible until the user fixes its path or permissions.
#[must_use]
pub fn is_setup_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        error.kind(),
        InvalidInput | IsADirectory | NotADirectory | PermissionDenied | ReadOnlyFilesystem
    )
}

/// The system reports a refused symlink as "too many levels of symbolic links".
fn in_plain_words(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => {
            io::Error::new(io::ErrorKind::InvalidInput, "it is a symlink, which is not followed here")
        }
        _ => error,
    }
}

/// A user who can write to a folder of the service could redirect root's commands with a symlink in it.
/// Symlinks of root are part of the system's layout (for instance `/var/lib/x-msrv` of a service with
/// `DynamicUser=`).
fn refuse_links_of_others(path: &Path) -> io::Result<()> {
    let us = rustix::process::geteuid().as_raw();
    for folder in std::path::absolute(folder(path))?.ancestors() {
        match folder.symlink_metadata() {
            Ok(found) if found.is_symlink() && found.uid() != 0 && found.uid() != us => {
                let fault = format!("{} is a symlink of another user", folder.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, fault));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Opens a file in the same way, and creates it with mode 0640 and its folders with mode 0750 if they do not
/// exist.
///
/// The service does not run as root, but administrators do. What root creates in a folder of the service
/// belongs to the service.
///
/// # Errors
/// It cannot be opened or created.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    loop {
        match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let owner = create_folder(folder(path))?;
        match options().create_new(true).mode(0o640).open(path) {
            Ok(file) => {
                give(&file, &owner)?;
                return Ok(file);
            }
            // Another process created it first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Creates a folder and its parents; each belongs to the owner of its parent.
fn create_folder(path: &Path) -> io::Result<Metadata> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let owner = create_folder(folder(path))?;
    match DirBuilder::new().mode(0o750).create(path) {
        Ok(()) => give(&File::open(path)?, &owner)?,
        // Another process created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    path.metadata()
}

/// Gives a file that root has created to the owner of the folder.
fn give(created: &File, folder: &Metadata) -> io::Result<()> {
    match (created.metadata()?.uid(), folder.uid()) {
        (0, owner) if owner != 0 => fchown(created, Some(owner), Some(folder.gid())),
        _ => Ok(()),
    }
}

/// Returns the folder of a file.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn options() -> OpenOptions {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).expect("a bit of the lower ones");
    let mut options = OpenOptions::new();
    options.read(true).append(true).custom_flags(no_follow);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    #[test]
    fn a_file_is_created_with_its_folders_and_can_be_opened_again() {
        let top = tempfile::tempdir().expect("a folder");
        let path = top.path().join("a/b/file");
        assert_eq!(open(&path).expect_err("not there").kind(), io::ErrorKind::NotFound);
        for _ in 0..2 {
            let file = open_or_create(&path).expect("created, then opened");
            assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o137, 0);
        }
        assert_eq!(folder(&path).metadata().expect("a folder").permissions().mode() & 0o027, 0);
    }

    /// A check said that dead letters can be kept where nothing can be created.
    #[test]
    fn the_trial_writes_beside_the_file_and_leaves_nothing() {
        let top = tempfile::tempdir().expect("a folder");
        let path = top.path().join("a/b/file");
        let names = |folder: &Path| {
            let entries = std::fs::read_dir(folder).expect("a folder");
            entries.map(|entry| entry.expect("an entry").file_name()).collect::<Vec<_>>()
        };
        assert!(try_to_write(&path).expect("it can").ends_with("/a/b/file can be created"));
        assert_eq!(names(top.path()), [""; 0]);
        open_or_create(&path).expect("created");
        assert!(try_to_write(&path).expect("it can").ends_with("/a/b/file can be written"));
        assert_eq!(names(&top.path().join("a/b")), ["file"]);
        for refused in ["/proc/nonexistent/file", "/proc/version/file"] {
            try_to_write(Path::new(refused)).expect_err(refused);
        }
    }

    #[test]
    fn a_symlink_is_not_followed_even_if_it_is_dangling() {
        let top = tempfile::tempdir().expect("a folder");
        let path = top.path().join("link");
        symlink(top.path().join("target"), &path).expect("a symlink");
        open_or_create(&path).expect_err("a symlink");
        assert!(!top.path().join("target").exists());
    }

    /// The service's user could make root write to a folder that only root can write to.
    #[test]
    #[ignore = "only root can create a symlink of another user: .ci/test"]
    fn a_folder_behind_a_symlink_of_another_user_is_refused() {
        let top = tempfile::tempdir().expect("a folder");
        let (elsewhere, link) = (top.path().join("elsewhere"), top.path().join("link"));
        std::fs::create_dir(&elsewhere).expect("a folder");
        symlink(&elsewhere, &link).expect("a symlink");
        open_or_create(&link.join("a/file")).expect("root's own symlink");
        std::os::unix::fs::lchown(&link, Some(4_242), Some(4_242)).expect("root may");
        let error = open_or_create(&link.join("b/file")).expect_err("a symlink of another user");
        assert!(error.to_string().contains("link is a symlink of another user"), "{error}");
        assert!(!elsewhere.join("b").exists());
    }

    #[test]
    #[ignore = "only root can give files away: .ci/test"]
    fn a_file_that_root_creates_in_a_folder_of_the_service_belongs_to_the_service() {
        let top = tempfile::tempdir().expect("a folder");
        chown(top.path(), Some(4_242), Some(4_243)).expect("root may");
        open_or_create(&top.path().join("a/b/queue.db")).expect("created");
        for name in ["a", "a/b", "a/b/queue.db"] {
            let metadata = top.path().join(name).metadata().expect("created");
            assert_eq!((metadata.uid(), metadata.gid()), (4_242, 4_243), "{name}");
        }
    }
}
