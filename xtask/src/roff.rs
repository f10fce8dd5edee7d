//! Text for man pages.

/// The length of the longest line in bytes; mandoc warns above 80.
const WIDTH: usize = 80;

/// Wraps text into lines, none of which begins with a character that starts a roff request.
pub(crate) fn fill(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if line.is_empty() {
            word.clone_into(line);
        } else if line.len() + 1 + word.len() < WIDTH {
            *line += " ";
            *line += word;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
        .iter()
        .map(|line| format!("{}{line}\n", if line.starts_with(['.', '\'']) { "\\&" } else { "" }))
        .collect()
}

/// Formats paragraphs: code in backticks becomes bold, and each sentence starts a line.
pub(crate) fn paragraphs(text: &str) -> String {
    let paragraph = |paragraph: &str| {
        let mut sentences = vec![String::new()];
        for (index, part) in paragraph.split('`').enumerate() {
            let last = sentences.last_mut().expect("never empty");
            if index % 2 == 1 {
                *last += &bold(part);
                continue;
            }
            let mut parts = part.split(". ");
            *last += &escape(parts.next().unwrap_or_default());
            for part in parts {
                *sentences.last_mut().expect("never empty") += ".";
                sentences.push(escape(part));
            }
        }
        sentences
            .iter()
            .filter(|sentence| !sentence.trim().is_empty())
            .map(|text| fill(text))
            .collect::<String>()
    };
    text.split("\n\n").map(paragraph).collect::<Vec<_>>().join(".IP\n")
}

pub(crate) fn bold(text: &str) -> String {
    format!("\\fB{}\\fP", escape(text))
}

/// Escapes the characters that roff would replace.
pub(crate) fn escape(text: &str) -> String {
    [("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")]
        .iter()
        .fold(text.to_owned(), |text, (character, escaped)| text.replace(character, escaped))
}
