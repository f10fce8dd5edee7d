//! Colours of the terminal.

use std::io::IsTerminal;

/// Colours, or none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    is_on: bool,
}

/// What a text is painted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Stands out.
    Bold,
    /// Steps back.
    Dim,
    /// All is well.
    Good,
    /// To be looked at.
    Warning,
    /// To be mended.
    Bad,
}

impl Paint {
    /// Colours where `output` is a terminal that has some, and where the user does not say no
    /// (<https://no-color.org>).
    #[must_use]
    pub fn for_output(output: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        Self { is_on: output.is_terminal() && !refused && !dumb }
    }

    /// The text in that style (ECMA-48 SGR).
    #[must_use]
    pub fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warning => "33",
            Style::Bad => "31",
        };
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_only() {
        assert_eq!(Paint { is_on: false }.paint(Style::Bad, "critical"), "critical");
        assert_eq!(Paint { is_on: true }.paint(Style::Bad, "critical"), "\x1b[31mcritical\x1b[0m");
        let file = std::fs::File::open("/dev/null").expect("it is there");
        assert!(!Paint::for_output(&file).is_on);
    }
}
