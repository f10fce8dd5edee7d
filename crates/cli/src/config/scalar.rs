//! Values as people write them. Environment variables and flags are text, so numbers and lists are read from
//! text as well.

use std::{fmt, marker::PhantomData, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use x_msrv_core::record::{Fields, Value};
use x_msrv_net::secret::Secret;
use x_msrv_settings::duration;

/// A whole number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole(pub(super) u64);

/// A duration such as `2s` or `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A number of bytes, such as `1048576`, `512KiB`, `1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

/// A list; as text its elements are separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List<T>(pub(super) Vec<T>);

/// What is read from text by its own parser, which says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed<T>(pub(super) T);

/// Names of fields with a value each. Text stays text, whatever it looks like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table(pub(super) Fields);

/// A secret: the text itself, or the place where it is. No error repeats what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretShape(pub(super) Secret);

/// What is no secret, but stands where secrets do: text is a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlaceShape(pub(super) Secret);

/// A section, or a truth value: `true` is a section without keys, and `false` is none.
#[derive(Debug)]
pub(super) struct OnOrSection<T>(pub(super) Option<T>);

/// Text, or a section.
#[derive(Debug)]
pub(super) enum TextOr<T> {
    Text(String),
    Section(T),
}

/// A JSON pointer (RFC 6901) to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(pub(super) String);

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a JSON pointer such as /id or /order/id"))
        }
    }
}

struct Scalar<T> {
    expected: &'static str,
    number: Option<fn(u64) -> T>,
    boolean: Option<fn(bool) -> T>,
    text: fn(&str) -> Option<T>,
    /// What is wrong with a text that is none, where there is more to say than what was expected.
    fault: fn(&str) -> Option<String>,
}

fn no_more_to_say(_: &str) -> Option<String> {
    None
}

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        self.boolean.map(|make| make(value)).ok_or_else(|| E::invalid_type(Unexpected::Bool(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.number.map(|make| make(value)).ok_or_else(|| E::invalid_type(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        let make = self.number.zip(u64::try_from(value).ok());
        make.map(|(make, value)| make(value))
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).ok_or_else(|| {
            (self.fault)(text)
                .map_or_else(|| E::invalid_value(Unexpected::Str(text), &self), |fault| E::custom(fault))
        })
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |text: &str| text.parse().ok().map(Self);
        deserializer.deserialize_any(Scalar {
            expected: "a whole number that is not negative",
            number: Some(Self),
            boolean: None,
            text,
            fault: no_more_to_say,
        })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |text: &str| duration::parse(text).map(Self);
        deserializer.deserialize_any(Scalar {
            expected: "a duration with its unit, such as 2s, 500ms or 1m 30s",
            number: None,
            boolean: None,
            text,
            fault: duration::calendar,
        })
    }
}

/// In the units of a clock, and whole days above them: a year of 365 days reads `365d`, and not as eleven
/// months and a rest.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const UNITS: [(u128, &str); 7] = [
            (86_400_000_000_000, "d"),
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        let mut left = self.0.as_nanos();
        if left == 0 {
            return f.write_str("0s");
        }
        let mut gap = "";
        for (size, unit) in UNITS.into_iter().filter(|(size, _)| self.0.as_nanos() >= *size) {
            let (count, rest) = (left / size, left % size);
            if count > 0 {
                write!(f, "{gap}{count}{unit}")?;
                gap = " ";
            }
            left = rest;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a number of bytes, such as 1048576, 512KiB or 1MiB",
            number: Some(Self),
            boolean: None,
            text: |text| bytes(text).map(Self),
            fault: no_more_to_say,
        })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let factor = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "true or false",
            number: None,
            boolean: Some(Self),
            text: |text| text.parse().ok().map(Self),
            fault: no_more_to_say,
        })
    }
}

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: FromStr<Err = String>> Visitor<'de> for Elements<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
                let elements = text.split(',').map(|element| element.trim().parse().map_err(E::custom));
                elements.collect::<Result<_, _>>().map(List)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<List<T>, A::Error> {
                let elements = Vec::<Parsed<T>>::deserialize(SeqAccessDeserializer::new(sequence))?;
                Ok(List(elements.into_iter().map(|Parsed(element)| element).collect()))
            }
        }

        deserializer.deserialize_any(Elements(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("names of fields, with a value each")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
                let mut entries = Fields::new();
                while let Some((name, Constant(value))) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(Table(entries))
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

/// A value that is not made of others.
struct Constant(Value);

impl<'de> Deserialize<'de> for Constant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = Constant;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("text, a number of 64 bits with sign, true or false")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Constant, E> {
                Ok(Constant(Value::Bool(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Constant, E> {
                Ok(Constant(Value::Int(value)))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Constant, E> {
                let signed =
                    i64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))?;
                self.visit_i64(signed)
            }

            fn visit_f64<E>(self, value: f64) -> Result<Constant, E> {
                Ok(Constant(Value::Float(value)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Constant, E> {
                Ok(Constant(Value::Text(text.to_owned())))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

/// What text means is up to the key.
struct TextOrPlace(fn(String) -> Secret);

impl<'de> Visitor<'de> for TextOrPlace {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("text in quotes, `credential: NAME` or `file: PATH`")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom("not text: put it in quotes"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        self.visit_bool(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        self.visit_bool(false)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        self.visit_bool(false)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        if text.is_empty() { Err(E::custom("is empty")) } else { Ok((self.0)(text.to_owned())) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let wanted = || A::Error::custom("wanted is text in quotes, `credential: NAME` or `file: PATH`");
        let (kind, place) = map.next_entry::<String, String>().ok().flatten().ok_or_else(wanted)?;
        if !map.next_key::<String>().is_ok_and(|another| another.is_none()) {
            return Err(wanted());
        }
        match &*kind {
            // A name that leaves the directory would be another file.
            "credential" if !place.is_empty() && !place.contains('/') && !place.starts_with('.') => {
                Ok(Secret::Credential(place))
            }
            "credential" => Err(A::Error::custom("is not the name of a credential")),
            "file" if !place.is_empty() => Ok(Secret::File(place.into())),
            "file" => Err(A::Error::custom("is not the name of a file")),
            _ => Err(wanted()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrPlace(Secret::Text)).map(Self)
    }
}

impl<'de> Deserialize<'de> for PlaceShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrPlace(|path| Secret::File(path.into()))).map(Self)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for OnOrSection<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Either<T> {
            type Value = OnOrSection<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("true, false, or a section with keys of its own")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<OnOrSection<T>, E> {
                Ok(OnOrSection(on.then(T::default)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OnOrSection<T>, E> {
                let on = text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                self.visit_bool(on)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OnOrSection<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|section| OnOrSection(Some(section)))
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("text, or a section with keys of its own")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Section)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn values_are_read_as_people_and_environments_write_them() {
        assert_eq!(from_value::<Whole>(json!(10)).expect("a number").0, 10);
        assert_eq!(from_value::<Whole>(json!("10")).expect("text").0, 10);
        assert_eq!(from_value::<Span>(json!("1m 30s")).expect("a duration").0, Duration::from_secs(90));
        assert_eq!(from_value::<Flag>(json!("true")).expect("text"), Flag(true));
        for (text, size) in [("7", 7), ("1KiB", 1024), ("2 MiB", 2 << 20), ("1g", 1 << 30)] {
            assert_eq!(from_value::<Size>(json!(text)).expect(text).0, size);
        }
        for (value, on) in
            [(json!(true), true), (json!("true"), true), (json!("false"), false), (json!({}), true)]
        {
            let section = from_value::<OnOrSection<std::collections::BTreeMap<String, u8>>>(value.clone())
                .expect("a switch or a section");
            assert_eq!(section.0.is_some(), on, "{value}");
        }
        let list = from_value::<List<x_msrv_net::address::HostPort>>(json!("a:1, b:2")).expect("a list").0;
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn a_duration_is_shown_as_it_can_be_written() {
        let text = |nanos: u64| Span(Duration::from_nanos(nanos)).to_string();
        let second = 1_000_000_000;
        assert_eq!(text(0), "0s");
        assert_eq!(text(365 * 86_400 * second), "365d");
        assert_eq!(text(90 * second), "1m 30s");
        assert_eq!(text(1_500_000_000), "1s 500ms");
        assert_eq!(text(25 * 3_600 * second + 1_001), "1d 1h 1us 1ns");
        for nanos in [1, 999, 60 * second, 86_399 * second + 7_000_000, u64::MAX] {
            assert_eq!(
                from_value::<Span>(json!(text(nanos))).expect("a duration").0,
                Duration::from_nanos(nanos)
            );
        }
    }

    #[test]
    fn a_secret_is_text_or_a_place_and_no_error_repeats_it() {
        let secret =
            |value: serde_json::Value| from_value::<SecretShape>(value).map(|SecretShape(secret)| secret);
        assert_eq!(secret(json!("s")).expect("text"), Secret::Text("s".into()));
        assert_eq!(
            secret(json!({"credential": "nsq"})).expect("a credential"),
            Secret::Credential("nsq".into())
        );
        assert_eq!(secret(json!({"file": "a/b"})).expect("a file"), Secret::File("a/b".into()));
        for value in [
            json!(4711),
            json!(-4711),
            json!(47.11),
            json!({"credential": "../4711"}),
            json!({"credential": ""}),
            json!(["4711"]),
        ] {
            let error = secret(value.clone()).expect_err("no secret").to_string();
            assert!(!error.contains("47"), "{value}: {error}");
        }
        assert!(
            secret(json!({"vault": "x"})).expect_err("unknown").to_string().contains("`credential: NAME`")
        );
    }

    #[test]
    fn what_is_not_meant_that_way_is_refused() {
        for value in [json!(-1), json!(1.5), json!("ten"), json!(true)] {
            assert!(from_value::<Whole>(value.clone()).is_err(), "{value}");
        }
        for value in [json!(2), json!("2"), json!("soon")] {
            let error = from_value::<Span>(value.clone()).expect_err("no unit").to_string();
            assert!(error.contains("with its unit"), "{error}");
        }
        for value in [json!("1TiB"), json!("MiB"), json!("99999999999999GiB"), json!("1.5MiB")] {
            assert!(from_value::<Size>(value.clone()).is_err(), "{value}");
        }
        assert!(from_value::<List<x_msrv_net::address::HostPort>>(json!(["a:1", "b"])).is_err());
    }
}
