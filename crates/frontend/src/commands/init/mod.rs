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
    config::{self, ConfigError, FORMATS, Overrides, Settings},
    timer::Units,
};
use template::Template;
use x_msrv_engine::{
    address::HostPort,
    nsq::name::{ChannelName, TopicName},
    state_file,
};

/// What a configuration is made of; what no flag says is asked for, or has the value that is suggested.
struct Answers {
    queue: Queue,
    nsqd: String,
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
    let answers = Answers::take(arguments, if io::stdin().is_terminal() { ask } else { |question| Ok(question.suggestion.to_owned()) })?;
    let settings = write(path, &answers.text(arguments.lookupd.is_some()))?;
    say(&format!("written: {}", path.display()));
    Ok(settings)
}

/// What to do when all is set up.
pub(super) fn say_what_is_next(path: &Path) {
    match Units::of(path) {
        Some(units) => {
            say(&format!("next:    sudo systemctl daemon-reload && sudo systemctl enable --now {}", units.timer()));
            say(&format!("then:    sudo x-msrv status {}", path.file_stem().unwrap_or_default().display()));
        }
        None => say(&format!("next:    x-msrv -c {}", path.display())),
    }
}

fn error(path: &Path, attempt: &'static str, cause: io::Error) -> CommandError {
    CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() }
}

/// Another format of the same name would be passed over from now on. What nobody has changed since the package brought it is nobody's.
fn refuse_to_replace(path: &Path, force: bool) -> Result<(), CommandError> {
    let others = FORMATS.iter().map(|format| path.with_extension(format)).chain([path.to_owned()]);
    for there in others {
        let is_there = !force && state_file::exists(&there).map_err(|cause| error(&there, "look for", cause))?;
        if is_there && !(there == path && is_as_shipped(path)) {
            return Err(CommandError::Exists { name: there.display().to_string() });
        }
    }
    Ok(())
}

/// Whether it is the very file; what is not even a file is not read.
fn is_as_shipped(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == template::SHIPPED.len() as u64);
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
    let failed =
        |cause| CommandError::File { name: "standard input".to_owned(), attempt: "read an answer from", cause: io::Error::into(cause) };
    let suggested = if question.suggestion.is_empty() { String::new() } else { format!(" [{}]", question.suggestion) };
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
    humantime::parse_duration(text).err().map(|_| format!("`{text}` is no duration such as 10s or 5m"))
}

fn fault_of_number(text: &str) -> Option<String> {
    text.parse::<NonZeroU64>().err().map(|_| format!("`{text}` is no whole number of at least 1"))
}

fn fault_of_nothing(text: &str) -> Option<String> {
    text.is_empty().then(|| "an answer is needed".to_owned())
}

impl Answers {
    fn take(arguments: &InitArgs, ask: Ask) -> Result<Self, CommandError> {
        let or_ask = |given: &Option<String>, text, suggestion, fault| match given {
            Some(given) => Ok(given.clone()),
            None => ask(Question { text, suggestion, fault }),
        };
        let queue = word(arguments.queue, ask, "queue (nsq, embedded)", "nsq")?;
        let (mut nsqd, mut topic, mut channel) = (String::new(), String::new(), String::new());
        if queue == Queue::Nsq {
            nsqd = match &arguments.lookupd {
                Some(lookupd) => lookupd.clone(),
                None => or_ask(
                    &arguments.nsqd,
                    "nsqd, as HOST:PORT; several with commas between them",
                    "localhost:4150",
                    fault_of_each::<HostPort>,
                )?,
            };
            topic = or_ask(&arguments.topic, "topic", "", fault_of::<TopicName>)?;
            if topic.is_empty() {
                return Err(CommandError::Missing { flag: "--topic" });
            }
            channel = or_ask(&arguments.channel, "channel; runs on several hosts share one", "x-msrv", fault_of::<ChannelName>)?;
        }
        let store = word(arguments.store, ask, "store (aerospike, sqlite)", "aerospike")?;
        let (mut aerospike, mut namespace) = (String::new(), String::new());
        if store == StoreKind::Aerospike {
            let question = "Aerospike, as HOST:PORT; several with commas between them";
            aerospike = or_ask(&arguments.aerospike, question, "localhost:3000", fault_of_each::<HostPort>)?;
            namespace = or_ask(&arguments.namespace, "namespace; it has to exist", "test", fault_of_nothing)?;
        }
        let set = if topic.is_empty() { "messages" } else { &topic };
        Ok(Self {
            set: or_ask(&arguments.set, "set, or table", set, fault_of_nothing)?,
            max_messages: or_ask(&arguments.max_messages, "messages in a run at most: N", "1000", fault_of_number)?,
            period: or_ask(&arguments.period, "a run starts every", "10s", fault_of_duration)?,
            queue,
            nsqd,
            topic,
            channel,
            store,
            aerospike,
            namespace,
        })
    }

    fn text(&self, is_lookupd: bool) -> String {
        let mut template = Template::shipped();
        template.set("", "period", &quoted(&self.period));
        match self.queue {
            Queue::Nsq => {
                let (this, other) =
                    if is_lookupd { ("lookupd-http-address", "nsqd-tcp-address") } else { ("nsqd-tcp-address", "lookupd-http-address") };
                template.unset("nsq", other);
                template.set("nsq", this, &list(&self.nsqd));
                template.set("nsq", "topic", &quoted(&self.topic));
                template.set("nsq", "channel", &quoted(&self.channel));
                template.set("nsq", "max-messages", &quoted(&self.max_messages));
                template.unset("nsq", "max-in-flight");
            }
            Queue::Embedded => {
                template.disable("nsq");
                template.enable("embedded-queue");
                template.set("embedded-queue", "max-messages", &quoted(&self.max_messages));
            }
        }
        match self.store {
            StoreKind::Aerospike => {
                for key in ["address", "host", "port"] {
                    template.unset("aerospike", key);
                }
                template.set("aerospike", "hosts", &list(&self.aerospike));
                template.set("aerospike", "namespace", &quoted(&self.namespace));
                template.set("aerospike", "set", &quoted(&self.set));
            }
            StoreKind::Sqlite => {
                template.disable("aerospike");
                template.enable("sqlite");
                template.set("sqlite", "set", &quoted(&self.set));
            }
        }
        template.text()
    }
}

/// One of the words that a flag takes.
fn word<T: ValueEnum>(given: Option<T>, ask: Ask, text: &str, suggestion: &str) -> Result<T, CommandError> {
    match given {
        Some(given) => Ok(given),
        None => {
            Ok(T::from_str(&ask(Question { text, suggestion, fault: fault_of_word::<T> })?, true).expect("the question has seen to that"))
        }
    }
}

/// As YAML has it: plain where that can be nothing else, else as JSON, which YAML contains.
fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
    let is_word = ["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || first == '-') && text.parse::<u64>().is_err();
    // `10s` and the like are text for every reader.
    let is_duration = humantime::parse_duration(text).is_ok();
    if is_duration || is_plain && !is_word && !is_number { text.to_owned() } else { serde_json::to_string(text).expect("text is JSON") }
}

fn list(text: &str) -> String {
    let elements: Vec<_> = text.split(',').map(|element| serde_json::to_string(element.trim()).expect("text is JSON")).collect();
    format!("[{}]", elements.join(", "))
}

/// Under another name first, where it is read as a run reads it: what is wrong is told, and takes nobody's place.
fn write(path: &Path, text: &str) -> Result<Settings, CommandError> {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".new.yml");
    let new: PathBuf = path.with_file_name(name);
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(&new))));
    written.map_err(|cause| error(&new, "write", cause))?;
    let settings = config::load(Some(&new), &Overrides::default()).map_err(|fault| in_flags(&new, fault));
    if settings.is_ok() && state_file::exists(path).is_ok_and(|there| there) && !is_as_shipped(path) {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        // A copy, so that a timer finds one or the other at every moment.
        fs::copy(path, &old).map_err(|cause| error(path, "keep what is in", cause))?;
        say(&format!("what was there is now {}", Path::new(&old).display()));
    }
    let placed = settings.and_then(|_| fs::rename(&new, path).map_err(|cause| error(path, "write", cause)));
    if placed.is_err() {
        drop(fs::remove_file(&new));
    }
    placed?;
    Ok(config::load(Some(path), &crate::cli::environment())?)
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
