//! Secrets: where they are, and reading them when they are needed. They are never shown.

use std::{fmt, io, path::PathBuf};

/// A secret, by its place. Whoever shows one shows the place.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The text itself, from the configuration or the environment.
    Text(String),
    /// The content of a file.
    File(PathBuf),
    /// A credential that the service manager hands over: a file of this name in `$CREDENTIALS_DIRECTORY`
    /// (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}

/// Why a secret can't be had. Blame: the configuration, or who was to hand it over.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the {place}")]
pub struct SecretError {
    place: String,
    #[source]
    cause: io::Error,
}

impl Secret {
    /// The secret itself; one line end behind it, as editors leave it, does not belong to it.
    ///
    /// # Errors
    /// The file or the credential can't be read, or is not text.
    pub fn read(&self) -> Result<String, SecretError> {
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => Ok(path.clone()),
            Self::Credential(name) => std::env::var_os("CREDENTIALS_DIRECTORY")
                .map(|folder| PathBuf::from(folder).join(name))
                .ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::NotFound,
                        "there is no $CREDENTIALS_DIRECTORY: the service manager handed none over",
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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

#[cfg(test)]
mod tests {
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
}
