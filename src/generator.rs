//! x-msrv as a systemd generator (systemd.generator(7)): the `period` of each configuration becomes the interval of its timer.
//!
//! systemd runs it at boot, before anything else, and at every daemon-reload. So it reads local files and nothing else, passes over what is
//! wrong with a warning, and never fails because of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    config::{self, FORMATS, Overrides, Settings},
    error_chain, logging,
};

/// The name by which this program is a generator.
pub const NAME: &str = "x-msrv-generator";

/// Where configurations are.
const CONFIGURATIONS: &str = "etc/x-msrv";

/// Where an administrator's units and drop-ins are: `systemctl edit`, and with `--runtime`.
const ADMINISTRATOR: [&str; 2] = ["etc/systemd/system", "run/systemd/system"];

/// `TimeoutStartSec=` and `TimeoutStopSec=` of `systemd/x-msrv.service`.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What systemd leaves a run beyond its own bounds.
const MARGIN: Duration = Duration::from_secs(10);

/// In front of an interval: an empty assignment clears every trigger of the timer; the first run comes soon after the timer starts.
const FIRST_RUN: &str = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\n";

/// Runs with the arguments that systemd gives: the folders for drop-ins of normal, early and late priority.
///
/// # Errors
/// The arguments are not those of a generator, or a drop-in can't be written.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    let normal = arguments.next().filter(|_| arguments.count() <= 2);
    let normal = normal.ok_or_else(|| format!("usage: {NAME} NORMAL-DIR [EARLY-DIR LATE-DIR]; systemd calls it"))?;
    let tested = std::env::var_os("X_MSRV_TEST_ROOT").map(PathBuf::from);
    let root = tested.clone().unwrap_or_else(|| PathBuf::from("/"));
    for warning in generate(&root, Path::new(&normal)).map_err(|error| format!("cannot write below {}: {error}", normal.display()))? {
        match tested {
            Some(_) => eprintln!("{NAME}: {warning}"), // the host's log is not for tests
            None => logging::warn_early(NAME, &warning),
        }
    }
    Ok(())
}

/// Writes the drop-ins for all configurations below `root` into `output`. Returns what is wrong with those that were passed over.
///
/// # Errors
/// A drop-in can't be written.
pub fn generate(root: &Path, output: &Path) -> io::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let (mut loaded, mut faulty, mut schemas) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (name, path) in configurations(&root.join(CONFIGURATIONS), &mut warnings) {
        match config::load(Some(&path), &Overrides::default()) {
            Ok(settings) => {
                schemas.extend(settings.schema.clone());
                loaded.push((name, path, settings));
            }
            Err(error) => faulty.push((path, error)),
        }
    }
    // A schema may be JSON beside the configuration that names it.
    let faulty = faulty.into_iter().filter(|(path, _)| !schemas.contains(path));
    warnings.extend(faulty.map(|(_, error)| format!("passed over: {}", error_chain::text(&error))));
    let administrator = Administrator::below(root);
    for (name, path, settings) in loaded {
        let origin = format!("# By {NAME}(8) from /{}.\n", path.strip_prefix(root).unwrap_or(&path).display());
        match Units::of(&name) {
            Some(units) => units.write(&administrator, output, &origin, &settings)?,
            None => warnings.push(format!("passed over {}: no unit can have this name", path.display())),
        }
    }
    Ok(warnings)
}

/// The configurations by their names; of one name in several formats the one that a run would take.
fn configurations(folder: &Path, warnings: &mut Vec<String>) -> BTreeMap<String, PathBuf> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files.filter_map(Result::ok).map(|file| file.path()).collect::<Vec<_>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            warnings.push(format!("cannot list {}: {error}", folder.display()));
            Vec::new()
        }
    };
    let mut found = BTreeMap::new();
    for format in FORMATS {
        let of_format = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == format) && path.is_file());
        for path in of_format {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            found.entry(name).or_insert_with(|| path.clone());
        }
    }
    found
}

/// The units that run by one configuration.
struct Units {
    /// Without a suffix.
    name: String,
    /// The template that it is made of, if any.
    template: Option<&'static str>,
}

impl Units {
    /// The units of the configuration `NAME.yml`; none if it can't be part of a unit's name as it is (systemd.unit(5)).
    fn of(name: &str) -> Option<Self> {
        const LONGEST: usize = 255 - "x-msrv@.service.d".len();
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || ":-_.".contains(letter);
        match name {
            "x-msrv" => Some(Self { name: name.to_owned(), template: None }),
            name if !name.is_empty() && name.len() <= LONGEST && name.chars().all(allowed) => {
                Some(Self { name: format!("x-msrv@{name}"), template: Some("x-msrv@") })
            }
            _ => None,
        }
    }

    fn write(&self, administrator: &Administrator, output: &Path, origin: &str, settings: &Settings) -> io::Result<()> {
        if let Some(period) = settings.period
            && !self.names().any(|name| administrator.has(&format!("{name}.timer")))
        {
            let drop_in = if self.names().any(|name| administrator.times(&format!("{name}.timer.d"))) {
                format!("{origin}# Its period does not count: a drop-in of the administrator's says when to run.\n{FIRST_RUN}")
            } else {
                format!("{origin}{FIRST_RUN}OnUnitActiveSec={}\n", time_span(period))
            };
            write(&output.join(format!("{}.timer.d", self.name)), "10-period.conf", &drop_in)?;
        }
        let limits = settings.limits;
        let start = settings.connect_timeout + limits.timeout + limits.shutdown_timeout + MARGIN;
        let stop = limits.shutdown_timeout + MARGIN;
        if start > START_TIMEOUT || stop > STOP_TIMEOUT {
            let mut drop_in = format!("{origin}# A run may take longer than the unit allows.\n[Service]\n");
            for (key, value, packaged) in [("TimeoutStartSec", start, START_TIMEOUT), ("TimeoutStopSec", stop, STOP_TIMEOUT)] {
                if value > packaged {
                    writeln!(drop_in, "{key}={}", time_span(value)).expect("text grows");
                }
            }
            write(&output.join(format!("{}.service.d", self.name)), "10-timeouts.conf", &drop_in)?;
        }
        Ok(())
    }

    /// The names by which an administrator may mean them.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.name).chain(self.template)
    }
}

/// What stands in an administrator's folders: units in place of ours (`systemctl edit --full`, `mask`) and drop-ins.
struct Administrator {
    entries: BTreeMap<OsString, Vec<PathBuf>>,
}

impl Administrator {
    fn below(root: &Path) -> Self {
        let folders = ADMINISTRATOR.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok());
        let mut entries = BTreeMap::<_, Vec<_>>::new();
        for entry in folders.flatten().filter_map(Result::ok) {
            entries.entry(entry.file_name()).or_default().push(entry.path());
        }
        Self { entries }
    }

    fn has(&self, unit: &str) -> bool {
        self.entries.contains_key(OsStr::new(unit))
    }

    /// Whether a drop-in has a trigger. One that does not clear ours first would add to it, were ours not cleared by the generator.
    fn times(&self, folder: &str) -> bool {
        let folders = self.entries.get(OsStr::new(folder)).into_iter().flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().filter_map(Result::ok).map(|file| file.path());
        let mut drop_ins = files.filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
        drop_ins.any(|path| fs::read_to_string(path).is_ok_and(|text| text.lines().any(is_trigger)))
    }
}

/// Whether a line of a unit file is one of a timer's triggers (systemd.timer(5)), and no empty one.
fn is_trigger(line: &str) -> bool {
    const TRIGGERS: [&str; 6] = ["OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec", "OnCalendar"];
    line.split_once('=').is_some_and(|(key, value)| TRIGGERS.contains(&key.trim()) && !value.trim().is_empty())
}

/// As systemd.time(7) reads it; it counts microseconds.
fn time_span(span: Duration) -> String {
    match (span.as_secs(), span.subsec_nanos()) {
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}us", span.as_micros().max(1)),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_timeouts_are_those_of_the_units() {
        for unit in ["x-msrv.service", "x-msrv@.service"] {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit)).expect("the unit");
            for (key, value) in [("TimeoutStartSec", START_TIMEOUT), ("TimeoutStopSec", STOP_TIMEOUT)] {
                assert!(text.contains(&format!("\n{key}={}\n", time_span(value))), "{key} of {unit}");
            }
        }
    }

    #[test]
    fn time_spans_are_exact_to_the_microsecond() {
        for (span, text) in [(7_000_000, "7s"), (90_000_000, "90s"), (500_000, "500000us"), (1_500_001, "1500001us")] {
            assert_eq!(time_span(Duration::from_micros(span)), text);
        }
        assert_eq!(time_span(Duration::from_nanos(1)), "1us");
    }
}
