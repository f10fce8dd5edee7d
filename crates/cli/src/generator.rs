//! x-msrv as a systemd generator (systemd.generator(7)): the `period` of each configuration becomes the
//! interval of its timer, and what else the units have to know of it follows.
//!
//! systemd runs it at boot, before anything else, and at every daemon-reload. So it reads local files and
//! nothing else, passes over what is wrong with a warning, and never fails because of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    config::{self, FORMATS, Overrides, Settings, can_be_instance, resolved},
    logging,
    sandbox::{self, Sandbox},
};
use x_msrv_core::{adapter::Adapters, error_chain};
use x_msrv_settings::NamedFile;

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

/// The names of the drop-ins. systemd reads those of a unit in the order of their names, wherever they are,
/// so an administrator's come later.
const PERIOD: &str = "00-period.conf";
const TIMEOUTS: &str = "00-timeouts.conf";
const PATHS: &str = "00-paths.conf";

/// An empty assignment clears every trigger of the timer.
const CLEARED: &str = "[Timer]\nOnActiveSec=\n";

/// Runs with the arguments that systemd gives: the folders for drop-ins of normal, early and late priority.
///
/// # Errors
/// The arguments are not those of a generator, or a drop-in can't be written.
pub fn run(adapters: Adapters, mut arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    let normal = arguments.next().filter(|_| arguments.count() <= 2);
    let normal =
        normal.ok_or_else(|| format!("usage: {NAME} NORMAL-DIR [EARLY-DIR LATE-DIR]; systemd calls it"))?;
    let tested = std::env::var_os("X_MSRV_TEST_ROOT").map(PathBuf::from);
    let root = tested.clone().unwrap_or_else(|| PathBuf::from("/"));
    let warnings = generate(adapters, &root, Path::new(&normal))
        .map_err(|error| format!("cannot write below {}: {error}", normal.display()))?;
    match tested {
        Some(_) => warnings.iter().for_each(|warning| eprintln!("{NAME}: {warning}")), // the host's log is not for tests
        None => logging::warn_early(NAME, &warnings),
    }
    Ok(())
}

/// Writes the drop-ins for all configurations below `root` into `output`. Returns what is wrong with those
/// that were passed over.
///
/// # Errors
/// A drop-in can't be written.
pub fn generate(adapters: Adapters, root: &Path, output: &Path) -> io::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let load = |(name, path): (String, PathBuf)| {
        let settings = config::load(adapters, Some(&path), &Overrides::default());
        (name, path, settings)
    };
    let loaded: Vec<_> =
        configurations(&root.join(CONFIGURATIONS), &mut warnings).into_iter().map(load).collect();
    // A schema may be JSON beside the configuration that names it.
    let schemas: BTreeSet<_> =
        loaded.iter().filter_map(|(_, _, settings)| settings.as_ref().ok()?.schema.clone()).collect();
    let administrator = Administrator::below(root);
    let mut owners = BTreeMap::new();
    for (name, path, settings) in loaded.into_iter().filter(|(_, path, _)| !schemas.contains(path)) {
        let origin =
            format!("# By {NAME}(8) from /{}.\n", path.strip_prefix(root).unwrap_or(&path).display());
        if let Err(error) = &settings {
            warnings.push(format!("passed over: {}", error_chain::text(error)));
        }
        let settings = settings.ok();
        match Units::of(&name) {
            Some(units) => {
                units.write_period(
                    &administrator,
                    output,
                    &origin,
                    settings.as_ref().and_then(|settings| settings.period),
                    &mut warnings,
                )?;
                if let Some(settings) = &settings {
                    warnings.extend(shared(&mut owners, &path, settings));
                    units.write_timeouts(&administrator, output, &origin, settings)?;
                    units.write_paths(output, &origin, settings)?;
                    let hidden = sandbox::hidden_files(settings, &Sandbox::default()).into_iter();
                    warnings.extend(hidden.map(|fault| format!("{}: {fault}", path.display())));
                }
            }
            None => warnings.push(format!("passed over {}: no unit can have this name", path.display())),
        }
    }
    Ok(warnings)
}

/// Warnings of what this configuration writes and another writes as well, each file by its resolved path with
/// the configuration and the key that named it. Queues, stores and dead letters of one kind may be shared.
fn shared(
    owners: &mut BTreeMap<PathBuf, (PathBuf, String)>,
    configuration: &Path,
    settings: &Settings,
) -> Vec<String> {
    let kind = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
    let warning = |file: &NamedFile| {
        let (other, key) =
            owners.insert(resolved(&file.path), (configuration.to_owned(), file.key.clone()))?;
        let (other, place) =
            (other.display(), format!("{}: {}: {}", configuration.display(), file.key, file.path.display()));
        match &*kind(&file.key) {
            own if own != kind(&key) => {
                Some(format!("{place} is `{key}` of {other} as well, and what one writes the other destroys"))
            }
            "history" | "metrics" => {
                Some(format!("{place} belongs to {other} as well, and runs of both get mixed"))
            }
            _ => None,
        }
    };
    settings.files().iter().filter(|file| file.is_written()).filter_map(warning).collect()
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
        let of_format = files
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == format) && path.is_file());
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
    /// The units of the configuration `NAME.yml`; none if it can't have any.
    fn of(name: &str) -> Option<Self> {
        match name {
            "x-msrv" => Some(Self { name: name.to_owned(), template: None }),
            name if can_be_instance(name) => {
                Some(Self { name: format!("x-msrv@{name}"), template: Some("x-msrv@") })
            }
            _ => None,
        }
    }

    /// The interval, if the configuration has one; or none, if an administrator says when to run.
    fn write_period(
        &self,
        administrator: &Administrator,
        output: &Path,
        origin: &str,
        period: Option<Duration>,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        if self.names().any(|name| administrator.has(&format!("{name}.timer"))) {
            return Ok(());
        }
        let drop_ins: Vec<_> =
            self.names().flat_map(|name| administrator.drop_ins(&format!("{name}.timer.d"))).collect();
        let triggers: Vec<_> = drop_ins.iter().flat_map(|drop_in| drop_in.settings(&TRIGGERS)).collect();
        let text = if triggers.is_empty() {
            let Some(period) = period.map(time_span) else { return Ok(()) };
            format!("{origin}{}{CLEARED}OnActiveSec={period}\nOnUnitActiveSec={period}\n", self.first_run())
        } else {
            if let Some(early) = drop_ins
                .iter()
                .find(|drop_in| *drop_in.name <= *PERIOD && !drop_in.settings(&TRIGGERS).is_empty())
            {
                warnings.push(format!(
                    "{}: its name has to sort after {PERIOD}, so that its triggers count alone",
                    early.path.display()
                ));
                return Ok(());
            }
            // One that counts from the run before needs a first run.
            let first = if triggers.iter().all(|trigger| trigger.starts_with("OnUnit")) {
                self.first_run()
            } else {
                String::new()
            };
            format!(
                "{origin}# No interval: a drop-in of the administrator's says when to run.\n{first}{CLEARED}"
            )
        };
        write(&output.join(format!("{}.timer.d", self.name)), PERIOD, &text)
    }

    /// Starts the first run together with the timer; the others count from the run before.
    ///
    /// Not `OnActiveSec=1s`: systemd counts that from every daemon-reload anew (`timer_coldplug` in
    /// `src/core/timer.c` has the timer enter its state from "dead"), so each would start a run, and the
    /// interval would count from there. Nothing in an administrator's drop-in can take a dependency back, as
    /// an empty assignment does with triggers.
    fn first_run(&self) -> String {
        format!("[Unit]\nWants={}.service\n", self.name)
    }

    /// Longer timeouts, if a run may take longer than the packaged ones and an administrator has set none.
    fn write_timeouts(
        &self,
        administrator: &Administrator,
        output: &Path,
        origin: &str,
        settings: &Settings,
    ) -> io::Result<()> {
        if self.names().any(|name| administrator.has(&format!("{name}.service"))) {
            return Ok(());
        }
        let drop_ins = self.names().flat_map(|name| administrator.drop_ins(&format!("{name}.service.d")));
        let theirs: Vec<_> = drop_ins
            .flat_map(|drop_in| drop_in.settings(&["TimeoutStartSec", "TimeoutStopSec", "TimeoutSec"]))
            .collect();
        let limits = settings.limits;
        let start = settings.connect_timeout + limits.timeout + limits.shutdown_timeout + MARGIN;
        let stop = limits.shutdown_timeout + MARGIN;
        let mut lines = String::new();
        for (key, value, packaged) in
            [("TimeoutStartSec", start, START_TIMEOUT), ("TimeoutStopSec", stop, STOP_TIMEOUT)]
        {
            if value > packaged && !theirs.iter().any(|theirs| theirs == key || theirs == "TimeoutSec") {
                writeln!(lines, "{key}={}", time_span(value)).expect("text grows");
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let text = format!("{origin}# A run may take longer than the unit allows.\n[Service]\n{lines}");
        write(&output.join(format!("{}.service.d", self.name)), TIMEOUTS, &text)
    }

    /// The right to write to the folders of files that are not in the state directory. It adds to what an
    /// administrator has set.
    fn write_paths(&self, output: &Path, origin: &str, settings: &Settings) -> io::Result<()> {
        let sandbox = Sandbox::default();
        let folders: BTreeSet<_> = sandbox::folders_to_write(settings, &sandbox).collect();
        let mut lines = String::new();
        for folder in folders
            .iter()
            .filter(|folder| **folder != Path::new("/"))
            .map(|folder| folder.display().to_string())
        {
            if folder.contains(char::is_control) {
                continue; // no setting of a unit can hold it
            }
            // systemd.syntax(7) for the quotes, systemd.unit(5) for the specifiers. What is not there is no
            // error.
            let folder = folder.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
            writeln!(lines, "ReadWritePaths=\"-{folder}\"").expect("text grows");
        }
        if lines.is_empty() {
            return Ok(());
        }
        let text =
            format!("{origin}# Where a run writes outside of the state directory.\n[Service]\n{lines}");
        write(&output.join(format!("{}.service.d", self.name)), PATHS, &text)
    }

    /// The names by which an administrator may mean them.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.name).chain(self.template)
    }
}

/// What stands in an administrator's folders: units in place of ours (`systemctl edit --full`, `mask`) and
/// drop-ins.
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

    fn drop_ins(&self, folder: &str) -> Vec<DropIn> {
        let folders = self.entries.get(OsStr::new(folder)).into_iter().flatten();
        let files = folders
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .filter_map(Result::ok)
            .map(|file| file.path());
        let drop_ins = files.filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
        drop_ins.filter_map(DropIn::read).collect()
    }
}

/// A drop-in of the administrator's.
struct DropIn {
    path: PathBuf,
    name: String,
    text: String,
}

impl DropIn {
    fn read(path: PathBuf) -> Option<Self> {
        let text = String::from_utf8_lossy(&fs::read(&path).ok()?).into_owned();
        Some(Self { name: path.file_name()?.to_string_lossy().into_owned(), path, text })
    }

    /// Those of these keys that it sets to something.
    fn settings(&self, keys: &[&str]) -> Vec<String> {
        let pairs = self.text.lines().filter_map(|line| line.split_once('='));
        let set = pairs.filter(|(key, value)| keys.contains(&key.trim()) && !value.trim().is_empty());
        set.map(|(key, _)| key.trim().to_owned()).collect()
    }
}

/// What starts a timer's unit (systemd.timer(5)).
const TRIGGERS: [&str; 6] =
    ["OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec", "OnCalendar"];

/// As systemd.time(7) reads it; it counts microseconds.
fn time_span(span: Duration) -> String {
    match (span.as_secs(), span.subsec_nanos()) {
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}us", span.as_micros().max(1)),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // Under another name first: systemd reads the whole of it or nothing, and a symlink of that name is
    // replaced, not followed.
    let new = folder.join(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::File::create_new(&new)?.write_all(text.as_bytes())?;
    fs::rename(new, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_timeouts_are_those_of_the_units() {
        for unit in ["x-msrv.service", "x-msrv@.service"] {
            let text =
                fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd").join(unit))
                    .expect("the unit");
            for (key, value) in [("TimeoutStartSec", START_TIMEOUT), ("TimeoutStopSec", STOP_TIMEOUT)] {
                assert!(text.contains(&format!("\n{key}={}\n", time_span(value))), "{key} of {unit}");
            }
        }
    }

    #[test]
    fn time_spans_are_exact_to_the_microsecond() {
        for (span, text) in
            [(7_000_000, "7s"), (90_000_000, "90s"), (500_000, "500000us"), (1_500_001, "1500001us")]
        {
            assert_eq!(time_span(Duration::from_micros(span)), text);
        }
        assert_eq!(time_span(Duration::from_nanos(1)), "1us");
    }
}
