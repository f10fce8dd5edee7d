//! Reading stored records back, for `x-msrv records` and the read side.

use std::{ops::ControlFlow, time::Duration};

use super::{StoreError, compute};
use crate::{
    BoxFuture,
    record::{Fields, Key, Timestamp, Value},
};

/// A store that can be read. An adapter whose server can aggregate overrides the methods; by default, records
/// are scanned and the result is computed here.
pub trait Reader {
    /// Shows at most `limit` records, in no particular order, one at a time. Only a bounded number of them is
    /// in memory.
    ///
    /// # Errors
    /// The store does not answer.
    ///
    /// # Cancel safety
    /// Only reads.
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Computes functions over records, by group. Groups are sorted by their values.
    ///
    /// # Errors
    /// The store does not answer.
    ///
    /// # Cancel safety
    /// Only reads.
    fn aggregate<'a>(&'a self, query: &'a Aggregate) -> BoxFuture<'a, Result<Vec<Group>, StoreError>> {
        Box::pin(async move {
            let mut groups = compute::Groups::new(query);
            self.scan(usize::MAX, &mut |record| groups.add(&record.fields)).await?;
            Ok(groups.finish())
        })
    }

    /// Computes a function over records, by time. Buckets are sorted by time.
    ///
    /// # Errors
    /// The store does not answer.
    ///
    /// # Cancel safety
    /// Only reads.
    fn series<'a>(&'a self, query: &'a Series) -> BoxFuture<'a, Result<Vec<Bucket>, StoreError>> {
        Box::pin(async move {
            let mut buckets = compute::Buckets::new(query);
            self.scan(usize::MAX, &mut |record| buckets.add(&record.fields)).await?;
            Ok(buckets.finish())
        })
    }
}

/// Receives one record after the other, and returns whether it wants more.
pub type See<'a> = &'a mut dyn FnMut(StoredRecord) -> ControlFlow<()>;

/// A record as read from the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its key, if the store keeps it.
    pub key: Option<Key>,
    /// Its fields; fields with null may be missing, and their order may differ.
    pub fields: Fields,
}

/// A function over the values of one field. Records without the field, or without a number in it, do not
/// count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// The number of records, with any content.
    Count,
    /// The number of different values.
    Distinct(String),
    /// The sum.
    Sum(String),
    /// The minimum.
    Min(String),
    /// The maximum.
    Max(String),
    /// The mean.
    Mean(String),
}

/// A span of time on a field: from `from`, before `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The field; its values are timestamps or seconds since the epoch.
    pub field: String,
    /// The start, included.
    pub from: Timestamp,
    /// The end, excluded.
    pub until: Timestamp,
}

/// Functions over records, by group.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The fields to group by; without any, all records form one group.
    pub by: Vec<String>,
    /// The functions to compute for each group.
    pub functions: Vec<Function>,
    /// The window of records that count; without it, all records.
    pub window: Option<Window>,
    /// The maximum number of groups; further ones are omitted.
    pub limit: usize,
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The values of the grouping fields.
    pub by: Vec<Value>,
    /// The values of the functions, in order; null if no record counts.
    pub values: Vec<Value>,
}

/// A function over records, by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The window of records that count.
    pub window: Window,
    /// The length of each bucket; buckets start at multiples of it since the epoch.
    pub bucket: Duration,
    /// The function to compute for each bucket.
    pub function: Function,
}

/// One bucket. Buckets without records are omitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Its start.
    pub at: Timestamp,
    /// The value of the function.
    pub value: Value,
}
