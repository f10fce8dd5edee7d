//! Styles of the terminal. Text with them goes to `anstream::stdout()`, which removes them for what is no
//! terminal and for users who ask for none (<https://no-color.org>).

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// A heading, or a name.
pub const BOLD: Style = Style::new().bold();
/// A label.
pub const DIM: Style = Style::new().dimmed();
/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Somebody should look at it.
pub const WARNING: Style = AnsiColor::Yellow.on_default();
/// Somebody has to act.
pub const BAD: Style = AnsiColor::Red.on_default();

/// Returns the text in a style.
#[must_use]
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
