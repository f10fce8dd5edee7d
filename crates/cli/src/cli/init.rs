//! `x-msrv init` on the command line. Its options follow from the adapters and their keys.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, builder::PossibleValue};
use x_msrv_core::{NAME, adapter::Adapters};
use x_msrv_settings::{Key, Kind, Presence};

use super::names::{NameArg, configuration};

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(super) which: NameArg,
    /// Overwrite an existing configuration (a backup is kept as NAME.old, NAME.old.1 and so on)
    #[arg(long)]
    pub(crate) force: bool,
    /// The values of options, by their names without dashes.
    #[arg(skip)]
    pub(crate) given: BTreeMap<&'static str, String>,
}

impl InitArgs {
    /// Returns the file to write, unless `--config` names another.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.which.configuration().unwrap_or_else(|| configuration(NAME))
    }

    /// Stores the values of the options.
    pub(super) fn take(&mut self, adapters: Adapters, matches: &ArgMatches) {
        for name in [QUEUE, STORE].into_iter().chain(questions(adapters).into_iter().map(|(name, _)| name)) {
            if let Ok(Some(value)) = matches.try_get_one::<String>(name) {
                self.given.insert(name, value.clone());
            }
        }
    }
}

/// The option that selects the adapter of the queue.
pub(crate) const QUEUE: &str = "queue";

/// The option that selects the adapter of the store.
pub(crate) const STORE: &str = "store";

/// An adapter in the role of a queue or a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Role {
    /// The value of the option.
    pub(crate) word: &'static str,
    /// Its description.
    pub(crate) summary: &'static str,
    /// Its section.
    pub(crate) section: &'static Key,
    /// The value that it suggests for a key of a pipeline.
    pub(crate) suggestion: fn(&str, &str) -> Option<String>,
}

/// Returns the adapters that can be a queue.
pub(crate) fn queues(adapters: Adapters) -> Vec<Role> {
    let role = |adapter: &&'static x_msrv_core::adapter::Adapter| {
        let role = adapter.source.as_ref()?;
        let (word, section, suggestion) = (role.facts.word, &role.section, role.suggestion);
        Some(Role { word, summary: adapter.summary, section, suggestion })
    };
    adapters.iter().filter_map(role).collect()
}

/// Returns the adapters that can be a store.
pub(crate) fn stores(adapters: Adapters) -> Vec<Role> {
    let role = |adapter: &&'static x_msrv_core::adapter::Adapter| {
        let role = adapter.store.as_ref()?;
        Some(Role {
            word: role.facts.word,
            summary: adapter.summary,
            section: &role.section,
            suggestion: |_, _| None,
        })
    };
    adapters.iter().filter_map(role).collect()
}

/// Returns the options that answer questions, each with the keys that it can set.
fn questions(adapters: Adapters) -> Vec<(&'static str, Vec<&'static Key>)> {
    let mut questions: Vec<(&'static str, Vec<&'static Key>)> = Vec::new();
    let known = x_msrv_config::known(adapters);
    let of_top = ["max-messages", "period"].into_iter().filter_map(|name| known.find(name));
    let of_adapters = queues(adapters).into_iter().chain(stores(adapters));
    for key in of_adapters.flat_map(|role| role.section.kind.keys()).chain(of_top) {
        let Some(ask) = key.ask.filter(|ask| !ask.flag.is_empty()) else { continue };
        match questions.iter_mut().find(|(flag, _)| *flag == ask.flag) {
            Some((_, keys)) => keys.push(key),
            None => questions.push((ask.flag, vec![key])),
        }
    }
    questions
}

/// Returns the command with the options of the adapters.
pub(super) fn command(init: Command, adapters: Adapters) -> Command {
    let kind = |name: &'static str, help: &'static str, roles: Vec<Role>| {
        let words: Vec<_> =
            roles.iter().map(|role| PossibleValue::new(role.word).help(role.summary)).collect();
        Arg::new(name).long(name).value_name("KIND").help(help).value_parser(words)
    };
    let asked = questions(adapters).into_iter().map(|(flag, keys)| option(flag, &keys));
    init.arg(kind(QUEUE, "Where messages come from", queues(adapters)))
        .arg(kind(STORE, "Where records go", stores(adapters)))
        .args(asked)
}

fn option(flag: &'static str, keys: &[&'static Key]) -> Arg {
    let ask = keys[0].ask.expect("only keys with a question have an option");
    let sentence = keys[0].doc.split("\n\n").next().and_then(|first| first.split(". ").next());
    let help = if let [_] = keys {
        sentence.unwrap_or_default().trim_end_matches('.').replace('`', "")
    } else {
        let questions = keys.iter().filter_map(|key| key.ask).map(|ask| ask.question);
        format!("In the store: {}", questions.collect::<Vec<_>>().join(", or "))
    };
    // `init` writes its suggestion, which may differ from the value that a missing key has.
    let help = match keys[0].presence {
        _ if !ask.suggest.is_empty() && ask.instead.is_empty() => {
            format!("{help} [default: {}]", ask.suggest)
        }
        Presence::Words(words) => format!("{help} [default: {}]", words.replace('`', "")),
        _ => help,
    };
    Arg::new(flag).long(flag).value_name(value_name(&keys[0].kind)).action(ArgAction::Set).help(help)
}

/// Returns how the help shows a value of this type.
fn value_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::List(kind) | Kind::WordOr(_, kind) | Kind::TextOr(kind, _) => value_name(kind),
        Kind::Address => "ADDRESS",
        Kind::Path { .. } => "PATH",
        Kind::Span => "DURATION",
        Kind::Size => "SIZE",
        Kind::Whole => "N",
        _ => "NAME",
    }
}

#[cfg(test)]
mod tests {
    use x_msrv_settings::Ask;

    use super::*;

    /// The help of an adapter with one server showed `--redis-address <NAME>`, for a value that must be
    /// HOST:PORT.
    #[test]
    fn the_help_shows_what_kind_of_value_an_option_takes() {
        const fn asked(kind: Kind) -> Key {
            let ask = Ask { flag: "a", question: "a", suggest: "", instead: "", is_subject: false };
            Key { kind, ask: Some(ask), ..Key::section("a", "An example.", &[]) }
        }
        static KEYS: [(Key, &str); 6] = [
            (asked(Kind::Address), "ADDRESS"),
            (asked(Kind::List(&Kind::Address)), "ADDRESS"),
            (asked(Kind::WordOr(&["any"], &Kind::Address)), "ADDRESS"),
            (asked(Kind::Path { is_state: true }), "PATH"),
            (asked(Kind::TextOr(&Kind::Text, &[])), "NAME"),
            (asked(Kind::Size), "SIZE"),
        ];
        for (key, shown) in &KEYS {
            let option = option("a", &[key]);
            assert_eq!(option.get_value_names(), Some(&[(*shown).into()][..]), "{:?}", key.kind);
        }
    }
}
