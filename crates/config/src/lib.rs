//! Configuration: from a file, environment variables and options to typed settings.
//!
//! `layers` merges them into one tree; `load` passes it to the sections, including those of the adapters.
//! Unknown keys are refused, and all faults are reported at once. No adapter is named here: the program
//! passes its list.

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
