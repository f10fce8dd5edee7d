//! How commands shown to the user refer to the pipeline. Pure.

use std::path::Path;

use crate::{config::SYSTEM, timer::Units};
use x_msrv_core::NAME;

/// The pipeline of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// The option after a command: ` -c orders`; empty for the default pipeline.
    option: String,
    /// The service that runs it; `None` for a configuration outside the system folder.
    service: Option<String>,
}

impl Pipeline {
    /// Returns the pipeline of a configuration. A relative path is shown unchanged.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        let service = Units::of(file).map(|units| units.service().replace(".service", ""));
        let option = match (&service, file.file_stem()) {
            (Some(_), Some(name)) if name == NAME => String::new(),
            (Some(_), Some(name)) => format!(" -c {}", name.display()),
            _ => format!(" -c {}", quoted(&file.display().to_string())),
        };
        Self { option, service }
    }

    /// Returns the pipeline of a command without `-c` and NAME.
    #[must_use]
    pub fn default_one() -> Self {
        Self::of(&Path::new(SYSTEM).join("x-msrv.yml"))
    }

    /// Returns the command line of a command for this pipeline.
    #[must_use]
    pub fn command(&self, words: &str) -> String {
        format!("{NAME} {words}{}", self.option)
    }

    /// Adapts a text about the default pipeline to this one: its commands in backticks, and its log, which is
    /// the journal of the service or standard error.
    #[must_use]
    pub fn instead_of_the_default(&self, text: &str) -> String {
        let parts = text.split('`').enumerate().map(|(index, part)| {
            let words =
                part.strip_prefix("x-msrv ").filter(|words| index % 2 == 1 && !words.starts_with("--"));
            words.map_or(part.to_owned(), |words| self.command(words))
        });
        let log = self
            .service
            .as_ref()
            .map_or("its standard error".to_owned(), |service| format!("journalctl -u {service}"));
        parts.collect::<Vec<_>>().join("`").replace("journalctl -u x-msrv", &log)
    }
}

/// Quotes a text as one word of a shell command.
fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|letter| letter.is_alphanumeric() || "-_./@:+,=".contains(letter));
    if is_plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the hint for a user with several pipelines names the default one.
    #[test]
    fn commands_in_a_text_are_for_the_pipeline_in_use() {
        let text = "see `x-msrv status`, `period` and `x-msrv --help`, or journalctl -u x-msrv.";
        for (path, command, shown) in [
            (
                "/etc/x-msrv/x-msrv.yml",
                "x-msrv status",
                "see `x-msrv status`, `period` and `x-msrv --help`, or journalctl -u x-msrv.",
            ),
            (
                "/etc/x-msrv/orders.toml",
                "x-msrv status -c orders",
                "see `x-msrv status -c orders`, `period` and `x-msrv --help`, or journalctl -u x-msrv@orders.",
            ),
            (
                "b.yml",
                "x-msrv status -c b.yml",
                "see `x-msrv status -c b.yml`, `period` and `x-msrv --help`, or its standard error.",
            ),
            (
                "/srv/a b/x.yml",
                "x-msrv status -c '/srv/a b/x.yml'",
                "see `x-msrv status -c '/srv/a b/x.yml'`, `period` and `x-msrv --help`, or its standard error.",
            ),
        ] {
            let pipeline = Pipeline::of(Path::new(path));
            assert_eq!(
                (&*pipeline.command("status"), &*pipeline.instead_of_the_default(text)),
                (command, shown)
            );
        }
        assert_eq!(Pipeline::default_one(), Pipeline::of(Path::new("/etc/x-msrv/x-msrv.yml")));
    }
}
