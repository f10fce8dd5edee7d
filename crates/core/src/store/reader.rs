//! Reading back what is stored: what `x-msrv records` and the read side are built on.

use std::{ops::ControlFlow, time::Duration};

use super::{StoreError, compute};
use crate::{
    BoxFuture,
    record::{Fields, Key, Timestamp, Value},
};

/// A store that can be read. An adapter whose server can aggregate does that there; by default records are
/// scanned and computed here.
pub trait Reader {
    /// Shows at most `limit` records, in no particular order, each as it comes: only a bounded number of them
    /// is in memory.
    ///
    /// # Errors
    /// The store does not answer.
    ///
    /// # Cancel safety
    /// Reads only.
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Computes functions over records, by group; groups come in the order of their values.
    ///
    /// # Errors
    /// The store does not answer.
    ///
    /// # Cancel safety
    /// Reads only.
    fn aggregate<'a>(&'a self, query: &'a Aggregate) -> BoxFuture<'a, Result<Vec<Group>, StoreError>> {
        Box::pin(async move {
            let mut groups = compute::Groups::new(query);
            self.scan(usize::MAX, &mut |record| groups.add(&record.fields)).await?;
            Ok(groups.finish())
        })
    }

    /// Computes a function over records, by time; buckets come in their order.
    ///
    /// # Errors
    /// The store does not answer.
    ///
    /// # Cancel safety
    /// Reads only.
    fn series<'a>(&'a self, query: &'a Series) -> BoxFuture<'a, Result<Vec<Bucket>, StoreError>> {
        Box::pin(async move {
            let mut buckets = compute::Buckets::new(query);
            self.scan(usize::MAX, &mut |record| buckets.add(&record.fields)).await?;
            Ok(buckets.finish())
        })
    }
}

/// Is shown one record after the other, and says whether it wants more.
pub type See<'a> = &'a mut dyn FnMut(StoredRecord) -> ControlFlow<()>;

/// A record as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its key, where the store keeps it.
    pub key: Option<Key>,
    /// Its fields; those that were null may be missing, and their order may differ.
    pub fields: Fields,
}

/// What is computed over the values of one field. Records that lack the field, or hold no number in it, do
/// not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// How many records there are, whatever they hold.
    Count,
    /// How many different values there are.
    Distinct(String),
    /// The sum.
    Sum(String),
    /// The least.
    Min(String),
    /// The greatest.
    Max(String),
    /// The mean.
    Mean(String),
}

/// A span of time, by a field that holds it: from `from`, before `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The field, whose values are timestamps or seconds since the epoch.
    pub field: String,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// Functions over records, by group.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Fields whose values make the groups; without any, all records are one.
    pub by: Vec<String>,
    /// What is computed for each group.
    pub functions: Vec<Function>,
    /// Which records count; all without it.
    pub window: Option<Window>,
    /// Groups at most; further ones are left out.
    pub limit: usize,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The values of the fields that it is made by.
    pub by: Vec<Value>,
    /// The values of the functions, in their order; null where no record counts.
    pub values: Vec<Value>,
}

/// A function over records, by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Which records count.
    pub window: Window,
    /// How long each bucket is; buckets begin at multiples of it since the epoch.
    pub bucket: Duration,
    /// What is computed for each bucket.
    pub function: Function,
}

/// One bucket. Those in which there is no record are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// When it begins.
    pub at: Timestamp,
    /// The value of the function.
    pub value: Value,
}
