//! Checks docs/bodies.md row by row: the result of each body in each store, and the reason given for a
//! refused body.

use std::{io::Write as _, num::NonZeroI64};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use tempfile::TempDir;
use x_msrv::adapters;
use x_msrv_aerospike as aerospike;
use x_msrv_aerospike::{AerospikeStore, Exists, Ttl};
use x_msrv_config::{self as config, Overrides};
use x_msrv_core::{
    decode::{BigIntegers, ContentEncoding, Decoder, KeyRule, Rejection, Target},
    message::{Message, Origin},
    outcome::Outcome,
    record::{Fields, Value},
    store::{Put, Store},
};
use x_msrv_json::Json;
use x_msrv_sqlite::{store as sqlite, store::SqliteStore};

use crate::{
    corpus::grammar,
    support::{PATIENCE, aerospike::StandIn, block_on, project, put, real_aerospike},
};

/// A row of the page's tables: a body, as code or as text, and its results.
struct Row {
    body: String,
    big_integers: BigIntegers,
    encoding: ContentEncoding,
    /// The section `fields`, if the row has one.
    fields: Option<String>,
    /// A key in the section of the store.
    own: Option<String>,
    aerospike: String,
    sqlite: String,
    reason: String,
}

fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(project().join("docs/bodies.md")).expect("the page");
    let rows = page
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("| body") && !line.starts_with("|-"));
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let [body, aerospike, sqlite, reason] =
            cells.try_into().unwrap_or_else(|_| panic!("{line} has four cells"));
        let (body, with) =
            body.rsplit_once(", with ").map_or((&*body, None), |(body, with)| (body, code(with)));
        let big_integers =
            if with == Some("big-integers: text") { BigIntegers::Text } else { BigIntegers::Reject };
        let encoding = if with == Some("content-encoding: gzip") {
            ContentEncoding::Gzip
        } else {
            ContentEncoding::Identity
        };
        let fields = with.filter(|with| with.starts_with("fields: ")).map(str::to_owned);
        let own = with
            .filter(|with| ["key: ", "set: ", "ttl: "].iter().any(|key| with.starts_with(key)))
            .map(str::to_owned);
        let is_known = fields.is_some()
            || own.is_some()
            || big_integers == BigIntegers::Text
            || encoding == ContentEncoding::Gzip;
        assert!(with.is_none() || is_known, "{line}");
        Row { body: body.to_owned(), big_integers, encoding, fields, own, aerospike, sqlite, reason }
    };
    rows.map(row).collect()
}

/// The cell of a store that has no key of this name.
const NO_SUCH_KEY: &str = "no such key";

/// The content of a code span.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("a Vec takes it");
    encoder.finish().expect("a Vec takes it")
}

/// A body that is compressed, or compressed and altered.
fn compressed(cell: &str) -> Vec<u8> {
    if let Some(cell) = cell.strip_suffix(" in two members") {
        let text = body(cell);
        let (first, second) = text.split_at(text.len() / 2);
        return [gzip(first), gzip(second)].concat();
    }
    if let Some(cell) = cell.strip_suffix(" without its last byte") {
        let mut body = compressed(cell);
        body.pop();
        return body;
    }
    if let Some(cell) = cell.strip_suffix(" followed by `{}`") {
        return [compressed(cell), b"{}".to_vec()].concat();
    }
    if let Some(cell) = cell.strip_suffix(" with another checksum") {
        let mut body = compressed(cell);
        let at = body.len() - 5;
        body[at] ^= 1;
        return body;
    }
    gzip(&body(cell))
}

fn body(cell: &str) -> Vec<u8> {
    if let Some(cell) = cell.strip_prefix("gzip of ") {
        return compressed(cell);
    }
    if let Some(cell) = cell.strip_prefix("zlib of ") {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&body(cell)).expect("a Vec takes it");
        return encoder.finish().expect("a Vec takes it");
    }
    let fields = |count: usize| {
        format!("{{{}}}", (0..count).map(|number| format!("\"f{number}\":1")).collect::<Vec<_>>().join(","))
    };
    let text = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - r#"{"a":""}"#.len()));
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    match cell {
        "nothing" => Vec::new(),
        "white space" => b" \r\n\t".to_vec(),
        "`{}` followed by a NUL" => b"{}\0".to_vec(),
        "two lines of NDJSON" => b"{\"a\": 1}\n{\"a\": 2}\n".to_vec(),
        "a byte order mark and `{}`" => b"\xef\xbb\xbf{}".to_vec(),
        "UTF-16 with its byte order mark" => b"\xff\xfe{\0}\0".to_vec(),
        "UTF-16 without one" => b"{\0}\0".to_vec(),
        "the first bytes of zstd" => b"\x28\xb5\x2f\xfd\x04\0".to_vec(),
        "a text that is not UTF-8" => b"{\"a\": \"\xff\"}".to_vec(),
        "a text with a raw line end" => b"{\"a\": \"\n\"}".to_vec(),
        "an object with 70,000 fields in a field" => format!("{{\"a\":{}}}", fields(70_000)).into_bytes(),
        "a million levels that are never closed" => format!("{{\"a\":{}", "[".repeat(1_000_000)).into_bytes(),
        "an integer of 400 digits" => format!("{{\"a\":{}}}", "9".repeat(400)).into_bytes(),
        "128 levels" => nested(128).into_bytes(),
        "129 levels" => nested(129).into_bytes(),
        "32,766 fields" => fields(32_766).into_bytes(),
        "32,767 fields" => fields(32_767).into_bytes(),
        "32,768 fields" => fields(32_768).into_bytes(),
        "70,000 fields" => fields(70_000).into_bytes(),
        "a name of 1,000 bytes around 1,000 fields" => {
            format!("{{\"{}\":{}}}", "x".repeat(1_000), fields(1_000)).into_bytes()
        }
        "a text in 1,048,000 bytes" => text(1_048_000).into_bytes(),
        "a text in 1,048,576 bytes (1 MiB)" => text(1 << 20).into_bytes(),
        "a text in 1,048,577 bytes" => text((1 << 20) + 1).into_bytes(),
        _ => code(cell).unwrap_or_else(|| panic!("`{cell}` is neither code nor known")).as_bytes().to_vec(),
    }
}

fn aerospike_settings(host: x_msrv_net::address::HostPort) -> aerospike::Settings {
    aerospike::Settings {
        hosts: vec![host],
        namespace: "test".parse().expect("a name"),
        set: format!("bodies-{:016x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ()))
            .parse()
            .expect("a name"),
        exists: Exists::Replace,
        ttl: Ttl::Namespace,
        send_key: false,
        login: None,
        tls: None,
        own_ttl: None,
        use_alternate_addresses: false,
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
    }
}

impl Row {
    /// The whole configuration that the row's section or key implies for a store.
    fn settings(&self, store: &str) -> Option<config::Settings> {
        let section = match self.own.as_deref() {
            None => format!("{store}, set: s}}"),
            Some(set) if set.starts_with("set: ") => format!("{store}, {set}}}"),
            Some(own) => format!("{store}, set: s, {own}}}"),
        };
        let fields = self.fields.as_deref().or(self.own.as_ref().map(|_| ""))?;
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("x-msrv.yml");
        std::fs::write(&path, format!("{fields}\nembedded-queue: {{path: q}}\n{section}\n"))
            .expect("written");
        Some(
            config::load(adapters::ALL, Some(&path), &Overrides::default())
                .unwrap_or_else(|error| panic!("{section} {fields}: {error}")),
        )
    }
}

/// Returns the record that the store has under the key of this body, or the reason why the store or the
/// decoder refuses it.
async fn stored(
    store: &dyn Store,
    row: &Row,
    body: &[u8],
    settings: Option<config::Settings>,
) -> Result<Fields, Rejection> {
    let message = Message {
        origin: Origin::of_topic("orders", "queue:4150"),
        id: "0123456789abcdef".into(),
        body: body.to_vec().into(),
        attempts: std::num::NonZeroU32::new(1),
        last: false,
        details: None,
        published: NonZeroI64::new(1_700_000_000_123_456_789),
    };
    let Row { big_integers, encoding, .. } = *row;
    let plain = || {
        let (key, codec, targets) =
            (KeyRule::Message, Box::new(Json { big_integers }), vec![Target::default()]);
        Decoder { max_size: 1 << 20, encoding, codec, key, schema: None, router: None, targets }
    };
    let decoder = settings.map_or_else(plain, |settings| settings.decoder().expect("no schema"));
    let record = decoder.decode(&message)?.record;
    match put(store, vec![record.clone()]).await.remove(0) {
        Ok(Put::Stored) => {}
        Ok(Put::Duplicate) => panic!("nothing was there before"),
        Err(error) => match Outcome::of_failure(error, Some(1), 0) {
            Outcome::Rejected(rejection) => return Err(rejection),
            other => panic!("it would be delivered forever: {other:?}"),
        },
    }
    let mut records = crate::support::records(store, 10).await;
    assert_eq!((records.len(), records[0].key.as_ref()), (1, Some(&record.key)));
    Ok(records.remove(0).fields)
}

/// Compares as text, which distinguishes the two zeros, in the order of names, because a store may change the
/// order.
fn comparable(fields: &Fields) -> Vec<String> {
    fn sorted(fields: &Fields) -> Fields {
        let mut fields: Fields = fields.iter().map(|(name, value)| (name.clone(), inside(value))).collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        fields
    }
    fn inside(value: &Value) -> Value {
        match value {
            Value::Map(fields) => Value::Map(sorted(fields)),
            Value::List(values) => Value::List(values.iter().map(inside).collect()),
            other => other.clone(),
        }
    }
    sorted(fields).iter().map(|field| format!("{field:?}")).collect()
}

/// Returns nothing if the row is right.
fn fault(row: &Row, cell: &str, sent: &[u8], found: Result<Fields, Rejection>) -> Option<String> {
    let text_of = |rejection: &Rejection| format!("{}: {rejection}", rejection.reason());
    match (cell, found) {
        ("dead letter", Err(rejection)) => {
            // The dots of the page mean more of the same.
            let (begin, end) = row.reason.split_once('…').unwrap_or((&row.reason, ""));
            let text = text_of(&rejection);
            let is_told = text.starts_with(begin)
                && text.ends_with(end)
                && (text == row.reason || row.reason.contains('…'));
            (!is_told).then(|| format!("{}: {text}", row.body))
        }
        ("dead letter", Ok(_)) => Some(format!("{} is stored", row.body)),
        (_, Err(rejection)) => Some(format!("{} is a dead letter: {}", row.body, text_of(&rejection))),
        (cell, Ok(fields)) => {
            // With a separate reader, so that the decoder is not compared with itself.
            let expected = if cell == "as sent" || cell == "its digits as text" {
                sent
            } else {
                code(cell).expect("a document").as_bytes()
            };
            let expected = values(grammar::object(expected, true).expect("an object"));
            (comparable(&fields) != comparable(&expected))
                .then(|| format!("{} is stored as {fields:?}", row.body))
        }
    }
}

fn values(fields: Vec<(String, grammar::Node)>) -> Fields {
    fields.into_iter().map(|(name, node)| (name, value(node))).collect()
}

fn value(node: grammar::Node) -> Value {
    use grammar::Node;
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(value),
        Node::Number(literal) if literal.contains(['.', 'e', 'E']) => {
            Value::Float(literal.parse().expect("a number"))
        }
        Node::Number(literal) => Value::Int(literal.parse().expect("an integer")),
        Node::Text(text) => Value::Text(text),
        Node::List(nodes) => Value::List(nodes.into_iter().map(value).collect()),
        Node::Map(fields) => Value::Map(values(fields)),
    }
}

/// A new store for each row, so that no row finds a record of another.
#[test]
fn aerospike_stores_each_body_as_documented() {
    let fault = |row: &Row| {
        let sent = body(&row.body);
        let found = block_on(async {
            let stand_in = StandIn::start().await;
            let host = real_aerospike()
                .unwrap_or_else(|| stand_in.address().to_string().parse().expect("an address"));
            let store = AerospikeStore::connect(&aerospike_settings(host)).await.expect("the server answers");
            stored(&store, row, &sent, row.settings("aerospike: {hosts: ['h:3000'], namespace: test")).await
        });
        fault(row, &row.aerospike, &sent, found)
    };
    assert_eq!(rows().iter().filter_map(fault).collect::<Vec<_>>(), [""; 0]);
}

/// A new store for each row, so that no row finds a record of another.
#[test]
fn sqlite_stores_each_body_as_documented() {
    let fault = |row: &Row| {
        let sent = body(&row.body);
        let folder = TempDir::new().expect("a folder");
        let settings =
            sqlite::Settings { path: folder.path().join("store.db"), set: "s".parse().expect("a name") };
        let store = SqliteStore::connect(&settings).expect("the database opens");
        fault(row, &row.sqlite, &sent, block_on(stored(&store, row, &sent, row.settings("sqlite: {path: s"))))
    };
    assert_eq!(
        rows().iter().filter(|row| row.sqlite != NO_SUCH_KEY).filter_map(fault).collect::<Vec<_>>(),
        [""; 0]
    );
}
