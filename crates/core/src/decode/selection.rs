//! Selections of document fields: at the top level, and inside objects.

use std::{fmt, str::FromStr};

use super::MAX_DEPTH;
use crate::record::{Fields, Value};

/// The path to a field through objects: a name at the top level, or a JSON pointer (RFC 6901), which starts
/// with a slash. Elements of lists have no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<String>);

impl Path {
    /// Returns the name, if the field is at the top level.
    #[must_use]
    pub fn top(&self) -> Option<&str> {
        if let [name] = &self.0[..] { Some(name) } else { None }
    }

    /// Returns whether this is the path of `other`, or of an object around it.
    pub(super) fn leads_to(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(pointer) = text.strip_prefix('/') else {
            return if text.is_empty() {
                Err("a name is empty".to_owned())
            } else {
                Ok(Self(vec![text.to_owned()]))
            };
        };
        let escapes = pointer.matches("~0").count() + pointer.matches("~1").count();
        if escapes < pointer.matches('~').count() {
            return Err(format!(
                "`{text}` is not a JSON pointer: ~ must be followed by 0 (for ~) or 1 (for /)"
            ));
        }
        let steps: Vec<_> = pointer.split('/').map(unescaped).collect();
        if steps.len() > MAX_DEPTH {
            return Err(format!("a JSON pointer of {} steps (limit {MAX_DEPTH} levels)", steps.len()));
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.top() {
            Some(name) if !name.is_empty() && !name.starts_with('/') => f.write_str(name),
            _ => self.0.iter().try_for_each(|step| write!(f, "/{}", escaped(step))),
        }
    }
}

x_msrv_settings::text_setting!(Path, x_msrv_settings::Kind::Text);

/// Escapes a step of a JSON pointer.
#[must_use]
pub fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// Unescapes a step of a JSON pointer.
pub(super) fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// Several paths as a tree. A node without names is the end of a path and selects everything below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection(Vec<(String, Selection)>);

impl Selection {
    pub(super) fn of(paths: &[Path]) -> Self {
        let mut all = Self::default();
        for Path(steps) in paths {
            all.add(steps);
        }
        all
    }

    fn add(&mut self, steps: &[String]) {
        let Some((name, rest)) = steps.split_first() else { return self.0.clear() };
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, all)) if all.0.is_empty() => {}
            Some((_, some)) => some.add(rest),
            None => {
                let mut below = Self::default();
                below.add(rest);
                self.0.push((name.clone(), below));
            }
        }
    }

    fn below(&self, name: &str) -> Option<&Self> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, below)| below)
    }

    /// Keeps only the selected fields, and the objects around them.
    pub(super) fn keep(&self, fields: &mut Fields) {
        fields.retain_mut(|(name, value)| match (self.below(name), value) {
            (Some(all), _) if all.0.is_empty() => true,
            (Some(some), Value::Map(inside)) => {
                some.keep(inside);
                !inside.is_empty()
            }
            _ => false,
        });
    }

    /// Removes the selected fields.
    pub(super) fn remove(&self, fields: &mut Fields) {
        fields.retain_mut(|(name, value)| match (self.below(name), value) {
            (Some(all), _) if all.0.is_empty() => false,
            (Some(some), Value::Map(inside)) => {
                some.remove(inside);
                true
            }
            _ => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_name_or_a_pointer_and_is_displayed_in_valid_syntax() {
        let table: [(&str, &[&str]); 9] = [
            ("a", &["a"]),
            ("a/b", &["a/b"]),
            ("a~b", &["a~b"]),
            ("/a/b", &["a", "b"]),
            ("/a/", &["a", ""]),
            ("/", &[""]),
            ("/~1a", &["/a"]),
            ("/a/~01", &["a", "~1"]),
            ("/a/~0~1", &["a", "~/"]),
        ];
        for (text, steps) in table {
            let path: Path = text.parse().expect(text);
            assert_eq!(path.0, steps, "{text}");
            assert_eq!(path.to_string(), text);
        }
        assert_eq!("/a".parse::<Path>().expect("a pointer").to_string(), "a");
        for text in ["", "/~", "/a~2", "/~0~"] {
            text.parse::<Path>().expect_err(text);
        }
        "/a".repeat(MAX_DEPTH).parse::<Path>().expect("as deep as a document");
        "/a".repeat(MAX_DEPTH + 1).parse::<Path>().expect_err("deeper than any document");
    }
}
