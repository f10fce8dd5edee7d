//! Configuration files in any format.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;
use x_msrv::adapters;
use x_msrv_config::{self as config, Overrides};
use x_msrv_core::error_chain;

/// Keys whose values are secrets, or the place of secrets.
const SECRETS: [&str; 9] = [
    "nsq.auth-secret",
    "nsq.tls.certificate",
    "nsq.tls.key",
    "aerospike.password",
    "aerospike.tls.certificate",
    "aerospike.tls.key",
    "dead-letter.nsq.auth-secret",
    "dead-letter.nsq.tls.certificate",
    "dead-letter.nsq.tls.key",
];

/// Keys whose value is a list.
const LISTS: [&str; 6] = [
    "nsq.nsqd-tcp-address",
    "nsq.lookupd-http-address",
    "aerospike.hosts",
    "dead-letter.nsq.nsqd-tcp-address",
    "fields.include",
    "fields.exclude",
];

/// The number of configurations that loaded, and of those whose settings were compared after loading them
/// again.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) loaded: u32,
    pub(crate) compared: u32,
}

/// Whatever format its name claims, a file is loaded, or refused in one line. What is shown of it does not
/// depend on the secret in it, and what `check` shows loads again with the same meaning.
pub(crate) fn check(bytes: &[u8], counts: &mut Counts) {
    FOLDER.with(|folder| {
        for name in ["x-msrv.yml", "x-msrv.toml", "x-msrv.json"] {
            let path = folder.path().join(name);
            let shown = show(&path, bytes);
            if let Some(other) = with_another_secret(bytes) {
                assert_eq!(shown, show(&path, &other), "what is shown depends on the secret");
            }
            if let Ok(settings) = shown {
                counts.loaded += 1;
                counts.compared += u32::from(means_the_same_again(folder.path(), &settings));
            }
            fs::remove_file(&path).expect("removed");
        }
    });
}

thread_local! {
    static FOLDER: TempDir = {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a folder")
    };
}

/// The text that a user sees of a configuration: settings and warnings, or its faults.
fn show(path: &Path, bytes: &[u8]) -> Result<String, String> {
    fs::write(path, bytes).expect("written");
    let one_line = |text: &str| assert!(!text.contains(char::is_control), "{text:?}");
    match config::load(adapters::ALL, Some(path), &overrides(Vec::new())) {
        Ok(settings) => {
            settings.warnings.iter().for_each(|warning| one_line(warning));
            let shown = settings.to_string();
            shown.lines().for_each(|line| {
                one_line(line);
                assert!(line.contains(": "), "{line:?} is not `key: value`");
            });
            Ok(shown)
        }
        Err(error) => {
            let text = error_chain::text(&error);
            one_line(&text);
            Err(text)
        }
    }
}

fn overrides(environment: Vec<(String, String)>) -> Overrides {
    Overrides { environment, state_directory: Some("/state".into()), ..Overrides::default() }
}

/// The same file with another secret; `None` if there is none, or if it is no longer than the words with a
/// meaning, such as `false`.
fn with_another_secret(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(['&', '*']))?; // an alias is in several places
    let secret = secret(text)
        .filter(|secret| secret.len() > 5 && secret.bytes().all(|byte| byte.is_ascii_alphabetic()))?;
    (text.matches(&secret).count() == 1)
        .then(|| text.replace(&secret, &"x".repeat(secret.len())).into_bytes())
}

/// The text at the secret's place; in a file that cannot be parsed, its line.
fn secret(text: &str) -> Option<String> {
    let trees = [
        serde_saphyr::from_str::<Value>(text).ok(),
        toml::from_str(text).ok(),
        serde_json::from_str(text).ok(),
    ];
    if trees.iter().all(Option::is_none) {
        let line = text.lines().find_map(|line| {
            ["auth-secret", "password"].iter().find_map(|key| line.trim().strip_prefix(key))
        })?;
        return Some(line.trim_matches([' ', ':', '=', '"', '\'']).to_owned());
    }
    let places = [
        "/nsq/auth-secret",
        "/aerospike/password",
        "/nsq/tls/key",
        "/aerospike/tls/key",
        "/dead-letter/nsq/auth-secret",
        "/dead-letter/nsq/tls/key",
    ];
    let of_tree =
        |tree: Value| places.iter().find_map(|place| tree.pointer(place)?.as_str().map(ToOwned::to_owned));
    trees.into_iter().flatten().find_map(of_tree)
}

/// Sets the lines of `check` as environment variables, which have the same meaning as in the file. Returns
/// whether they were compared: names in quotes and a hidden key cannot be given in the environment.
fn means_the_same_again(folder: &Path, shown: &str) -> bool {
    let in_quotes = |line: &str| line.contains(": \"") || line.contains(": [") && line.contains('"');
    if shown.lines().any(|line| in_quotes(line) || line.contains(".tls.key: (hidden)")) {
        return false;
    }
    // The source of TLS defaults is shown in words that are no values.
    let in_values = |shown: &str| {
        shown
            .lines()
            .filter(|line| !line.contains(": (the "))
            .flat_map(|line| [line, "\n"])
            .collect::<String>()
    };
    let shown = in_values(shown);
    let path = folder.join("again.yml");
    fs::write(&path, "").expect("written");
    let settings =
        config::load(adapters::ALL, Some(&path), &overrides(shown.lines().map(variable).collect()));
    match settings {
        Ok(settings) => assert_eq!(in_values(&settings.to_string()), shown),
        Err(error) => panic!("{}\nof\n{shown}", error_chain::text(&error)),
    }
    true
}

fn variable(line: &str) -> (String, String) {
    let (key, value) = line.split_once(": ").expect("a key and a value");
    let bare =
        |open, close| value.strip_prefix(open).and_then(|value| value.strip_suffix(close)).expect("brackets");
    let (key, value) = match key {
        key if LISTS.contains(&key) => (key.to_owned(), bare("[", "]").to_owned()),
        key if SECRETS.contains(&key) => match value.split_once(' ') {
            Some((kind, place)) => (format!("{key}.{kind}"), place.to_owned()),
            None => (key.to_owned(), value.to_owned()), // the placeholder for a hidden value, as a secret
        },
        "aerospike.key" | "sqlite.key" if value.starts_with("{field: ") => {
            (format!("{key}.field"), bare("{field: ", "}").to_owned())
        }
        _ => (key.to_owned(), value.to_owned()),
    };
    (format!("X_MSRV__{}", key.to_ascii_uppercase().replace('-', "_").replace('.', "__")), value)
}
