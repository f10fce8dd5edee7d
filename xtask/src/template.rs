//! `etc/x-msrv.yml`, the shipped configuration, which `init` fills in: every key with a comment; keys that
//! are not active are commented out.

use x_msrv_core::adapter::Adapters;
use x_msrv_settings::{Key, Kind, Known, Presence, join};

use crate::tables::meaning;

const HEADER: &str = "\
# yaml-language-server: $schema=/usr/share/x-msrv/x-msrv.schema.json
# x-msrv drains at most N messages from a queue into a database, and exits. A timer starts it again.
# Environment variables override every key: X_MSRV__NSQ__TOPIC=orders. `x-msrv check` shows the settings in force.
# A change takes effect with the next run. x-msrv.yml(5) describes every key in detail.
";

/// The active keys and their values: the example of the original.
const IN_FORCE: [(&str, &str); 9] = [
    ("timeout", "2s"),
    ("nsq.nsqd-tcp-address", "[\"queue:4150\"]"),
    ("nsq.topic", "testtopic"),
    ("nsq.channel", "testchannel"),
    ("nsq.max-messages", "10"),
    ("aerospike.address.host", "db"),
    ("aerospike.address.port", "3000"),
    ("aerospike.namespace", "test"),
    ("aerospike.set", "testset"),
];

/// The length of the longest comment line in bytes.
const WIDTH: usize = 110;

pub(crate) fn template(adapters: Adapters) -> String {
    let known = x_msrv_config::known(adapters);
    let keys = known.0.iter().filter(|(below, _)| below.is_empty()).flat_map(|(_, keys)| *keys);
    // First the run as a whole, then queue, store and dead letters, then the rest.
    let place = |key: &Key| match key.name {
        "max-messages" | "timeout" | "idle-timeout" | "connect-timeout" | "shutdown-timeout" | "period" => 0,
        name if is_adapter_s(adapters, name) => 1,
        "dead-letter" => 2,
        _ => 3,
    };
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by_key(|key| place(key));
    let mut text = HEADER.to_owned();
    for key in keys {
        text += "\n";
        if is_adapter_s(adapters, key.name) || key.name == "fields" {
            section(&mut text, &known, key, key.name != "fields");
        } else {
            comment(&mut text, "", &known, key.name, key);
            line(&mut text, "", key, key.name);
        }
    }
    text
}

fn is_adapter_s(adapters: Adapters, name: &str) -> bool {
    adapters.iter().any(|adapter| {
        let source = adapter.source.as_ref().map(|role| role.section.name);
        let store = adapter.store.as_ref().map(|role| role.section.name);
        [source, store].contains(&Some(name))
    })
}

fn value_in_force(path: &str) -> Option<&'static str> {
    IN_FORCE.iter().find(|(key, _)| *key == path).map(|(_, value)| *value)
}

fn is_in_force(path: &str) -> bool {
    IN_FORCE.iter().any(|(key, _)| key.starts_with(&format!("{path}.")))
}

/// Appends a section with one key per line. An inactive section is commented out as a whole with a `#` in the
/// first column, which `init` removes; in the section of an adapter, optional keys have a second `#`.
fn section(text: &mut String, known: &Known, key: &Key, is_adapter_s: bool) {
    let mut lines = String::new();
    for inside in key.kind.keys() {
        let path = join(key.name, inside.name);
        comment(&mut lines, "  ", known, &path, inside);
        if is_adapter_s {
            line(&mut lines, "  ", inside, &path);
        } else {
            lines += &format!("  {}: {}\n", inside.name, value(inside));
        }
    }
    comment(text, "", known, key.name, key);
    if is_in_force(key.name) {
        *text += &format!("{}:\n{lines}", key.name);
    } else {
        *text += &format!("#{}:\n", key.name);
        lines.lines().for_each(|line| *text += &format!("#{line}\n"));
    }
}

/// Appends the documentation of a key as a comment.
fn comment(text: &mut String, indent: &str, known: &Known, path: &str, key: &Key) {
    let mut line = format!("{indent}#");
    for word in format!("{}.", meaning(known, path, key)).split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            *text += &format!("{line}\n");
            line = format!("{indent}#");
        }
        line += " ";
        line += word;
    }
    *text += &format!("{line}\n");
}

fn line(text: &mut String, indent: &str, key: &Key, path: &str) {
    if let Some(value) = value_in_force(path) {
        *text += &format!("{indent}{}: {value}\n", key.name);
    } else if is_in_force(path) {
        *text += &format!("{indent}{}:\n", key.name);
        for inside in key.kind.keys() {
            line(text, &format!("{indent}  "), inside, &join(path, inside.name));
        }
    } else {
        // In a section that `init` activates, required keys must be active.
        let mark = if key.presence == Presence::Required && !indent.is_empty() { "" } else { "#" };
        *text += &format!("{indent}{mark}{}: {}\n", key.name, value(key));
    }
}

/// Returns an example value, or the default.
fn value(key: &Key) -> String {
    match (key.example, key.presence) {
        (example, _) if !example.is_empty() => example.to_owned(),
        (_, Presence::Default(default)) => default.to_owned(),
        _ => match key.kind {
            Kind::Section(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| format!("{}: {}", key.name, value(key))).collect();
                format!("{{{}}}", keys.join(", "))
            }
            _ => panic!("`{}` has neither an example nor a default", key.name),
        },
    }
}
