//! Host and port in the configuration.

use std::{collections::BTreeSet, fmt, str::FromStr};

use x_msrv_settings::{Kind, text_setting};

/// `host:port`; an IPv6 address is in brackets. Equal text is the same address: names are not resolved here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || match text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default()) {
                Some(inner) if inner.parse::<Self>().is_ok() => {
                    format!("`{text}` is a URL; HOST:PORT is required: `{inner}`")
                }
                Some(_) => format!(
                    "`{text}` is a URL; HOST:PORT is required, for instance localhost:4150 or [::1]:4150"
                ),
                None => format!("`{text}` is not HOST:PORT, for instance localhost:4150 or [::1]:4150"),
            };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host,
            None if host.contains([':', '[', ']']) => return Err(wrong()),
            None => host,
        };
        if host.is_empty()
            || host.contains(|letter: char| {
                letter.is_whitespace() || letter.is_control() || ",/".contains(letter)
            })
        {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

text_setting!(HostPort, Kind::Address);

/// Removes duplicate addresses: a server that is named twice would get two connections, each with a share.
#[must_use]
pub fn distinct(mut addresses: Vec<HostPort>) -> Vec<HostPort> {
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_is_parsed() {
        for text in ["localhost:4150", "10.0.0.7:1", "[::1]:65535"] {
            assert_eq!(text.parse::<HostPort>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_url_is_refused_with_the_address_in_it() {
        let fault = |text: &str| text.parse::<HostPort>().expect_err("a URL");
        for text in ["http://queue:4161", "http://queue:4161/", "tcp://queue:4161/lookup?topic=t"] {
            assert_eq!(fault(text), format!("`{text}` is a URL; HOST:PORT is required: `queue:4161`"));
        }
        assert!(fault("http://queue").contains("is a URL; HOST:PORT is required, for instance"));
    }

    #[test]
    fn an_invalid_address_is_refused() {
        for text in [
            "",
            "localhost",
            ":4150",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "::1:4150",
            "http://localhost:4150",
            "[http://localhost]:4150",
            "a b:1",
            "a,b:1",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
