//! The NSQ source: one connection ("lane") to each nsqd, N shared out over them by `flow`.

mod connect;
mod flow;
pub mod lookup;
mod proof;
mod publisher;
mod receiver;

use std::{num::NonZeroU64, time::Duration};

use crate::client::{
    Identity,
    name::{ChannelName, TopicName},
};
use x_msrv_core::{error_chain, source::SourceError};
use x_msrv_net::{
    address::HostPort,
    secret::Secret,
    tls::{self, Tls},
};

pub use connect::{answers, probe, waiting};
pub use publisher::NsqPublisher;
pub use receiver::NsqSource;

/// The smallest limit on bodies: what is over the run's own limit still has to be received, to become a dead
/// letter.
const LEAST_MAX_BODY: usize = 16 << 20;

/// How the NSQ source is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The section of the configuration that it comes from, for errors.
    pub section: &'static str,
    /// Where nsqd is found.
    pub servers: Servers,
    /// What is consumed.
    pub topic: TopicName,
    /// As what.
    pub channel: ChannelName,
    /// Messages that are unsettled at most, over all nsqd.
    pub max_in_flight: NonZeroU64,
    /// Bytes of the largest body that the run stores.
    pub max_message_size: usize,
    /// How long connecting to everything may take.
    pub connect_timeout: Duration,
    /// What is told to an nsqd that wants authentication.
    pub auth_secret: Option<Secret>,
    /// How connections to nsqd are encrypted; nsqlookupd and nsqd's statistics have no part in it.
    pub tls: Option<Box<tls::Settings>>,
    /// How long a run takes at most: nsqd is asked to wait longer than that for settlements.
    pub longest_run: Duration,
}

/// Where nsqd is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// These, by their TCP addresses.
    Nsqd(Vec<HostPort>),
    /// Those that these nsqlookupd know, by their HTTP addresses.
    Lookupd(Vec<HostPort>),
}

impl Settings {
    fn place(&self) -> String {
        match &self.servers {
            Servers::Nsqd(addresses) => format!("nsqd at {}", list(addresses)),
            Servers::Lookupd(addresses) => format!("nsqlookupd at {}", list(addresses)),
        }
    }

    /// What is told to every nsqd; certificates are read here, once for all.
    fn identity(&self) -> Result<Identity, SourceError> {
        // No longer than needed: after a crash, this is how long the messages wait. Above nsqd's maximum it
        // is refused, and its default holds.
        let msg_timeout = self.longest_run + Duration::from_secs(5);
        let max_body = self.max_message_size.saturating_mul(2).max(LEAST_MAX_BODY);
        let tls = self.tls.as_deref().map(Tls::load).transpose();
        let tls = tls.map_err(|error| SourceError::Setup {
            place: format!("{}.tls", self.section),
            fault: error_chain::text(&error),
        })?;
        Ok(Identity {
            section: self.section,
            msg_timeout: Some(msg_timeout),
            max_body,
            auth_secret: self.auth_secret.clone(),
            tls,
        })
    }
}

fn list(addresses: &[HostPort]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
