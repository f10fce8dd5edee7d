//! An error and its causes as one line of text.

use std::error::Error;

/// Returns the error and its causes, separated by colons. A cause that repeats the text before it is omitted.
///
/// Parts of these texts come from servers, files and messages. They can neither start a line of their own nor
/// move the reader's cursor.
#[must_use]
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let (mut said, mut cause) = (text.clone(), error.source());
    while let Some(error) = cause {
        let words = error.to_string();
        // SQLite's code repeats its message, with the number before it.
        if !text.contains(&words) && !words.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&words);
        }
        said = words;
        cause = error.source();
    }
    without_numbers(&one_line(&text))
}

/// Removes the number that the standard library appends to the system's text: ` (os error 2)`.
fn without_numbers(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut parts = text.split(BEFORE);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                plain.push_str(rest);
            }
            _ => plain.extend([BEFORE, part]),
        }
    }
    plain
}

/// Returns text of several lines as one line, without control characters and without characters that change
/// the reading direction (UAX #9).
#[must_use]
pub fn one_line(text: &str) -> String {
    let turns = |letter| matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.split(|letter: char| letter.is_control() || turns(letter))
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_cause_that_repeats_the_text_before_it_is_omitted() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Said(&'static str, #[source] Option<Box<Said>>);
        let said = |words: [&'static str; 3]| {
            text(
                &words
                    .into_iter()
                    .rev()
                    .fold(None, |cause, words| Some(Said(words, cause.map(Box::new))))
                    .expect("three"),
            )
        };
        assert_eq!(
            said(["cannot reach it", "the disk is full", "code 13: the disk is full"]),
            "cannot reach it: the disk is full"
        );
        assert_eq!(
            said(["cannot reach it: refused", "refused", "code 111"]),
            "cannot reach it: refused: code 111"
        );
    }

    #[test]
    fn the_system_s_text_has_no_error_number() {
        let error =
            io::Error::other("open: No such file or directory (os error 2) (os error x) (os error 13)");
        assert_eq!(text(&error), "open: No such file or directory (os error x)");
    }

    #[test]
    fn a_server_s_text_cannot_start_a_new_line() {
        let error = io::Error::other("E_BAD\r\n  \u{1b}[2Jforged\n");
        assert_eq!(text(&error), "E_BAD [2Jforged");
        assert_eq!(one_line("to \u{202e}gpj.exe"), "to gpj.exe");
    }
}
