//! Decorators around a store, for behaviour that many stores share.

use std::{future::ready, rc::Rc};

use futures_util::future::join_all;

use crate::{
    BoxFuture,
    answer::{self, Pending as AnyPending},
    fault::{Blame, Fault},
    store::{BatchLimits, Pending, Reader, Store, StoreError, StoreTraits},
};

/// Isolates the record at fault for a store that accepts or refuses whole batches. A refused batch is halved
/// until the faulty record is alone and the others are stored.
///
/// A batch that is in doubt, or that failed because of an outage, is not halved: that says nothing about its
/// records.
pub struct Bisect<S>(pub S);

impl<S: Store> Store for Bisect<S> {
    fn traits(&self) -> StoreTraits {
        self.0.traits()
    }

    fn limits(&self) -> BatchLimits {
        self.0.limits()
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        bisect(records, Rc::new(|records| self.0.write(records)))
    }

    fn reader(&self) -> Option<&dyn Reader> {
        self.0.reader()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::new(self.0).close()
    }
}

/// Writes a batch with `write`, in halves if its items may be at fault.
///
/// An item without an answer from `write` is in doubt.
pub fn bisect<'a, T, V, W>(items: Vec<AnyPending<T, Result<V, Fault>>>, write: Rc<W>) -> BoxFuture<'a, ()>
where
    T: Clone + 'a,
    V: 'a,
    W: Fn(Vec<AnyPending<T, Result<V, Fault>>>) -> BoxFuture<'a, ()> + 'a,
{
    Box::pin(async move {
        let (batch, verdicts) =
            answer::batch(items.iter().map(|pending| pending.item.clone()).collect::<Vec<_>>().into_iter());
        write(batch).await;
        let verdicts = verdicts.take();
        let is_whole = |verdict: &Option<Result<V, Fault>>| matches!(verdict, Some(Err(fault)) if !fault.in_doubt && !matches!(fault.blame, Blame::Outage | Blame::Setup));
        if items.len() > 1 && verdicts.iter().all(is_whole) {
            let mut first = items;
            let second = first.split_off(first.len() / 2);
            bisect(first, Rc::clone(&write)).await;
            bisect(second, write).await;
            return;
        }
        for (pending, verdict) in items.into_iter().zip(verdicts) {
            if let Some(verdict) = verdict {
                pending.answer.give(verdict);
            }
        }
    })
}

/// Enforces a store's limits for any caller. A batch that is too large is split, and no more calls run at
/// once than the store allows.
pub struct Limit<S>(pub S);

impl<S: Store> Store for Limit<S> {
    fn traits(&self) -> StoreTraits {
        self.0.traits()
    }

    fn limits(&self) -> BatchLimits {
        self.0.limits()
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        let limits = self.0.limits();
        let mut batches = batches(records, limits);
        if batches.len() < 2 {
            return batches
                .pop()
                .map_or_else(|| Box::pin(ready(())) as BoxFuture<'_, ()>, |batch| self.0.write(batch));
        }
        Box::pin(async move {
            let mut batches = batches.into_iter().peekable();
            while batches.peek().is_some() {
                let together = batches.by_ref().take(limits.at_once.max(1));
                join_all(together.map(|batch| self.0.write(batch))).await;
            }
        })
    }

    fn reader(&self) -> Option<&dyn Reader> {
        self.0.reader()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::new(self.0).close()
    }
}

fn batches(records: Vec<Pending>, limits: BatchLimits) -> Vec<Vec<Pending>> {
    let (mut batches, mut bytes) = (Vec::<Vec<Pending>>::new(), 0);
    for pending in records {
        let size = pending.item.size;
        match batches.last_mut() {
            Some(batch) if batch.len() < limits.records && bytes + size <= limits.bytes => {
                bytes += size;
                batch.push(pending);
            }
            _ => {
                bytes = size;
                batches.push(vec![pending]);
            }
        }
    }
    batches
}
