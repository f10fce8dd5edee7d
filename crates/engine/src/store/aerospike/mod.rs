//! Records in an Aerospike cluster, by batch writes of the official client.

mod codes;
mod connect;
pub mod values;

use std::{num::NonZeroU32, time::Duration};

use aerospike::{
    BatchOperation, BatchPolicy, BatchWritePolicy, Bins, Client, Expiration, PartitionFilter, QueryPolicy, RecordExistsAction, Statement,
    Value as AsValue, operations,
};
use futures_util::{StreamExt as _, stream};

use self::codes::Verdict;
use super::{Batches, Pending, Put, PutError, Store, StoreError, StoredRecord};
use crate::{
    BoxFuture,
    address::HostPort,
    record::{KEY_FIELD, Key, Record},
    secret::Secret,
    tls,
};

/// Records in one batch. Larger batches were measured to gain nothing and to cost memory on both sides.
const RECORDS_IN_BATCH: usize = 100;

/// Bytes of the documents in one batch; from 120 MB on the server refuses all of it.
const BYTES_IN_BATCH: usize = 4 << 20;

/// Batches that are under way at once.
const BATCHES_AT_ONCE: usize = 8;

/// How the Aerospike store is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Nodes to begin with; the client finds the others.
    pub hosts: Vec<HostPort>,
    /// The namespace; it has to exist.
    pub namespace: Name<31>,
    /// The set; the server creates it.
    pub set: Name<63>,
    /// What happens to a record that is there already.
    pub exists: Exists,
    /// How long a record lives.
    pub ttl: Ttl,
    /// Whether the server keeps the key itself beside its digest.
    pub send_key: bool,
    /// How long one batch may take.
    pub timeout: Duration,
    /// How long connecting may take, with everything that belongs to it.
    pub connect_timeout: Duration,
    /// Who we are, where the server asks.
    pub login: Option<Login>,
    /// How connections are encrypted.
    pub tls: Option<Box<tls::Settings>>,
}

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// What proves it.
    pub password: Secret,
    /// Who knows the password.
    pub mode: AuthMode,
}

/// Who knows a user's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// The server; only a hash of it is sent.
    Internal,
    /// A directory that the server asks; the password itself is sent.
    External,
}

/// A name of 1 to `MAX` bytes without `:` and `;`, which separate names in the server's own language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<const MAX: usize>(String);

impl<const MAX: usize> std::str::FromStr for Name<MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX || text.contains([':', ';']) || text.contains(char::is_control) {
            return Err(format!("`{text}` is not a name that Aerospike takes here: 1 to {MAX} bytes without : and ;"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<const MAX: usize> std::fmt::Display for Name<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to a record that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Exists {
    /// It is replaced as a whole.
    Replace,
    /// It is left alone, and the message counts as a duplicate.
    CreateOnly,
    /// Its other bins stay.
    Update,
}

/// How long a record lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// As the namespace says.
    Namespace,
    /// For ever.
    Never,
    /// This many seconds.
    Seconds(NonZeroU32),
}

/// Aerospike as a [`Store`].
pub struct AerospikeStore {
    client: Client,
    settings: Settings,
    batch: BatchPolicy,
    write: BatchWritePolicy,
}

impl AerospikeStore {
    /// Connects, and makes sure that the namespace exists.
    ///
    /// # Errors
    /// No node answers within the connect timeout, all refuse us, or the namespace is not there.
    pub async fn connect(settings: &Settings) -> Result<Self, StoreError> {
        let client = connect::connect(settings).await?;
        Ok(Self { client, batch: batch_policy(settings), write: write_policy(settings), settings: settings.clone() })
    }

    /// Writes a chunk. Where the client or the server refuses the chunk as a whole, it is halved until the record at fault stands alone.
    fn write<'a>(&'a self, operations: &'a mut [BatchOperation]) -> BoxFuture<'a, Vec<Result<Put, PutError>>> {
        Box::pin(async move {
            let call = self.client.batch(&self.batch, operations).await;
            if let Err(error) = &call
                && operations.len() > 1
                && matches!(codes::verdict(error), Verdict::Refuse | Verdict::Shrink)
            {
                // The rows are there to be sent again: the client takes them only where it can't route a batch, by codes with other verdicts (-3, 11, 20).
                // What another node of the cluster has stored meanwhile is written once more, as the same record.
                let (first, second) = operations.split_at_mut(operations.len() / 2);
                let mut results = self.write(first).await;
                results.extend(self.write(second).await);
                return results;
            }
            operations.iter().map(|operation| answer(operation, call.as_ref().err())).collect()
        })
    }

    /// The write of one record, or why Aerospike can't hold it.
    fn operation(&self, record: Record) -> Result<BatchOperation, String> {
        let key = match &record.key {
            Key::Int(number) => AsValue::Int(*number),
            Key::Text(text) => AsValue::String(text.clone()),
        };
        let key = aerospike::Key::new(self.settings.namespace.0.as_str(), self.settings.set.0.as_str(), key)
            .map_err(|error| error.to_string())?;
        let bins = values::bins(record)?;
        Ok(BatchOperation::write(&self.write, key, bins.iter().map(operations::put).collect::<Vec<_>>()))
    }

    async fn read(&self, limit: usize) -> aerospike::Result<Vec<StoredRecord>> {
        let mut policy = QueryPolicy::default();
        policy.max_records = limit as u64;
        let statement = Statement::new(&self.settings.namespace.0, &self.settings.set.0, Bins::All);
        let mut found = self.client.query(&policy, PartitionFilter::all(), statement).await?.into_stream();
        let mut records = Vec::new();
        while let Some(record) = found.next().await {
            let mut fields = values::fields(record?.bins);
            let key = fields.iter().position(|(name, _)| name == KEY_FIELD).and_then(|index| values::key(fields.remove(index).1));
            records.push(StoredRecord { key, fields });
        }
        Ok(records)
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn batch_policy(settings: &Settings) -> BatchPolicy {
    let mut policy = BatchPolicy::write_default(); // does not repeat writes: the queue does, and sees it
    policy.base_policy.total_timeout = millis(settings.timeout);
    policy.base_policy.socket_timeout = millis(settings.timeout);
    policy
}

fn write_policy(settings: &Settings) -> BatchWritePolicy {
    BatchWritePolicy {
        record_exists_action: match settings.exists {
            Exists::Replace => RecordExistsAction::Replace,
            Exists::CreateOnly => RecordExistsAction::CreateOnly,
            Exists::Update => RecordExistsAction::Update,
        },
        expiration: match settings.ttl {
            Ttl::Namespace => Expiration::NamespaceDefault,
            Ttl::Never => Expiration::Never,
            Ttl::Seconds(seconds) => Expiration::Seconds(seconds.get()),
        },
        send_key: settings.send_key,
        ..BatchWritePolicy::default()
    }
}

/// What became of one row, given the failure of the call that it was in.
fn answer(operation: &BatchOperation, call: Option<&aerospike::Error>) -> Result<Put, PutError> {
    let error = match (operation.error(), operation.record()) {
        (None, Some(_)) => return Ok(Put::Stored),
        (error, _) => error.or(call),
    };
    let Some(error) = error else { return no_answer() };
    let text = || format!("Aerospike: {} (code {})", error.base_message(), error.result_code());
    match codes::verdict(error) {
        Verdict::AlreadyThere => Ok(Put::Duplicate),
        Verdict::Refuse | Verdict::Shrink => Err(PutError::Refused(text())),
        Verdict::Stop => Err(PutError::Setup(text())),
        Verdict::Requeue => Err(PutError::Unavailable(text())),
        Verdict::Unknown => Err(PutError::Unknown(text())),
    }
}

fn no_answer() -> Result<Put, PutError> {
    Err(PutError::Unavailable("Aerospike: no answer for this record".to_owned()))
}

/// Splits the writes of records of these sizes into chunks that stay within both bounds; one record over the bound is a chunk of its own.
fn chunks<'a, T>(mut writes: &'a mut [T], sizes: &[usize]) -> Vec<&'a mut [T]> {
    let mut chunks = Vec::with_capacity(sizes.len() / RECORDS_IN_BATCH + 1);
    let (mut count, mut bytes) = (0, 0);
    for size in sizes {
        if count > 0 && (count == RECORDS_IN_BATCH || bytes + size > BYTES_IN_BATCH) {
            let (chunk, others) = writes.split_at_mut(count);
            chunks.push(chunk);
            (writes, count, bytes) = (others, 0, 0);
        }
        count += 1;
        bytes += size;
    }
    if count > 0 {
        chunks.push(writes);
    }
    chunks
}

impl Store for AerospikeStore {
    fn batches(&self) -> Batches {
        Batches { records: RECORDS_IN_BATCH, at_once: BATCHES_AT_ONCE }
    }

    fn put(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        let (mut writes, mut sizes, mut answers) =
            (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for Pending { item, answer } in records {
            let size = item.size;
            match self.operation(item) {
                Ok(operation) => {
                    writes.push(operation);
                    sizes.push(size);
                    answers.push(answer);
                }
                Err(fault) => answer.give(Err(PutError::Refused(fault))),
            }
        }
        Box::pin(async move {
            let chunks = stream::iter(chunks(&mut writes, &sizes));
            let results = chunks.map(|chunk| self.write(chunk)).buffered(BATCHES_AT_ONCE).concat().await;
            for (answer, result) in answers.into_iter().zip(results) {
                answer.give(result);
            }
        })
    }

    fn scan(&self, limit: usize) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        Box::pin(async move { self.read(limit).await.map_err(|error| connect::error(&self.settings, &error)) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.client.close().await {
                log::debug!(cause = error.to_string(); "Aerospike does not close the connection");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_to_count_and_bytes_and_lose_no_record() {
        let lengths = |sizes: &[usize]| chunks(&mut vec![(); sizes.len()], sizes).iter().map(|chunk| chunk.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&[]), [] as [usize; 0]);
        assert_eq!(lengths(&[1; 250]), [100, 100, 50]);
        assert_eq!(lengths(&[BYTES_IN_BATCH / 2, BYTES_IN_BATCH / 2, 1, BYTES_IN_BATCH + 1, 1]), [2, 1, 1, 1]);
    }

    #[test]
    fn names_keep_to_the_server_s_limits() {
        "test".parse::<Name<31>>().expect("a name");
        for name in [String::new(), "a:b".into(), "a;b".into(), "a\n".into(), "a".repeat(32)] {
            assert!(name.parse::<Name<31>>().is_err(), "{name}");
        }
    }
}
