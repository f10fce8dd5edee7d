//! The servers of a queue, as runs find them. Pure.

/// A server of a queue, or the file that a queue is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its type and address, as text for the user: `nsqd at queue:4150`.
    pub name: String,
    /// Whether it was discovered, not named by the configuration.
    pub is_found: bool,
    /// Whether it answered.
    pub is_reached: bool,
}

/// The servers of a queue at the time the source connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// The configured servers and the discovered ones.
    pub named: Vec<Server>,
    /// The subject of the discovery, such as a topic. A server that was discovered for the same subject
    /// before and is not found now is missing. `None` without discovery.
    pub scope: Option<String>,
}

impl Servers {
    /// Returns the names of the servers that did not answer.
    pub fn unreached(&self) -> impl Iterator<Item = &str> {
        self.named.iter().filter(|server| !server.is_reached).map(|server| &*server.name)
    }

    /// Returns whether all of them answered.
    #[must_use]
    pub fn are_all_reached(&self) -> bool {
        self.unreached().next().is_none()
    }
}
