//! YAML as a tree, by the rules of YAML 1.2: the country `no` and the code `01234` are text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::{MessageFormatter as _, Spanned};

/// Parses a document. An error is one line.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    // The parser counts from after the byte order mark that some editors write.
    let text = text.trim_start_matches('\u{feff}');
    let node = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options());
    node.map(|node| tree(node, text)).map_err(|error| in_one_line(&error))
}

/// Returns limits for the parser. By default it allows aliases of aliases that turn a few lines into 250,000
/// nodes, and a depth that overflows the stack. A configuration has less than a hundred nodes and five
/// levels.
fn options() -> serde_saphyr::Options {
    let budget = serde_saphyr::budget! { max_nodes: 10_000, max_depth: 16 };
    serde_saphyr::options! { with_snippet: false, strict_booleans: true, budget: budget }
}

/// Returns the position and the error. Not its `Display`, which shows the surrounding text: it may contain a
/// secret.
fn in_one_line(error: &serde_saphyr::Error) -> String {
    let error = error.without_snippet();
    let words = in_plain_words(error).replace(char::is_control, " ");
    match error.location() {
        Some(place) => format!("line {} column {}: {words}", place.line(), place.column()),
        None => words,
    }
}

/// Returns the parser's error in words for users.
fn in_plain_words(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    let words = match error {
        Error::AliasError { error, .. } => return in_plain_words(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => return format!("duplicate field `{key}`"),
        Error::MultipleDocuments { .. } => "a second YAML document begins here; only one is allowed",
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "too large or too deeply nested for a configuration",
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an anchor contains itself",
        Error::UnknownAnchor { .. } => "unknown anchor",
        Error::NonFiniteFloat { .. } => "the number is not finite",
        Error::Unexpected { expected: "string scalar", .. } => "a key must be text",
        other => return serde_saphyr::UserMessageFormatter.format_message(other).into_owned(),
    };
    words.to_owned()
}

/// A node of a document. Its position is kept, because the parser returns the value of a number and not its
/// text.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Section(Vec<(String, Spanned<Node>)>),
}

fn tree(node: Spanned<Node>, text: &str) -> Value {
    match node.value {
        Node::Scalar(number @ Value::Number(_)) => {
            let span = node.defined.span();
            let number_of = |bytes: Option<u64>| usize::try_from(bytes?).ok();
            let place = number_of(span.byte_offset()).zip(number_of(span.byte_len()));
            let written = place.and_then(|(from, length)| text.get(from..)?.get(..length));
            match written.map(str::trim).filter(|written| is_text(written)) {
                Some(written) => Value::String(written.to_owned()),
                None => number,
            }
        }
        Node::Scalar(value) => value,
        Node::List(nodes) => nodes.into_iter().map(|node| tree(node, text)).collect(),
        Node::Section(nodes) => {
            Value::Object(nodes.into_iter().map(|(key, node)| (key, tree(node, text))).collect())
        }
    }
}

/// Returns whether some YAML parsers read this number as text or as a different number: `01234`, `1_000`,
/// `0b11`.
fn is_text(number: &str) -> bool {
    let digits = number.trim_start_matches(['-', '+']);
    let after_zero = digits.strip_prefix('0').and_then(|rest| rest.chars().next());
    digits.contains('_') || after_zero.is_some_and(|next| next.is_ascii_digit() || "bBXO".contains(next))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Scalar(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = sequence.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    nodes.push(entry);
                }
                Ok(Node::Section(nodes))
            }
        }

        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Otherwise the country code of Norway becomes `false`, and a postal code loses its leading zero.
    #[test]
    fn booleans_and_numbers_of_yaml_1_1_only_are_text() {
        for text in [
            "no",
            "yes",
            "on",
            "off",
            "y",
            "n",
            "NO",
            "01234",
            "-01",
            "+007",
            "00.5",
            "089",
            "1_000",
            "0b11",
            "1:30",
            "2026-01-02",
        ] {
            let wanted = json!({"é": [text, text], "a": {"b": text}, "c": text});
            let document = format!("# ü\né: [{text}, {text}]\na: {{b: &x {text} }}\nc: *x\n");
            for mark in ["", "\u{feff}"] {
                assert_eq!(parse(&format!("{mark}{document}")), Ok(wanted.clone()), "{text}");
            }
        }
    }

    #[test]
    fn booleans_numbers_and_texts_of_yaml_1_2_keep_their_types() {
        let table = [
            ("true", json!(true)),
            ("False", json!(false)),
            ("", json!(null)),
            ("~", json!(null)),
            ("0", json!(0)),
            ("-7", json!(-7)),
            ("1234", json!(1234)),
            ("0.5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(u64::MAX)),
            ("'01234'", json!("01234")),
            ("\"true\"", json!("true")),
            ("{}", json!({})),
            ("[]", json!([])),
        ];
        for (text, value) in table {
            assert_eq!(parse(&format!("a: {text}\n")), Ok(json!({"a": value})), "{text}");
        }
        assert_eq!(parse("# nothing\n"), Ok(Value::Null));
    }

    /// Otherwise a user reads `use from_str_multiple or from_str_multiple_with_options` or `budget breached:
    /// Depth { depth: 17 }`.
    #[test]
    fn errors_are_in_words_for_the_author_of_the_document() {
        let table = [
            ("a: 1\na: 2\n".to_owned(), "line 2 column 1: duplicate field `a`"),
            ("b: {a: 1, a: 2}\n".to_owned(), "line 1 column 11: duplicate field `a`"),
            (
                "a: 1\n---\nb: 2\n".to_owned(),
                "line 3 column 1: a second YAML document begins here; only one is allowed",
            ),
            (
                format!("a: {}{}\n", "[".repeat(20), "]".repeat(20)),
                "line 1 column 19: too large or too deeply nested for a configuration",
            ),
            (
                format!("a: [{}1]\n", "1,".repeat(11_000)),
                "line 1 column 19999: too large or too deeply nested for a configuration",
            ),
            ("a: *b\n".to_owned(), "line 1 column 4: unknown anchor"),
            ("a: &a [*a]\n".to_owned(), "line 1 column 8: an anchor contains itself"),
            ("a: .inf\n".to_owned(), "line 1 column 4: the number is not finite"),
            ("? [a]\n: b\n".to_owned(), "line 1 column 3: a key must be text"),
        ];
        for (text, words) in table {
            assert_eq!(parse(&text), Err(words.to_owned()), "{text}");
        }
    }
}
