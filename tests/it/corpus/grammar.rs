//! JSON by its grammar (RFC 8259) and nothing else, as a reference for comparison: slow, and numbers keep
//! their text.

use std::collections::BTreeSet;

use x_msrv_core::decode::MAX_DEPTH;

/// A value with its numbers as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// The fault in a text, by the word for it.
pub(crate) type Reason = &'static str;

/// Parses a text that is one object.
pub(crate) fn object(text: &[u8], big_integers_are_text: bool) -> Result<Vec<(String, Node)>, Reason> {
    let mut reader = Reader { text, at: 0, depth: 0, big_integers_are_text };
    let node = reader.value()?;
    reader.space();
    match node {
        _ if reader.at < text.len() => Err("not-json"),
        Node::Map(fields) => Ok(fields),
        _ => Err("not-object"),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    big_integers_are_text: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips `word` if it is next.
    fn take(&mut self, word: &str) -> bool {
        let there = self.text[self.at..].starts_with(word.as_bytes());
        self.at += if there { word.len() } else { 0 };
        there
    }

    fn expect(&mut self, word: &str) -> Result<(), Reason> {
        if self.take(word) { Ok(()) } else { Err("not-json") }
    }

    fn value(&mut self) -> Result<Node, Reason> {
        self.space();
        match self.peek() {
            Some(b'n') => self.expect("null").map(|()| Node::Null),
            Some(b't') => self.expect("true").map(|()| Node::Bool(true)),
            Some(b'f') => self.expect("false").map(|()| Node::Bool(false)),
            Some(b'"') => self.string().map(Node::Text),
            Some(b'[') => self.list(),
            Some(b'{') => self.map(),
            _ => self.number(),
        }
    }

    fn deeper(&mut self) -> Result<(), Reason> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err("too-deep") } else { Ok(()) }
    }

    fn list(&mut self) -> Result<Node, Reason> {
        self.deeper()?;
        let mut nodes = Vec::new();
        self.space();
        while !self.take("]") {
            if !nodes.is_empty() {
                self.expect(",")?;
            }
            nodes.push(self.value()?);
            self.space();
        }
        self.depth -= 1;
        Ok(Node::List(nodes))
    }

    fn map(&mut self) -> Result<Node, Reason> {
        self.deeper()?;
        let (mut fields, mut names, mut repeated) = (Vec::new(), BTreeSet::new(), false);
        self.space();
        while !self.take("}") {
            if !fields.is_empty() {
                self.expect(",")?;
                self.space();
            }
            let name = self.string()?;
            repeated |= !names.insert(name.clone());
            self.space();
            self.expect(":")?;
            fields.push((name, self.value()?));
            self.space();
        }
        self.depth -= 1;
        if repeated { Err("duplicate-field") } else { Ok(Node::Map(fields)) }
    }

    fn number(&mut self) -> Result<Node, Reason> {
        let from = self.at;
        self.take("-");
        if !self.take("0") {
            self.digits()?;
        }
        let mut is_integer = true;
        if self.take(".") {
            is_integer = false;
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            is_integer = false;
            let _sign = self.take("+") || self.take("-");
            self.digits()?;
        }
        let literal = String::from_utf8(self.text[from..self.at].to_vec()).expect("ASCII");
        if is_integer && literal.parse::<i64>().is_err() {
            return if self.big_integers_are_text { Ok(Node::Text(literal)) } else { Err("big-integer") };
        }
        if literal.parse::<f64>().expect("a number").is_infinite() {
            Err("huge-number")
        } else {
            Ok(Node::Number(literal))
        }
    }

    fn digits(&mut self) -> Result<(), Reason> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if from < self.at { Ok(()) } else { Err("not-json") }
    }

    fn string(&mut self) -> Result<String, Reason> {
        self.expect("\"")?;
        let mut bytes = Vec::new();
        loop {
            match self.peek().ok_or("not-json")? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    let letter = self.escaped()?;
                    bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                }
                0..=0x1f => return Err("not-json"),
                byte => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        String::from_utf8(bytes).map_err(|_| "not-json")
    }

    fn escaped(&mut self) -> Result<char, Reason> {
        let letter = self.peek().ok_or("not-json")?;
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => letter.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut units = vec![self.unit()?];
                if (0xd800..0xdc00).contains(&units[0]) {
                    self.expect("\\u")?;
                    units.push(self.unit()?);
                }
                let mut letters = char::decode_utf16(units);
                match (letters.next(), letters.next()) {
                    (Some(Ok(letter)), None) => letter,
                    _ => return Err("not-json"),
                }
            }
            _ => return Err("not-json"),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, Reason> {
        let digits = self.text.get(self.at..self.at + 4).ok_or("not-json")?;
        self.at += 4;
        let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16).ok_or("not-json"));
        digits
            .into_iter()
            .try_fold(0, |unit, digit| Ok(unit * 16 + u16::try_from(digit?).expect("one digit")))
    }
}
