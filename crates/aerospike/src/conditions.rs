//! What the server says of itself, where a result code can mean the record or the store: the one place that
//! reads its statistics.
//!
//! Names and forms are those of `info_get_namespace_info` in `thr_info.c`, `cfg_info.c` and
//! `append_set_props` in `namespace.c` of aerospike-server 8.1; what each makes the server refuse is in its
//! `transaction/write.c` and `namespace.c`. All of them were measured against a real one, but for those that
//! only the enterprise edition or an older server has, which are marked.

use super::{Exists, Settings, Ttl, codes};

/// How many sets a namespace can have (`AS_SET_MAX_COUNT` in `datamodel.h`); the smaller number is that of
/// servers before 6.3.
const MOST_SETS: [usize; 2] = [1_023, 4_095];

/// The `default-ttl` of a set that means that its records do not expire (`TTL_NEVER_EXPIRE`).
const NEVER: u64 = u32::MAX as u64;

/// Why the store takes no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Only the configuration, or the server's, can end it.
    Setup(String),
    /// It may pass by itself.
    Outage(String),
}

/// What one node tells.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Its answer to `namespace/NAMESPACE`.
    pub(super) namespace: String,
    /// Its answer to `sets/NAMESPACE/SET`; empty where it has no such set.
    pub(super) set: String,
    /// Its answer to `sets/NAMESPACE`, where that was asked for.
    pub(super) sets: String,
}

impl Node {
    /// Why this node refuses all records of a set, by the result code that it refused one with.
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

    /// Why this node takes no record of a set, whatever the code would be. What only the configuration can
    /// end comes before what may pass.
    pub(super) fn any_condition(&self, settings: &Settings, set: &str) -> Option<Condition> {
        let codes = [codes::FORBIDDEN, codes::PARAMETER, codes::BIN_NAME, codes::NO_SPACE];
        let all = codes.into_iter().filter_map(|code| self.condition(code, settings, set));
        all.min_by_key(|condition| matches!(condition, Condition::Outage(_)))
    }

    /// Why this node takes no record at all, as far as the namespace alone tells; a record that has only
    /// names that are there already may be taken when there is no room for others.
    pub(super) fn refuses_all(&self, settings: &Settings) -> Option<Condition> {
        self.condition(codes::FORBIDDEN, settings, "").or_else(|| self.replacing(settings))
    }

    fn set_names(&self, settings: &Settings, set: &str) -> Option<Condition> {
        let sets = self.sets.split(';').filter(|set| !set.is_empty()).count();
        let is_full = self.set.is_empty() && MOST_SETS.contains(&sets);
        is_full.then(|| {
            Condition::Setup(format!(
                "namespace `{}` has {sets} sets, which is the most that the server takes: it cannot create set `{set}`",
                settings.namespace
            ))
        })
    }

    /// Enterprise edition only.
    fn replacing(&self, settings: &Settings) -> Option<Condition> {
        let refuses = settings.exists == Exists::Replace && self.namespace_is("conflict-resolve-writes");
        refuses.then(|| {
            let fault = "takes no record that replaces another (conflict-resolve-writes is true), and `aerospike.exists` is `replace`";
            Condition::Setup(format!("namespace `{}` {fault}", settings.namespace))
        })
    }

    fn stop_writes(&self, settings: &Settings) -> Option<Condition> {
        let stops = self.namespace_is("stop_writes");
        stops.then(|| {
            Condition::Outage(format!(
                "namespace `{}` has reached a limit and takes no writes (stop_writes)",
                settings.namespace
            ))
        })
    }

    /// Servers before 7.0 only.
    fn bin_names(&self, settings: &Settings) -> Option<Condition> {
        let none_left = self.namespace_number("available_bin_names") == Some(0);
        none_left.then(|| {
            Condition::Setup(format!(
                "namespace `{}` has as many different bin names as the server takes",
                settings.namespace
            ))
        })
    }

    fn forbidden(&self, settings: &Settings) -> Option<Condition> {
        let namespace = &settings.namespace;
        if self.namespace_is("reject-non-xdr-writes") {
            let fault = "takes only what other clusters send it (reject-non-xdr-writes is true)";
            return Some(Condition::Setup(format!("namespace `{namespace}` {fault}")));
        }
        let skewed = self.namespace_is("clock_skew_stop_writes");
        skewed.then(|| {
            let fault =
                "takes no writes while the clocks of its nodes differ so much (clock_skew_stop_writes)";
            Condition::Outage(format!("namespace `{namespace}` {fault}"))
        })
    }

    /// A record that would expire where nothing removes what has.
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

    /// What a server tells that is well, with what else is given; of a value that is given twice the last one
    /// counts there, so it comes first here.
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

    /// The stand-in for a server has none of these: they are of the enterprise edition, of older servers, or
    /// last for moments.
    #[test]
    fn what_a_server_tells_of_itself_is_the_reason_for_its_code_and_for_no_other() {
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
    fn a_set_that_is_there_or_can_be_made_is_no_reason() {
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
