//! Files of ours: created for us and our group only, never where a symlink is in the way that is not an
//! administrator's, and never in root's name where somebody else is to write them.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

/// Opens a file for reading and appending, without creating it. A symlink in its place is an error, not a way
/// to write elsewhere, and so is one on the way to it that is neither root's nor ours.
///
/// # Errors
/// It is not there, not ours, or a symlink.
pub fn open(path: &Path) -> io::Result<File> {
    refuse_links_of_others(path)?;
    options().open(path).map_err(in_plain_words)
}

/// The same for reading only.
///
/// # Errors
/// As with [`open`].
pub fn open_to_read(path: &Path) -> io::Result<File> {
    refuse_links_of_others(path)?;
    options().append(false).open(path).map_err(in_plain_words)
}

/// The same for reading, and for writing over what is there.
///
/// # Errors
/// As with [`open`].
pub fn open_to_overwrite(path: &Path) -> io::Result<File> {
    refuse_links_of_others(path)?;
    options().append(false).write(true).open(path).map_err(in_plain_words)
}

/// Whether there is a file of this name, or anything else that bears it.
///
/// # Errors
/// We may not look.
pub fn exists(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where something is written that is to take the place of a file. The name's ending is not that of the file:
/// whoever collects such files passes over one that was left behind by a process that was killed.
#[must_use]
pub fn new_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder(path).join(format!(".{name}.{}", std::process::id()))
}

/// Puts `text` in the place of a file, so that a reader finds the old one or the new one. Without permissions
/// the process's mask decides.
///
/// Not synced: what a power failure takes can be written again.
///
/// # Errors
/// It can't be written; what was there is left as it was.
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

/// Whether a file can't be opened before somebody has mended what is in the way.
#[must_use]
pub fn is_setup_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        error.kind(),
        InvalidInput | IsADirectory | NotADirectory | PermissionDenied | ReadOnlyFilesystem
    )
}

/// The system calls a symlink that is not to be followed one too many of them.
fn in_plain_words(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => {
            io::Error::new(io::ErrorKind::InvalidInput, "it is a symlink, and those are not followed here")
        }
        _ => error,
    }
}

/// Who may write to a folder of the service's could lead root's commands elsewhere by a symlink in it.
/// Symlinks of root's are how systems are laid out (`/var/lib/x-msrv` of a service with `DynamicUser=` is
/// one).
fn refuse_links_of_others(path: &Path) -> io::Result<()> {
    let us = rustix::process::geteuid().as_raw();
    for folder in std::path::absolute(folder(path))?.ancestors() {
        match folder.symlink_metadata() {
            Ok(found) if found.is_symlink() && found.uid() != 0 && found.uid() != us => {
                let fault = format!("{} is a symlink of another user's", folder.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, fault));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The same, and creates it with mode 0640 where it is not there, and the folders on the way to it with mode
/// 0750.
///
/// The service does not run as root, but administrators do: what root creates in a folder of the service's
/// belongs to the service.
///
/// # Errors
/// It can't be opened or created.
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
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Creates a folder, and those on the way to it; each belongs to the owner of the one that it is in.
fn create_folder(path: &Path) -> io::Result<Metadata> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let owner = create_folder(folder(path))?;
    match DirBuilder::new().mode(0o750).create(path) {
        Ok(()) => give(&File::open(path)?, &owner)?,
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    path.metadata()
}

/// Gives what root has just created to whom the folder belongs.
fn give(created: &File, folder: &Metadata) -> io::Result<()> {
    match (created.metadata()?.uid(), folder.uid()) {
        (0, owner) if owner != 0 => fchown(created, Some(owner), Some(folder.gid())),
        _ => Ok(()),
    }
}

/// The folder that a file is in.
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
    fn a_file_is_created_with_its_folders_and_found_again() {
        let top = tempfile::tempdir().expect("a folder");
        let path = top.path().join("a/b/file");
        assert_eq!(open(&path).expect_err("not there").kind(), io::ErrorKind::NotFound);
        for _ in 0..2 {
            let file = open_or_create(&path).expect("created, then opened");
            assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o137, 0);
        }
        assert_eq!(folder(&path).metadata().expect("a folder").permissions().mode() & 0o027, 0);
    }

    #[test]
    fn a_symlink_is_not_followed_even_where_it_points_to_nothing() {
        let top = tempfile::tempdir().expect("a folder");
        let path = top.path().join("link");
        symlink(top.path().join("target"), &path).expect("a symlink");
        open_or_create(&path).expect_err("a symlink");
        assert!(!top.path().join("target").exists());
    }

    /// The service's user could have root write to a folder that only root may write to.
    #[test]
    #[ignore = "only root can make a symlink that is somebody else's: .ci/test"]
    fn a_folder_that_somebody_else_has_linked_elsewhere_is_refused() {
        let top = tempfile::tempdir().expect("a folder");
        let (elsewhere, link) = (top.path().join("elsewhere"), top.path().join("link"));
        std::fs::create_dir(&elsewhere).expect("a folder");
        symlink(&elsewhere, &link).expect("a symlink");
        open_or_create(&link.join("a/file")).expect("root's own symlink");
        std::os::unix::fs::lchown(&link, Some(4_242), Some(4_242)).expect("root may");
        let error = open_or_create(&link.join("b/file")).expect_err("a symlink of somebody else's");
        assert!(error.to_string().contains("link is a symlink of another user's"), "{error}");
        assert!(!elsewhere.join("b").exists());
    }

    #[test]
    #[ignore = "only root can give files away: .ci/test"]
    fn what_root_creates_in_a_folder_of_the_service_belongs_to_the_service() {
        let top = tempfile::tempdir().expect("a folder");
        chown(top.path(), Some(4_242), Some(4_243)).expect("root may");
        open_or_create(&top.path().join("a/b/queue.db")).expect("created");
        for name in ["a", "a/b", "a/b/queue.db"] {
            let metadata = top.path().join(name).metadata().expect("created");
            assert_eq!((metadata.uid(), metadata.gid()), (4_242, 4_243), "{name}");
        }
    }
}
