//! From the tree of all layers to settings, section by section. A fault in one section does not hide faults
//! in another.

use std::{
    path::{Path, PathBuf},
    slice,
    sync::Arc,
};

use x_msrv_core::{
    NAME,
    adapter::{Adapters, Common, ConfiguredSource, ConfiguredStore, LettersRole, Names},
    run::Limits,
};
use x_msrv_letters::file::{self, DEFAULT_NAME};
use x_msrv_settings::{
    Access, Bounds, Key, Known, Map, NamedFile, OnOr, Origins, Places, Reader, Section as _, Setting as _,
    StateFile, Told, Value, Word,
};
use x_msrv_state::sqlite::Database;

use crate::{
    ConfigError, DeadLetterSettings, LogFormat, LogSettings, LogTarget, Overrides, Settings, files,
    layers::{self, every_user_can_read, readable_secret},
    sections::{DEAD_LETTER, Fields, LETTERS, Log, PUBLISH, PUBLISH_WORD, Rest, Top, tell_letters},
    settings::{PACKAGED_PERIOD, name_of},
};

/// The state directory of a system configuration if systemd has not created one.
const SYSTEM_STATE: &str = "/var/lib/x-msrv";

/// The default of N.
const MAX_MESSAGES: std::num::NonZeroU64 = std::num::NonZeroU64::new(10).expect("not zero");

/// Returns all keys, in the order in which they are documented and shown.
#[must_use]
pub fn known(adapters: Adapters) -> Known {
    let sources = adapters.iter().filter_map(|adapter| Some(&adapter.source.as_ref()?.section));
    let stores = adapters.iter().filter_map(|adapter| Some(&adapter.store.as_ref()?.section));
    let letters = || adapters.iter().filter_map(|adapter| adapter.letters.as_ref());
    let direct = letters()
        .filter(|role| role.is_direct)
        .map(|role| (DEAD_LETTER.name, slice::from_ref(&role.section)));
    let published = letters().map(|role| (PUBLISH, slice::from_ref(&role.section)));
    let groups = [("", Top::KEYS)]
        .into_iter()
        .chain(sources.chain(stores).map(|section| ("", slice::from_ref(section))))
        .chain([("", slice::from_ref(&DEAD_LETTER))])
        .chain(direct)
        .chain(published)
        .chain([("", Rest::KEYS)]);
    Known(groups.collect())
}

/// Loads the configuration: `path`, or the first of [`SEARCHED`](crate::SEARCHED) that exists. The
/// environment overrides it, and options override both.
///
/// # Errors
/// There is no file, it cannot be read, or keys or values are invalid: all of them.
pub fn load(adapters: Adapters, path: Option<&Path>, overrides: &Overrides) -> Result<Settings, ConfigError> {
    let known = known(adapters);
    let mut layers = layers::load(path, overrides, &known)?;
    let file = layers.file();
    let (places, is_shared) = places(&file, overrides);
    let mut reader = Reader::new(&places, &layers.origins, &known);
    let empty = Map::new();
    let tree = layers.tree.as_object().unwrap_or(&empty);
    let assembled = Assembly { adapters, tree, reader: &mut reader, told: Told::default() };
    let settings = assembled.settings(file, is_shared);
    layers.faults.extend(reader.faults());
    match settings {
        Some(mut settings) if layers.faults.is_empty() => {
            settings.warnings = layers.warnings(&known);
            settings.warnings.append(&mut settings.told.warnings);
            let secrets = settings.told.files.iter().filter(|file| file.access == Access::ReadSecret);
            let open = secrets.filter(|file| every_user_can_read(&file.path));
            settings.warnings.extend(open.map(|file| readable_secret(&file.path, &file.key)));
            Ok(settings)
        }
        _ => Err(ConfigError::Faults(layers.faults)),
    }
}

/// Returns the base folders of relative paths, and whether several configurations may share the state folder.
fn places(file: &Path, overrides: &Overrides) -> (Places, bool) {
    let configuration = file.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    let state = match &overrides.state_directory {
        Some(directory) => directory.clone(),
        None if configuration.starts_with("/etc") => system_state(file),
        None => configuration.clone(),
    };
    // A state directory belongs to one configuration; the folder of a configuration may contain several.
    let is_shared = state == configuration;
    let is_default = file.file_stem().is_some_and(|name| name == NAME);
    let pipeline = name_of(file);
    let prefix = if is_shared && !is_default { format!("{pipeline}-") } else { String::new() };
    (Places { state, configuration, pipeline, prefix }, is_shared)
}

/// Returns the state directory of the unit of a configuration, so that commands run by hand find the files of
/// the service.
fn system_state(file: &Path) -> PathBuf {
    let state = PathBuf::from(SYSTEM_STATE);
    match file.file_stem() {
        Some(name) if name != NAME => state.join(name), // x-msrv@NAME.service
        _ => state,
    }
}

/// History, metrics and log.
type Ends = (Option<x_msrv_history::Settings>, Option<x_msrv_history::metrics::Settings>, LogSettings);

/// A configuration while it is assembled.
struct Assembly<'a, 'r> {
    adapters: Adapters,
    tree: &'a Map<String, Value>,
    reader: &'a mut Reader<'r>,
    told: Told,
}

impl Assembly<'_, '_> {
    fn settings(mut self, file: PathBuf, is_shared: bool) -> Option<Settings> {
        self.told.file(NamedFile::read("", &file));
        self.refuse_unknown();
        let top = Top::read_keys(self.tree, self.reader);
        let is_top_right = top.is_some();
        // A fault here must not hide faults elsewhere: continue with the default.
        let mut top = top.or_else(|| Top::read_keys(&self.right_keys(Top::KEYS), self.reader))?;
        let common = self.common(&top);
        let section = top.fields.take();
        (top.max_messages, top.period) =
            (Some(common.limits.max_messages), Some(top.period.unwrap_or(PACKAGED_PERIOD)));
        let period = top.period.filter(|_| self.tree.contains_key("period"));
        top.tell("", &mut self.told);
        let (source, store) = (self.source(&common), self.store(&common));
        let names = store.as_ref().map_or(Names { longest: None, check: |_| Ok(()) }, |store| store.names());
        let fields = section.and_then(|section| {
            self.reader.within("fields", |reader| section.shape(names, reader)).map(Arc::new)
        });
        if let Some(shape) = &fields {
            Fields::of(shape).tell("fields", &mut self.told);
        }
        if let Some(source) = &source {
            source.tell(&mut self.told);
        }
        if let Some(store) = &store {
            store.tell(&mut self.told);
        }
        let letters = self.dead_letter(&common, source.as_deref());
        let rest = self.rest(period, common.limits.max_messages);
        files::refuse_shared(&self.told.files, self.reader);
        let (dead_letter, has_default_letters) = letters?;
        let (history, metrics, log) = rest?;
        let state = self.reader.places.state.clone();
        let failures = StateFile::<Database>::by_default(self.reader.places, "failures.db").0;
        Some(Settings {
            adapters: self.adapters,
            file,
            shared_letters: (is_shared && has_default_letters).then(|| state.join(DEFAULT_NAME)),
            state,
            limits: common.limits,
            period,
            connect_timeout: common.connect_timeout,
            max_message_size: common.max_message_size,
            content_encoding: top.content_encoding,
            big_integers: top.big_integers,
            schema: top.schema.map(|file| file.0),
            fields,
            source: source?,
            store: store?,
            dead_letter,
            failures,
            history,
            metrics,
            log,
            warnings: Vec::new(),
            told: self.told,
        })
        .filter(|_| is_top_right)
    }

    /// Returns the part of the tree whose keys are in `keys` and valid.
    fn right_keys(&self, keys: &[Key]) -> Map<String, Value> {
        let (origins, known) = (Origins::default(), Known::default());
        let is_right = |(name, value): &(&String, &Value)| {
            let key = keys.iter().find(|key| key.name == **name);
            let mut unheard = Reader::new(self.reader.places, &origins, &known);
            key.is_some_and(|key| !value.is_null() && (key.check)(value, &mut unheard))
        };
        let right = self.tree.iter().filter(is_right);
        right.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn refuse_unknown(&mut self) {
        let of_adapters = self.adapters.iter().flat_map(|adapter| {
            let (source, store) = (&adapter.source, &adapter.store);
            [source.as_ref().map(|role| &role.section), store.as_ref().map(|role| &role.section)]
        });
        let keys = Top::KEYS.iter().chain(Rest::KEYS).chain([&DEAD_LETTER]).chain(of_adapters.flatten());
        self.reader.refuse_unknown(self.tree, keys);
    }

    fn common(&mut self, top: &Top) -> Common {
        let limits = Limits {
            max_messages: self.max_messages(top).unwrap_or(MAX_MESSAGES),
            timeout: top.timeout,
            idle_timeout: top.idle_timeout,
            shutdown_timeout: top.shutdown_timeout,
            max_attempts: top.max_attempts,
        };
        let max_message_size = usize::try_from(top.max_message_size.0).unwrap_or(usize::MAX);
        Common { limits, connect_timeout: top.connect_timeout, max_message_size }
    }

    /// Returns N from the top level or from the section of the queue. If both set it, they must be equal.
    fn max_messages(&mut self, top: &Top) -> Option<std::num::NonZeroU64> {
        const KEY: &str = "max-messages";
        let has_key = |key: &Key| key.kind.keys().iter().any(|key| key.name == KEY);
        let mut sections = self.adapters.iter().filter_map(|adapter| Some(&adapter.source.as_ref()?.section));
        let found = sections.find_map(|section| {
            Some((section, self.tree.get(section.name)?.get(KEY).filter(|_| has_key(section))?))
        });
        let Some((section, found)) = found else { return top.max_messages };
        let inner = self.reader.within(section.name, |reader| {
            reader.at(KEY, found, |found, reader| reader.value::<std::num::NonZeroU64>(found, Bounds::NONE))
        })?;
        if let Some(top) = top.max_messages.filter(|top| *top != inner) {
            let fault = format!("{top} here, but {inner} in `{}.{KEY}`; set it once", section.name);
            self.reader.fault_at(KEY, fault);
        }
        Some(inner)
    }

    fn source(&mut self, common: &Common) -> Option<Arc<dyn ConfiguredSource>> {
        let roles = self.adapters.iter().filter_map(|adapter| adapter.source.as_ref());
        let sections: Vec<_> = roles.clone().map(|role| role.section.name).collect();
        self.exactly_one("queue", "only one queue can be read", &sections);
        let read = |role: &x_msrv_core::adapter::SourceRole| {
            let found = self.tree.get(role.section.name)?;
            self.reader.at(role.section.name, found, |found, reader| (role.read)(found, reader, common))
        };
        // Every section is parsed for its faults, even if there are too many.
        let read: Vec<_> = roles.map(read).collect();
        read.into_iter().flatten().next()
    }

    fn store(&mut self, common: &Common) -> Option<Arc<dyn ConfiguredStore>> {
        let roles = self.adapters.iter().filter_map(|adapter| adapter.store.as_ref());
        let sections: Vec<_> = roles.clone().map(|role| role.section.name).collect();
        self.exactly_one("store", "only one store can be written", &sections);
        let read = |role: &x_msrv_core::adapter::StoreRole| {
            let found = self.tree.get(role.section.name)?;
            self.reader.at(role.section.name, found, |found, reader| (role.read)(found, reader, common))
        };
        let read: Vec<_> = roles.map(read).collect();
        read.into_iter().flatten().next()
    }

    fn exactly_one(&mut self, what: &str, only_one: &str, sections: &[&str]) {
        let mut found = sections.iter().filter(|section| self.tree.contains_key(**section));
        match (found.next(), found.next()) {
            (Some(_), None) => {}
            (Some(first), Some(second)) => {
                let fault = format!("there is also a section `{first}`: {only_one}");
                self.reader.fault_at(second, fault);
            }
            (None, _) => {
                let names: Vec<_> = sections.iter().map(|section| format!("`{section}`")).collect();
                let names = match &names[..] {
                    [others @ .., last] if !others.is_empty() => {
                        format!("one of the sections {} and {last}", others.join(", "))
                    }
                    names => format!("the section {}", names.concat()),
                };
                self.reader.fault(format!("no {what}: {names} is required"));
            }
        }
    }

    /// Returns where dead letters go, and whether that is the file with the default name.
    fn dead_letter(
        &mut self,
        common: &Common,
        source: Option<&dyn ConfiguredSource>,
    ) -> Option<(DeadLetterSettings, bool)> {
        let default = Value::String(DEAD_LETTER.name.to_owned());
        let is_configured = self.tree.contains_key(DEAD_LETTER.name);
        let found = self.tree.get(DEAD_LETTER.name).unwrap_or(&default);
        let mut by_default = file::Keys::read_keys(&Map::new(), self.reader)?;
        let fallback = by_default.settings(self.reader.places);
        if !is_configured {
            tell_letters(&by_default, &mut self.told);
            return Some((DeadLetterSettings::File(fallback), true));
        }
        let roles: Vec<_> = self.adapters.iter().filter_map(|adapter| adapter.letters.as_ref()).collect();
        let of_role = |role: &&LettersRole| Word {
            name: role.section.name,
            doc: role.section.doc,
            value: Some((role.section.kind, Bounds::NONE)),
        };
        let queues: Vec<_> = roles.iter().map(of_role).collect();
        let direct = roles.iter().filter(|role| role.is_direct).map(of_role);
        let words: Vec<_> = LETTERS.iter().copied().chain(direct).collect();
        let told = &mut self.told;
        self.reader.at(DEAD_LETTER.name, found, |found, reader| {
            let (word, value) = reader.choice(found, &words)?;
            let Some(value) = value else {
                told.line(DEAD_LETTER.name, word);
                return Some((DeadLetterSettings::Log, true));
            };
            // `{nsq: …}` and `{publish: {nsq: …}}` mean the same.
            let is_published = word == PUBLISH_WORD.name;
            let role = |word: &str| roles.iter().find(|role| role.section.name == word);
            let read = |value: &Value, word: &str, reader: &mut Reader<'_>| {
                let role = role(word)?;
                reader.within(word, |reader| (role.read)(value, reader, common, source))
            };
            let letters = if is_published {
                reader
                    .within(word, |reader| {
                        let (queue, value) = reader.choice(value, &queues)?;
                        Some((format!("{PUBLISH}.{queue}"), read(value?, queue, reader)?))
                    })
                    .map(Some)
            } else if role(word).is_some() {
                Some(Some((format!("{}.{word}", DEAD_LETTER.name), read(value, word, reader)?)))
            } else {
                Some(None)
            };
            match letters? {
                None => {
                    let mut keys = reader.within(word, |reader| file::Keys::read(value, reader))?;
                    let has_default = keys.path.is_none();
                    let settings = keys.settings(reader.places);
                    tell_letters(&keys, told);
                    Some((DeadLetterSettings::File(settings), has_default))
                }
                Some((section, letters)) => {
                    letters.tell(&section, told);
                    // The file for letters that the queue does not accept.
                    let mut of_file = Told::default();
                    tell_letters(&by_default, &mut of_file);
                    let of_file = of_file.files.into_iter();
                    told.files.extend(of_file.map(|file| NamedFile { key: section.clone(), ..file }));
                    Some((DeadLetterSettings::Elsewhere(letters, fallback), true))
                }
            }
        })
    }

    fn rest(
        &mut self,
        period: Option<std::time::Duration>,
        max_messages: std::num::NonZeroU64,
    ) -> Option<Ends> {
        let mut rest = Rest::read_keys(self.tree, self.reader)?;
        let places = self.reader.places;
        let history = rest.history.0.as_mut().map(|keys| keys.settings(places));
        let log = rest.log.get_or_insert(Log::DEFAULT).clone();
        if log.format == LogFormat::Json && log.target == LogTarget::Syslog {
            let fault = "`json` cannot be used with `log.target: syslog`";
            self.reader.fault_at("log.format", fault);
        }
        let textfile = rest.metrics.as_ref().map(|metrics| metrics.textfile.0.clone());
        if textfile.is_some() && matches!(rest.history, OnOr(None)) {
            let fault = "the metrics require the history, but `history` is false";
            self.reader.fault_at("metrics.textfile", fault);
        }
        let metrics = textfile.map(|textfile| x_msrv_history::metrics::Settings {
            textfile,
            pipeline: places.pipeline.clone(),
            period: period.unwrap_or(PACKAGED_PERIOD),
            max_messages,
        });
        rest.tell("", &mut self.told);
        Some((
            history,
            metrics,
            LogSettings { level: log.level.into(), target: log.target, format: log.format },
        ))
    }
}
