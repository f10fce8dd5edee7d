//! Styles of the terminal. Styled text is written to `anstream::stdout()`, which removes the styles if the
//! output is not a terminal or the user wants none (<https://no-color.org>).

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// A heading, or a name.
pub const BOLD: Style = Style::new().bold();
/// A label.
pub const DIM: Style = Style::new().dimmed();
/// A good state.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// A state that may need attention.
pub const WARNING: Style = AnsiColor::Yellow.on_default();
/// A state that requires action.
pub const BAD: Style = AnsiColor::Red.on_default();

/// Returns the text in a style.
#[must_use]
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
