//! The store: [`Store`] writes and answers for each record, [`Reader`] reads back.

use std::{fs, future::ready, io, ops::ControlFlow, path::PathBuf};

use x_msrv_core::{
    BoxFuture,
    decode::{BigIntegers, Codec as _, Json},
    fault::{Blame, Fault},
    record::Key,
    store::{
        BatchLimits, Pending, Put, Reach, Reader, Repeat, See, Store, StoreError, StoreTraits, StoredRecord,
    },
};

use crate::{names, write_whole};

/// Reads and writes documents.
const JSON: Json = Json { big_integers: BigIntegers::Reject };

/// A folder of records.
#[derive(Debug, Clone)]
pub struct Records {
    /// Its path.
    pub path: PathBuf,
}

impl Records {
    /// Checks that the folder can be used.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub fn check(&self) -> Result<(), StoreError> {
        names(&self.path).map(drop).map_err(|cause| self.unreachable(cause))
    }

    fn unreachable(&self, cause: io::Error) -> StoreError {
        StoreError::Unreachable { place: format!("the folder {}", self.path.display()), cause: cause.into() }
    }

    fn scan_all(&self, limit: usize, see: See<'_>) -> io::Result<()> {
        for name in names(&self.path)?.into_iter().take(limit) {
            let bytes = fs::read(self.path.join(&name))?;
            let fields = JSON.decode(&bytes).map_err(|fault| io::Error::other(fault.to_string()))?;
            if see(StoredRecord { key: key_of(&name), fields }) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

/// The name of a record's file: what kind of key it is, and its bytes in hexadecimal. Names of files have no
/// slash, may have 255 bytes, and some disks take `a` and `A` for one.
fn name_of(key: &Key) -> String {
    let (kind, text) = match key {
        Key::Int(number) => ('i', number.to_string()),
        Key::Text(text) => ('t', text.clone()),
    };
    text.bytes().fold(String::from(kind), |name, byte| name + &format!("{byte:02x}"))
}

fn key_of(name: &str) -> Option<Key> {
    let (kind, hex) = name.split_at_checked(1)?;
    let byte = |index| u8::from_str_radix(hex.get(index..index + 2)?, 16).ok();
    let bytes: Option<Vec<_>> = (0..hex.len()).step_by(2).map(byte).collect();
    let text = String::from_utf8(bytes?).ok()?;
    if kind == "i" { text.parse().ok().map(Key::Int) } else { Some(Key::Text(text)) }
}

impl Store for Records {
    fn traits(&self) -> StoreTraits {
        // The name is derived from the key: a record that is written twice is one file.
        StoreTraits { repeat: Repeat::Idempotent, reach: Reach::PerRecord, wants_message: false }
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits::new(100, 1)
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        for Pending { item, answer } in records {
            let name = name_of(&item.key);
            answer.give(if name.len() > 200 {
                Err(Fault::new(Blame::Record, "the key is too long for the name of a file"))
            } else {
                let document = JSON.encode(&item.fields).map_err(|fault| Fault::new(Blame::Record, fault));
                document.and_then(|document| {
                    // A full or read-only disk is no record's fault.
                    let written = write_whole(&self.path, &name, &document);
                    written
                        .map(|()| Put::Stored)
                        .map_err(|cause| Fault::new(Blame::Outage, cause.to_string()))
                })
            });
        }
        Box::pin(ready(()))
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(ready(Ok(()))) // nothing is buffered
    }
}

impl Reader for Records {
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(ready(self.scan_all(limit, see).map_err(|cause| self.unreachable(cause))))
    }
}
