//! The codec for JSON. It parses text into fields without loss: integers stay integers, and a duplicate name is an
//! error.

use std::{cell::RefCell, fmt, ops::Range};

use serde::{
    Serializer as _,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use x_msrv_core::{
    decode::{BigIntegers, Codec, MAX_DEPTH, Rejection, escaped},
    record::{Fields, Value, repeated_name},
};

/// Strict JSON objects.
#[derive(Debug, Clone, Copy)]
pub struct Json {
    /// How integers beyond 64 bits are handled.
    pub big_integers: BigIntegers,
}

/// Returns JSON as the format of a program's documents.
#[must_use]
pub fn codec(big_integers: BigIntegers) -> Box<dyn Codec> {
    Box::new(Json { big_integers })
}

impl Codec for Json {
    fn decode(&self, document: &[u8]) -> Result<Fields, Rejection> {
        parse_object(document, self.big_integers)
    }

    fn encode(&self, fields: &Fields) -> Result<Vec<u8>, String> {
        let mut document = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut document);
        serializer
            .collect_map(fields.iter().map(|(name, value)| (name, value)))
            .map_err(|fault| fault.to_string())?;
        Ok(document)
    }
}

/// Parses `body` as one JSON object with nothing after it.
///
/// # Errors
/// It is not JSON, not an object, or contains something that would be lost.
pub fn parse_object(body: &[u8], big_integers: BigIntegers) -> Result<Fields, Rejection> {
    let walk = Walk { body, big_integers, state: RefCell::default() };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    deserializer.disable_recursion_limit(); // `Walk` counts levels: the limit is exact and its error has the path
    let parsed = Node { walk: &walk, depth: 1 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    let rejection = match parsed {
        Ok(Value::Map(fields)) => return Ok(fields),
        Ok(other) => Rejection::NotObject(name_of(&other)),
        Err(cause) => Rejection::NotJson(syntax_fault(body, &cause)),
    };
    let State { rejection: other, path, numbers, .. } = walk.state.into_inner();
    match rejection {
        Rejection::NotJson(fault) if other.is_none() && fault.starts_with("number out of range") => {
            let is_integer = literals(body).nth(numbers).is_some_and(|literal| is_integer(&body[literal]));
            match big_integers {
                _ if !is_integer => Err(Rejection::HugeNumber { path: pointer(&path) }),
                BigIntegers::Reject => Err(Rejection::BigInteger { path: pointer(&path) }),
                BigIntegers::Text => parse_object(&with_longest_integers_as_text(body), big_integers),
            }
        }
        rejection => Err(other.unwrap_or(rejection)),
    }
}

/// Texts of `serde_json`, and their replacements.
const CLEARER: [(&str, &str); 6] = [
    ("EOF while parsing", "unexpected end within"),
    ("trailing characters", "unexpected text after the object"),
    ("expected ident", "a word that is neither true, false nor null"),
    ("invalid unicode code point", "bytes that are not UTF-8"),
    ("lone leading surrogate in hex escape", "an unpaired surrogate"),
    ("unexpected end of hex escape", "an unpaired surrogate"),
];

/// Describes the syntax fault in terms of the body, not of the parser.
fn syntax_fault(body: &[u8], cause: &serde_json::Error) -> String {
    match body {
        [] => "the body is empty".to_owned(),
        [0xef, 0xbb, 0xbf, ..] => "it starts with a byte order mark, which JSON does not allow".to_owned(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => {
            "it is UTF-16, but JSON must be UTF-8".to_owned()
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed with zstd, which is not supported".to_owned(),
        [0x78, 0x01 | 0x9c | 0xda, ..] => "it is compressed with zlib, which is not supported".to_owned(),
        _ if body.trim_ascii().is_empty() => "the body contains only white space".to_owned(),
        _ => CLEARER.iter().fold(cause.to_string(), |text, (theirs, ours)| text.replace(theirs, ours)),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::Text(_) | Value::Bytes(_) | Value::Timestamp(_) => "a string",
        Value::List(_) => "an array",
        Value::Map(_) => "an object",
    }
}

struct Walk<'a> {
    body: &'a [u8],
    big_integers: BigIntegers,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// The path to the current value, for error texts.
    path: Vec<Step>,
    /// How many numbers were read: the index of the next one in the text.
    numbers: usize,
    /// The positions of the numbers in the text; filled at the first number in question.
    literals: Option<Vec<Range<usize>>>,
    /// The rejection, if the syntax is not at fault.
    rejection: Option<Rejection>,
}

enum Step {
    Field(String),
    Element(usize),
}

/// Returns a path as a JSON pointer (RFC 6901).
fn pointer(path: &[Step]) -> String {
    use fmt::Write as _;
    path.iter().fold(String::new(), |mut text, step| {
        match step {
            Step::Field(name) => write!(text, "/{}", escaped(name)),
            Step::Element(index) => write!(text, "/{index}"),
        }
        .expect("writing to a String does not fail");
        text
    })
}

impl Walk<'_> {
    fn pointer(&self) -> String {
        pointer(&self.state.borrow().path)
    }

    fn reject<E: serde::de::Error>(&self, rejection: Rejection) -> E {
        self.state.borrow_mut().rejection = Some(rejection);
        E::custom("rejected") // never shown: the rejection replaces it
    }

    fn count_number(&self) {
        self.state.borrow_mut().numbers += 1;
    }

    /// A float, or an integer that `serde_json` parsed as a float: `-0`, and anything beyond 64 bits.
    fn float<E: serde::de::Error>(&self, value: f64) -> Result<Value, E> {
        const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;
        let doubtful = value.abs() >= BEYOND_I64 || (value == 0.0 && value.is_sign_negative());
        if !doubtful {
            self.count_number();
            return Ok(Value::Float(value));
        }
        let literal = {
            let mut state = self.state.borrow_mut();
            let index = state.numbers;
            let place =
                state.literals.get_or_insert_with(|| literals(self.body).collect()).get(index).cloned();
            &self.body[place.unwrap_or_default()]
        };
        if !is_integer(literal) {
            self.count_number();
            Ok(Value::Float(value))
        } else if literal == b"-0" {
            self.count_number();
            Ok(Value::Int(0))
        } else {
            self.big_integer(String::from_utf8_lossy(literal).into_owned())
        }
    }

    fn big_integer<E: serde::de::Error>(&self, literal: String) -> Result<Value, E> {
        self.count_number();
        match self.big_integers {
            BigIntegers::Text => Ok(Value::Text(literal)),
            BigIntegers::Reject => {
                let path = self.pointer();
                Err(self.reject(Rejection::BigInteger { path }))
            }
        }
    }

    fn step_in(&self, step: Step) {
        self.state.borrow_mut().path.push(step);
    }

    fn step_out(&self) {
        self.state.borrow_mut().path.pop();
    }
}

#[derive(Clone, Copy)]
struct Node<'w, 'b> {
    walk: &'w Walk<'b>,
    depth: usize,
}

impl Node<'_, '_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            let path = self.walk.pointer();
            return Err(self.walk.reject(Rejection::TooDeep { path }));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        self.walk.count_number();
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.walk.big_integer(value.to_string()),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.walk.float(value)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        loop {
            self.walk.step_in(Step::Element(values.len()));
            let Some(value) = sequence.next_element_seed(inner)? else { break };
            self.walk.step_out();
            values.push(value);
        }
        self.walk.step_out();
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut fields = Fields::new();
        while let Some(name) = map.next_key::<String>()? {
            self.walk.step_in(Step::Field(name));
            let value = map.next_value_seed(inner)?;
            let Some(Step::Field(name)) = self.walk.state.borrow_mut().path.pop() else {
                return Err(A::Error::custom("the path lost its last step"));
            };
            fields.push((name, value));
        }
        if let Some(name) = repeated_name(&fields) {
            self.walk.step_in(Step::Field(name.to_owned()));
            let path = self.walk.pointer();
            return Err(self.walk.reject(Rejection::DuplicateField(path)));
        }
        Ok(Value::Map(fields))
    }
}

/// Returns the positions of the numbers in a JSON text, in order. The text may be faulty after the numbers
/// that the caller needs.
fn literals(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(&byte) = text.get(at) {
            match byte {
                b'"' => at = end_of_string(text, at),
                b'-' | b'0'..=b'9' => {
                    let from = at;
                    at = end_of_number(text, at);
                    return Some(from..at);
                }
                _ => at += 1,
            }
        }
        None
    })
}

/// Returns the position after the number that starts at `at`.
fn end_of_number(text: &[u8], at: usize) -> usize {
    let digits = |from: usize| from + text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(at + usize::from(text[at] == b'-'));
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = matches!(text.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(sign));
    }
    end
}

fn is_integer(literal: &[u8]) -> bool {
    !literal.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// Returns the text with quotes around integers that are too large even for a float, which `serde_json`
/// refuses.
fn with_longest_integers_as_text(text: &[u8]) -> Vec<u8> {
    let longest = literals(text).filter(|literal| {
        literal.len() > f64::MAX_10_EXP.unsigned_abs() as usize && is_integer(&text[literal.clone()])
    });
    let (mut quoted, mut from) = (Vec::with_capacity(text.len() + 64), 0);
    for literal in longest {
        quoted.extend_from_slice(&text[from..literal.start]);
        quoted.push(b'"');
        quoted.extend_from_slice(&text[literal.clone()]);
        quoted.push(b'"');
        from = literal.end;
    }
    quoted.extend_from_slice(&text[from..]);
    quoted
}

/// Returns the position after the closing quote of the string that opens at `at`.
fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Fields, Rejection> {
        parse_object(text.as_bytes(), BigIntegers::Reject)
    }

    fn only(text: &str) -> Value {
        parse(text).expect(text).remove(0).1
    }

    /// The original parsed every number as a float, which rounded integers above 2^53.
    #[test]
    fn integers_stay_integers_up_to_64_bits() {
        for (literal, value) in [
            ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("-0", 0),
        ] {
            assert_eq!(only(&format!("{{\"a\":{literal}}}")), Value::Int(value), "{literal}");
        }
    }

    #[test]
    fn an_integer_beyond_64_bits_is_rejected_with_its_path_or_kept_as_text() {
        for literal in [
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "123456789012345678901234567890",
        ] {
            let text = format!(r#"{{"x":"1\" 2","y":[1e300,3.5,{{"z":{literal}}}]}}"#);
            let rejection = Rejection::BigInteger { path: "/y/2/z".into() };
            assert_eq!(parse(&text), Err(rejection));
            let fields = parse_object(text.as_bytes(), BigIntegers::Text).expect("kept as text");
            let Value::List(values) = &fields[1].1 else { panic!("y is a list") };
            assert_eq!(values[2], Value::Map(vec![("z".into(), Value::Text(literal.into()))]));
        }
    }

    /// They were reported as syntax faults, and `big-integers: text` had no effect.
    #[test]
    fn an_integer_too_large_for_a_float_is_still_an_integer() {
        let digits = "9".repeat(400);
        let body =
            |number: &str| format!(r#"{{"a":[1,"2",-0],"b":{{"c":{number}}},"d":-{digits}}}"#).into_bytes();
        let rejection = Rejection::BigInteger { path: "/b/c".into() };
        assert_eq!(parse_object(&body(&digits), BigIntegers::Reject), Err(rejection));
        let fields = parse_object(&body(&digits), BigIntegers::Text).expect("kept as text");
        assert_eq!(
            fields[1..],
            [
                ("b".into(), Value::Map(vec![("c".into(), Value::Text(digits.clone()))])),
                ("d".into(), Value::Text(format!("-{digits}")))
            ]
        );
        for (fault, reason) in [
            ("0", "not-json"),
            ("-5", "not-json"),
            (".", "not-json"),
            (".5", "huge-number"),
            ("e1", "huge-number"),
        ] {
            let rejection = parse_object(
                &body(&format!("{}{digits}{fault}", if fault == "0" { "0" } else { "" })),
                BigIntegers::Text,
            );
            assert_eq!(rejection.expect_err(fault).reason(), reason, "{fault}");
        }
    }

    #[test]
    fn a_number_too_large_for_a_float_is_rejected_with_its_path() {
        for literal in ["1e400", "-1E+400", "17976931348623159e292"] {
            let rejection = Rejection::HugeNumber { path: "/y/0".into() };
            assert_eq!(parse(&format!(r#"{{"x":1e300,"y":[{literal}]}}"#)), Err(rejection), "{literal}");
        }
        assert_eq!(only(r#"{"a":1e-400}"#), Value::Float(0.0));
    }

    #[test]
    fn floats_are_parsed_to_the_last_bit() {
        for (literal, value) in
            [("1e19", 1e19), ("-1.5E300", -1.5e300), ("0.1", 0.1), ("2.0", 2.0), ("5e-324", 5e-324)]
        {
            assert_eq!(only(&format!("{{\"a\":{literal}}}")), Value::Float(value), "{literal}");
        }
    }

    /// The original dropped arrays, numbers and strings, and stored `null` as an empty record.
    #[test]
    fn a_rejected_body_that_is_no_object_is_named_by_its_type() {
        for (text, name) in [
            ("null", "null"),
            ("[]", "an array"),
            ("1", "a number"),
            ("1.5", "a number"),
            ("\"a\"", "a string"),
            ("true", "a boolean"),
        ] {
            assert_eq!(parse(text), Err(Rejection::NotObject(name)), "{text}");
        }
    }

    #[test]
    fn a_syntax_fault_is_reported_with_its_position() {
        for text in
            ["{", "{a:1}", r#"{"ext2", 42}"#, "{} {}", r#"{"a":1,}"#, r#"{"a":"\ud800"}"#, "{\"a\":01}"]
        {
            let rejection = parse(text).expect_err(text);
            assert_eq!(rejection.reason(), "not-json", "{text}");
            assert!(rejection.to_string().contains("line 1"), "{rejection}");
        }
        let told: [(&[u8], &str); 7] = [
            (b"", "not JSON: the body is empty"),
            (b"{\"a\":nil}", "not JSON: a word that is neither true, false nor null at line 1 column 7"),
            (b" \n", "not JSON: the body contains only white space"),
            (b"\xef\xbb\xbf{}", "not JSON: it starts with a byte order mark, which JSON does not allow"),
            (b"\xff\xfe{\0}\0", "not JSON: it is UTF-16, but JSON must be UTF-8"),
            (b"\xfe\xff\0{\0}", "not JSON: it is UTF-16, but JSON must be UTF-8"),
            (b"{\"a\":\"\xff\"}", "not JSON: bytes that are not UTF-8 at line 1 column 7"),
        ];
        for (body, text) in told {
            assert_eq!(parse_object(body, BigIntegers::Reject).expect_err(text).to_string(), text);
        }
    }

    #[test]
    fn a_duplicate_name_is_rejected_among_any_number_of_names() {
        assert_eq!(parse(r#"{"b":{"a/":1,"c":2,"a\/":3}}"#), Err(Rejection::DuplicateField("/b/a~1".into())));
        let many: Vec<String> = (0..40_000).map(|n| format!("\"f{n}\":{n}")).collect();
        assert_eq!(parse(&format!("{{{}}}", many.join(","))).expect("all differ").len(), 40_000);
        assert_eq!(
            parse(&format!("{{{},\"f7\":0}}", many.join(","))),
            Err(Rejection::DuplicateField("/f7".into()))
        );
    }

    #[test]
    fn the_nesting_limit_is_exact_and_no_nesting_overflows_the_stack() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        parse(&nested(MAX_DEPTH)).expect("the limit itself is allowed");
        assert_eq!(parse(&nested(MAX_DEPTH + 1)).expect_err("one more is not").reason(), "too-deep");
        assert_eq!(
            parse(&format!("{{\"a\":{}", "[".repeat(500_000))).expect_err("far more is not").reason(),
            "too-deep"
        );
    }
}
