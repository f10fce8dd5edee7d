//! The store: its section of the configuration, [`Store`] writes and answers for each record, and [`Reader`]
//! reads back.

use std::{fs, future::ready, io, path::PathBuf};

use x_msrv_core::{
    BoxFuture,
    adapter::{Common, KeySetting, StoreFacts, section::StoreSection},
    decode::{BigIntegers, Codec as _},
    fault::{Blame, Fault},
    record::{KEY_FIELD, Key, Record},
    store::{BatchLimits, Pending, Put, Reader, See, Store, StoreError, StoreTraits, StoredRecord},
};
use x_msrv_json::Json;
use x_msrv_settings::{self as settings, Settings, StateFile};

use crate::{names, write_whole};

/// The store is a folder; a record is a file.
#[derive(Debug, Settings)]
#[setting(section = "folder")]
pub(crate) struct Keys {
    /// The folder; it must exist.
    #[setting(example = "records")]
    path: StateFile,
    /// What a record's key is made of.
    #[setting(default = "message", example = "{field: /id}")]
    key: KeySetting,
}

impl StoreSection for Keys {
    const FACTS: StoreFacts = StoreFacts {
        word: "folder",
        idempotence: "writes the same file",
        limits: "",
        tls: "local",
        login: "file permissions",
    };

    type Settings = Records;

    fn settings(&mut self, _: &mut settings::Reader<'_>, _: &Common) -> Option<Records> {
        Some(Records { path: self.path.0.clone() })
    }

    fn key(&self) -> &KeySetting {
        &self.key
    }

    async fn connect(records: &Records) -> Result<Box<dyn Store>, StoreError> {
        names(&records.path).map_err(|cause| records.unreachable(cause))?;
        Ok(Box::new(records.clone()))
    }
}

/// A folder of records: what the section configures, and a store.
#[derive(Debug, Clone)]
pub struct Records {
    /// Its path.
    pub path: PathBuf,
}

/// Documents in files.
const JSON: Json = Json { big_integers: BigIntegers::Text };

impl Records {
    fn unreachable(&self, cause: io::Error) -> StoreError {
        StoreError::unreachable(format!("folder {}", self.path.display()), cause)
    }

    /// The file's name is made from the key: a record that is written twice is one file.
    fn write_one(&self, Record { key, mut fields, .. }: Record) -> Result<Put, Fault> {
        let name = format!("{}.json", key.digest());
        fields.retain(|(name, _)| name != KEY_FIELD);
        fields.push((KEY_FIELD.to_owned(), key.into()));
        let document = JSON.encode(&fields).map_err(|fault| Fault::new(Blame::Record, fault))?;
        write_whole(&self.path, &name, &document).map(|()| Put::Stored)
    }

    fn read(&self, limit: usize, see: See<'_>) -> io::Result<()> {
        for name in names(&self.path)?.into_iter().take(limit) {
            let bytes = fs::read(self.path.join(&name))?;
            let mut fields = JSON.decode(&bytes).map_err(|fault| io::Error::other(fault.to_string()))?;
            let key = Key::take_from(&mut fields);
            if see(StoredRecord { key, fields }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Store for Records {
    fn traits(&self) -> StoreTraits {
        StoreTraits::default() // a repeated write is one record, and each record has its own verdict
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits::new(100, 1)
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        for Pending { item, answer } in records {
            answer.give(self.write_one(item));
        }
        Box::pin(ready(()))
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }
}

impl Reader for Records {
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(ready(self.read(limit, see).map_err(|cause| self.unreachable(cause))))
    }
}
