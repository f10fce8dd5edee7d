//! Writing a batch: one statement, and where the server blames one row, halves of it under savepoints.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::{sync::RwLock, time::timeout};
use tokio_postgres::{
    Error,
    types::{ToSql, Type},
};
use x_msrv_core::BoxFuture;

use crate::{
    codes::{self, Verdict},
    connect::Link,
    rows::Row,
    settings::Exists,
    table::Plan,
};

/// A row that the table took without an error, and that is not in it.
const NOT_TAKEN: &str = "the table did not take it: a trigger or a rule ignored it";

/// How often a statement is sent again that another session was in the way of.
const RETRIES: usize = 3;

/// What became of a row.
pub(crate) type Answer = Result<Written, Fault>;

/// A row that is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Now,
    Before,
}

/// Why a row was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) verdict: Verdict,
    /// Whether it may have been written nevertheless.
    pub(crate) in_doubt: bool,
    /// For a person.
    pub(crate) text: String,
    /// The value that the server quotes. It must not be shown.
    value: Option<String>,
}

/// Writes rows over one connection.
pub(crate) struct Writer {
    pub(crate) link: Link,
    pub(crate) plan: Plan,
    exists: Exists,
    /// The server's bound for a statement.
    timeout: Duration,
    /// Single statements run one behind the other, and a transaction alone: what came in between would belong
    /// to it.
    turn: RwLock<()>,
    /// Why nothing can be written any more: a transaction was left open, or an answer is still to come.
    broken: Cell<Option<&'static str>>,
}

impl Writer {
    pub(crate) fn new(link: Link, plan: Plan, exists: Exists, timeout: Duration) -> Self {
        Self { link, plan, exists, timeout, turn: RwLock::new(()), broken: Cell::new(None) }
    }

    /// Writes rows, each of which has its own index; an answer for each of them, with that index.
    pub(crate) async fn write(&self, mut rows: Vec<Row>) -> Vec<(usize, Answer)> {
        let mut answers = Vec::with_capacity(rows.len());
        // One statement takes a key once. Nearly always there is one round only.
        while !rows.is_empty() {
            let (mut now, later) = divide(rows, self.exists);
            // Two statements that lock the same rows in different orders would wait for each other forever.
            now.sort_by(|a, b| a.key.cmp(&b.key));
            let written = self.write_unique(&now).await;
            rows = self.left_over(&now, &written, later, &mut answers);
            answers.extend(now.iter().map(|row| row.index).zip(written));
        }
        answers
    }

    /// Answers for rows whose key was just written, where that answers for them as well; returns the others.
    fn left_over(
        &self,
        now: &[Row],
        written: &[Answer],
        later: Vec<Row>,
        answers: &mut Vec<(usize, Answer)>,
    ) -> Vec<Row> {
        if later.is_empty() {
            return later;
        }
        let by_key: HashMap<_, _> = now.iter().map(|row| row.key.as_str()).zip(written).collect();
        let mut left = Vec::new();
        for row in later {
            let answer = match by_key[row.key.as_str()] {
                Ok(_) if self.exists == Exists::Replace => Some(Ok(Written::Now)),
                Ok(_) if self.exists == Exists::CreateOnly => Some(Ok(Written::Before)),
                Err(fault) if !fault.verdict.may_be_one_record() => Some(Err(fault.clone())),
                _ => None,
            };
            match answer {
                Some(answer) => answers.push((row.index, answer)),
                None => left.push(row),
            }
        }
        left
    }

    /// Writes rows with different keys. What lost a conflict with another session was rolled back as a whole.
    async fn write_unique(&self, rows: &[Row]) -> Vec<Answer> {
        let mut answers = self.write_once(rows).await;
        for _ in 0..RETRIES {
            if !matches!(answers[..], [Err(Fault { verdict: Verdict::Again, .. }), ..]) {
                break;
            }
            answers = self.write_once(rows).await;
        }
        answers
    }

    async fn write_once(&self, rows: &[Row]) -> Vec<Answer> {
        let one = self.turn.read().await;
        let fault = match self.statement(rows).await {
            Ok(answers) => return answers,
            Err(fault) => fault,
        };
        drop(one);
        if let [row] = rows {
            return vec![Err(self.alone(row, fault))];
        }
        if !fault.verdict.may_be_one_record() {
            return vec![Err(fault); rows.len()];
        }
        let _alone = self.turn.write().await;
        self.write_apart(rows).await.unwrap_or_else(|fault| vec![Err(fault); rows.len()])
    }

    /// Writes rows of which one is at fault, in one transaction.
    ///
    /// # Errors
    /// None of them was written.
    async fn write_apart(&self, rows: &[Row]) -> Result<Vec<Answer>, Fault> {
        // If this future is dropped before the transaction ends, nothing may be written into it.
        self.broken.set(Some("a write was given up before its transaction ended"));
        // What a constraint would say at the end of the transaction is said of the row.
        self.bounded(self.link.client.batch_execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT batch"))
            .await?;
        let (first, second) = rows.split_at(rows.len() / 2);
        let halves = async {
            let mut answers = self.halved(first).await?;
            answers.append(&mut self.halved(second).await?);
            Ok(answers)
        };
        let answers = halves.await;
        let end = match &answers {
            // COMMIT succeeds in a transaction that has failed, and rolls it back; RELEASE does not, and then
            // there is no COMMIT.
            Ok(_) => "RELEASE SAVEPOINT batch; COMMIT",
            Err(_) => "ROLLBACK",
        };
        let ended = self.bounded(self.link.client.batch_execute(end)).await;
        if ended.is_err() {
            // A transaction that failed at its end is still open where COMMIT was not reached.
            self.bounded(self.link.client.batch_execute("ROLLBACK")).await?;
        }
        self.broken.set(None);
        let answers = answers?;
        // Whatever the code, it is not known which of them is meant.
        ended.map_err(|fault| Fault { verdict: fault.verdict.of_several(), ..fault })?;
        Ok(answers)
    }

    fn halved<'a>(&'a self, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Answer>, Fault>> {
        Box::pin(async move {
            let simple = |statements| self.bounded(self.link.client.batch_execute(statements));
            simple("SAVEPOINT part").await?;
            let fault = match self.attempt(rows).await {
                Ok(answers) => {
                    simple("RELEASE SAVEPOINT part").await?;
                    return Ok(answers);
                }
                Err(fault) if fault.verdict.may_be_one_record() => fault,
                Err(fault) => return Err(fault),
            };
            simple("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await?;
            match rows {
                // A server that is too slow for one row would take as long for each of the others.
                [row] if fault.verdict == Verdict::Slow => return Err(self.alone(row, fault)),
                [row] => return Ok(vec![Err(self.alone(row, fault))]),
                _ => {}
            }
            let (first, second) = rows.split_at(rows.len() / 2);
            let mut answers = self.halved(first).await?;
            answers.append(&mut self.halved(second).await?);
            Ok(answers)
        })
    }

    async fn statement(&self, rows: &[Row]) -> Result<Vec<Answer>, Fault> {
        match self.broken.get() {
            Some(why) => Err(self.unavailable(why)),
            None => self.attempt(rows).await,
        }
    }

    /// One statement for rows with different keys. It answers for all of them, or for none.
    async fn attempt(&self, rows: &[Row]) -> Result<Vec<Answer>, Fault> {
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let columns: Vec<Vec<Option<&str>>> = (0..self.plan.sources.len())
            .map(|column| rows.iter().map(|row| row.values[column].as_deref()).collect())
            .collect();
        let columns = columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY));
        let parameters: Vec<_> =
            std::iter::once((&keys as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).chain(columns).collect();
        let write = &self.plan.statements.write;
        if self.exists == Exists::CreateOnly {
            let created = self.keys(write, &parameters).await?;
            return if created.len() == rows.len() {
                Ok(vec![Ok(Written::Now); rows.len()])
            } else {
                self.answers_by_key(rows, &created).await
            };
        }
        let count = self.bounded(self.link.client.execute_typed(write, &parameters)).await?;
        if count == rows.len() as u64 { Ok(vec![Ok(Written::Now); rows.len()]) } else { Err(not_taken()) }
    }

    /// What was not created was there before, or was not taken.
    async fn answers_by_key(&self, rows: &[Row], created: &HashSet<String>) -> Result<Vec<Answer>, Fault> {
        let others: Vec<&str> =
            rows.iter().map(|row| row.key.as_str()).filter(|key| !created.contains(*key)).collect();
        let present = self.keys(&self.plan.statements.present, &[(&others, Type::TEXT_ARRAY)]).await?;
        let answer = |row: &Row| match () {
            () if created.contains(&row.key) => Ok(Written::Now),
            () if present.contains(&row.key) => Ok(Written::Before),
            () => Err(not_taken()),
        };
        Ok(rows.iter().map(answer).collect())
    }

    async fn keys(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<HashSet<String>, Fault> {
        let rows = self.bounded(self.link.client.query_typed(statement, parameters)).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| self.fault(&error))
    }

    /// The server bounds each statement, and another one may be before ours. Where there is no answer in three
    /// times that bound, there will be none.
    pub(crate) fn answer_bound(&self) -> Duration {
        self.timeout * 3
    }

    async fn bounded<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
        if let Ok(answer) = timeout(self.answer_bound(), answer).await {
            return answer.map_err(|error| self.fault(&error));
        }
        let why = "the server did not answer in time";
        self.broken.set(Some(why));
        Err(Fault { in_doubt: true, ..self.unavailable(why) })
    }

    fn unavailable(&self, why: &str) -> Fault {
        let text = format!("{}: {why}", self.link.place);
        Fault { verdict: Verdict::Unavailable, in_doubt: false, text, value: None }
    }

    fn fault(&self, error: &Error) -> Fault {
        let (verdict, cause) = self.link.fault(error);
        let text = match verdict {
            Verdict::Refused | Verdict::Suspect | Verdict::Unknown => cause,
            _ => format!("{}: {cause}", self.link.place),
        };
        let value = error.as_db_error().and_then(codes::value).map(str::to_owned);
        Fault { verdict, in_doubt: codes::is_in_doubt(error), text, value }
    }

    /// Returns the fault of a single row, with the column at fault if it is known.
    fn alone(&self, row: &Row, mut fault: Fault) -> Fault {
        if matches!(fault.verdict, Verdict::Fewer | Verdict::Slow) {
            fault.verdict = Verdict::Unavailable;
        }
        if let Some(value) = fault.value.take() {
            let columns = self.plan.columns_with(&value, row, &fault.text);
            if !columns.is_empty() {
                fault.text = format!("column {}: {}", columns.join(" or "), fault.text);
            }
        }
        fault
    }
}

fn not_taken() -> Fault {
    Fault { verdict: Verdict::Suspect, in_doubt: false, text: NOT_TAKEN.to_owned(), value: None }
}

/// Rows with different keys, which go into one statement, and the rest. The last row of a key is written where
/// it replaces the others; otherwise the first one, and the others after it.
fn divide(rows: Vec<Row>, exists: Exists) -> (Vec<Row>, Vec<Row>) {
    let mut chosen = HashMap::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        let first = *chosen.entry(row.key.as_str()).or_insert(place);
        if exists == Exists::Replace && first != place {
            chosen.insert(row.key.as_str(), place);
        }
    }
    if chosen.len() == rows.len() {
        return (rows, Vec::new());
    }
    let chosen: HashSet<usize> = chosen.into_values().collect();
    let (now, later): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(place, _)| chosen.contains(place));
    let rows = |rows: Vec<(usize, Row)>| rows.into_iter().map(|(_, row)| row).collect();
    (rows(now), rows(later))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(keys: &[&str]) -> Vec<Row> {
        let row = |(index, key): (usize, &&str)| Row { index, key: (*key).to_owned(), values: Vec::new() };
        keys.iter().enumerate().map(row).collect()
    }

    /// With one key twice, the server refuses the whole statement (21000).
    #[test]
    fn a_statement_has_each_key_once_and_the_row_that_counts() {
        let table = [
            (Exists::Replace, vec![1, 2, 4], vec![0, 3]),
            (Exists::CreateOnly, vec![0, 1, 2], vec![3, 4]),
            (Exists::Update, vec![0, 1, 2], vec![3, 4]),
        ];
        for (exists, expected_now, expected_later) in table {
            let (now, later) = divide(rows(&["a", "b", "c", "a", "a"]), exists);
            let indices = |rows: &[Row]| rows.iter().map(|row| row.index).collect::<Vec<_>>();
            assert_eq!((indices(&now), indices(&later)), (expected_now, expected_later), "{exists:?}");
        }
        let (now, later) = divide(rows(&["a", "b"]), Exists::Replace);
        assert_eq!((now.len(), later.len()), (2, 0));
    }
}
