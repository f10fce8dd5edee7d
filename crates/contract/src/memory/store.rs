//! A store in memory, for tests of what stands above stores. It can be told to fail.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use x_msrv_core::{
    BoxFuture,
    record::{Fields, Key, Record},
    store::{Batches, Pending, Put, PutError, See, Store, StoreError, StoredRecord},
};

/// A store whose contents several handles share.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    records: Rc<RefCell<BTreeMap<Key, Fields>>>,
    faults: Rc<RefCell<Vec<(Key, PutError)>>>,
    create_only: bool,
    delay: Duration,
}

impl MemoryStore {
    /// A store that leaves alone what it already has.
    #[must_use]
    pub fn create_only() -> Self {
        Self { create_only: true, ..Self::default() }
    }

    /// The same store, which writes a batch at once and answers after this long.
    #[must_use]
    pub fn slow(&self, delay: Duration) -> Self {
        Self { delay, ..self.clone() }
    }

    /// The next put of `key` fails with `error`.
    pub fn fail_once(&self, key: Key, error: PutError) {
        self.faults.borrow_mut().push((key, error));
    }

    /// What is stored.
    #[must_use]
    pub fn records(&self) -> BTreeMap<Key, Fields> {
        self.records.borrow().clone()
    }

    fn put_one(&self, record: Record) -> Result<Put, PutError> {
        let mut faults = self.faults.borrow_mut();
        if let Some(index) = faults.iter().position(|(key, _)| *key == record.key) {
            return Err(faults.remove(index).1);
        }
        let mut records = self.records.borrow_mut();
        if self.create_only && records.contains_key(&record.key) {
            return Ok(Put::Duplicate);
        }
        records.insert(record.key, record.fields);
        Ok(Put::Stored)
    }
}

impl Store for MemoryStore {
    fn batches(&self) -> Batches {
        Batches { records: 400, at_once: 2 }
    }

    fn put(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let written: Vec<_> =
                records.into_iter().map(|Pending { item, answer }| (answer, self.put_one(item))).collect();
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            for (answer, result) in written {
                answer.give(result);
            }
        })
    }

    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        let records = self.records.borrow();
        let mut some = records
            .iter()
            .take(limit)
            .map(|(key, fields)| StoredRecord { key: Some(key.clone()), fields: fields.clone() });
        // Who breaks it off has seen enough.
        let _seen = some.try_for_each(see);
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
