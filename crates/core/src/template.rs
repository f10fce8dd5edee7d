//! Names made from fields: `{/pointer}`, and `{/pointer:%Y-%m-%d}` for times. Pure.

use std::{fmt::Write as _, str::FromStr};

use crate::{
    decode::find,
    record::{Fields, Timestamp, Value},
};

/// A name with placeholders for field values: the only way to make names from fields.
///
/// `{/path/to/field}` is replaced by a text, an integer or a boolean; `{/path:FORMAT}` by a time in UTC, from
/// a timestamp or a number of seconds since the epoch. FORMAT supports %Y %m %d %H %M %S %j and %%. `{{` and
/// `}}` are literal braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { pointer: String, format: Option<String> },
}

/// Why a name cannot be made from a record's fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {pointer} {fault}")]
pub struct TemplateFault {
    /// The field.
    pub pointer: String,
    /// What is wrong with it.
    pub fault: &'static str,
}

impl Template {
    /// Returns the name for these fields.
    ///
    /// # Errors
    /// A field is missing, or its type cannot be part of a name.
    pub fn render(&self, fields: &Fields) -> Result<String, TemplateFault> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Field { pointer, format } => {
                    let fault = |fault| TemplateFault { pointer: pointer.clone(), fault };
                    let value = find(fields, pointer).ok_or_else(|| fault("is missing"))?;
                    match format {
                        None => push_value(&mut name, value).map_err(fault)?,
                        Some(format) => push_moment(&mut name, moment(value).map_err(fault)?, format),
                    }
                }
            }
        }
        Ok(name)
    }

    /// Returns whether the name is the same for all records.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Returns the template text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (place, after) = rest.split_once('}').filter(|_| brace == "{").ok_or_else(|| {
                format!("`{text}`: an unmatched brace; use `{{{{` and `}}}}` for literal braces")
            })?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(field(text, place)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn field(text: &str, place: &str) -> Result<Part, String> {
    let (pointer, format) = match place.split_once(':') {
        Some((pointer, format)) => (pointer, Some(format)),
        None => (place, None),
    };
    if !pointer.starts_with('/') {
        return Err(format!("`{text}`: `{pointer}` is not a JSON pointer such as /id or /order/id"));
    }
    if let Some(format) = format {
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter == '%' && !letters.next().is_some_and(|letter| "YmdHMSj%".contains(letter)) {
                return Err(format!("`{text}`: `{format}` may use %Y, %m, %d, %H, %M, %S, %j and %%"));
            }
        }
    }
    Ok(Part::Field { pointer: pointer.to_owned(), format: format.map(str::to_owned) })
}

fn push_value(name: &mut String, value: &Value) -> Result<(), &'static str> {
    let written = match value {
        Value::Text(text) if text.is_empty() => return Err("is empty"),
        Value::Text(text) => {
            name.push_str(text);
            Ok(())
        }
        Value::Int(number) => write!(name, "{number}"),
        Value::UInt(number) => write!(name, "{number}"),
        Value::Bool(flag) => write!(name, "{flag}"),
        Value::Timestamp(moment) => write!(name, "{moment}"),
        _ => return Err("is neither text nor an integer"),
    };
    written.map_err(|_| "cannot be written")
}

fn moment(value: &Value) -> Result<Timestamp, &'static str> {
    match value {
        Value::Timestamp(moment) => Ok(*moment),
        Value::Int(seconds) => Timestamp::from_seconds(*seconds).ok_or("is not a valid time in seconds"),
        _ => Err("is neither a timestamp nor an integer of seconds"),
    }
}

fn push_moment(name: &mut String, moment: Timestamp, format: &str) {
    let parts = moment.parts();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        let piece = match (letter, if letter == '%' { letters.next() } else { None }) {
            ('%', Some('Y')) => format!("{:04}", parts.year),
            ('%', Some('m')) => format!("{:02}", parts.month),
            ('%', Some('d')) => format!("{:02}", parts.day),
            ('%', Some('H')) => format!("{:02}", parts.hour),
            ('%', Some('M')) => format!("{:02}", parts.minute),
            ('%', Some('S')) => format!("{:02}", parts.second),
            ('%', Some('j')) => format!("{:03}", parts.day_of_year),
            (letter, _) => letter.to_string(),
        };
        name.push_str(&piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        vec![
            ("at".into(), Value::Int(1_795_867_200)),
            ("user".into(), Value::Map(vec![("name".into(), Value::Text("ann".into()))])),
            ("empty".into(), Value::Text(String::new())),
            ("ratio".into(), Value::Float(0.5)),
        ]
    }

    #[test]
    fn names_are_made_from_values_and_from_times_in_utc() {
        for (template, name) in [
            ("plain", "plain"),
            ("a-{/user/name}-b", "a-ann-b"),
            ("m:{/at:%Y:%m:%d}", "m:2026:11:28"),
            ("{/at:%j %H%M%S %%}{/user/name}", "332 120000 %ann"),
            ("{{{/user/name}}}", "{ann}"),
            ("", ""),
        ] {
            let parsed: Template = template.parse().expect(template);
            assert_eq!(parsed.render(&fields()).as_deref(), Ok(name), "{template}");
            assert_eq!(parsed.as_str(), template);
        }
    }

    #[test]
    fn a_field_that_cannot_be_part_of_a_name_is_reported_with_its_fault() {
        for (template, fault) in [
            ("{/none}", "the field /none is missing"),
            ("{/empty}", "the field /empty is empty"),
            ("{/ratio}", "the field /ratio is neither text nor an integer"),
            ("{/user:%Y}", "the field /user is neither a timestamp nor an integer of seconds"),
        ] {
            let parsed: Template = template.parse().expect(template);
            assert_eq!(parsed.render(&fields()).expect_err(template).to_string(), fault);
        }
    }

    #[test]
    fn an_invalid_template_is_refused_when_it_is_parsed() {
        for template in ["{", "}", "{/a", "a}", "{a}", "{}", "{/a:%y}", "{/a:%}", "{{/a}"] {
            template.parse::<Template>().expect_err(template);
        }
    }
}
