//! `x-msrv init` on the command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use x_msrv_core::NAME;

use super::{NameArg, configuration};

/// A kind of queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Queue {
    /// NSQ
    Nsq,
    /// A file of the state directory, for a machine without NSQ
    Embedded,
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// Aerospike
    Aerospike,
    /// A file of the state directory, for a machine without Aerospike
    Sqlite,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(super) which: NameArg,
    /// Where messages come from
    #[arg(long, value_name = "KIND")]
    pub(crate) queue: Option<Queue>,
    /// nsqd, as HOST:PORT; several with commas between them
    #[arg(long, value_name = "ADDRESS", conflicts_with = "lookupd")]
    pub(crate) nsqd: Option<String>,
    /// nsqlookupd in its place, by its HTTP port
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) lookupd: Option<String>,
    /// What is consumed
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// As what it is consumed [default: x-msrv, or x-msrv-NAME for NAME.yml]
    #[arg(long)]
    pub(crate) channel: Option<String>,
    /// Where records go
    #[arg(long, value_name = "KIND")]
    pub(crate) store: Option<StoreKind>,
    /// Aerospike, as HOST:PORT; several with commas between them
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) aerospike: Option<String>,
    /// A namespace of Aerospike's, which has to exist
    #[arg(long)]
    pub(crate) namespace: Option<String>,
    /// The set, or the table
    #[arg(long)]
    pub(crate) set: Option<String>,
    /// Messages in a run at most
    #[arg(long, value_name = "N")]
    pub(crate) max_messages: Option<String>,
    /// How often the timer starts a run, for instance 10s
    #[arg(long, value_name = "DURATION")]
    pub(crate) period: Option<String>,
    /// Replace a configuration that is there; it is kept with .old behind its name, or with .old.1 and so on
    #[arg(long)]
    pub(crate) force: bool,
}

impl InitArgs {
    /// The file that is written, unless another is named.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.which.configuration().unwrap_or_else(|| configuration(NAME))
    }

    /// The options that are about NSQ, each with its name.
    pub(crate) fn of_nsq(&self) -> [(&'static str, &Option<String>); 4] {
        [
            ("--nsqd", &self.nsqd),
            ("--lookupd", &self.lookupd),
            ("--topic", &self.topic),
            ("--channel", &self.channel),
        ]
    }

    /// The options that are about Aerospike, each with its name.
    pub(crate) fn of_aerospike(&self) -> [(&'static str, &Option<String>); 2] {
        [("--aerospike", &self.aerospike), ("--namespace", &self.namespace)]
    }
}
