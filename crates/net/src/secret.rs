//! Secrets: where they are stored, and reading them when they are needed. They are never displayed.

use std::{fmt, io, path::PathBuf};

use x_msrv_settings::{Access, Kind, NamedFile, Reader, Setting, Told, Value};

/// A secret, by its location. Displaying it shows only the location.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The text itself, from the configuration or the environment.
    Text(String),
    /// The content of a file.
    File(PathBuf),
    /// A credential from the service manager: a file of this name in `$CREDENTIALS_DIRECTORY`
    /// (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}

/// Why a secret cannot be read. Blame: the configuration, or the service manager.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the {place}")]
pub struct SecretError {
    place: String,
    #[source]
    cause: io::Error,
}

impl Secret {
    /// Reads the secret. One line end at the end, as editors add it, is not part of it.
    ///
    /// # Errors
    /// The file or the credential cannot be read, or is not text.
    pub fn read(&self) -> Result<String, SecretError> {
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => Ok(path.clone()),
            Self::Credential(name) => std::env::var_os("CREDENTIALS_DIRECTORY")
                .map(|folder| PathBuf::from(folder).join(name))
                .ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::NotFound,
                        "$CREDENTIALS_DIRECTORY is not set: systemd passes credentials to the service only; for commands \
                         by hand use `{file: PATH}`, or systemd-run as x-msrv.yml(5) shows",
                    )
                }),
        };
        let text = path
            .and_then(std::fs::read_to_string)
            .map_err(|cause| SecretError { place: self.to_string(), cause })?;
        let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            let cause = io::Error::new(io::ErrorKind::InvalidData, "it is empty");
            return Err(SecretError { place: self.to_string(), cause });
        }
        Ok(text.to_owned())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("(hidden)"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

/// A file that is configured like a secret but is not secret: plain text is a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub Secret);

impl Setting for Secret {
    const KIND: Kind = Kind::Secret { text_is_path: false };

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        text_or_place(found, reader, |text, _| Self::Text(text))
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, self);
        if let Self::File(path) = self {
            told.file(NamedFile { access: Access::ReadSecret, ..NamedFile::read(key, path) });
        }
    }
}

impl Setting for Place {
    const KIND: Kind = Kind::Secret { text_is_path: true };

    fn read(found: &Value, reader: &mut Reader<'_>) -> Option<Self> {
        let file = |path: String, reader: &Reader<'_>| Secret::File(reader.places.configuration.join(path));
        text_or_place(found, reader, file).map(Self)
    }

    fn tell(&self, key: &str, told: &mut Told) {
        told.line(key, &self.0);
        if let Secret::File(path) = &self.0 {
            told.file(NamedFile::read(key, path));
        }
    }
}

/// Parses a text or a location; the key decides what plain text means. No fault repeats the value.
fn text_or_place(
    found: &Value,
    reader: &mut Reader<'_>,
    text: fn(String, &Reader<'_>) -> Secret,
) -> Option<Secret> {
    const WANTED: &str = "text in quotes, `credential: NAME` or `file: PATH` is required";
    let secret = match found {
        Value::Bool(_) | Value::Number(_) => Err("is not text: put it in quotes"),
        Value::String(found) if found.is_empty() => Err("is empty"),
        Value::String(found) => Ok(text(found.clone(), reader)),
        Value::Object(entries) if entries.len() == 1 => {
            match entries.iter().next().and_then(|(kind, place)| Some((&**kind, place.as_str()?))) {
                // A name that leaves the directory would be another file.
                Some(("credential", name))
                    if !name.is_empty() && !name.contains('/') && !name.starts_with('.') =>
                {
                    Ok(Secret::Credential(name.to_owned()))
                }
                Some(("credential", _)) => Err("is not the name of a credential"),
                Some(("file", "")) => Err("is not a file name"),
                Some(("file", path)) => Ok(Secret::File(reader.places.configuration.join(path))),
                _ => Err(WANTED),
            }
        }
        _ => Err(WANTED),
    };
    secret.map_err(|fault| reader.fault(fault)).ok()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_s_last_line_end_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        for (content, secret) in [("a b\n", "a b"), ("a b\r\n", "a b"), ("a b", "a b"), ("a\n\n", "a\n")] {
            std::fs::write(&path, content).expect("written");
            assert_eq!(Secret::File(path.clone()).read().expect("a file"), secret);
        }
        std::fs::write(&path, "\n").expect("written");
        Secret::File(path).read().expect_err("an empty secret is none");
        let error = Secret::File(folder.path().join("nonesuch")).read().expect_err("no file");
        assert!(error.to_string().starts_with("cannot read the file /"), "{error}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::Text("hunter2".into());
        assert!(!format!("{secret} {secret:?} {:#?}", Some(&secret)).contains("hunter2"));
    }

    #[test]
    fn a_secret_is_text_or_a_place_and_no_fault_repeats_it() {
        use x_msrv_settings::{Known, Origins, Places};
        let read = |value: Value| {
            let places = Places { configuration: "/c".into(), ..Places::default() };
            let (origins, known) = (Origins::default(), Known::default());
            let mut reader = Reader::new(&places, &origins, &known);
            let secret = <Secret as Setting>::read(&value, &mut reader);
            let place = Place::read(&value, &mut reader);
            (secret, place, reader.faults().iter().map(ToString::to_string).collect::<String>())
        };
        let (secret, place, _) = read(json!("s"));
        assert_eq!(secret, Some(Secret::Text("s".into())));
        assert_eq!(place, Some(Place(Secret::File("/c/s".into()))));
        assert_eq!(read(json!({"credential": "nsq"})).0, Some(Secret::Credential("nsq".into())));
        assert_eq!(read(json!({"file": "a/b"})).0, Some(Secret::File("/c/a/b".into())));
        for value in [
            json!(4711),
            json!(-4711),
            json!(47.11),
            json!({"credential": "../4711"}),
            json!({"credential": ""}),
            json!({"file": ""}),
            json!({"4711": "x"}),
            json!({"file": "a", "credential": "4711"}),
            json!(["4711"]),
            json!(""),
        ] {
            let (secret, place, faults) = read(value.clone());
            assert!(secret.is_none() && place.is_none() && !faults.is_empty(), "{value}");
            assert!(!faults.contains("47"), "{value}: {faults}");
        }
        assert!(read(json!({"vault": "x"})).2.contains("`credential: NAME`"));
    }
}
