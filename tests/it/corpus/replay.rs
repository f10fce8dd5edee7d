//! A file of dead letters, and its replay.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use x_msrv_cli::commands::dead::replay::{self, Replayed};
use x_msrv_core::{
    BoxFuture,
    dead_letter::{Letter, NOT_REPLAYED, replayed},
    decode::Rejection,
    fault::{Blame, Fault},
    message::{Message, Origin},
    source::{PendingMessage, Publisher},
};
use x_msrv_letters::{
    filter::Filter,
    letters::{self, open_to_mark},
};

/// As a body, a dead letter returns the bytes unchanged. As a file, each dead letter in the bytes is sent
/// once, however often the queue fails in between, and is marked, in place or in an equivalent line; nothing
/// else changes.
pub(crate) fn check(bytes: &[u8]) {
    comes_back_from_a_letter(bytes);
    let folder = tempfile::tempdir_in(memory()).expect("a folder");
    let file = folder.path().join("letters");
    std::fs::write(&file, bytes).expect("written");
    let first = bytes.len() % 2;
    let queue =
        Queue { sent: RefCell::default(), calls: Cell::new(0), fails: first..first + bytes.len() % 3 };
    let mut ended = replay(&file, &queue);
    for _ in 0..2 {
        ended = if ended.is_err() { replay(&file, &queue) } else { ended };
    }
    let after = std::fs::read(&file).expect("read");
    let expected = Expected::of(bytes);
    assert_eq!(*queue.sent.borrow(), expected.sent, "each dead letter once, in order");
    expected.check(&after);
    match ended {
        Ok(Replayed { sent, before, no_letters }) => {
            assert_eq!((sent + before, no_letters), (expected.letters, expected.no_letters));
        }
        Err(_) => assert!(expected.letters == 0, "no dead letter is skipped"),
    }
    if let Ok(again) = replay(&file, &queue) {
        assert_eq!((again.sent, again.before), (0, expected.letters));
    }
    assert_eq!(
        (queue.sent.borrow().len(), std::fs::read(&file).expect("read") == after),
        (expected.sent.len(), true),
        "a second replay does nothing"
    );
}

fn comes_back_from_a_letter(body: &[u8]) {
    let message = Message::new(Origin::new("t@h:1"), "0a", Bytes::copy_from_slice(body));
    let letter = Letter::new(
        &message,
        &Rejection::NotJson(String::from_utf8_lossy(body).into_owned()),
        SystemTime::UNIX_EPOCH,
    );
    let mut line = Vec::new();
    letter.write_line(&mut line).expect("a Vec takes it");
    let line = String::from_utf8(line).expect("JSON is text");
    assert!(line.as_bytes().starts_with(NOT_REPLAYED) && line.find('\n') == Some(line.len() - 1), "{line}");
    assert_eq!(serde_json::from_str::<Letter>(&line).expect("a letter"), letter);
    assert_eq!(letter.body.to_bytes().as_deref(), Ok(body));
}

/// A folder in memory, if there is one.
fn memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

fn replay(path: &Path, queue: &Queue) -> Result<Replayed, String> {
    let not_replayed = Filter { replayed: Some(false), ..Filter::default() };
    let file = open_to_mark(path, |letter| not_replayed.matches(letter))
        .now_or_never()
        .expect("no other process holds it");
    let mut replayed = Replayed::default();
    let ended = replay::letters(
        &file.expect("opened"),
        path,
        &not_replayed,
        SystemTime::UNIX_EPOCH,
        queue,
        &mut replayed,
    )
    .now_or_never()
    .expect("this queue answers at once");
    ended.map(|()| replayed).map_err(|error| error.to_string())
}

/// A queue that refuses some of the batches.
struct Queue {
    sent: RefCell<Vec<Bytes>>,
    calls: Cell<usize>,
    fails: Range<usize>,
}

impl Publisher for Queue {
    fn publish(&self, messages: Vec<PendingMessage>) -> BoxFuture<'_, ()> {
        let fails = self.fails.contains(&self.calls.get());
        self.calls.update(|calls| calls + 1);
        for PendingMessage { item, answer } in messages {
            if fails {
                answer.give(Err(Fault::new(Blame::Setup, "that is how it is")));
            } else {
                self.sent.borrow_mut().push(item.body);
                answer.give(Ok(()));
            }
        }
        Box::pin(std::future::ready(()))
    }
}

/// The expected result of a file: lines that are JSON with all fields of a dead letter.
#[derive(Default)]
struct Expected {
    letters: usize,
    no_letters: u64,
    sent: Vec<Bytes>,
    after: Vec<After>,
}

/// The expected result of a line.
enum After {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A line that contains this.
    Json(Value),
}

impl Expected {
    fn of(bytes: &[u8]) -> Self {
        let mut expected = Self::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut same = line.to_vec();
            let json = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            let letter = serde_json::from_slice::<Letter>(json).ok();
            // Of a duplicate key the last one counts, as in other programs.
            let object = serde_json::from_slice::<Value>(json).unwrap_or_default();
            let letter = if line.starts_with(NOT_REPLAYED) || letter.is_none() {
                letter
            } else {
                serde_json::from_value(object.clone()).ok()
            };
            let body = letter.as_ref().and_then(|letter| letter.body.to_bytes().ok());
            match letter.zip(body) {
                None => expected.no_letters += 1,
                Some((letter, body)) => {
                    expected.letters += 1;
                    if letter.replayed.is_none() {
                        expected.sent.push(body.into());
                        if line.starts_with(NOT_REPLAYED) {
                            same[..NOT_REPLAYED.len()].copy_from_slice(&replayed(SystemTime::UNIX_EPOCH));
                        } else {
                            let mut object = object;
                            object["replayed"] = json!("1970-01-01T00:00:00.000Z");
                            expected.after.push(After::Json(object));
                            continue;
                        }
                    }
                }
            }
            expected.after.push(After::Bytes(same));
        }
        expected
    }

    fn check(&self, after: &[u8]) {
        let lines: Vec<_> = after.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), self.after.len(), "{}", after.escape_ascii());
        for (line, expected) in lines.iter().zip(&self.after) {
            match expected {
                After::Bytes(bytes) => {
                    assert!(line == bytes, "{}\n{}", line.escape_ascii(), bytes.escape_ascii());
                }
                After::Json(object) => {
                    assert_eq!(serde_json::from_slice::<Value>(line).ok().as_ref(), Some(object));
                    assert!(letters::has_room(line), "its place for the mark is known");
                }
            }
        }
    }
}
