//! Names of topics and channels.

use std::{fmt, str::FromStr};

/// The longest name that nsqd takes (`internal/protocol/names.go`).
const MAX_LENGTH: usize = 64;

/// The name of a topic: 1 to 64 of `.a-zA-Z0-9_-`, with `#ephemeral` behind it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicName(String);

/// The name of a channel, of the same form as a topic's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelName(String);

fn check(text: &str) -> Result<String, String> {
    let stem = text.strip_suffix("#ephemeral").unwrap_or(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if stem.is_empty() || text.len() > MAX_LENGTH || !stem.bytes().all(allowed) {
        return Err(format!("`{text}` is not a name that nsqd takes: 1 to {MAX_LENGTH} of .a-zA-Z0-9_- with #ephemeral behind it or not"));
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
    /// A channel of our own that nsqd forgets when we leave: `tailNNNNNN#ephemeral`, as the original names it.
    #[must_use]
    pub fn ephemeral() -> Self {
        use std::hash::{BuildHasher as _, Hasher as _};
        // A fresh RandomState is seeded by the system: no crate is needed for six digits.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self(format!("tail{:06}#ephemeral", random % 1_000_000))
    }

    /// Whether nsqd drops the channel, and all that waits in it, when its last consumer leaves.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.0.ends_with("#ephemeral")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_nsqd_takes() {
        let longest = "a".repeat(64);
        for name in ["a", "A.b-c_9", "tail123456#ephemeral", longest.as_str()] {
            assert_eq!(name.parse::<TopicName>().expect(name).to_string(), name);
        }
        let too_long = "a".repeat(65);
        for name in ["", "#ephemeral", "a b", "a#b", "ä", "a\nFIN", too_long.as_str()] {
            assert!(name.parse::<ChannelName>().is_err(), "{name}");
        }
        assert!(ChannelName::ephemeral().to_string().parse::<ChannelName>().expect("a name").is_ephemeral());
    }
}
