//! Faults: how the stand-in departs from a healthy server.

use std::time::Duration;

use aerospike::Key;

use super::{
    message::{Digest, Op, Row},
    protocol::operation,
    storage::NAMESPACE,
    value::Value,
};

/// What a rule applies to.
#[derive(Debug, Clone)]
pub(crate) enum When {
    /// Every request for records: single commands, batch rows, queries.
    Any,
    /// Every row that writes.
    Write,
    /// Rows for the record with this user key (a text), whether or not the key itself is sent.
    Key(String),
    /// Rows for the record with this digest.
    Digest(Digest),
    /// Rows that write this integer to this bin.
    BinInt(&'static str, i64),
    /// Rows that write this text to this bin.
    BinText(&'static str, String),
    /// The n-th write row since the stand-in was made, counted from 1.
    NthWrite(usize),
    /// Info requests: those of `Client::new`, of the client's tend task, and of the user.
    Info,
}

/// What the rule does. A request with several rows is one batch.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    /// The row is answered with this result code and not carried out.
    Answer(u8),
    /// The row is carried out, but answered with this result code.
    StoreThenAnswer(u8),
    /// The request is neither carried out nor answered; the connection stays open.
    Hang,
    /// The whole request is carried out and not answered; the connection stays open.
    StoreThenHang,
    /// The request is not carried out; the connection is closed.
    CloseBeforeAnswer,
    /// The whole request is carried out; the connection is closed without an answer.
    StoreThenClose,
    /// The rows before the matching one are carried out and answered, then the connection is closed; that row
    /// and the following rows are not carried out.
    CloseMidBatch,
    /// The request is carried out at once, and answered after this time.
    Delay(Duration),
    /// The server stops, as under SIGSTOP, until it is thawed; then it carries the request out.
    Freeze,
}

impl Then {
    /// Returns whether the fault applies to one row; the other faults apply to the whole request.
    fn is_of_row(&self) -> bool {
        matches!(self, Then::Answer(_) | Then::StoreThenAnswer(_))
    }
}

/// One fault. If several rules match, the oldest applies; a fault of a row and a fault of its request are
/// selected separately, and both can apply.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// What it applies to.
    pub(crate) when: When,
    /// What it does.
    pub(crate) then: Then,
    /// How often it applies: rows for a fault of a row, requests for a fault of a request; `None` for always.
    pub(crate) times: Option<usize>,
}

impl Rule {
    /// A rule that always applies.
    pub(crate) fn always(when: When, then: Then) -> Self {
        Rule { when, then, times: None }
    }

    /// A rule that applies once.
    pub(crate) fn once(when: When, then: Then) -> Self {
        Rule { when, then, times: Some(1) }
    }
}

/// What a rule is matched against.
pub(super) enum Subject<'a> {
    Info,
    Query,
    /// A row and, if it writes, its number among all write rows.
    Row(&'a Row, Option<usize>),
}

impl When {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        let (row, number) = match (self, subject) {
            (When::Info, Subject::Info) | (When::Any, Subject::Query | Subject::Row(..)) => {
                return true;
            }
            (_, Subject::Row(row, number)) => (row, *number),
            _ => return false,
        };
        match self {
            When::Any | When::Info => false,
            When::Write => number.is_some(),
            When::Key(key) => row.digest == digest(&row.request.set, key),
            When::Digest(digest) => row.digest == *digest,
            When::BinInt(name, n) => writes(row, name, &Value::Int(*n)),
            When::BinText(name, text) => writes(row, name, &Value::Text(text.clone())),
            When::NthWrite(n) => number == Some(*n),
        }
    }
}

fn digest(set: &str, key: &str) -> Digest {
    Key::new(NAMESPACE, set, key.into()).expect("a text is a valid key").digest()
}

fn writes(row: &Row, name: &str, value: &Value) -> bool {
    let writes = |op: &Op| op.code == operation::WRITE && op.name == name && op.particle.value() == *value;
    row.request.ops.iter().any(writes)
}

/// The active rules, oldest first.
#[derive(Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the fault of a row, if it has one, and counts it as used.
    pub(super) fn of_row(&mut self, subject: &Subject<'_>) -> Option<Then> {
        self.first(true, subject)
    }

    /// Returns the fault of a request that `subject` is in, if it has one, and counts it as used.
    pub(super) fn of_request(&mut self, subject: &Subject<'_>) -> Option<Then> {
        self.first(false, subject)
    }

    fn first(&mut self, of_row: bool, subject: &Subject<'_>) -> Option<Then> {
        let applies = |rule: &&mut Rule| {
            rule.then.is_of_row() == of_row && rule.times != Some(0) && rule.when.matches(subject)
        };
        let rule = self.0.iter_mut().find(applies)?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.then.clone())
    }
}
