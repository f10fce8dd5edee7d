//! The server's statistics, for result codes that can blame the record or the store. This is the only place
//! that reads them.
//!
//! Names and formats are from `info_get_namespace_info` in `thr_info.c`, `cfg_info.c` and `append_set_props`
//! in `namespace.c` of aerospike-server 8.1; what the server refuses for each is in its `transaction/write.c`
//! and `namespace.c`. All were measured against a real server, except those marked as enterprise edition or
//! older servers.

use super::{Exists, Settings, Ttl, codes};

/// The limit on sets in a namespace (`AS_SET_MAX_COUNT` in `datamodel.h`); the smaller number applies to
/// servers before 6.3.
const MOST_SETS: [usize; 2] = [1_023, 4_095];

/// The `default-ttl` of a set whose records do not expire (`TTL_NEVER_EXPIRE`).
const NEVER: u64 = u32::MAX as u64;

/// Why the store accepts no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Only a change of the configuration, or of the server's, ends it.
    Setup(String),
    /// It may end by itself.
    Outage(String),
}

/// The statistics of one node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The response to `namespace/NAMESPACE`.
    pub(super) namespace: String,
    /// The response to `sets/NAMESPACE/SET`; empty if the set does not exist.
    pub(super) set: String,
    /// The response to `sets/NAMESPACE`, if it was requested.
    pub(super) sets: String,
}

impl Node {
    /// Returns why this node refuses all records of a set, given the result code of a refused record.
    pub(super) fn condition(&self, code: i32, settings: &Settings, set: &str) -> Option<Condition> {
        match code {
            codes::PARAMETER => self.set_names(settings, set).or_else(|| self.replacing(settings)),
            codes::NO_SPACE => self.stop_writes(settings),
            codes::BIN_NAME => self.bin_names(settings),
            codes::FORBIDDEN => {
                self.forbidden(settings).or_else(|| self.ttl(settings, set)).or_else(|| self.full(set))
            }
            _ => None,
        }
    }

    /// Returns why this node accepts no record of a set, for any code. Lasting conditions come before
    /// temporary ones.
    pub(super) fn any_condition(&self, settings: &Settings, set: &str) -> Option<Condition> {
        let codes = [codes::FORBIDDEN, codes::PARAMETER, codes::BIN_NAME, codes::NO_SPACE];
        let all = codes.into_iter().filter_map(|code| self.condition(code, settings, set));
        all.min_by_key(|condition| matches!(condition, Condition::Outage(_)))
    }

    /// Returns why this node accepts no record at all, as far as the namespace shows. Records with only
    /// existing names may be accepted even if there is no room for new names.
    pub(super) fn refuses_all(&self, settings: &Settings) -> Option<Condition> {
        self.condition(codes::FORBIDDEN, settings, "").or_else(|| self.replacing(settings))
    }

    fn set_names(&self, settings: &Settings, set: &str) -> Option<Condition> {
        let sets = self.sets.split(';').filter(|set| !set.is_empty()).count();
        let is_full = self.set.is_empty() && MOST_SETS.contains(&sets);
        is_full.then(|| {
            Condition::Setup(format!(
                "namespace `{}` has {sets} sets, the server's limit: cannot create set `{set}`",
                settings.namespace
            ))
        })
    }

    /// Enterprise edition only.
    fn replacing(&self, settings: &Settings) -> Option<Condition> {
        let refuses = settings.exists == Exists::Replace && self.namespace_is("conflict-resolve-writes");
        refuses.then(|| {
            let fault = "does not replace records (conflict-resolve-writes is true), but `aerospike.exists` is `replace`";
            Condition::Setup(format!("namespace `{}` {fault}", settings.namespace))
        })
    }

    fn stop_writes(&self, settings: &Settings) -> Option<Condition> {
        let stops = self.namespace_is("stop_writes");
        stops.then(|| {
            Condition::Outage(format!(
                "namespace `{}` has reached a limit and accepts no writes (stop_writes)",
                settings.namespace
            ))
        })
    }

    /// Servers before 7.0 only.
    fn bin_names(&self, settings: &Settings) -> Option<Condition> {
        let none_left = self.namespace_number("available_bin_names") == Some(0);
        none_left.then(|| {
            Condition::Setup(format!(
                "namespace `{}` has reached the server's limit on bin names",
                settings.namespace
            ))
        })
    }

    fn forbidden(&self, settings: &Settings) -> Option<Condition> {
        let namespace = &settings.namespace;
        if self.namespace_is("reject-non-xdr-writes") {
            let fault = "accepts only writes from other clusters (reject-non-xdr-writes is true)";
            return Some(Condition::Setup(format!("namespace `{namespace}` {fault}")));
        }
        let skewed = self.namespace_is("clock_skew_stop_writes");
        skewed.then(|| {
            let fault =
                "accepts no writes because the clocks of its nodes differ too much (clock_skew_stop_writes)";
            Condition::Outage(format!("namespace `{namespace}` {fault}"))
        })
    }

    /// A record that would expire in a namespace that does not remove expired records.
    fn ttl(&self, settings: &Settings, set: &str) -> Option<Condition> {
        if self.namespace_number("nsup-period") != Some(0) || self.namespace_is("allow-ttl-without-nsup") {
            return None;
        }
        let default = match self.set_number("default-ttl") {
            None | Some(0) => self.namespace_number("default-ttl")?,
            Some(NEVER) => 0,
            Some(seconds) => seconds,
        };
        let expires = match settings.ttl {
            _ if settings.own_ttl.is_some() => "`aerospike.ttl` is set".to_owned(),
            Ttl::Never => return None,
            Ttl::Namespace if default == 0 => return None,
            Ttl::Namespace if self.set.is_empty() => format!("its default-ttl is {default} s"),
            Ttl::Namespace => format!("the default-ttl of set `{set}` is {default} s"),
            Ttl::Seconds(_) => "`aerospike.ttl` is set".to_owned(),
        };
        let fault = "refuses records that expire (nsup-period is 0 and allow-ttl-without-nsup is false)";
        Some(Condition::Setup(format!("namespace `{}` {fault}, and {expires}", settings.namespace)))
    }

    fn full(&self, set: &str) -> Option<Condition> {
        let number = |name| self.set_number(name).unwrap_or_default();
        let (objects, most_objects) = (number("objects"), number("stop-writes-count"));
        let (bytes, most_bytes) = (number("data_used_bytes"), number("stop-writes-size"));
        if most_objects > 0 && objects >= most_objects {
            return Some(Condition::Outage(format!(
                "set `{set}` is full: {objects} records, and stop-writes-count is {most_objects}"
            )));
        }
        if most_bytes > 0 && bytes > most_bytes {
            return Some(Condition::Outage(format!(
                "set `{set}` is full: {bytes} bytes, and stop-writes-size is {most_bytes}"
            )));
        }
        let truncated = pairs(&self.set, ':').any(|pair| pair == ("truncating", "true"));
        truncated.then(|| Condition::Outage(format!("set `{set}` is being truncated")))
    }

    fn namespace_is(&self, name: &str) -> bool {
        pairs(&self.namespace, ';').any(|pair| pair == (name, "true"))
    }

    fn namespace_number(&self, name: &str) -> Option<u64> {
        number(&self.namespace, ';', name)
    }

    fn set_number(&self, name: &str) -> Option<u64> {
        number(&self.set, ':', name)
    }
}

fn pairs(told: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    told.trim_end_matches(';').split(separator).filter_map(|pair| pair.split_once('='))
}

fn number(told: &str, separator: char, name: &str) -> Option<u64> {
    pairs(told, separator).find(|pair| pair.0 == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings() -> Settings {
        Settings {
            hosts: Vec::new(),
            namespace: "test".parse().expect("a name"),
            set: "s".parse().expect("a name"),
            exists: Exists::Replace,
            ttl: Ttl::Namespace,
            send_key: false,
            timeout: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            login: None,
            tls: None,
            own_ttl: None,
            use_alternate_addresses: false,
        }
    }

    /// Returns the statistics of a healthy server, with the given values before them: if a value is given
    /// twice, the first one counts.
    fn node(namespace: &str, set: &str) -> Node {
        let well = "clock_skew_stop_writes=false;stop_writes=false;allow-ttl-without-nsup=false;conflict-resolve-writes=false;default-ttl=0;\
            nsup-period=120;reject-non-xdr-writes=false";
        let set_that_is_well = "objects=10:tombstones=0:data_used_bytes=816:truncating=false:default-ttl=0:stop-writes-count=0:stop-writes-size=0;";
        Node {
            namespace: format!("{namespace};{well}"),
            set: format!("{set}:{set_that_is_well}"),
            sets: String::new(),
        }
    }

    /// The stand-in has none of these conditions: they occur only in the enterprise edition, on older
    /// servers, or for moments.
    #[test]
    fn a_condition_of_the_server_explains_its_own_code_and_no_other() {
        let table = [
            ("", "", [None; 4]),
            ("conflict-resolve-writes=true", "", [Some("setup"), None, None, None]),
            ("stop_writes=true", "", [None, Some("outage"), None, None]),
            ("available_bin_names=0", "", [None, None, Some("setup"), None]),
            ("available_bin_names=1", "", [None; 4]),
            ("reject-non-xdr-writes=true", "", [None, None, None, Some("setup")]),
            ("clock_skew_stop_writes=true", "", [None, None, None, Some("outage")]),
            ("nsup-period=0", "", [None; 4]),
            ("nsup-period=0;default-ttl=1", "", [None, None, None, Some("setup")]),
            ("nsup-period=0;default-ttl=1", "default-ttl=4294967295", [None; 4]),
            ("nsup-period=0", "default-ttl=1", [None, None, None, Some("setup")]),
            ("nsup-period=0;default-ttl=1;allow-ttl-without-nsup=true", "", [None; 4]),
            ("", "stop-writes-count=10", [None, None, None, Some("outage")]),
            ("", "stop-writes-count=11", [None; 4]),
            ("", "stop-writes-size=815", [None, None, None, Some("outage")]),
            ("", "stop-writes-size=816", [None; 4]),
            ("", "truncating=true", [None, None, None, Some("outage")]),
        ];
        for (namespace, set, expected) in table {
            let found = [codes::PARAMETER, codes::NO_SPACE, codes::BIN_NAME, codes::FORBIDDEN].map(|code| {
                node(namespace, set).condition(code, &settings(), "s").map(|condition| match condition {
                    Condition::Setup(_) => "setup",
                    Condition::Outage(_) => "outage",
                })
            });
            assert_eq!(found, expected, "{namespace}, {set}");
        }
    }

    #[test]
    fn a_set_that_exists_or_can_be_created_is_no_condition() {
        let (full, room) =
            ("ns=test:set=a:objects=0;".repeat(4_095), "ns=test:set=a:objects=0;".repeat(4_094));
        for (set, sets, is_reason) in [("", &full, true), ("", &room, false), ("objects=0;", &full, false)] {
            let node = Node { set: set.to_owned(), sets: sets.clone(), ..Node::default() };
            assert_eq!(
                node.condition(codes::PARAMETER, &settings(), "s").is_some(),
                is_reason,
                "{set}, {}",
                sets.len()
            );
        }
    }
}
