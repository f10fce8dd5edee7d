//! A client connected to the server under test, and a separate set.

use std::sync::{Arc, Mutex};

use aerospike::{
    AdminPolicy, BatchOperation, BatchPolicy, BatchWritePolicy, Bin, Bins, Client, ClientPolicy, Key,
    PartitionFilter, QueryPolicy, ReadPolicy, Record, RecordExistsAction, Result, ResultCode, Statement,
    Value, WritePolicy,
    operations::{self, Operation},
};

use crate::support::{aerospike::StandIn, real_aerospike};

/// Longer than any answer takes, even on a busy machine.
const TIMEOUT_MS: u32 = 10_000;

pub(crate) struct Fixture {
    pub(crate) client: Client,
    pub(crate) set: String,
    /// The server's address.
    pub(crate) host: String,
    /// Kept alive as long as the client needs it; `None` if the server is a real one.
    _server: Option<StandIn>,
}

impl Fixture {
    /// Connects to the server that the environment names, or to a stand-in, and empties the set.
    pub(crate) async fn new(name: &str) -> Self {
        let (host, server) = if let Some(host) = real_aerospike() {
            (host.to_string(), None)
        } else {
            let server = StandIn::start().await;
            (server.address().to_string(), Some(server))
        };
        let client = connect(&host).await;
        let fixture = Fixture { client, set: format!("standin_{name}"), host, _server: server };
        for record in fixture.query(&QueryPolicy::default(), Bins::None).await {
            let key = record.key.expect("a query returns keys");
            fixture.client.delete(&write_policy(), &key).await.expect("deletes");
        }
        fixture
    }

    pub(crate) fn key(&self, key: impl Into<Value>) -> Key {
        Key::new("test", &self.set, key.into()).expect("a valid key")
    }

    pub(crate) async fn put(&self, key: &Key, bins: &[Bin]) {
        self.client.put(&write_policy(), key, bins).await.expect("puts");
    }

    pub(crate) async fn get(&self, key: &Key) -> Record {
        self.client.get(&read_policy(), key, Bins::All).await.expect("gets")
    }

    /// The result code of a write.
    pub(crate) async fn put_code(&self, policy: &WritePolicy, key: &Key, bins: &[Bin]) -> ResultCode {
        code(self.client.put(policy, key, bins).await)
    }

    pub(crate) async fn get_code(&self, key: &Key) -> ResultCode {
        code(self.client.get(&read_policy(), key, Bins::All).await)
    }

    pub(crate) async fn info(&self, name: &str) -> String {
        let policy = AdminPolicy { timeout: TIMEOUT_MS };
        let mut answers = self.client.info(&policy, &[name]).await.expect("info is answered");
        answers.swap_remove(name).expect("the answer repeats the name")
    }

    /// All records of the set.
    pub(crate) async fn query(&self, policy: &QueryPolicy, bins: Bins) -> Vec<Record> {
        let statement = Statement::new("test", &self.set, bins);
        let mut filter = PartitionFilter::all();
        query(&self.client, policy, &mut filter, statement).await.expect("queries")
    }
}

/// Runs a query to completion and advances its filter.
pub(crate) async fn query(
    client: &Client,
    policy: &QueryPolicy,
    filter: &mut PartitionFilter,
    statement: Statement,
) -> Result<Vec<Record>> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let collect = {
        let found = Arc::clone(&found);
        move |record| {
            found.lock().expect("no panic in the callback").push(record);
            std::future::ready(true)
        }
    };
    let mut handle = client.query_foreach(policy, filter.clone(), statement, collect).await?;
    handle.wait().await?;
    *filter = handle.partition_filter().expect("the query is over");
    let found = std::mem::take(&mut *found.lock().expect("no panic in the callback"));
    found.into_iter().collect()
}

pub(crate) async fn connect(host: &str) -> Client {
    Client::new(&ClientPolicy::default(), &host.to_owned()).await.expect("connects")
}

/// The result of a call: `Ok`, or the result code of the server.
pub(crate) fn code<T>(result: Result<T>) -> ResultCode {
    match result {
        Ok(_) => ResultCode::Ok,
        Err(error) => {
            error.server_result_code().unwrap_or_else(|| panic!("an error of the client: {error:?}"))
        }
    }
}

pub(crate) fn write_policy() -> WritePolicy {
    let mut policy = WritePolicy::default();
    policy.base_policy.total_timeout = TIMEOUT_MS;
    policy
}

pub(crate) fn write_policy_with(action: RecordExistsAction) -> WritePolicy {
    WritePolicy { record_exists_action: action, ..write_policy() }
}

pub(crate) fn read_policy() -> ReadPolicy {
    let mut policy = ReadPolicy::default();
    policy.base_policy.total_timeout = TIMEOUT_MS;
    policy
}

/// One attempt, limited to ten seconds.
pub(crate) fn batch_policy() -> BatchPolicy {
    let mut policy = BatchPolicy::write_default();
    policy.base_policy.total_timeout = TIMEOUT_MS;
    policy
}

pub(crate) fn batch_write_with(action: RecordExistsAction) -> BatchWritePolicy {
    BatchWritePolicy { record_exists_action: action, ..BatchWritePolicy::default() }
}

/// A batch row that writes these bins.
pub(crate) fn row(policy: &BatchWritePolicy, key: Key, bins: &[Bin]) -> BatchOperation {
    let ops: Vec<Operation> = bins.iter().map(operations::put).collect();
    BatchOperation::write(policy, key, ops)
}

/// The result codes of the rows; `None` for a row that has none.
pub(crate) fn codes(rows: &[BatchOperation]) -> Vec<Option<ResultCode>> {
    rows.iter().map(BatchOperation::result_code).collect()
}
