//! Names of files. Paths are joined, and no file is looked at.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
};

use crate::{Access, Kind, NamedFile, Reader, Setting, Told, Value};

/// Where relative paths begin, and what files are named where none is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// State begins here.
    pub state: PathBuf,
    /// Everything else begins here: the configuration's folder.
    pub configuration: PathBuf,
    /// The configuration's name.
    pub pipeline: String,
    /// What the names of state files begin with where none are configured.
    pub prefix: String,
}

/// A file that is read; a relative path begins at the configuration's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile(pub PathBuf);

/// A file of state; a relative path begins at the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile<K = AnyFile>(pub PathBuf, PhantomData<K>);

/// A file, or a folder, without files of the same use beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyFile;

impl FileKind for AnyFile {}

/// What is done with a file of state.
pub trait FileKind {
    /// How it is written.
    const ACCESS: Access = Access::Write;

    /// Whether `other` is a file that is kept beside the one at `place`. Files in a folder are beside it.
    #[must_use]
    fn is_beside(place: &Path, other: &Path) -> bool {
        other != place && other.starts_with(place)
    }

    /// Whether it can have this name.
    ///
    /// # Errors
    /// Why not, for a person.
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
    /// The file at this place.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path, PhantomData)
    }

    /// The file that holds where none is configured, by the last part of its name.
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
            reader.fault(format!("`{path}` is not the name of a file"));
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
