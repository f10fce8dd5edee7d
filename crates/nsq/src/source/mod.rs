//! The NSQ source: one connection ("lane") to each nsqd; `flow` distributes N over them.

mod connect;
mod flow;
pub mod lookup;
mod proof;
mod publisher;
mod receiver;

use std::{num::NonZeroU64, time::Duration};

use crate::client::{
    Identity, Role,
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

/// The smallest limit on bodies: a body over the run's own limit must still be received, to become a dead
/// letter.
const LEAST_MAX_BODY: usize = 16 << 20;

/// The settings of the NSQ source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The section of the configuration, for errors.
    pub section: &'static str,
    /// The servers.
    pub servers: Servers,
    /// The topic.
    pub topic: TopicName,
    /// The channel.
    pub channel: ChannelName,
    /// The most unsettled messages, over all nsqd.
    pub max_in_flight: NonZeroU64,
    /// The largest body that the run stores, in bytes.
    pub max_message_size: usize,
    /// The time limit for connecting to all servers.
    pub connect_timeout: Duration,
    /// The secret for an nsqd that requires authentication.
    pub auth_secret: Option<Secret>,
    /// The encryption of connections to nsqd; it does not apply to nsqlookupd and to statistics.
    pub tls: Option<Box<tls::Settings>>,
    /// The longest duration of a run: the lease requested from nsqd is longer.
    pub longest_run: Duration,
}

/// How nsqd are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// By their TCP addresses.
    Nsqd(Vec<HostPort>),
    /// Discovered from nsqlookupd at these HTTP addresses.
    Lookupd(Vec<HostPort>),
}

impl Settings {
    fn place(&self) -> String {
        match &self.servers {
            Servers::Nsqd(addresses) => format!("nsqd at {}", list(addresses)),
            Servers::Lookupd(addresses) => format!("nsqlookupd at {}", list(addresses)),
        }
    }

    /// Returns what is sent to every nsqd with IDENTIFY; certificates are read here, once for all
    /// connections.
    fn identity(&self) -> Result<Identity, SourceError> {
        // Not longer than needed: after a crash, the messages wait for this time. A value above nsqd's
        // maximum is refused, and its default applies.
        let msg_timeout = self.longest_run + Duration::from_secs(5);
        let max_body = self.max_message_size.saturating_mul(2).max(LEAST_MAX_BODY);
        let tls = self.tls.as_deref().map(Tls::load).transpose();
        let tls = tls.map_err(|error| SourceError::Setup {
            place: format!("{}.tls", self.section),
            fault: error_chain::text(&error),
        })?;
        Ok(Identity {
            section: self.section,
            role: Role::Consumer { msg_timeout },
            max_body,
            auth_secret: self.auth_secret.clone(),
            tls,
        })
    }
}

fn list(addresses: &[HostPort]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
