//! One store of a run: the records gathered for it, and its state.

use std::num::NonZeroU32;

use crate::{
    fault::{Blame, Fault},
    message::Delivery,
    outcome::{self, Outcome},
    record::Record,
    store::{BatchLimits, Gather, Put, Store},
};

/// A store, and the records that wait for it.
pub(super) struct Outlet<'a> {
    pub(super) store: &'a dyn Store,
    limits: BatchLimits,
    wants_message: bool,
    /// Decoded, and not passed to the store yet.
    pub(super) gathered: Vec<(Delivery, Record)>,
    pub(super) gathered_bytes: usize,
    /// Calls in progress, and the size of their documents in bytes.
    calls: usize,
    bytes: usize,
    /// Whether it has accepted a record in this run.
    took: bool,
    /// Whether it failed on a whole batch. It receives no more records in this run.
    pub(super) is_down: bool,
    outage: String,
}

/// A batch that is ready to be written.
pub(super) struct Prepared {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) records: Vec<Record>,
    pub(super) size: usize,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            limits: store.limits(),
            wants_message: store.traits().wants_message,
            gathered: Vec::new(),
            gathered_bytes: 0,
            calls: 0,
            bytes: 0,
            took: false,
            is_down: false,
            outage: String::new(),
        }
    }

    /// Adds a record, or returns it with its outcome if the store has an outage.
    pub(super) fn gather(&mut self, delivery: Delivery, mut record: Record) -> Option<(Delivery, Outcome)> {
        if self.is_down {
            let attempts = delivery.message.attempts.map(NonZeroU32::get);
            return Some((delivery, Outcome::Deferred { attempts, cause: self.outage.clone() }));
        }
        if self.wants_message {
            record.message = Some(delivery.message.clone());
        }
        self.gathered_bytes += record.size;
        self.gathered.push((delivery, record));
        None
    }

    /// Returns whether it can take another call. Documents in progress are limited to the size of two
    /// batches.
    fn has_capacity(&self) -> bool {
        self.calls < self.limits.at_once && self.bytes < 2 * self.limits.bytes
    }

    /// Returns whether it waits for full batches.
    pub(super) fn gathers(&self) -> bool {
        self.limits.gather == Gather::UntilIdle
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= self.limits.records || self.gathered_bytes >= self.limits.bytes
    }

    /// Returns whether more messages are decoded for it. A store with an outage still accepts them, to
    /// requeue them.
    pub(super) fn wants_records(&self) -> bool {
        self.is_down || !self.is_full() && (self.has_capacity() || self.gathers())
    }

    /// Returns whether a full batch can be written now.
    pub(super) fn is_complete(&self) -> bool {
        self.is_full() && self.has_capacity()
    }

    /// Returns whether the gathered records are to be written now.
    pub(super) fn is_due(&self, flushes: bool) -> bool {
        !self.gathered.is_empty() && self.has_capacity() && (flushes || self.is_full() || !self.gathers())
    }

    pub(super) fn take_batch(&mut self) -> Prepared {
        let mut size = 0;
        let fits = |(_, record): &&(Delivery, Record)| {
            let fits = size < self.limits.bytes;
            size += if fits { record.size } else { 0 };
            fits
        };
        let count = self.gathered.iter().take(self.limits.records).take_while(fits).count();
        let batch: Vec<_> = if count == self.gathered.len() {
            std::mem::take(&mut self.gathered)
        } else {
            self.gathered.drain(..count).collect()
        };
        self.gathered_bytes -= size;
        self.calls += 1;
        self.bytes += size;
        let (deliveries, records) = batch.into_iter().unzip();
        Prepared { deliveries, records, size }
    }

    pub(super) fn take_gathered(&mut self) -> impl Iterator<Item = Delivery> {
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered).into_iter().map(|(delivery, _)| delivery)
    }

    /// Records the results of a batch, and assigns the blame.
    pub(super) fn answered(&mut self, results: &mut [Result<Put, Fault>], size: usize) {
        self.calls -= 1;
        self.bytes -= size;
        outcome::weigh(results, self.took);
        self.took |= results.iter().any(Result::is_ok);
        let outage =
            results.iter().all(|result| matches!(result, Err(fault) if fault.blame == Blame::Outage));
        if let (true, Some(Err(fault))) = (outage, results.first()) {
            self.is_down = true;
            self.outage.clone_from(&fault.text);
        }
    }
}
