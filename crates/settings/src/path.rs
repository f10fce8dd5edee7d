//! Paths of files. They are joined, not accessed.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
};

use crate::{Access, Kind, NamedFile, Reader, Setting, Told, Value};

/// The base folders of relative paths, and the names of files by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The base of state files.
    pub state: PathBuf,
    /// The base of all other paths: the configuration's folder.
    pub configuration: PathBuf,
    /// The configuration's name.
    pub pipeline: String,
    /// The prefix of the default names of state files.
    pub prefix: String,
}

/// A file that is read; a relative path refers to the configuration's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile(pub PathBuf);

/// A state file; a relative path refers to the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile<K = AnyFile>(pub PathBuf, PhantomData<K>);

/// A file or a folder without companion files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyFile;

impl FileKind for AnyFile {}

/// A use of a state file.
pub trait FileKind {
    /// How the program writes it.
    const ACCESS: Access = Access::Write;

    /// Returns whether `other` is a companion file of the one at `place`. Files in a folder are its companions.
    #[must_use]
    fn is_beside(place: &Path, other: &Path) -> bool {
        other != place && other.starts_with(place)
    }

    /// Checks the name of the file.
    ///
    /// # Errors
    /// The error message.
    fn check(name: &Path) -> Result<(), String> {
        let _ = name;
        Ok(())
    }
}

impl Setting for ReadFile {
    const KIND: Kind = Kind::Path { is_state: false };

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let path = reader.text(found)?;
        Some(Self(reader.places.configuration.join(path)))
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, self.0.display());
        told.file(NamedFile::read(key, &self.0));
    }
}

impl<K> StateFile<K> {
    /// Returns the file at this path.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path, PhantomData)
    }

    /// Returns the file with the default path; `name` is the last part of its name.
    #[must_use]
    pub fn by_default(places: &Places, name: &str) -> Self {
        Self::at(places.state.join(format!("{}{name}", places.prefix)))
    }
}

impl<K: FileKind> Setting for StateFile<K> {
    const KIND: Kind = Kind::Path { is_state: true };

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let path = reader.text(found)?;
        if path.is_empty() || path.ends_with('/') {
            reader.fault(format!("`{path}` is not a file name"));
            return None;
        }
        K::check(Path::new(path)).map_err(|fault| reader.fault(fault)).ok()?;
        Some(Self::at(reader.places.state.join(path)))
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, self.0.display());
        let is_beside = K::is_beside;
        told.file(NamedFile { key: key.to_owned(), path: self.0.clone(), access: K::ACCESS, is_beside });
    }
}
