//! Configuration: a file, environment variables and flags, to typed settings.
//!
//! `file` is the shape on disk, [`Settings`] what the program works with; `parse` between them parses every
//! value once, and nothing that is not known is let through.

mod error;
mod fields;
mod file;
mod layers;
mod parse;
mod paths;
mod scalar;
#[cfg(test)]
mod schema;
mod settings;
mod show;
mod warnings;
mod yaml;

pub use error::ConfigError;
pub(crate) use file::{Namespace, SetName, TableName};
pub use layers::{FORMATS, Flag, Overrides, SEARCHED, beside, is_name, place, service_links};
pub use paths::{Access, NamedFile, resolved};
pub use settings::{
    DeadLetterSettings, LogFormat, LogSettings, LogTarget, Settings, SourceSettings, StoreSettings,
};

use std::path::Path;

/// Reads the configuration: `path`, or the first of [`SEARCHED`] that exists; over that the environment, over
/// that the flags.
///
/// # Errors
/// No file, a file that can't be read, or anything in it that is not known or not possible.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Settings, ConfigError> {
    let layers = layers::load(path, overrides)?;
    let shape = layers.shape()?;
    let mut settings =
        parse::parse(shape, &layers.file(), overrides).map_err(|fault| layers.locate(fault))?;
    paths::refuse_shared(&settings).map_err(|fault| layers.locate(fault))?;
    settings.warnings = [layers.warnings(), warnings::of(&settings)].concat();
    Ok(settings)
}
