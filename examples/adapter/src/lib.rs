//! A folder of files as a queue, and as a store: a small but complete adapter, as a model for others.
//!
//! A message is a file; its name is its id. A record is a file as well, named by its key. One run at a time
//! reads a folder. Everything here is local and short, so nothing waits; an adapter with a network bounds each
//! wait.

pub mod source;
pub mod store;

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use x_msrv_core::{
    adapter::{Adapter, SourceRole, StoreRole},
    fault::Fault,
};

/// A folder as queue and store.
pub static ADAPTER: Adapter = Adapter {
    name: "folder",
    feature: "folder",
    summary: "A folder of files, as a queue and as a store.",
    source: Some(SourceRole::of::<source::Keys>()),
    store: Some(StoreRole::of::<store::Keys>()),
    letters: None,
};

/// Writes a file as a whole or not at all: readers see names that do not begin with a dot.
fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let write = || {
        let unfinished = folder.join(format!(".{name}"));
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?; // what is answered for is on the disk
        fs::rename(&unfinished, folder.join(name))?;
        fs::File::open(folder)?.sync_all()
    };
    // A full or read-only disk is not to be blamed on a record, and the file may be there.
    write().map_err(|cause: io::Error| Fault::in_doubt(cause.to_string()))
}

/// Returns the names of the finished files, in order.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = entries.collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable();
    Ok(names)
}
