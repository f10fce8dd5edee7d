//! The values for a new configuration: options and answers, by the keys of the adapters.

use std::path::Path;

use crate::{
    cli::{InitArgs, QUEUE, Role, STORE, queues, stores},
    config::{ConfigError, SYSTEM},
};
use x_msrv_core::adapter::Adapters;
use x_msrv_settings::{Ask, Key, Known, Origins, Places, Reader, Value};

use super::{super::CommandError, template::Template};

/// A question.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) text: &'a str,
    pub(super) suggestion: &'a str,
    /// Returns the fault of an answer, as far as one value shows it. Loading the configuration finds the
    /// others.
    pub(super) fault: &'a dyn Fn(&str) -> Option<String>,
}

/// The source of answers.
pub(super) type Asker = fn(Question<'_>) -> Result<String, CommandError>;

/// A section and the values of its keys.
struct Section {
    role: Role,
    keys: Vec<(&'static Key, String)>,
}

/// The values for a new configuration.
pub(super) struct Answers {
    source: Section,
    store: Section,
    top: Vec<(&'static Key, String)>,
}

/// Asks for the values that no option sets.
struct Interview<'a> {
    arguments: &'a InitArgs,
    ask: Asker,
    pipeline: String,
}

/// Returns the fault of an answer, with the text of a configuration error.
fn fault_of(key: &Key, text: &str) -> Option<String> {
    let (places, origins) = (Places { state: SYSTEM.into(), ..Places::default() }, Origins::default());
    let known = Known::default();
    let mut reader = Reader::new(&places, &origins, &known);
    (key.check)(&Value::String(text.to_owned()), &mut reader);
    reader.faults().into_iter().next().map(|fault| fault.fault)
}

fn wrong(flag: &str, fault: String) -> CommandError {
    ConfigError::of_flag(&format!("--{flag}"), fault).into()
}

/// Returns how a key is asked for, if it is.
fn asked(key: &Key) -> Option<Ask> {
    key.ask.filter(|ask| !ask.flag.is_empty())
}

impl Answers {
    pub(super) fn take(
        adapters: Adapters,
        path: &Path,
        arguments: &InitArgs,
        ask: Asker,
    ) -> Result<Self, CommandError> {
        let pipeline = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let interview = Interview { arguments, ask, pipeline };
        let (queues, stores) = (queues(adapters), stores(adapters));
        let source = interview.section(QUEUE, &queues, None)?;
        let subject = source.keys.iter().find(|(key, _)| key.ask.is_some_and(|ask| ask.is_subject));
        // A suffix after `#`, which marks a name as ephemeral, is not part of the name in the store.
        let subject = subject.map(|(key, value)| (key.name, value.split('#').next().unwrap_or_default()));
        let store = interview.section(STORE, &stores, Some(subject.unwrap_or(("", "messages"))))?;
        let known = crate::config::known(adapters);
        let top = ["max-messages", "period"].into_iter().filter_map(|name| known.find(name));
        let top = top.map(|key| Ok((key, interview.key(key, "")?)));
        let top = top.collect::<Result<_, CommandError>>()?;
        Ok(Self { source, store, top })
    }

    pub(super) fn text(&self) -> String {
        let mut template = Template::shipped();
        // N is in the section of the queue, as in the original, if that section has such a key.
        let own = self.source.role.section.kind.keys();
        let is_own = |key: &Key| key.name == "max-messages" && own.iter().any(|own| own.name == key.name);
        let (n, top): (Vec<_>, Vec<_>) = self.top.iter().partition(|(key, _)| is_own(key));
        for (key, value) in top {
            template.set("", key.name, &key.written(value));
        }
        let sections = [(&self.source, n), (&self.store, Vec::new())];
        template.only(&sections.each_ref().map(|(section, _)| section.role.section.name));
        for (section, more) in sections {
            let keys = section.keys.iter().chain(more);
            let keys: Vec<_> = keys.map(|(key, value)| (key.name, key.written(value))).collect();
            template.set_section(section.role.section.name, &keys);
        }
        template.text()
    }
}

/// The YAML form of a value.
trait Written {
    fn written(&self, value: &str) -> String;
}

impl Written for Key {
    fn written(&self, value: &str) -> String {
        use x_msrv_settings::Kind;
        match self.kind {
            Kind::List(_) => list(value),
            Kind::Whole | Kind::Span | Kind::Size => number(value),
            _ => name(value),
        }
    }
}

impl Interview<'_> {
    fn given(&self, flag: &str) -> Option<&String> {
        self.arguments.given.get(flag)
    }

    /// Returns one of these words: from an option, or from an answer.
    fn word(
        &self,
        flag: &str,
        given: Option<&str>,
        text: &str,
        words: &[&str],
    ) -> Result<String, CommandError> {
        if let Some(given) = given.or(self.given(flag).map(String::as_str)) {
            return Ok(given.to_owned());
        }
        let fault =
            |text: &str| (!words.contains(&text)).then(|| format!("`{text}` is not one of the choices"));
        let suggestion = words.first().copied().unwrap_or_default();
        (self.ask)(Question { text: &format!("{text} ({})", words.join(", ")), suggestion, fault: &fault })
    }

    /// Selects the adapter and the values of its keys. `subject` is the key and the value from which the
    /// store's name can be derived.
    fn section(
        &self,
        flag: &str,
        roles: &[Role],
        subject: Option<(&str, &str)>,
    ) -> Result<Section, CommandError> {
        let has = |role: &Role, flag: &str| {
            role.section.kind.keys().iter().filter_map(asked).any(|ask| ask.flag == flag)
        };
        let of_one = |role: &Role| {
            let is_own =
                |flag: &str| has(role, flag) && roles.iter().filter(|role| has(role, flag)).count() == 1;
            self.arguments.given.keys().copied().find(|flag| is_own(flag))
        };
        // An option that only one adapter has selects that adapter.
        let implied = roles.iter().find(|role| of_one(role).is_some()).map(|role| role.word);
        let implied = implied.filter(|_| self.given(flag).is_none());
        let words: Vec<_> = roles.iter().map(|role| role.word).collect();
        let word = self.word(flag, implied, flag, &words)?;
        let role = *roles.iter().find(|role| role.word == word).expect("an answer is one of the words");
        for other in roles.iter().filter(|other| other.word != role.word) {
            if let Some(option) = of_one(other) {
                return Err(wrong(option, format!("cannot be used with --{flag} {word}")));
            }
        }
        let mut keys = Vec::new();
        let all = role.section.kind.keys();
        let alternatives: Vec<_> =
            all.iter().filter(|key| key.ask.is_some_and(|ask| !ask.instead.is_empty())).collect();
        let chosen = self.one_of(&alternatives)?;
        for key in all.iter().filter(|key| key.ask.is_some()) {
            if alternatives.iter().any(|other| other.name == key.name)
                && chosen.is_none_or(|chosen| chosen.name != key.name)
            {
                continue;
            }
            let value = match subject.filter(|_| key.ask.is_some_and(|ask| ask.is_subject)) {
                Some(subject) => self.store_name(key, subject)?,
                None => self.key(key, &(role.suggestion)(key.name, &self.pipeline).unwrap_or_default())?,
            };
            keys.push((key, value));
        }
        Ok(Section { role, keys })
    }

    /// Returns the key that is set, of several alternatives.
    fn one_of(&self, keys: &[&'static Key]) -> Result<Option<&'static Key>, CommandError> {
        let flags: Vec<_> = keys.iter().filter_map(|key| asked(key)).collect();
        let given: Vec<_> = flags.iter().filter(|ask| self.given(ask.flag).is_some()).collect();
        if let [first, second, ..] = given[..] {
            return Err(wrong(second.flag, format!("cannot be used with --{}", first.flag)));
        }
        let words: Vec<_> = flags.iter().map(|ask| ask.instead).collect();
        if words.is_empty() {
            return Ok(None);
        }
        let given = given.first().map(|ask| ask.instead);
        let word = self.word("", given, "messages come from", &words)?;
        Ok(keys.iter().find(|key| key.ask.is_some_and(|ask| ask.instead == word)).copied())
    }

    /// Returns the value of a key: from an option, an answer or the suggestion.
    fn key(&self, key: &Key, suggestion: &str) -> Result<String, CommandError> {
        let ask = key.ask.expect("only keys with a question are asked for");
        let suggestion = if suggestion.is_empty() { ask.suggest } else { suggestion };
        if ask.flag.is_empty() {
            return Ok(suggestion.to_owned());
        }
        let fault = |text: &str| fault_of(key, text);
        let answer = match self.given(ask.flag) {
            Some(given) => given.clone(),
            None => (self.ask)(Question { text: ask.question, suggestion, fault: &fault })?,
        };
        if answer.is_empty() {
            Err(CommandError::Missing { flag: format!("--{}", ask.flag) })
        } else {
            Ok(answer)
        }
    }

    /// Returns the name in the store; by default the name of the pipeline's subject.
    fn store_name(&self, key: &Key, (from, subject): (&str, &str)) -> Result<String, CommandError> {
        let ask = key.ask.expect("only keys with a question are asked for");
        match fault_of(key, subject) {
            None => self.key(key, subject),
            Some(fault) => match self.key(key, "") {
                Err(CommandError::Missing { .. }) => {
                    Err(wrong(ask.flag, format!("is required: the {from} name cannot be used: {fault}")))
                }
                other => other,
            },
        }
    }
}

/// Returns a JSON string, which is valid YAML.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// Returns a name in YAML: plain if every parser, also of YAML 1.1, reads it as text.
fn name(text: &str) -> String {
    let is_plain = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    let is_word = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
        .contains(&text.to_ascii_lowercase().as_str());
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) && is_plain && !is_word {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Returns a number, duration or size in YAML: quoted only if it has other characters, such as `1m 30s`.
fn number(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric());
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn list(text: &str) -> String {
    let elements: Vec<_> = text.split(',').map(|element| quoted(element.trim())).collect();
    format!("[{}]", elements.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{self, Overrides};

    const ADAPTERS: Adapters = Adapters {
        list: &[
            &x_msrv_nsq::ADAPTER,
            &x_msrv_aerospike::ADAPTER,
            &x_msrv_sqlite::ADAPTER,
            &x_msrv_example_adapter::ADAPTER,
        ],
        codec: x_msrv_json::codec,
    };

    fn arguments(options: &[&str]) -> InitArgs {
        let words = ["x-msrv", "init"].iter().chain(options).map(Into::into);
        let cli = crate::cli::parse(ADAPTERS, words).expect("a command line");
        let Some(crate::cli::Command::Init(arguments)) = cli.command else { panic!("init") };
        arguments
    }

    /// Otherwise a user who gives `--nsqd` is asked whether the queue is NSQ, and nsqlookupd is never
    /// offered.
    #[test]
    fn values_of_options_are_not_asked_for_and_nsqlookupd_is_offered() {
        #[expect(clippy::unnecessary_wraps, reason = "the type of a terminal's answer")]
        fn answered(question: Question<'_>) -> Result<String, CommandError> {
            let answer = match question.text.split([' ', ',', ';']).next().expect("a word") {
                "messages" if question.suggestion == "nsqd" => "nsqlookupd",
                "nsqlookupd" => "l:4161",
                "topic" => "orders",
                "queue" | "store" | "nsqd" | "Aerospike" => {
                    panic!("asked for the value of an option: {}", question.text)
                }
                _ => question.suggestion,
            };
            Ok(answer.to_owned())
        }
        let text = |options: &[&str]| {
            let answers = Answers::take(ADAPTERS, Path::new("a.yml"), &arguments(options), answered);
            answers.expect("all values are known").text()
        };
        let found = text(&["--topic", "t", "--aerospike", "db:3000"]);
        for line in
            ["  lookupd-http-address: [\"l:4161\"]", "  topic: t", "  hosts: [\"db:3000\"]", "  set: t"]
        {
            assert!(found.lines().any(|found| found == line), "{line}: {found}");
        }
        assert!(!found.lines().any(|line| line.starts_with("  nsqd-tcp-address:")), "{found}");
        let named = text(&["--nsqd", "q:4150", "--namespace", "prod", "--aerospike", "db:3000"]);
        for line in ["  nsqd-tcp-address: [\"q:4150\"]", "  topic: orders", "  namespace: prod"] {
            assert!(named.lines().any(|found| found == line), "{line}: {named}");
        }
        let found = text(&["--lookupd", "m:4161", "--aerospike", "db:3000"]);
        assert!(found.contains("\n  lookupd-http-address: [\"m:4161\"]\n"), "{found}");
    }

    /// Otherwise a topic `2024` is a number and a set `no` a boolean, and the new configuration is refused.
    #[test]
    fn names_are_written_so_that_they_are_read_back_as_names() {
        fn not_asked(question: Question<'_>) -> Result<String, CommandError> {
            panic!("{}", question.text)
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yml");
        for name in [
            "orders", "2024", "7", "0", "01234", "1e3", "0x1F", "1_000", "2h", "y", "No", "on", "true",
            "null", "-", "-1", ".5", "a.b",
        ] {
            let equals = |option: &str| format!("{option}={name}");
            let names = ["--topic", "--channel", "--namespace", "--set"].map(equals);
            let others = [
                "--nsqd",
                "h:4150, i:4150",
                "--aerospike",
                "h:3000",
                "--max-messages",
                "7",
                "--period",
                "1m 30s",
            ];
            let options: Vec<_> = names.iter().map(String::as_str).chain(others).collect();
            let answers = Answers::take(ADAPTERS, &path, &arguments(&options), not_asked)
                .expect("all values are known");
            fs::write(&path, answers.text()).expect("written");
            let settings = config::load(ADAPTERS, Some(&path), &Overrides::default()).expect(name);
            assert_eq!(
                (settings.limits.max_messages.get(), settings.period.map(|period| period.as_secs())),
                (7, Some(90))
            );
            let shown = settings.to_string();
            for key in ["nsq.topic", "nsq.channel", "aerospike.namespace", "aerospike.set"] {
                assert!(shown.contains(&format!("\n{key}: {name}\n")), "{key}: {shown}");
            }
        }
    }

    /// N was written into the section of every queue, and refused there as an unknown key.
    #[test]
    fn n_is_at_the_top_if_the_section_of_the_queue_has_no_such_key() {
        fn not_asked(question: Question<'_>) -> Result<String, CommandError> {
            panic!("{}", question.text)
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yml");
        let options = ["--queue", "folder", "--store", "folder", "--max-messages", "7", "--period", "1m"];
        let answers = Answers::take(ADAPTERS, &path, &arguments(&options), not_asked);
        fs::write(&path, answers.expect("all values are known").text()).expect("written");
        // `init` does not ask for these keys of the example.
        let paths = ["X_MSRV__FOLDER_QUEUE__PATH", "X_MSRV__FOLDER__PATH"];
        let environment = paths.map(|name| (name.to_owned(), name.to_ascii_lowercase()));
        let overrides = Overrides { environment: environment.into(), ..Overrides::default() };
        let settings = config::load(ADAPTERS, Some(&path), &overrides).expect("a configuration");
        assert_eq!(settings.limits.max_messages.get(), 7);
    }
}
