//! Which files of a configuration its service can read and write. Root can access all of them, the service
//! cannot.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    config::{Settings, resolved},
    timer::Units,
};
use x_msrv_core::NAME;
use x_msrv_settings::{Access, NamedFile};
use x_msrv_state::state_file;

/// The settings of a service that restrict its file access (systemd.exec(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// `User=`
    pub user: String,
    /// `ProtectHome=`, unless it is `no` or `read-only`.
    pub hides_home: bool,
    /// `PrivateTmp=`
    pub has_own_tmp: bool,
    /// `ReadWritePaths=` as shown by systemctl(1), if the service is loaded and may not write elsewhere;
    /// otherwise unknown.
    pub writable: Option<String>,
}

impl Default for Sandbox {
    /// As in `systemd/x-msrv.service`.
    fn default() -> Self {
        Self { user: NAME.to_owned(), hides_home: true, has_own_tmp: true, writable: None }
    }
}

impl Sandbox {
    /// Returns the sandbox of the service with all its drop-ins; that of the package if systemd cannot be
    /// queried.
    fn of(units: &Units) -> Self {
        let names = ["User", "ProtectHome", "PrivateTmp", "ProtectSystem", "ReadWritePaths"];
        match units.service_properties(&names) {
            Ok(service) if !service.get("User").is_empty() => Self {
                user: service.get("User").to_owned(),
                hides_home: !["no", "read-only"].contains(&service.get("ProtectHome")),
                has_own_tmp: service.get("PrivateTmp") != "no",
                writable: (service.get("ProtectSystem") == "strict")
                    .then(|| service.get("ReadWritePaths").to_owned()),
            },
            _ => Self::default(),
        }
    }

    /// Returns whether the service is known to have no write access to a folder: it may write only to those
    /// in a list such as `-/srv/a "/srv/b c"` and below.
    fn forbids(&self, folder: &Path) -> bool {
        let is_named = |writable: &str| {
            let writable = format!(" {writable} ");
            folder.ancestors().any(|folder| {
                ["", "-", "+"].iter().map(|prefix| format!("{prefix}{}", folder.display())).any(|named| {
                    writable.contains(&format!(" {named} ")) || writable.contains(&format!("\"{named}\""))
                })
            })
        };
        self.writable.as_deref().is_some_and(|writable| !is_named(writable))
    }

    /// Returns why the service does not see the file at this path; `None` if it does.
    #[must_use]
    pub fn hides(&self, path: &Path) -> Option<&'static str> {
        let path = resolved(path);
        let is_below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        if self.hides_home && is_below(&["/home", "/root", "/run/user"]) {
            return Some("the service does not see /home, /root and /run/user (ProtectHome=)");
        }
        if self.has_own_tmp && is_below(&["/tmp", "/var/tmp"]) {
            return Some(
                "the service has its own /tmp and /var/tmp, which are removed when a run ends (PrivateTmp=)",
            );
        }
        None
    }
}

/// Returns the folders outside the state directory that the service needs write access to, except those that
/// it does not see.
pub fn folders_to_write<'a>(
    settings: &'a Settings,
    sandbox: &'a Sandbox,
) -> impl Iterator<Item = PathBuf> + 'a {
    let outside =
        outside_of_state(settings).filter(|file| file.is_written() && sandbox.hides(&file.path).is_none());
    outside.map(|file| state_file::folder(&file.path).to_owned())
}

/// Returns a fault for each file that the service does not see.
#[must_use]
pub fn hidden_files(settings: &Settings, sandbox: &Sandbox) -> Vec<String> {
    let fault = |file: &NamedFile| {
        Some(format!("{}{}: {}", key(file), file.path.display(), sandbox.hides(&file.path)?))
    };
    outside_of_state(settings).filter_map(fault).collect()
}

fn outside_of_state(settings: &Settings) -> impl Iterator<Item = &NamedFile> {
    settings.files().iter().filter(|file| !file.path.starts_with(&settings.state))
}

fn key(file: &NamedFile) -> String {
    if file.key.is_empty() { String::new() } else { format!("{}: ", file.key) }
}

/// Returns warnings about files of a system configuration that the service cannot use; none if the
/// configuration has no service. Permissions are checked only if the current user is root or the service's
/// user.
#[must_use]
pub fn warnings(settings: &Settings) -> Vec<String> {
    let Some(units) = Units::of(&settings.file) else { return Vec::new() };
    judged(settings, &Sandbox::of(&units), may)
}

/// What the service's user cannot write, although root can: permissions, quotas and blocks that are reserved for
/// root do not apply to root. The user itself tries. The history is not included: without it a run only warns.
#[must_use]
pub fn unwritable(settings: &Settings) -> Option<Unwritable> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let sandbox = Sandbox::of(&Units::of(&settings.file)?);
    tried(settings, &sandbox)
}

/// Folders that a user cannot write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// The user.
    pub user: String,
    /// The folders.
    pub folders: Vec<PathBuf>,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let folders = folders.join(", ");
        write!(f, "the service's user {} cannot write to {folders}: no permission, or no room", self.user)
    }
}

fn tried(settings: &Settings, sandbox: &Sandbox) -> Option<Unwritable> {
    let is_needed = |file: &&NamedFile| file.access == Access::Write && !file.key.starts_with("history");
    let files = settings.files().iter().filter(is_needed);
    let folders: BTreeSet<_> = files
        .filter(|file| sandbox.hides(&file.path).is_none())
        .map(|file| state_file::folder(&file.path).to_owned())
        .filter(|folder| folder.is_dir())
        .collect();
    let questions: Vec<_> = folders.into_iter().map(|folder| (TRIAL, folder)).collect();
    let answers = may(&sandbox.user, &questions)?;
    let refused = questions.into_iter().zip(answers).filter(|(_, may)| !may);
    let folders: Vec<_> = refused.map(|((_, folder), _)| folder).collect();
    (!folders.is_empty()).then(|| Unwritable { user: sandbox.user.clone(), folders })
}

/// A permission to check for the service's user: `test FLAG PATH`, or [`TRIAL`] of a folder.
type Question = (&'static str, PathBuf);

/// Whether the user can write a page to a file in the folder, which is removed.
const TRIAL: &str = "trial";

fn judged(
    settings: &Settings,
    sandbox: &Sandbox,
    may: impl FnOnce(&str, &[Question]) -> Option<Vec<bool>>,
) -> Vec<String> {
    let mut warnings = hidden_files(settings, sandbox);
    let (mut questions, mut faults) = (Vec::new(), Vec::new());
    let user = &sandbox.user;
    let mut ask = |flag, path: &Path, fault: String| {
        questions.push((flag, path.to_owned()));
        faults.push(fault);
    };
    for file in settings.files().iter().filter(|file| sandbox.hides(&file.path).is_none()) {
        let (key, path, folder) = (key(file), file.path.display(), state_file::folder(&file.path));
        let is_there = file.path.exists();
        match file.access {
            Access::Read | Access::ReadSecret if is_there => {
                ask("-r", &file.path, format!("{key}{path}: the service's user {user} cannot read the file"));
            }
            Access::Read | Access::ReadSecret => {} // a run reports a missing file
            _ if folder.is_dir() => {
                if !file.path.starts_with(&settings.state) && sandbox.forbids(folder) {
                    let folder = folder.display();
                    warnings.push(format!(
                        "{key}{path}: the service cannot write to {folder} until `systemctl daemon-reload` is run"
                    ));
                }
                let fault = format!(
                    "{key}{path}: the service's user {user} cannot write to the folder {}",
                    folder.display()
                );
                ask("-w", folder, fault);
                if is_there && file.access != Access::Replace {
                    ask(
                        "-w",
                        &file.path,
                        format!("{key}{path}: the service's user {user} cannot write to the file"),
                    );
                }
            }
            // systemd creates the state directory, and a run creates the folders in it.
            _ if file.path.starts_with(&settings.state) => {}
            _ => {
                let folder = folder.display();
                warnings.push(format!(
                    "{key}{path}: the folder does not exist, and the service cannot create it (sudo install -d -o {user} -g {user} {folder})"
                ));
            }
        }
    }
    let answers = may(user, &questions).unwrap_or_default();
    warnings.extend(faults.into_iter().zip(answers).filter(|(_, may)| !may).map(|(fault, _)| fault));
    warnings
}

/// Checks permissions of a user. The kernel decides, including groups and ACLs. Returns `None` if it cannot
/// be asked.
fn may(user: &str, questions: &[Question]) -> Option<Vec<bool>> {
    const SCRIPT: &str = r#"
        try() { (set -C; head -c 4096 /dev/zero >"$1") 2>/dev/null; written=$?; rm -f "$1"; return $written; }
        while [ $# -gt 0 ]; do
            if if [ "$1" = trial ]; then try "$2/.x-msrv.$$"; else test "$1" "$2"; fi
            then echo yes; else echo no; fi
            shift 2
        done"#;
    let is_root = rustix::process::geteuid().is_root();
    let mut command = if is_root { Command::new("runuser") } else { Command::new("sh") };
    if is_root {
        command.args(["-u", user, "--", "sh"]);
    } else if own_name()? != user {
        return None;
    }
    command.args(["-c", SCRIPT, "sh"]).stdin(Stdio::null()).current_dir("/");
    command.args(questions.iter().flat_map(|(flag, path)| [Path::new(*flag), path]));
    let output = command.output().ok()?;
    let answers: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(|line| line == "yes").collect();
    (answers.len() == questions.len()).then_some(answers)
}

fn own_name() -> Option<String> {
    let output = Command::new("id").arg("-un").stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;
    use crate::config::{self, Overrides};

    /// Root could write, so the check said that the dead letter answers, and each run of the service failed.
    #[test]
    #[ignore = "only root can try as another user: .ci/test"]
    fn what_only_root_can_write_is_refused_for_the_service() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        fs::create_dir(&state).expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("ours");
        let settings = settings(folder.path(), &format!("{REST}sqlite: {{path: s.db, set: s}}\n"));
        let user = "nobody".to_owned();
        let tried = || tried(&settings, &Sandbox { user: user.clone(), ..open() });
        assert_eq!(tried(), Some(Unwritable { user: user.clone(), folders: vec![state.clone()] }));
        fs::set_permissions(&state, Permissions::from_mode(0o777)).expect("ours");
        assert_eq!(tried(), None);
        assert_eq!(state.read_dir().expect("a folder").count(), 0, "the trial leaves nothing");
    }

    const ADAPTERS: x_msrv_core::adapter::Adapters = x_msrv_core::adapter::Adapters {
        list: &[&x_msrv_nsq::ADAPTER, &x_msrv_sqlite::ADAPTER],
        codec: x_msrv_json::codec,
    };
    const REST: &str = "embedded-queue: {path: queue.db}\n";

    fn settings(folder: &Path, text: &str) -> Settings {
        let path = folder.join("x-msrv.yml");
        fs::write(&path, text).expect("written");
        let overrides = Overrides { state_directory: Some(folder.join("state")), ..Overrides::default() };
        config::load(ADAPTERS, Some(&path), &overrides).expect(text)
    }

    fn nothing_is_asked(_: &str, _: &[Question]) -> Option<Vec<bool>> {
        None
    }

    /// Returns a sandbox that hides nothing, for tests whose folder is in /tmp.
    fn open() -> Sandbox {
        Sandbox { hides_home: false, has_own_tmp: false, ..Sandbox::default() }
    }

    /// Otherwise `check` as root finds no fault, but the service has its own /tmp, which loses its files, and
    /// no /home.
    #[test]
    fn a_file_that_the_service_does_not_see_is_reported_with_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let cases = [
            (
                "sqlite: {path: /tmp/a/s.db, set: s}\n",
                "sqlite.path: /tmp/a/s.db: the service has its own /tmp and /var/tmp",
            ),
            (
                "sqlite: {path: /var/tmp/s.db, set: s}\n",
                "sqlite.path: /var/tmp/s.db: the service has its own /tmp",
            ),
            (
                "sqlite: {path: /home/a/s.db, set: s}\n",
                "sqlite.path: /home/a/s.db: the service does not see /home",
            ),
            (
                "sqlite: {path: s.db, set: s}\nschema: /root/s.json\n",
                "schema: /root/s.json: the service does not see /home",
            ),
            (
                "sqlite: {path: s.db, set: s}\nhistory: {path: /run/user/0/h.db}\n",
                "history.path: /run/user/0/h.db: the service does not",
            ),
        ];
        for (text, words) in cases {
            let settings = settings(folder.path(), &format!("{REST}{text}"));
            let sandbox = Sandbox { has_own_tmp: text.contains("tmp"), ..Sandbox::default() }; // the test's own folder may be in /tmp
            let told = judged(&settings, &sandbox, nothing_is_asked);
            assert!(told.iter().any(|warning| warning.starts_with(words)), "{text}: {told:?}");
            let told = judged(&settings, &open(), nothing_is_asked);
            assert!(
                !told.iter().any(|warning| warning.starts_with(words)),
                "an administrator has allowed access: {told:?}"
            );
        }
    }

    #[test]
    fn a_folder_outside_the_state_directory_must_exist_and_write_access_is_granted() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = folder.path().join("there");
        fs::create_dir(&there).expect("a folder");
        let text = format!(
            "{REST}sqlite: {{path: {0}/s.db, set: s}}\ndead-letter: {{file: {{path: {0}/d.ndjson}}}}\nhistory: {{path: /nonexistent/a/h.db}}\n",
            there.display()
        );
        let settings = settings(folder.path(), &text);
        let told = |writable: &str| {
            judged(&settings, &Sandbox { writable: Some(writable.to_owned()), ..open() }, nothing_is_asked)
                .join("\n")
        };
        let reload = "until `systemctl daemon-reload` is run";
        assert_eq!(told("").matches(reload).count(), 2, "{}", told(""));
        let parent = folder.path().display();
        let granted =
            [format!("/srv/a -{}", there.display()), format!("{parent}"), format!("\"{parent}\" /srv/a")];
        for granted in granted {
            assert!(!told(&granted).contains(reload), "{granted}: {}", told(&granted));
        }
        for other in [format!("{}x", there.display()), format!("\"{} x\"", there.display())] {
            assert!(told(&other).contains(reload), "another folder: {other}");
        }
        let granted: Vec<_> = folders_to_write(&settings, &open()).collect();
        assert_eq!(granted, [there.clone(), there, PathBuf::from("/nonexistent/a")]);
        let told = judged(&settings, &open(), nothing_is_asked);
        let words = "history.path: /nonexistent/a/h.db: the folder does not exist, and the service cannot create it \
            (sudo install -d -o x-msrv -g x-msrv /nonexistent/a)";
        assert_eq!(told, [words], "files in the state directory need no warning");
    }

    /// Root can access everything, so permissions are checked for the user who runs the test, or for nobody.
    #[test]
    fn missing_permissions_of_the_service_user_are_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("ours");
        let state = folder.path().join("state");
        fs::create_dir(&state).expect("a folder");
        for (name, mode) in [("secret", 0o000), ("public", 0o444)] {
            fs::write(folder.path().join(name), "x").expect("written");
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).expect("ours");
        }
        fs::write(state.join("s.db"), "").expect("written");
        fs::set_permissions(state.join("s.db"), Permissions::from_mode(0o444)).expect("ours");
        fs::set_permissions(&state, Permissions::from_mode(0o777)).expect("ours");
        let is_root = rustix::process::geteuid().is_root();
        let user = if is_root { "nobody".to_owned() } else { own_name().expect("a name") };
        let text = "nsq: {nsqd-tcp-address: 'h:1', topic: t, auth-secret: {file: secret}}\nschema: public\nsqlite: {path: s.db, set: s}\n";
        let settings = settings(folder.path(), text);
        let told = judged(&settings, &Sandbox { user: user.clone(), ..open() }, may);
        let place = |name: &str| folder.path().join(name).display().to_string();
        let expected = [
            format!("nsq.auth-secret: {}: the service's user {user} cannot read the file", place("secret")),
            format!(
                "sqlite.path: {}: the service's user {user} cannot write to the file",
                place("state/s.db")
            ),
        ];
        assert_eq!(told, expected);
        fs::set_permissions(&state, Permissions::from_mode(0o555)).expect("ours");
        let told = judged(&settings, &Sandbox { user: user.clone(), ..open() }, may);
        let folder = format!(
            "history.path: {}: the service's user {user} cannot write to the folder {}",
            place("state/history.db"),
            place("state")
        );
        assert!(told.contains(&folder), "{told:?}");
        fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("ours");
    }
}
