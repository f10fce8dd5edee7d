//! Records in an Aerospike cluster, by batch writes of the official client.

mod codes;
mod conditions;
mod connect;
mod settings;
pub mod values;

pub use settings::ADAPTER;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use aerospike::{
    AdminPolicy, BatchOperation, BatchPolicy, BatchWritePolicy, Bins, Client, Expiration, PartitionFilter,
    QueryPolicy, RecordExistsAction, Statement, Value as AsValue, operations,
};
use futures_util::{StreamExt as _, future::join_all, stream};
use tokio::time::timeout;

use self::{
    codes::Verdict,
    conditions::{Condition, Node},
};
use x_msrv_core::{
    BoxFuture,
    decode::{SetRule, TtlRule},
    error_chain,
    fault::{Blame, Fault},
    record::{Key, Record},
    store::{BatchLimits, Pending, Put, Reader, See, Store, StoreError, StoreTraits, StoredRecord},
};
use x_msrv_net::{address::HostPort, secret::Secret, tls};

/// Records in one batch. Larger batches gained nothing in measurements and cost memory on both sides.
const RECORDS_IN_BATCH: usize = 100;

/// The limit on the documents in one batch in bytes; above 120 MB the server refuses the whole batch.
const BYTES_IN_BATCH: usize = 4 << 20;

/// Concurrent batches.
const BATCHES_AT_ONCE: usize = 8;

/// The settings of the Aerospike store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The first nodes to connect to; the client discovers the others.
    pub hosts: Vec<HostPort>,
    /// The namespace; it must exist.
    pub namespace: Name<31>,
    /// The set; the server creates it.
    pub set: Set,
    /// What happens to an existing record.
    pub exists: Exists,
    /// The lifetime of a record whose message does not set it.
    pub ttl: Ttl,
    /// The field that sets the lifetime, if configured.
    pub own_ttl: Option<TtlRule>,
    /// Whether the server stores the key itself beside its digest.
    pub send_key: bool,
    /// The time limit for one batch.
    pub timeout: Duration,
    /// The time limit for connecting, including all its steps.
    pub connect_timeout: Duration,
    /// The login, if the server requires one.
    pub login: Option<Login>,
    /// How connections are encrypted.
    pub tls: Option<Box<tls::Settings>>,
    /// Whether to connect to nodes by their `alternate-access-address`, for networks that translate
    /// addresses.
    pub use_alternate_addresses: bool,
}

/// The set of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// One set for all records.
    Named(Name<63>),
    /// The set that a field of the message names.
    OfField(SetRule),
}

impl std::str::FromStr for Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Named)
    }
}

/// In the syntax of the configuration.
impl std::fmt::Display for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::OfField(SetRule { field, allowed }) => {
                write!(f, "{{field: {field}, allowed: [{}]}}", allowed.join(", "))
            }
        }
    }
}

impl Set {
    /// Returns all possible sets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match self {
            Self::Named(name) => (Some(name.as_str()), &[][..]),
            Self::OfField(rule) => (None, &rule.allowed[..]),
        };
        one.into_iter().chain(several.iter().map(|name| &**name))
    }

    /// Returns the set of a record; the record names it if there are several.
    fn of<'a>(&'a self, named: Option<&'a Arc<str>>) -> Option<&'a str> {
        match self {
            Self::Named(name) => Some(name.as_str()),
            Self::OfField(_) => named.map(|name| &**name),
        }
    }
}

/// The longest lifetime that the server accepts, in seconds (`MAX_ALLOWED_TTL` in its `datamodel.h`): ten
/// years.
pub const LONGEST_TTL: NonZeroU32 = NonZeroU32::new(10 * 365 * 24 * 3600).expect("not zero");

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// Where the password is verified.
    pub mode: AuthMode,
}

/// Where a user's password is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum AuthMode {
    /// By the server; a hash of the password is sent.
    Internal,
    /// By a directory service for the server; the password itself is sent, only over TLS.
    External,
}

/// A name of 1 to `MAX` bytes without `:` and `;`, which separate names in the server's info protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<const MAX: usize>(String);

impl<const MAX: usize> std::str::FromStr for Name<MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX || text.contains([':', ';']) || text.contains(char::is_control)
        {
            return Err(format!(
                "`{text}` is not a valid name in Aerospike: 1 to {MAX} bytes without : and ;"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<const MAX: usize> Name<MAX> {
    fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> std::fmt::Display for Name<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to an existing record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, x_msrv_settings::Settings)]
pub enum Exists {
    /// The whole record is replaced.
    Replace,
    /// The record is left unchanged, and the message counts as a duplicate.
    CreateOnly,
    /// Bins with the same names are written; other bins are kept.
    Update,
}

/// The lifetime of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// The namespace's default.
    Namespace,
    /// No expiry.
    Never,
    /// This number of seconds.
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
    /// Connects, and checks that the namespace exists and can accept records.
    ///
    /// # Errors
    /// No node answers within the connect timeout, or all refuse the connection. The namespace does not
    /// exist, or its setup does not allow what is configured.
    pub async fn connect(settings: &Settings) -> Result<Self, StoreError> {
        let (client, namespace) = connect::connect(settings).await?;
        match (Node { namespace, ..Node::default() }).refuses_all(settings) {
            Some(Condition::Setup(fault)) => {
                Err(StoreError::Setup { place: connect::place(settings), fault })
            }
            // A temporary condition is reported when a write fails because of it; writes to existing records
            // may still be accepted.
            _ => Ok(Self::of(client, settings)),
        }
    }

    /// Connects for reading, and checks that the namespace exists.
    ///
    /// # Errors
    /// No node answers within the connect timeout, all refuse the connection, or the namespace does not
    /// exist.
    pub async fn connect_to_existing(settings: &Settings) -> Result<Self, StoreError> {
        Ok(Self::of(connect::connect(settings).await?.0, settings))
    }

    /// Asks every node whether it would accept records, and disconnects. Returns what that proves, as text for
    /// the user.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); or one of the nodes would not accept records.
    pub async fn probe(settings: &Settings) -> Result<String, StoreError> {
        let store = Self::connect(settings).await?;
        let (place, mut found, mut asked) = (connect::place(settings), Vec::new(), 0);
        for set in settings.set.names() {
            let nodes = store.ask(set, true).await;
            let nodes = nodes
                .map_err(|cause| StoreError::Unreachable { place: place.clone(), cause: cause.into() })?;
            asked = nodes.len();
            found.extend(nodes.iter().filter_map(|node| node.any_condition(settings, set)));
        }
        if let Err(error) = Box::new(store).close().await {
            log::debug!(cause = error_chain::text(&error); "cannot close the connection to Aerospike");
        }
        match first(found.into_iter()) {
            None => Ok(format!("{place}: by their statistics, {asked} nodes accept records")),
            Some(Condition::Setup(fault)) => Err(StoreError::Setup { place, fault }),
            Some(Condition::Outage(fault)) => Err(StoreError::Outage { place, fault }),
        }
    }

    fn of(client: Client, settings: &Settings) -> Self {
        Self {
            client,
            batch: batch_policy(settings),
            write: write_policy(settings),
            settings: settings.clone(),
        }
    }

    /// Writes a chunk. If the client or the server refuses the whole chunk, it is halved until the record at
    /// fault is alone.
    fn write_chunk<'a>(
        &'a self,
        operations: &'a mut [BatchOperation],
    ) -> BoxFuture<'a, Vec<Result<Put, Failure>>> {
        Box::pin(async move {
            let call = self.client.batch(&self.batch, operations).await;
            if let Err(error) = &call
                && operations.len() > 1
                && (error.result_code() == codes::PARAMETER
                    || matches!(codes::verdict(error), Verdict::Refuse | Verdict::Shrink))
            {
                // The rows are still in the operations and can be sent again: the client consumes them only
                // if it cannot route a batch, and reports that with other codes (-3, 11, 20). Records that
                // another node of the cluster has stored meanwhile are written again, as the same records.
                let (first, second) = operations.split_at_mut(operations.len() / 2);
                let mut results = self.write_chunk(first).await;
                results.extend(self.write_chunk(second).await);
                return results;
            }
            operations.iter().map(|operation| answer(operation, call.as_ref().err())).collect()
        })
    }

    /// Returns the verdicts on the failed rows; the server is asked about some of them. Each row has its set.
    async fn judged(&self, rows: Vec<(&str, Result<Put, Failure>)>) -> Vec<Result<Put, Fault>> {
        let mut reasons = BTreeMap::new();
        for (set, result) in &rows {
            if let Err(Failure { verdict: Verdict::Ask, code, .. }) = result
                && !reasons.contains_key(&(*set, *code))
            {
                let nodes = self.ask(set, *code == codes::PARAMETER).await;
                reasons.insert(
                    (*set, *code),
                    nodes.map(|nodes| {
                        first(nodes.iter().filter_map(|node| node.condition(*code, &self.settings, set)))
                    }),
                );
            }
        }
        let meaning = |set, failure: Failure| match reasons.get(&(set, failure.code)) {
            Some(reason) if failure.verdict == Verdict::Ask => failure.because(reason),
            _ => failure.by_itself(),
        };
        rows.into_iter().map(|(set, result)| result.or_else(|failure| meaning(set, failure))).collect()
    }

    /// Returns the statistics of each answering node about the namespace and one of its sets, and about all
    /// sets if requested.
    ///
    /// # Errors
    /// No node answers; the text is for the user.
    async fn ask(&self, set: &str, about_all_sets: bool) -> Result<Vec<Node>, String> {
        let namespace = &self.settings.namespace;
        let names = [
            format!("namespace/{namespace}"),
            format!("sets/{namespace}/{set}"),
            format!("sets/{namespace}"),
        ];
        let names: Vec<_> =
            names.iter().map(String::as_str).take(if about_all_sets { 3 } else { 2 }).collect();
        let policy = AdminPolicy { timeout: millis(self.settings.timeout) };
        let nodes = self.client.nodes();
        let answers = nodes.iter().map(|node| timeout(self.settings.timeout, node.info(&policy, &names)));
        let (mut told, mut failure) = (Vec::new(), "no known node".to_owned());
        for answer in join_all(answers).await {
            match answer {
                Ok(Ok(mut answers)) => {
                    let mut next =
                        || answers.shift_remove_index(0).map(|(_, answer)| answer).unwrap_or_default();
                    told.push(Node { namespace: next(), set: next(), sets: next() });
                }
                Ok(Err(cause)) => failure = cause.to_string(),
                Err(elapsed) => failure = elapsed.to_string(),
            }
        }
        if told.is_empty() { Err(failure) } else { Ok(told) }
    }

    /// Returns the write of one record, or why Aerospike cannot hold it.
    fn operation(&self, record: Record) -> Result<BatchOperation, String> {
        let key = match &record.key {
            Key::Int(number) => AsValue::Int(*number),
            Key::Text(text) => AsValue::String(text.clone()),
        };
        let set = self.settings.set.of(record.set.as_ref()).ok_or("no set is known for it")?;
        let key = aerospike::Key::new(self.settings.namespace.as_str(), set, key)
            .map_err(|error| error.to_string())?;
        let own = record
            .ttl
            .map(|ttl| BatchWritePolicy { expiration: Expiration::Seconds(ttl.get()), ..self.write.clone() });
        let bins = values::bins(record)?;
        let bins = bins.iter().map(operations::put).collect::<Vec<_>>();
        Ok(BatchOperation::write(own.as_ref().unwrap_or(&self.write), key, bins))
    }

    async fn read(&self, limit: usize, see: See<'_>) -> aerospike::Result<()> {
        let mut left = limit;
        for set in self.settings.set.names() {
            let wanted = left;
            if wanted == 0 {
                break;
            }
            let mut counted = |record| {
                left -= 1;
                let seen = see(record);
                left = if seen.is_break() { 0 } else { left };
                seen
            };
            self.read_set(set, wanted, &mut counted).await?;
        }
        Ok(())
    }

    async fn read_set(&self, set: &str, limit: usize, see: See<'_>) -> aerospike::Result<()> {
        let mut policy = QueryPolicy::default();
        policy.max_records = limit as u64;
        let statement = Statement::new(&self.settings.namespace.0, set, Bins::All);
        let mut found = self.client.query(&policy, PartitionFilter::all(), statement).await?.into_stream();
        while let Some(record) = found.next().await {
            let mut fields = values::fields(record?.bins);
            let key = Key::take_from(&mut fields);
            if see(StoredRecord { key, fields }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn batch_policy(settings: &Settings) -> BatchPolicy {
    let mut policy = BatchPolicy::write_default(); // does not retry writes: the queue does, and counts it
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

/// Why a row was not written.
struct Failure {
    verdict: Verdict,
    code: i32,
    text: String,
}

impl Failure {
    /// Returns the verdict by the code alone.
    fn by_itself(self) -> Result<Put, Fault> {
        match self.verdict {
            Verdict::AlreadyThere => Ok(Put::Duplicate),
            Verdict::Refuse | Verdict::Shrink => Err(Fault::new(Blame::Record, self.text)),
            Verdict::Stop => Err(Fault::new(Blame::Setup, self.text)),
            Verdict::Requeue => Err(Fault::new(Blame::Outage, self.text)),
            Verdict::Unknown => Err(Fault::new(Blame::Unknown, self.text)),
            Verdict::Ask => Err(Fault::new(Blame::Suspect, self.text)),
        }
    }

    /// Returns the verdict by the server's condition.
    fn because(self, reason: &Result<Option<Condition>, String>) -> Result<Put, Fault> {
        let Self { code, text, .. } = &self;
        Err(match reason {
            Ok(Some(Condition::Setup(fault))) => {
                Fault::new(Blame::Setup, format!("Aerospike: {fault} (code {code})"))
            }
            Ok(Some(Condition::Outage(fault))) => {
                Fault::new(Blame::Outage, format!("Aerospike: {fault} (code {code})"))
            }
            // Neither is ever the record's fault.
            Ok(None) if *code == codes::NO_SPACE => Fault::new(Blame::Outage, self.text),
            Ok(None) if *code == codes::FORBIDDEN => Fault::new(Blame::Unknown, self.text),
            Ok(None) => return self.by_itself(),
            Err(cause) => {
                Fault::new(Blame::Outage, format!("{text} (no statistics from the server: {cause})"))
            }
        })
    }
}

/// Returns the condition that must be fixed first.
fn first(conditions: impl Iterator<Item = Condition>) -> Option<Condition> {
    conditions.min_by_key(|condition| matches!(condition, Condition::Outage(_)))
}

/// Returns the result of one row, given the error of its call.
fn answer(operation: &BatchOperation, call: Option<&aerospike::Error>) -> Result<Put, Failure> {
    let error = match (operation.error(), operation.record()) {
        (None, Some(_)) => return Ok(Put::Stored),
        (error, _) => error.or(call),
    };
    let failure = |verdict, code, text| Failure { verdict, code, text };
    Err(match error {
        None => failure(Verdict::Requeue, 0, "Aerospike: no answer for this record".to_owned()),
        Some(error) => {
            let (code, text) = (error.result_code(), error.base_message());
            failure(codes::verdict(error), code, format!("Aerospike: {text} (code {code})"))
        }
    })
}

/// Splits the writes of records with these sizes into chunks within both limits; a record over the limit is a
/// chunk of its own.
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
    fn traits(&self) -> StoreTraits {
        StoreTraits::default()
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits::new(RECORDS_IN_BATCH, BATCHES_AT_ONCE)
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        let (mut writes, mut sizes, mut answers) = (
            Vec::with_capacity(records.len()),
            Vec::with_capacity(records.len()),
            Vec::with_capacity(records.len()),
        );
        for Pending { item, answer } in records {
            let (size, set) = (item.size, item.set.clone());
            match self.operation(item) {
                Ok(operation) => {
                    writes.push(operation);
                    sizes.push(size);
                    answers.push((answer, set));
                }
                Err(fault) => answer.give(Err(Fault::new(Blame::Record, fault))),
            }
        }
        Box::pin(async move {
            let chunks = stream::iter(chunks(&mut writes, &sizes));
            let results =
                chunks.map(|chunk| self.write_chunk(chunk)).buffered(BATCHES_AT_ONCE).concat().await;
            let sets = answers.iter().map(|(_, set)| self.settings.set.of(set.as_ref()).unwrap_or_default());
            let results = self.judged(sets.zip(results).collect()).await;
            for ((answer, _), result) in answers.into_iter().zip(results) {
                answer.give(result);
            }
        })
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let closed = self.client.close().await;
            closed.map_err(|error| connect::error(&self.settings, &error))
        })
    }
}

impl Reader for AerospikeStore {
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.read(limit, see).await.map_err(|error| connect::error(&self.settings, &error))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_respect_both_limits_and_lose_no_record() {
        let lengths = |sizes: &[usize]| {
            chunks(&mut vec![(); sizes.len()], sizes).iter().map(|chunk| chunk.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[]), [] as [usize; 0]);
        assert_eq!(lengths(&[1; 250]), [100, 100, 50]);
        assert_eq!(
            lengths(&[BYTES_IN_BATCH / 2, BYTES_IN_BATCH / 2, 1, BYTES_IN_BATCH + 1, 1]),
            [2, 1, 1, 1]
        );
    }

    #[test]
    fn names_over_the_server_s_limits_are_refused() {
        "test".parse::<Name<31>>().expect("a name");
        for name in [String::new(), "a:b".into(), "a;b".into(), "a\n".into(), "a".repeat(32)] {
            assert!(name.parse::<Name<31>>().is_err(), "{name}");
        }
    }
}
