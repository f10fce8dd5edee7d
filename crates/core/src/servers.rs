//! The servers of a queue, as runs find them. Pure.

/// A server of a queue, or the file that a queue is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it is, and where, as text for a person: `nsqd at queue:4150`.
    pub name: String,
    /// Whether it was found, and not named by the configuration.
    pub is_found: bool,
    /// Whether it answered.
    pub is_reached: bool,
}

/// The servers of a queue, as they were when the source connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Those that the configuration names, and those that were found.
    pub named: Vec<Server>,
    /// What servers were looked for with, such as a topic. One that was found for the same before and is not
    /// named now is missing. `None` where nothing is looked for.
    pub scope: Option<String>,
}

impl Servers {
    /// The names of those that did not answer.
    pub fn unreached(&self) -> impl Iterator<Item = &str> {
        self.named.iter().filter(|server| !server.is_reached).map(|server| &*server.name)
    }

    /// Whether all of them answered.
    #[must_use]
    pub fn are_all_reached(&self) -> bool {
        self.unreached().next().is_none()
    }
}
