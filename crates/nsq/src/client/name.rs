//! Names of topics and channels.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use x_msrv_core::NAME;

/// The length of the longest name that nsqd accepts (`internal/protocol/names.go`).
const MAX_LENGTH: usize = 64;

/// The name of a topic: 1 to 64 of `.a-zA-Z0-9_-`, optionally followed by `#ephemeral`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicName(String);

/// The name of a channel, with the same syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelName(String);

/// The suffix of topics and channels that nsqd does not keep.
const EPHEMERAL: &str = "#ephemeral";

fn is_ephemeral(name: &str) -> bool {
    name.ends_with(EPHEMERAL)
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || ".-_".contains(letter)
}

fn check(text: &str) -> Result<String, String> {
    let stem = text.strip_suffix(EPHEMERAL).unwrap_or(text);
    if stem.is_empty() || text.len() > MAX_LENGTH || !stem.chars().all(is_allowed) {
        return Err(format!(
            "`{text}` is not a valid name in nsqd: 1 to {MAX_LENGTH} of .a-zA-Z0-9_-, optionally followed by #ephemeral"
        ));
    }
    Ok(text.to_owned())
}

impl FromStr for TopicName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check(text).map(Self)
    }
}

impl FromStr for ChannelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check(text).map(Self)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ChannelName {
    /// Returns the channel of a pipeline that configures none: `x-msrv`, or `x-msrv-PIPELINE`. A hash
    /// distinguishes names that nsqd does not accept unchanged.
    #[must_use]
    pub fn of_pipeline(pipeline: &str) -> Self {
        if pipeline == NAME {
            return Self(NAME.to_owned());
        }
        let name = format!("{NAME}-{pipeline}");
        if check(&name).is_ok() && !is_ephemeral(&name) {
            return Self(name);
        }
        let hash = Sha256::digest(pipeline);
        let hash = format!("{:016x}", u64::from_be_bytes(*hash.first_chunk().expect("it has 32 bytes")));
        let kept = name.chars().map(|letter| if is_allowed(letter) { letter } else { '_' });
        Self(format!("{}-{hash}", kept.take(MAX_LENGTH - 1 - hash.len()).collect::<String>()))
    }

    /// Returns whether nsqd drops the channel and its messages when its last consumer leaves.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        is_ephemeral(&self.0)
    }
}

impl TopicName {
    /// Returns whether nsqd keeps its messages only in memory, and drops it with its last channel.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        is_ephemeral(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nsqd_refuses_are_refused() {
        let longest = "a".repeat(64);
        for name in ["a", "A.b-c_9", "tail123456#ephemeral", longest.as_str()] {
            assert_eq!(name.parse::<TopicName>().expect(name).to_string(), name);
        }
        let too_long = "a".repeat(65);
        for name in ["", "#ephemeral", "a b", "a#b", "ä", "a\nFIN", too_long.as_str()] {
            assert!(name.parse::<ChannelName>().is_err(), "{name}");
        }
    }

    /// Two pipelines on one channel would take messages from each other.
    #[test]
    fn every_pipeline_has_its_own_durable_channel() {
        let channel = |pipeline: &str| ChannelName::of_pipeline(pipeline).to_string();
        assert_eq!(channel("x-msrv"), "x-msrv");
        assert_eq!(channel("orders"), "x-msrv-orders");
        assert_eq!(channel(&"a".repeat(57)), format!("x-msrv-{}", "a".repeat(57)));
        let odd = [
            "or ders",
            "or_ders",
            "or:ders",
            "ör",
            "a#ephemeral",
            "",
            &"a".repeat(58),
            &"a".repeat(59),
            &format!("{}b", "a".repeat(58)),
        ];
        let channels: std::collections::BTreeSet<_> = odd.iter().map(|pipeline| channel(pipeline)).collect();
        assert_eq!(channels.len(), odd.len(), "{channels:?}");
        for channel in channels {
            assert!(!channel.parse::<ChannelName>().expect("a valid name").is_ephemeral(), "{channel}");
        }
    }
}
