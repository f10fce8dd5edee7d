//! PostgreSQL as a [`Store`]: the only module that knows the contract.

use x_msrv_core::{
    BoxFuture,
    answer::Pending as Item,
    fault::{self, Blame},
    store::{BatchLimits, Pending, Put, Reader, See, Store, StoreError, StoreTraits, StoredRecord},
};

use crate::{
    codes::Verdict,
    connect::{Access, Link, connect},
    read,
    rows::Row,
    settings::Settings,
    table::{self, Misfit, Plan},
    write::{Answer, Fault, Writer, Written},
};

/// Records in one statement; more were measured to gain little.
const RECORDS_AT_ONCE: usize = 1_000;

/// Statements under way: while the server works on one, the next is made.
const STATEMENTS_AT_ONCE: usize = 2;

/// PostgreSQL as a [`Store`].
pub struct PostgresStore {
    writer: Writer,
}

impl PostgresStore {
    /// Connects to the first host that takes writes, and makes sure that the table takes records.
    ///
    /// # Errors
    /// No host answers within the connect timeout, all refuse us, or the table is missing or of another shape.
    pub async fn connect(settings: &Settings) -> Result<Self, StoreError> {
        let link = connect(settings, Access::Write).await?;
        match prepare(&link, settings).await {
            Ok(plan) => Ok(Self::of(link, plan, settings)),
            Err(misfit) => {
                let error = misfit.into_error(&link, settings);
                link.close().await;
                Err(error)
            }
        }
    }

    /// Connects to the first host that answers, to read; `None` where there is no such table.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect), but for a table that is missing.
    pub async fn connect_to_existing(settings: &Settings) -> Result<Option<Self>, StoreError> {
        let link = connect(settings, Access::Read).await?;
        match table::plan(&link.client, settings).await {
            Ok(plan) => Ok(Some(Self::of(link, plan, settings))),
            Err(Misfit::Missing) => {
                link.close().await;
                Ok(None)
            }
            Err(misfit) => {
                let error = misfit.into_error(&link, settings);
                link.close().await;
                Err(error)
            }
        }
    }

    fn of(link: Link, plan: Plan, settings: &Settings) -> Self {
        Self { writer: Writer::new(link, plan, settings.exists, settings.timeout) }
    }

    /// Returns the server, as text for the user.
    pub(crate) fn place(&self) -> &str {
        &self.writer.link.place
    }

    async fn write_batch(&self, records: Vec<Pending>) {
        let (mut rows, mut answers) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for (index, Item { item, answer }) in records.into_iter().enumerate() {
            match Row::of(index, &item, &self.writer.plan.sources) {
                Ok(row) => {
                    rows.push(row);
                    answers.push(Some(answer));
                }
                Err(fault) => {
                    answer.give(Err(fault::Fault::new(Blame::Record, fault)));
                    answers.push(None);
                }
            }
        }
        for (index, written) in self.writer.write(rows).await {
            if let Some(answer) = answers[index].take() {
                answer.give(verdict(written));
            }
        }
    }
}

async fn prepare(link: &Link, settings: &Settings) -> Result<Plan, Misfit> {
    let plan = table::plan(&link.client, settings).await?;
    table::explain(&link.client, &plan).await?;
    Ok(plan)
}

fn verdict(answer: Answer) -> Result<Put, fault::Fault> {
    match answer {
        Ok(Written::Now) => Ok(Put::Stored),
        Ok(Written::Before) => Ok(Put::Duplicate),
        Err(Fault { verdict, in_doubt, text, .. }) => {
            let blame = match verdict {
                Verdict::Refused => Blame::Record,
                Verdict::Suspect => Blame::Suspect,
                Verdict::Fewer | Verdict::Slow | Verdict::Again | Verdict::Unavailable => Blame::Outage,
                Verdict::Setup => Blame::Setup,
                Verdict::Unknown => Blame::Unknown,
            };
            Err(fault::Fault { blame, in_doubt, text })
        }
    }
}

impl Store for PostgresStore {
    fn traits(&self) -> StoreTraits {
        StoreTraits::default()
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits::new(RECORDS_AT_ONCE, STATEMENTS_AT_ONCE)
    }

    fn write(&self, records: Vec<Pending>) -> BoxFuture<'_, ()> {
        Box::pin(self.write_batch(records))
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            self.writer.link.close().await;
            Ok(())
        })
    }
}

impl Reader for PostgresStore {
    fn scan<'a>(&'a self, limit: usize, see: See<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let Writer { link, plan, .. } = &self.writer;
            let mut seen = |key, fields| see(StoredRecord { key: Some(key), fields });
            let read = read::read(link, plan, self.writer.answer_bound(), limit, &mut seen).await;
            read.map_err(|cause| StoreError::Unreachable { place: link.place.clone(), cause: cause.into() })
        })
    }
}
