//! `x-msrv init`

mod template;

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    num::NonZeroU64,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::ValueEnum;

use super::{CommandError, say};
use crate::{
    cli::{InitArgs, Queue, StoreKind},
    config::{self, ConfigError, Namespace, Overrides, SetName, Settings, TableName},
    timer::Units,
};
use template::Template;
use x_msrv_net::address::HostPort;
use x_msrv_nsq::client::name::{ChannelName, TopicName};
use x_msrv_settings::duration;
use x_msrv_state::state_file;

/// How nsqd are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Servers {
    Nsqd,
    Nsqlookupd,
}

/// What a configuration is made of; what no flag says is asked for, or has the value that is suggested.
struct Answers {
    queue: Queue,
    servers: Servers,
    addresses: String,
    topic: String,
    channel: String,
    store: StoreKind,
    aerospike: String,
    namespace: String,
    set: String,
    max_messages: String,
    period: String,
}

/// Writes the configuration, and brings it as it is in force.
pub(super) fn init(path: &Path, arguments: &InitArgs) -> Result<Settings, CommandError> {
    refuse_to_replace(path, arguments.force)?;
    let answers = Answers::take(
        path,
        arguments,
        if io::stdin().is_terminal() { ask } else { |question| Ok(question.suggestion.to_owned()) },
    )?;
    let settings = write(path, &answers.text())?;
    say(&format!("written: {}", path.display()));
    Ok(settings)
}

/// What to do when all is set up.
pub(super) fn say_what_is_next(path: &Path) {
    match Units::of(path) {
        Some(units) => {
            say(&format!(
                "next:    sudo systemctl daemon-reload && sudo systemctl enable --now {}",
                units.timer()
            ));
            say(&format!("then:    sudo x-msrv status {}", path.file_stem().unwrap_or_default().display()));
        }
        None => say(&format!("next:    x-msrv -c {}", path.display())),
    }
}

fn error(path: &Path, attempt: &'static str, cause: io::Error) -> CommandError {
    CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() }
}

/// Another format of the same name would be passed over from now on. What nobody has changed since the
/// package brought it is nobody's.
fn refuse_to_replace(path: &Path, force: bool) -> Result<(), CommandError> {
    for there in [config::beside(path), vec![path.to_owned()]].concat() {
        let is_there =
            !force && state_file::exists(&there).map_err(|cause| error(&there, "look for", cause))?;
        if is_there && !(there == path && is_as_shipped(path)) {
            return Err(CommandError::Exists { name: there.display().to_string() });
        }
    }
    Ok(())
}

/// Whether it is the very file; what is not even a file is not read.
fn is_as_shipped(path: &Path) -> bool {
    let is_file = path
        .symlink_metadata()
        .is_ok_and(|found| found.is_file() && found.len() == template::SHIPPED.len() as u64);
    is_file && fs::read_to_string(path).is_ok_and(|text| text == template::SHIPPED)
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Question<'a> {
    text: &'a str,
    suggestion: &'a str,
    /// What is wrong with an answer. What only the whole configuration tells is told by that.
    fault: fn(&str) -> Option<String>,
}

type Ask = fn(Question<'_>) -> Result<String, CommandError>;

/// Asks on the terminal until there is an answer; an empty line takes what is suggested.
fn ask(question: Question<'_>) -> Result<String, CommandError> {
    let failed = |cause| CommandError::File {
        name: "standard input".to_owned(),
        attempt: "read an answer from",
        cause: io::Error::into(cause),
    };
    let suggested =
        if question.suggestion.is_empty() { String::new() } else { format!(" [{}]", question.suggestion) };
    loop {
        drop(write!(io::stderr(), "{}{suggested}: ", question.text));
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).map_err(failed)? == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer = if line.trim().is_empty() { question.suggestion } else { line.trim() };
        match (question.fault)(answer) {
            None => return Ok(answer.to_owned()),
            Some(fault) => say(&format!("  {fault}")),
        }
    }
}

/// What a parser says against a text.
fn fault_of<T: FromStr<Err = String>>(text: &str) -> Option<String> {
    text.parse::<T>().err()
}

fn fault_of_each<T: FromStr<Err = String>>(text: &str) -> Option<String> {
    text.split(',').find_map(|part| fault_of::<T>(part.trim()))
}

fn fault_of_word<T: ValueEnum>(text: &str) -> Option<String> {
    T::from_str(text, true).err().map(|_| format!("`{text}` is none of the words in brackets"))
}

fn fault_of_duration(text: &str) -> Option<String> {
    let wrong = || {
        duration::calendar(text).unwrap_or_else(|| format!("`{text}` is not a duration such as 10s or 5m"))
    };
    duration::parse(text).is_none().then(wrong)
}

fn fault_of_number(text: &str) -> Option<String> {
    text.parse::<NonZeroU64>().err().map(|_| format!("`{text}` is no whole number of at least 1"))
}

/// An option that can't be followed.
fn wrong(flag: &str, fault: String) -> CommandError {
    ConfigError::Value { origin: flag.to_owned(), key: String::new(), fault }.into()
}

/// Whoever says where in Aerospike records go does not expect them in a file.
fn refuse(options: &[(&str, &Option<String>)], kind: &str) -> Result<(), CommandError> {
    let given = options.iter().find(|(_, given)| given.is_some());
    given.map_or(Ok(()), |(flag, _)| Err(wrong(flag, format!("is of no use with {kind}"))))
}

impl Answers {
    fn take(path: &Path, arguments: &InitArgs, ask: Ask) -> Result<Self, CommandError> {
        let or_ask = |given: &Option<String>, text, suggestion, fault| match given {
            Some(given) => Ok(given.clone()),
            None => ask(Question { text, suggestion, fault }),
        };
        // Who says something of NSQ has said which queue it is.
        let is_given = |options: &[(&str, &Option<String>)]| options.iter().any(|(_, given)| given.is_some());
        let queue = arguments.queue.or_else(|| is_given(&arguments.of_nsq()).then_some(Queue::Nsq));
        let queue = word(queue, ask, "queue (nsq, embedded)", "nsq")?;
        if queue != Queue::Nsq {
            refuse(&arguments.of_nsq(), "--queue embedded")?;
        }
        // On one channel two pipelines would take each other's messages.
        let own_channel =
            ChannelName::of_pipeline(&path.file_stem().unwrap_or_default().to_string_lossy()).to_string();
        let (mut servers, mut addresses, mut topic, mut channel) =
            (Servers::Nsqd, String::new(), String::new(), String::new());
        if queue == Queue::Nsq {
            let given = match (&arguments.nsqd, &arguments.lookupd) {
                (Some(_), _) => Some(Servers::Nsqd),
                (None, Some(_)) => Some(Servers::Nsqlookupd),
                (None, None) => None,
            };
            servers = word(
                given,
                ask,
                "messages come from (nsqd, nsqlookupd: from all nsqd that it knows)",
                "nsqd",
            )?;
            let (given, question, suggestion) = match servers {
                Servers::Nsqd => (
                    &arguments.nsqd,
                    "nsqd, as HOST:PORT; several with commas between them",
                    "localhost:4150",
                ),
                Servers::Nsqlookupd => {
                    let question =
                        "nsqlookupd, as HOST:PORT with its HTTP port; several with commas between them";
                    (&arguments.lookupd, question, "localhost:4161")
                }
            };
            addresses = or_ask(given, question, suggestion, fault_of_each::<HostPort>)?;
            topic = or_ask(&arguments.topic, "topic", "", fault_of::<TopicName>)?;
            if topic.is_empty() {
                return Err(CommandError::Missing { flag: "--topic" });
            }
            channel = or_ask(
                &arguments.channel,
                "channel; runs on several hosts share one",
                &own_channel,
                fault_of::<ChannelName>,
            )?;
        }
        let store =
            arguments.store.or_else(|| is_given(&arguments.of_aerospike()).then_some(StoreKind::Aerospike));
        let store = word(store, ask, "store (aerospike, sqlite)", "aerospike")?;
        if store != StoreKind::Aerospike {
            refuse(&arguments.of_aerospike(), "--store sqlite")?;
        }
        let (mut aerospike, mut namespace) = (String::new(), String::new());
        let mut fault_of_set: fn(&str) -> _ = fault_of::<TableName>;
        if store == StoreKind::Aerospike {
            let question = "Aerospike, as HOST:PORT; several with commas between them";
            aerospike = or_ask(&arguments.aerospike, question, "localhost:3000", fault_of_each::<HostPort>)?;
            namespace =
                or_ask(&arguments.namespace, "namespace; it has to exist", "test", fault_of::<Namespace>)?;
            fault_of_set = fault_of::<SetName>;
        }
        // What nsqd forgets has its name without the word for that; what the store keeps is kept.
        let of_topic = topic.strip_suffix("#ephemeral").unwrap_or(&topic);
        let suggestion = if topic.is_empty() { "messages" } else { of_topic };
        let fault = fault_of_set(suggestion);
        let set = or_ask(
            &arguments.set,
            "set, or table",
            if fault.is_none() { suggestion } else { "" },
            fault_of_set,
        )?;
        if let Some(fault) = fault.filter(|_| set.is_empty()) {
            return Err(wrong("--set", format!("is needed, for the topic's name can't be taken: {fault}")));
        }
        Ok(Self {
            set,
            max_messages: or_ask(
                &arguments.max_messages,
                "messages in a run at most: N",
                "1000",
                fault_of_number,
            )?,
            period: or_ask(&arguments.period, "a run starts every", "10s", fault_of_duration)?,
            queue,
            servers,
            addresses,
            topic,
            channel,
            store,
            aerospike,
            namespace,
        })
    }

    fn text(&self) -> String {
        let mut template = Template::shipped();
        template.set("", "period", &number(&self.period));
        match self.queue {
            Queue::Nsq => {
                let (this, other) = match self.servers {
                    Servers::Nsqd => ("nsqd-tcp-address", "lookupd-http-address"),
                    Servers::Nsqlookupd => ("lookupd-http-address", "nsqd-tcp-address"),
                };
                template.unset("nsq", other);
                template.set("nsq", this, &list(&self.addresses));
                template.set("nsq", "topic", &name(&self.topic));
                template.set("nsq", "channel", &name(&self.channel));
                template.set("nsq", "max-messages", &number(&self.max_messages));
                template.unset("nsq", "max-in-flight");
            }
            Queue::Embedded => {
                template.disable("nsq");
                template.enable("embedded-queue");
                template.set("embedded-queue", "max-messages", &number(&self.max_messages));
            }
        }
        match self.store {
            StoreKind::Aerospike => {
                for key in ["address", "host", "port"] {
                    template.unset("aerospike", key);
                }
                template.set("aerospike", "hosts", &list(&self.aerospike));
                template.set("aerospike", "namespace", &name(&self.namespace));
                template.set("aerospike", "set", &name(&self.set));
            }
            StoreKind::Sqlite => {
                template.disable("aerospike");
                template.enable("sqlite");
                template.set("sqlite", "set", &name(&self.set));
            }
        }
        template.text()
    }
}

/// One of the words that a flag takes.
fn word<T: ValueEnum>(given: Option<T>, ask: Ask, text: &str, suggestion: &str) -> Result<T, CommandError> {
    match given {
        Some(given) => Ok(given),
        None => Ok(T::from_str(&ask(Question { text, suggestion, fault: fault_of_word::<T> })?, true)
            .expect("the question has seen to that")),
    }
}

/// As JSON, which YAML contains.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// A name as YAML has it: plain where that is text to every reader, those of YAML 1.1 as well.
fn name(text: &str) -> String {
    let is_plain = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
    let is_word = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
        .contains(&text.to_ascii_lowercase().as_str());
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) && is_plain && !is_word {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// What begins with a digit and is meant to: plain, unless there is more to it, such as `1m 30s`.
fn number(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric());
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn list(text: &str) -> String {
    let elements: Vec<_> = text.split(',').map(|element| quoted(element.trim())).collect();
    format!("[{}]", elements.join(", "))
}

/// Under another name first, where it is read as a run reads it: what is wrong is told, and takes nobody's
/// place.
fn write(path: &Path, text: &str) -> Result<Settings, CommandError> {
    let new = state_file::new_name(path); // no configuration can have this name, so that it is nobody's
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&new)
        .map_err(|cause| error(path, "write", cause))?;
    let written = file.write_all(text.as_bytes()).map_err(|cause| error(path, "write", cause));
    let placed = written.and_then(|()| place(&new, path));
    if placed.is_err() {
        drop(fs::remove_file(&new));
    }
    placed?;
    Ok(config::load(Some(path), &crate::cli::environment())?)
}

/// Puts what is right in its place, and keeps what was there.
fn place(new: &Path, path: &Path) -> Result<(), CommandError> {
    config::load(Some(new), &Overrides::default()).map_err(|fault| in_flags(new, fault))?;
    if state_file::exists(path).is_ok_and(|there| there) && !is_as_shipped(path) {
        let old = free_name(path).map_err(|cause| error(path, "keep what is in", cause))?;
        // A copy, so that a timer finds one or the other at every moment.
        fs::copy(path, &old).map_err(|cause| error(path, "keep what is in", cause))?;
        say(&format!("what was there is now {}", old.display()));
    }
    fs::rename(new, path).map_err(|cause| error(path, "write", cause))
}

/// The first of `PATH.old`, `PATH.old.1`, `PATH.old.2`, … that is not taken: what somebody wrote by hand is
/// not lost to a second attempt.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".old".to_owned() } else { format!(".old.{number}") });
        if !state_file::exists(Path::new(&name))? {
            return Ok(name.into());
        }
        number += 1;
    }
}

/// The fault without the name of a file that is not there any more.
fn in_flags(new: &Path, fault: ConfigError) -> CommandError {
    match fault {
        ConfigError::Value { origin, key, fault } if Path::new(&origin) == new => {
            ConfigError::Value { origin: "what was asked for".to_owned(), key, fault }.into()
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{SourceSettings, StoreSettings};

    /// Who had said `--nsqd` was asked whether the queue is NSQ, and nsqlookupd was not offered.
    #[test]
    fn what_options_said_is_not_asked_for_and_nsqlookupd_is_offered() {
        #[expect(clippy::unnecessary_wraps, reason = "it is what a terminal answers")]
        fn answered(question: Question<'_>) -> Result<String, CommandError> {
            let answer = match question.text.split([' ', ',', ';']).next().expect("a word") {
                "messages" if question.suggestion == "nsqd" => "nsqlookupd",
                "nsqlookupd" => "l:4161",
                "topic" => "orders",
                "queue" | "store" | "nsqd" | "Aerospike" => {
                    panic!("asked for what options said: {}", question.text)
                }
                _ => question.suggestion,
            };
            Ok(answer.to_owned())
        }
        let answers = |options: &[&str]| {
            let cli = crate::cli::parse(["x-msrv", "init"].iter().chain(options).map(Into::into))
                .expect("a command line");
            let Some(crate::cli::Command::Init(arguments)) = cli.command else { panic!("init") };
            Answers::take(Path::new("a.yml"), &arguments, answered).expect("all is said")
        };
        let found = answers(&["--topic", "t", "--aerospike", "db:3000"]);
        assert_eq!(
            (found.servers, &*found.addresses, found.store),
            (Servers::Nsqlookupd, "l:4161", StoreKind::Aerospike)
        );
        assert!(found.text().contains("  lookupd-http-address: [\"l:4161\"]"), "{}", found.text());
        let named = answers(&["--nsqd", "q:4150", "--namespace", "n", "--aerospike", "db:3000"]);
        assert_eq!((named.servers, &*named.addresses, &*named.topic), (Servers::Nsqd, "q:4150", "orders"));
        assert_eq!(answers(&["--lookupd", "m:4161", "--aerospike", "db:3000"]).addresses, "m:4161");
    }

    /// A topic `2024` was a number, and a set `no` a truth value: what was asked for was refused.
    #[test]
    fn names_are_written_so_that_they_stay_what_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yml");
        for name in [
            "orders", "2024", "7", "0", "01234", "1e3", "0x1F", "1_000", "2h", "y", "No", "on", "true",
            "null", "-", "-1", ".5", "a.b",
        ] {
            let own = |text: &str| text.to_owned();
            let answers = Answers {
                queue: Queue::Nsq,
                servers: Servers::Nsqd,
                addresses: own("h:4150, i:4150"),
                topic: own(name),
                channel: own(name),
                store: StoreKind::Aerospike,
                aerospike: own("h:3000"),
                namespace: own(name),
                set: own(name),
                max_messages: own("7"),
                period: own("1m 30s"),
            };
            fs::write(&path, answers.text()).expect("written");
            let settings = config::load(Some(&path), &Overrides::default()).expect(name);
            assert_eq!(
                (settings.limits.max_messages.get(), settings.period.map(|period| period.as_secs())),
                (7, Some(90))
            );
            let (SourceSettings::Nsq(nsq), StoreSettings::Aerospike(store)) =
                (settings.source, settings.store)
            else {
                panic!("{name}")
            };
            let names = [
                nsq.topic.to_string(),
                nsq.channel.to_string(),
                store.namespace.to_string(),
                store.set.to_string(),
            ];
            assert_eq!(names, [name; 4]);
        }
    }
}
