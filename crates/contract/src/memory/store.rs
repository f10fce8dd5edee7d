//! A store in memory, for tests of the code above stores. It can be made to fail, and to have the rules of
//! whole-batch, append-only and gathering stores.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use x_msrv_core::{
    BoxFuture,
    fault::Fault,
    record::{Fields, Key, Record},
    store::{
        BatchLimits, Gather, Pending, Put, Reach, Reader, Repeat, See, Store, StoreError, StoreTraits,
        StoredRecord,
    },
};

/// A store whose contents several handles share.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    contents: Rc<RefCell<Contents>>,
    create_only: bool,
    delay: Duration,
    traits: StoreTraits,
    limits: BatchLimits,
}

#[derive(Debug, Default)]
struct Contents {
    rows: Vec<(Key, Fields)>,
    batches: Vec<usize>,
    faults: Vec<(Key, Fault, Times)>,
    calls: usize,
    most_calls: usize,
}

/// How often a fault occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Always,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            contents: Rc::default(),
            create_only: false,
            delay: Duration::ZERO,
            traits: StoreTraits { repeat: Repeat::Idempotent, reach: Reach::PerRecord, wants_message: false },
            limits: BatchLimits::new(400, 2),
        }
    }
}

impl MemoryStore {
    /// Creates a store that leaves existing records unchanged.
    #[must_use]
    pub fn create_only() -> Self {
        Self { create_only: true, ..Self::default() }
    }

    /// Creates a store that accepts or refuses whole batches, without a verdict on single records.
    #[must_use]
    pub fn whole_batch() -> Self {
        let mut store = Self::default();
        store.traits.reach = Reach::WholeBatch;
        store
    }

    /// Creates a store that appends a row for each write.
    #[must_use]
    pub fn append_only() -> Self {
        let mut store = Self::default();
        store.traits.repeat = Repeat::AppendOnly;
        store
    }

    /// Returns a handle with other limits.
    #[must_use]
    pub fn limited(&self, limits: BatchLimits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Returns a handle that waits for full batches of this many records.
    #[must_use]
    pub fn gathering(&self, records: usize) -> Self {
        self.limited(BatchLimits { gather: Gather::UntilIdle, ..BatchLimits::new(records, 1) })
    }

    /// Returns a handle that also receives the messages.
    #[must_use]
    pub fn with_messages(&self) -> Self {
        let mut store = self.clone();
        store.traits.wants_message = true;
        store
    }

    /// Returns a handle that writes a batch at once and answers after this delay.
    #[must_use]
    pub fn slow(&self, delay: Duration) -> Self {
        Self { delay, ..self.clone() }
    }

    /// Makes the next write of `key` fail.
    pub fn fail_once(&self, key: Key, fault: Fault) {
        self.contents.borrow_mut().faults.push((key, fault, Times::Once));
    }

    /// Makes every write of `key` fail, until [`recover`](Self::recover).
    pub fn fail(&self, key: Key, fault: Fault) {
        self.contents.borrow_mut().faults.push((key, fault, Times::Always));
    }

    /// Removes all faults.
    pub fn recover(&self) {
        self.contents.borrow_mut().faults.clear();
    }

    /// Returns the stored fields by key; the last row if a key is stored several times.
    #[must_use]
    pub fn records(&self) -> BTreeMap<Key, Fields> {
        self.contents.borrow().rows.iter().cloned().collect()
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.contents.borrow().rows.len()
    }

    /// Returns the number of records of each call, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<usize> {
        self.contents.borrow().batches.clone()
    }

    /// Returns the highest number of concurrent calls.
    #[must_use]
    pub fn most_calls(&self) -> usize {
        self.contents.borrow().most_calls
    }

    fn fault_of(&self, key: &Key) -> Option<Fault> {
        let faults = &mut self.contents.borrow_mut().faults;
        let index = faults.iter().position(|(other, ..)| other == key)?;
        let (_, fault, times) = &faults[index];
        let fault = fault.clone();
        if *times == Times::Once {
            faults.remove(index);
        }
        Some(fault)
    }

    fn put(&self, record: Record) -> Put {
        let rows = &mut self.contents.borrow_mut().rows;
        let place = rows.iter().position(|(key, _)| *key == record.key);
        match place {
            Some(_) if self.create_only => return Put::Duplicate,
            Some(place) if self.traits.repeat != Repeat::AppendOnly => rows[place].1 = record.fields,
            _ => rows.push((record.key, record.fields)),
        }
        Put::Stored
    }

    fn write_all(&self, records: Vec<Record>) -> Vec<Result<Put, Fault>> {
        let faults: Vec<_> = records.iter().map(|record| self.fault_of(&record.key)).collect();
        let whole =
            faults.iter().flatten().next().filter(|_| self.traits.reach == Reach::WholeBatch).cloned();
        let write = |(record, fault): (Record, Option<Fault>)| match whole.clone().or(fault) {
            Some(fault) => Err(fault),
            None => Ok(self.put(record)),
        };
        records.into_iter().zip(faults).map(write).collect()
    }
}

impl Store for MemoryStore {
    fn traits(&self) -> StoreTraits {
        self.traits
    }

    fn limits(&self) -> BatchLimits {
        self.limits
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (records, answers): (Vec<_>, Vec<_>) =
                records.into_iter().map(|pending| (pending.item, pending.answer)).unzip();
            {
                let mut contents = self.contents.borrow_mut();
                contents.batches.push(records.len());
                contents.calls += 1;
                contents.most_calls = contents.most_calls.max(contents.calls);
            }
            let written = self.write_all(records);
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            self.contents.borrow_mut().calls -= 1;
            for (answer, result) in answers.into_iter().zip(written) {
                answer.give(result);
            }
        })
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Reader for MemoryStore {
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        let contents = self.contents.borrow();
        let mut some = contents
            .rows
            .iter()
            .take(limit)
            .map(|(key, fields)| StoredRecord { key: Some(key.clone()), fields: fields.clone() });
        // A reader that stops early has seen enough.
        let _seen = some.try_for_each(see);
        Box::pin(std::future::ready(Ok(())))
    }
}
