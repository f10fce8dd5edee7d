//! Markup with text in it. Literals of the program's source are markup; everything else is text, whatever its
//! origin.

use std::fmt::{self, Display, Write};

/// A page or a part of it that is being written.
#[derive(Debug, Default)]
pub(super) struct Html {
    text: String,
}

impl Html {
    /// Adds markup, in which each `{}` is a placeholder for a text. Only literals can be markup, so no text
    /// becomes markup or a placeholder.
    pub(super) fn put(&mut self, markup: &'static str, texts: &[&dyn Display]) {
        let mut pieces = markup.split("{}");
        self.push(pieces.next().unwrap_or_default());
        let mut texts = texts.iter();
        for piece in pieces {
            let text = texts.next().expect("a text for each placeholder");
            write!(Escape(&mut self.text), "{text}").expect("text grows");
            self.push(piece);
        }
        debug_assert!(texts.next().is_none(), "a placeholder for each text: {markup}");
    }

    /// Adds a file of the program, in which braces have no meaning.
    pub(super) fn file(&mut self, content: &'static str) {
        self.push(content);
    }

    /// Appends another part.
    pub(super) fn add(&mut self, part: &Self) {
        self.push(&part.text);
    }

    fn push(&mut self, markup: &str) {
        self.text.push_str(markup);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Escapes text for an element, or for an attribute in double quotes.
struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let mut bytes = [0; 4];
            self.0.push_str(match character {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&#39;",
                '\n' => "\n",
                // HTML cannot express most of them.
                control if control.is_control() => "\u{fffd}",
                other => other.encode_utf8(&mut bytes),
            });
        }
        Ok(())
    }
}

/// A value with the function that formats it.
pub(super) struct By<T>(pub(super) fn(T) -> String, pub(super) T);

impl<T: Copy> Display for By<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0(self.1))
    }
}

/// A text, cut after so many characters.
pub(super) struct Cut<'a>(pub(super) &'a str, pub(super) usize);

impl Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(self.1) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

/// A coordinate, with at most two decimal places.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(pub(super) f64);

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> String {
        let mut html = Html::default();
        html.put("<b title=\"{}\">", &[&text]);
        html.into_text()
    }

    /// The author of a message could write the page.
    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(
            with("<script>alert('&')</script>"),
            "<b title=\"&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;\">"
        );
        assert_eq!(with("\" onclick=\"x"), "<b title=\"&quot; onclick=&quot;x\">");
        assert_eq!(with("a\nb\u{0}\u{1b}[2J\u{85}c"), "<b title=\"a\nb\u{fffd}\u{fffd}[2J\u{fffd}c\">");
        assert_eq!(with("{}"), "<b title=\"{}\">", "a text has no placeholders");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(
            (Cut("äöü", 3).to_string(), Cut("äöü", 2).to_string(), Cut("", 0).to_string()),
            ("äöü".into(), "äö…".into(), String::new())
        );
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([At(12.345_6), At(7.0), At(0.1)].map(|at| at.to_string()), ["12.35", "7", "0.1"]);
    }
}
