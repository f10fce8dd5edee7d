//! The embedded queue: a durable queue in one SQLite file, for a machine without another queue.
//!
//! A message is a row. A lease moves its `ready_at` into the future and sets the consumer's lease number. A
//! consumer that does not settle in time loses the row to another lease, and its late settlement changes
//! nothing. Calls are short, local and blocking: there is no network, and every wait for another process is
//! bounded.

use std::{
    num::{NonZeroI64, NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use log::warn;
use rusqlite::{Connection, ErrorCode, Row, Rows, Transaction, TransactionBehavior, params};

use x_msrv_core::{
    BoxFuture,
    fault::{Blame, Fault},
    layers::bisect,
    message::{Delivery, Message, Origin, Receipt, Settlement},
    servers::{Server, Servers},
    source::{
        Attempts, Books, Closed, Consumer, Demand, Depth, Event, Identity, Lease, PendingMessage, Proof,
        Publisher, Retry, Source, SourceError, SourceTraits, Started,
    },
};
use x_msrv_state::{sqlite, state_file};

/// The number of messages that are leased at once.
const LEASE_AT_ONCE: usize = 1_000;

/// A message as stored in the file.
struct FoundRow {
    id: i64,
    body: Vec<u8>,
    /// How often it was delivered before.
    attempts: u32,
    published: Option<i64>,
}

impl FoundRow {
    /// Parses a row of [`READY`] or [`DELAYED_BY_CLOCK`].
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, body: row.get(1)?, attempts: row.get(2)?, published: row.get(3)? })
    }

    fn message(self, origin: &Origin) -> Message {
        Message {
            origin: origin.clone(),
            id: self.id.to_string().into(),
            body: Bytes::from(self.body),
            attempts: NonZeroU32::new(self.attempts.saturating_add(1)),
            published: self.published.and_then(NonZeroI64::new),
            last: false,
            details: None,
        }
    }
}

/// Messages read from the file, up to the available room.
struct Found {
    rows: Vec<FoundRow>,
    room: usize,
    bytes_left: usize,
}

impl Found {
    fn add(&mut self, mut rows: Rows<'_>) -> rusqlite::Result<()> {
        while self.rows.len() < self.room
            && self.bytes_left > 0
            && let Some(row) = rows.next()?
        {
            let row = FoundRow::of(row)?;
            self.bytes_left = self.bytes_left.saturating_sub(row.body.len());
            self.rows.push(row);
        }
        Ok(())
    }
}

/// The settings of the embedded queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file; created if it does not exist.
    pub path: PathBuf,
    /// The most unsettled messages.
    pub max_in_flight: NonZeroU64,
    /// The time without a settlement after which a message is delivered again.
    pub lease_timeout: Duration,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS queue (id TEXT NOT NULL) STRICT;
    INSERT INTO queue SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM queue);
    CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used again, unless the file is copied, or an older copy takes its place
        published INTEGER,                      -- nanoseconds since the epoch; tells messages apart that copies of a file give one id
        attempts INTEGER NOT NULL DEFAULT 0,
        ready_at INTEGER NOT NULL DEFAULT 0,    -- milliseconds since the epoch; not to be delivered before
        since INTEGER NOT NULL DEFAULT 0,       -- when that was decided
        lease INTEGER,                          -- whose it is until then
        body BLOB NOT NULL                      -- last: columns after it are not found without reading it
    ) STRICT;
    CREATE INDEX IF NOT EXISTS messages_by_turn ON messages (ready_at);  -- and by id: every index ends with it
";

/// The columns of the first version of the file.
const FIRST_COLUMNS: &str = "SELECT id, attempts, ready_at, since, lease, body FROM messages";

/// Ready messages, in order.
const READY: &str =
    "SELECT id, body, attempts, published FROM messages WHERE ready_at <= ?1 ORDER BY ready_at, id";

/// Messages delayed by a clock that has been set back since: they would wait until that clock time is
/// reached. Less than a second is normal clock correction. Messages of this consumer are excluded; those of
/// other live processes are not.
const DELAYED_BY_CLOCK: &str = "SELECT id, body, attempts, published FROM messages WHERE ready_at > ?1 AND since > ?1 + 1000 AND lease IS NOT ?2 ORDER BY ready_at, id";

/// All messages.
const ALL: &str = "SELECT count(*) FROM messages WHERE ?1 IS NOT NULL";

/// Messages in flight. Messages that a clock set back has delayed can be taken, whoever held them.
const LEASED: &str =
    "SELECT count(*) FROM messages WHERE ready_at > ?1 AND since <= ?1 + 1000 AND lease IS NOT NULL";

/// Delayed messages.
const DELAYED: &str =
    "SELECT count(*) FROM messages WHERE ready_at > ?1 AND since <= ?1 + 1000 AND lease IS NULL";

const LEASE: &str =
    "UPDATE messages SET attempts = attempts + 1, ready_at = ?2, since = ?3, lease = ?4 WHERE id = ?1";

fn unreachable(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
    SourceError::Unreachable {
        place: format!("the embedded queue {}", path.display()),
        cause: sqlite::in_plain_words(path, cause.into()),
    }
}

fn open(path: &Path) -> Result<Connection, SourceError> {
    let prepare = || {
        let connection = sqlite::open(path, None, sqlite::BUSY_BOUND)?;
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        if sqlite::check(&transaction, FIRST_COLUMNS).is_ok() && sqlite::check(&transaction, READY).is_err() {
            transaction.execute_batch("ALTER TABLE messages ADD COLUMN published INTEGER")?;
        }
        transaction.commit()?;
        // A file of another version may lack a column.
        [READY, DELAYED_BY_CLOCK, LEASE].iter().try_for_each(|sql| sqlite::check(&connection, sql))?;
        Ok(connection)
    };
    prepare().map_err(|cause: Box<dyn std::error::Error + Send + Sync>| open_error(path, cause))
}

fn open_error(path: &Path, cause: Box<dyn std::error::Error + Send + Sync>) -> SourceError {
    if sqlite::is_open_fault(&*cause) {
        SourceError::Setup {
            place: format!("the embedded queue {}", path.display()),
            fault: cause.to_string(),
        }
    } else {
        unreachable(path, cause)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "leases and messages outlive the process, so their times are wall-clock times"
)]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn now_ms() -> i64 {
    millis(since_epoch())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the source name of the queue's messages; `None` if the file does not exist.
///
/// # Errors
/// The file cannot be opened, or is not a queue.
pub fn origin(settings: &Settings) -> Result<Option<String>, SourceError> {
    let path = &settings.path;
    if !state_file::exists(path).map_err(|cause| open_error(path, cause.into()))? {
        return Ok(None);
    }
    let queue = open(path)?.query_row("SELECT id FROM queue", [], |row| row.get::<_, String>(0));
    queue.map(|id| Some(format!("queue-{id}"))).map_err(|cause| unreachable(path, cause))
}

/// As [`check`], and logs a warning if the queue does not exist.
///
/// # Errors
/// As with [`check`].
pub fn probe(settings: &Settings) -> Result<String, SourceError> {
    let path = &settings.path;
    let proven = check(settings)?;
    if !state_file::exists(path).unwrap_or(true) {
        warn!(path = path.display().to_string(); "the embedded queue does not exist; the first message or run creates it");
    }
    Ok(proven)
}

/// Checks that the file can be created or written, that its disk has room, and that it is a queue if it exists.
/// Takes and creates nothing. Returns what that proves, as text for the user.
///
/// # Errors
/// One of these checks fails.
pub fn check(settings: &Settings) -> Result<String, SourceError> {
    let path = &settings.path;
    let failed = |cause: std::io::Error| open_error(path, cause.into());
    let proven = state_file::try_to_write(path).map_err(failed)?;
    if state_file::exists(path).map_err(failed)? {
        open(path)?;
    }
    Ok(proven)
}

/// Shows at most `limit` messages that a source would take next, and returns how many could be taken now.
/// Changes nothing, and creates no file.
///
/// # Errors
/// The file cannot be opened or read, or is not a queue.
pub fn peek(
    settings: &Settings,
    limit: NonZeroU64,
    see: &mut dyn FnMut(&Message),
) -> Result<u64, SourceError> {
    let path = &settings.path;
    if !state_file::exists(path).map_err(|cause| open_error(path, cause.into()))? {
        return Ok(0);
    }
    let mut show = || {
        let (connection, now) = (open(path)?, now_ms());
        let transaction = connection.unchecked_transaction().map_err(|cause| unreachable(path, cause))?;
        show(&transaction, now, limit, see).map_err(|cause| unreachable(path, cause))
    };
    show()
}

fn show(
    connection: &Connection,
    now: i64,
    limit: NonZeroU64,
    see: &mut dyn FnMut(&Message),
) -> rusqlite::Result<u64> {
    let queue: String = connection.query_row("SELECT id FROM queue", [], |row| row.get(0))?;
    let origin = Origin::new(&format!("queue-{queue}"));
    let mut statement = connection.prepare(READY)?;
    let mut rows = statement.query(params![now])?;
    let mut shown = 0;
    while shown < limit.get()
        && let Some(row) = rows.next()?
    {
        see(&FoundRow::of(row)?.message(&origin));
        shown += 1;
    }
    connection
        .query_row("SELECT count(*) FROM messages WHERE ready_at <= ?1", params![now], |row| row.get(0))
        .map(i64::cast_unsigned)
}

/// The embedded queue as a [`Source`].
pub struct SqliteSource {
    connection: Connection,
    path: PathBuf,
    origin: Origin,
    lease: i64,
    lease_timeout: Duration,
    max_in_flight: u64,
}

impl SqliteSource {
    /// Opens the queue.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a queue.
    pub fn connect(settings: &Settings) -> Result<Self, SourceError> {
        let is_new = !state_file::exists(&settings.path).unwrap_or(true);
        let connection = open(&settings.path)?;
        if is_new {
            warn!(path = settings.path.display().to_string(); "the embedded queue did not exist and was created; if that is unexpected, check its path");
        }
        let ask = |sql| {
            connection
                .query_row(sql, [], |row| row.get(0))
                .map_err(|cause| unreachable(&settings.path, cause))
        };
        let queue: String = connection
            .query_row("SELECT id FROM queue", [], |row| row.get(0))
            .map_err(|cause| unreachable(&settings.path, cause))?;
        Ok(Self {
            lease: ask("SELECT random()")?,
            origin: Origin::new(&format!("queue-{queue}")),
            path: settings.path.clone(),
            lease_timeout: settings.lease_timeout,
            max_in_flight: settings.max_in_flight.get(),
            connection,
        })
    }

    /// Returns the depth. SQLite counts whole pages of the index: a million messages take some milliseconds.
    /// It reads each leased or delayed message, as a source does.
    fn depth(&self) -> Depth {
        let count = |sql: &str| {
            let found = self.connection.query_row(sql, params![now_ms()], |row| row.get::<_, i64>(0));
            found.ok().map(i64::cast_unsigned)
        };
        let (all, leased, delayed) = (count(ALL), count(LEASED), count(DELAYED));
        let ready = || all?.checked_sub(leased? + delayed?);
        Depth { ready: ready(), later: delayed, elsewhere: leased }
    }
}

impl Source for SqliteSource {
    fn traits(&self) -> SourceTraits {
        SourceTraits {
            retry: Retry::Delayed { most: Duration::MAX },
            attempts: Attempts::Counted,
            lease: Lease::Renewable(self.lease_timeout),
            identity: Identity::Stable,
        }
    }

    /// Identified by the queue's own id: if the file was deleted, a new one has another id, and the old queue
    /// is missing.
    fn servers(&self) -> Servers {
        let path = self.path.display().to_string();
        let name = format!("the embedded {} at {path}", self.origin);
        Servers { named: vec![Server { name, is_found: true, is_reached: true }], scope: Some(path) }
    }

    fn start(self: Box<Self>, demand: Demand) -> BoxFuture<'static, Result<Started, SourceError>> {
        // Messages that are ready now are all there is: an empty result of a file is proof.
        let depth = self.depth();
        let books = Books::new(&demand, self.max_in_flight);
        let consumer = Box::new(SqliteConsumer { queue: *self, books });
        Box::pin(std::future::ready(Ok(Started { consumer, depth })))
    }
}

/// The embedded queue as a [`Consumer`].
struct SqliteConsumer {
    queue: SqliteSource,
    books: Books,
}

impl SqliteConsumer {
    fn take(&mut self, most: usize) -> rusqlite::Result<Vec<Delivery>> {
        let transaction = Transaction::new_unchecked(&self.queue.connection, TransactionBehavior::Immediate)?;
        let now = now_ms(); // not earlier: another process may have locked the file for seconds
        let (room, bytes_left) = (most.min(LEASE_AT_ONCE), self.books.bytes_left());
        let mut found = Found { rows: Vec::new(), room, bytes_left };
        found.add(transaction.prepare(READY)?.query(params![now])?)?;
        found.add(transaction.prepare(DELAYED_BY_CLOCK)?.query(params![now, self.queue.lease])?)?;
        if !found.rows.is_empty() {
            let mut lease = transaction.prepare(LEASE)?;
            for FoundRow { id, .. } in &found.rows {
                lease.execute(params![
                    id,
                    now.saturating_add(millis(self.queue.lease_timeout)),
                    now,
                    self.queue.lease
                ])?;
            }
        }
        transaction.commit()?;
        let delivery = |row: FoundRow| {
            let receipt = Receipt(row.id.cast_unsigned());
            Delivery { message: row.message(&self.queue.origin), receipt }
        };
        let deliveries = found.rows.into_iter().map(delivery).collect::<Vec<_>>();
        for delivery in &deliveries {
            self.books.took(delivery);
        }
        Ok(deliveries)
    }

    /// Executes one statement for each row in one transaction. Returns how many rows had another lease.
    fn settle_all<'a>(
        &self,
        rows: impl Iterator<Item = (&'a Delivery, Option<Duration>)>,
    ) -> rusqlite::Result<u64> {
        let transaction = Transaction::new_unchecked(&self.queue.connection, TransactionBehavior::Immediate)?;
        let now = now_ms();
        let mut lost = 0;
        {
            let mut finish = transaction.prepare("DELETE FROM messages WHERE id = ?1 AND lease = ?2")?;
            let mut move_to = transaction.prepare(
                "UPDATE messages SET ready_at = ?3, since = ?5, lease = ?4 WHERE id = ?1 AND lease = ?2",
            )?;
            for (delivery, requeue) in rows {
                let id = delivery.receipt.0.cast_signed();
                let changed = match requeue {
                    None => finish.execute(params![id, self.queue.lease])?,
                    Some(delay) => move_to.execute(params![
                        id,
                        self.queue.lease,
                        now.saturating_add(millis(delay)),
                        None::<i64>,
                        now
                    ])?,
                };
                lost += u64::from(changed == 0);
            }
        }
        transaction.commit()?;
        Ok(lost)
    }

    fn trouble(&mut self, attempt: &str, cause: &rusqlite::Error) {
        let text =
            || format!("the embedded queue {} cannot be {attempt}: {cause}", self.queue.path.display());
        self.books.closed.trouble.get_or_insert_with(text);
    }

    fn touch_all(&self, deliveries: &[&Delivery]) -> rusqlite::Result<()> {
        let transaction = Transaction::new_unchecked(&self.queue.connection, TransactionBehavior::Immediate)?;
        let now = now_ms();
        let until = now.saturating_add(millis(self.queue.lease_timeout));
        for delivery in deliveries {
            let id = delivery.receipt.0.cast_signed();
            let sql = "UPDATE messages SET ready_at = ?3, since = ?4 WHERE id = ?1 AND lease = ?2";
            transaction.execute(sql, params![id, self.queue.lease, until, now])?;
        }
        transaction.commit()
    }
}

impl Consumer for SqliteConsumer {
    fn next(&mut self) -> BoxFuture<'_, Event> {
        Box::pin(async move {
            let most = match self.books.room().await {
                Ok(most) => most,
                Err(event) => return event,
            };
            match self.take(most) {
                Ok(deliveries) if deliveries.is_empty() => Event::Idle(Proof::Proven),
                Ok(deliveries) => Event::Deliveries(deliveries),
                Err(cause) => {
                    warn!(path = self.queue.path.display().to_string(), cause = cause.to_string(); "the embedded queue cannot be read");
                    self.trouble("read", &cause);
                    Event::Lost
                }
            }
        })
    }

    fn want(&mut self, more: u64) -> BoxFuture<'_, ()> {
        self.books.want(more);
        Box::pin(std::future::ready(()))
    }

    fn settle(&mut self, settled: Vec<(Delivery, Settlement)>) -> BoxFuture<'_, ()> {
        self.books.settled(&settled);
        let rows = settled.iter().map(|(delivery, settlement)| match settlement {
            Settlement::Done => (delivery, None),
            Settlement::Retry { after } => (delivery, Some(*after)),
            Settlement::Release => (delivery, Some(Duration::ZERO)),
        });
        self.books.closed.unconfirmed += match self.settle_all(rows) {
            Ok(lost) => lost,
            Err(cause) => {
                warn!(path = self.queue.path.display().to_string(), cause = cause.to_string(); "the embedded queue cannot be written");
                self.trouble("written", &cause);
                settled.len() as u64
            }
        };
        Box::pin(std::future::ready(()))
    }

    fn extend<'a>(&'a mut self, deliveries: Vec<&'a Delivery>) -> BoxFuture<'a, ()> {
        if let Err(cause) = self.touch_all(&deliveries) {
            warn!(path = self.queue.path.display().to_string(), cause = cause.to_string(); "the embedded queue cannot be written");
        }
        Box::pin(std::future::ready(()))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Closed> {
        Box::pin(std::future::ready(Closed { depth: self.queue.depth(), ..self.books.closed }))
    }
}

/// The embedded queue as a [`Publisher`].
pub struct SqlitePublisher {
    connection: Connection,
    path: PathBuf,
}

impl SqlitePublisher {
    /// Opens the queue.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a queue.
    pub fn connect(settings: &Settings) -> Result<Self, SourceError> {
        Ok(Self { connection: open(&settings.path)?, path: settings.path.clone() })
    }

    fn insert(&self, messages: &[PendingMessage]) -> rusqlite::Result<()> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare("INSERT INTO messages (body, published) VALUES (?1, ?2)")?;
            let published = i64::try_from(since_epoch().as_nanos()).ok();
            for PendingMessage { item, .. } in messages {
                let rows = insert.execute(params![&item.body[..], published])?;
                if rows != 1 {
                    return Err(rusqlite::Error::StatementChangedRows(rows));
                }
            }
        }
        transaction.commit()
    }

    /// The owner of the file may have added indexes, constraints and triggers to the table.
    fn insert_fault(&self, cause: &rusqlite::Error) -> Fault {
        let (blame, fault) = match cause {
            rusqlite::Error::StatementChangedRows(_) => {
                (Blame::Record, "a trigger of the table ignored it".to_owned())
            }
            _ if cause.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                (Blame::Record, cause.to_string())
            }
            _ => (Blame::Outage, sqlite::in_plain_words(&self.path, cause.to_string().into()).to_string()),
        };
        Fault::new(blame, format!("the embedded queue {}: {fault}", self.path.display()))
    }
}

impl Publisher for SqlitePublisher {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        // One transaction: all messages are published, or none.
        bisect(
            messages,
            Rc::new(|messages: Vec<PendingMessage>| {
                let published = self.insert(&messages).map_err(|cause| self.insert_fault(&cause));
                for message in messages {
                    message.answer.give(published.clone());
                }
                Box::pin(std::future::ready(())) as BoxFuture<'_, ()>
            }),
        )
    }
}
