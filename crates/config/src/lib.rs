//! Configuration: a file, environment variables and flags, to typed settings.
//!
//! `layers` makes one tree of them; `load` has it read by the sections, those of the adapters among them. Nothing
//! that is not known is let through, and every fault is reported at once. No adapter is named here: the program
//! hands in its list.

mod error;
mod files;
mod layers;
mod load;
mod names;
mod schema;
mod sections;
mod settings;
mod unique_json;
mod yaml;

pub use error::ConfigError;
pub use files::resolved;
pub use layers::{Flag, Overrides, service_links};
pub use load::{known, load};
pub use names::{FORMATS, SEARCHED, SYSTEM, beside, can_be_instance, is_name, place};
pub use schema::{JsonSchema, SchemaError, UnusableSchema};
pub use sections::{LogFormat, LogTarget};
pub use settings::{DeadLetterSettings, LogSettings, Settings};
