//! The example passes the suites that every adapter passes.

use std::time::Duration;

use tempfile::TempDir;
use x_msrv_contract::{publisher_suite, source::Queue, source_suite, store::Database, store_suite};
use x_msrv_core::{
    source::{Attempts, Publisher, Source},
    store::Store,
};
use x_msrv_example_adapter::{
    source::{Folder, Writing},
    store::Records,
};

struct Files {
    folder: Folder,
    place: TempDir,
}

impl Queue for Files {
    const IS_COUNTED: bool = true;
    const ATTEMPTS: Attempts = Attempts::Unknown;

    async fn open(max_in_flight: u64, _: Duration) -> Self {
        let place = TempDir::new().expect("a folder");
        let folder = Folder { path: place.path().to_owned(), max_in_flight };
        Self { folder, place }
    }

    async fn source(&self) -> Box<dyn Source> {
        Box::new(self.folder.clone())
    }

    async fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(Writing::new(self.folder.clone()))
    }

    async fn counts(&self) -> (u64, u64) {
        (std::fs::read_dir(&self.place).expect("a folder").count() as u64, 0)
    }
}

struct Rows(Records, TempDir);

impl Database for Rows {
    async fn open() -> Self {
        let place = TempDir::new().expect("a folder");
        Self(Records { path: place.path().to_owned() }, place)
    }

    async fn store(&self) -> Box<dyn Store> {
        assert!(self.1.path().exists());
        Box::new(self.0.clone())
    }
}

source_suite!(folder, Files, [every, window]);
publisher_suite!(folder_publisher, Files, [every, order]);
store_suite!(records, Rows);
