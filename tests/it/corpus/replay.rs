//! A file of dead letters, and its replay.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use x_msrv_engine::{
    BoxFuture,
    dead_letter::{Letter, NOT_REPLAYED, filter::Filter, replayed},
    decode::Rejection,
    message::{Message, Origin},
    source::{Publisher, SourceError},
};
use x_msrv_frontend::commands::dead::replay::{Replayed, letters};

/// As a body, the bytes come back from a letter. As a file, each letter in them is sent once, however often the queue fails in between, and is
/// marked; nothing else is touched.
pub(crate) fn check(bytes: &[u8]) {
    comes_back_from_a_letter(bytes);
    let mut file = tempfile::tempfile_in(memory()).expect("a file");
    file.write_all(bytes).expect("written");
    let first = bytes.len() % 2;
    let mut queue = Queue { sent: Vec::new(), calls: 0, fails: first..first + bytes.len() % 3 };
    let mut ended = replay(&file, &mut queue);
    for _ in 0..2 {
        ended = if ended.is_err() { replay(&file, &mut queue) } else { ended };
    }
    let after = content(&file);
    let expected = Expected::of(bytes);
    assert_eq!(queue.sent, expected.sent, "each letter once, and in their order");
    assert!(after == expected.after, "only marks are written:\n{}\n{}", after.escape_ascii(), expected.after.escape_ascii());
    match ended {
        Ok(Replayed { sent, before, no_letters }) => assert_eq!((sent + before, no_letters), (expected.letters, expected.no_letters)),
        Err(_) => assert!(expected.letters == 0, "no letter is given up"),
    }
    if let Ok(again) = replay(&file, &mut queue) {
        assert_eq!((again.sent, again.before), (0, expected.letters));
    }
    assert_eq!((queue.sent.len(), content(&file) == after), (expected.sent.len(), true), "a second replay does nothing");
}

fn comes_back_from_a_letter(body: &[u8]) {
    let message =
        Message { origin: Origin::new("t@h:1"), id: "0a".into(), body: Bytes::copy_from_slice(body), attempts: 1, published: None };
    let letter = Letter::new(&message, &Rejection::NotJson(String::from_utf8_lossy(body).into_owned()), SystemTime::UNIX_EPOCH);
    let mut line = Vec::new();
    letter.write_line(&mut line).expect("a Vec takes it");
    let line = String::from_utf8(line).expect("JSON is text");
    assert!(line.as_bytes().starts_with(NOT_REPLAYED) && line.find('\n') == Some(line.len() - 1), "{line}");
    assert_eq!(serde_json::from_str::<Letter>(&line).expect("a letter"), letter);
    assert_eq!(letter.body.to_bytes().as_deref(), Ok(body));
}

/// A folder that costs no disk, where there is one.
fn memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

fn replay(file: &File, queue: &mut Queue) -> Result<Replayed, String> {
    let mut start = file;
    start.rewind().expect("a file");
    let not_replayed = Filter { replayed: Some(false), ..Filter::default() };
    let mut replayed = Replayed::default();
    let ended = letters(file, Path::new("letters"), &not_replayed, SystemTime::UNIX_EPOCH, queue, &mut replayed)
        .now_or_never()
        .expect("this queue answers at once");
    ended.map(|()| replayed).map_err(|error| error.to_string())
}

fn content(file: &File) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(file.metadata().expect("a file").len()).expect("a small file")];
    file.read_exact_at(&mut content, 0).expect("read");
    content
}

/// A queue that refuses some of the batches.
struct Queue {
    sent: Vec<Bytes>,
    calls: usize,
    fails: Range<usize>,
}

impl Publisher for Queue {
    fn publish<'a>(&'a mut self, bodies: &'a [Bytes]) -> BoxFuture<'a, Result<(), SourceError>> {
        let fails = self.fails.contains(&self.calls);
        self.calls += 1;
        if !fails {
            self.sent.extend_from_slice(bodies);
        }
        let error = || SourceError::Refused { place: "a queue".into(), fault: "that is how it is".into() };
        Box::pin(std::future::ready(if fails { Err(error()) } else { Ok(()) }))
    }
}

/// What has to come of a file: lines that are JSON with all that belongs to a letter.
struct Expected {
    letters: usize,
    no_letters: u64,
    sent: Vec<Bytes>,
    after: Vec<u8>,
}

impl Expected {
    fn of(bytes: &[u8]) -> Self {
        let mut expected = Self { letters: 0, no_letters: 0, sent: Vec::new(), after: bytes.to_vec() };
        let mut offset = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let letter = serde_json::from_slice::<Letter>(line).ok();
            let body = letter.as_ref().and_then(|letter| letter.body.to_bytes().ok());
            match letter.zip(body) {
                Some((Letter { replayed: Some(time), .. }, _))
                    if time.len() == 24 && line.starts_with(format!(r#"{{"replayed":"{time}""#).as_bytes()) =>
                {
                    expected.letters += 1;
                }
                Some((Letter { replayed: None, .. }, body)) if line.starts_with(NOT_REPLAYED) => {
                    expected.letters += 1;
                    expected.sent.push(body.into());
                    expected.after[offset..offset + NOT_REPLAYED.len()].copy_from_slice(&replayed(SystemTime::UNIX_EPOCH));
                }
                _ => expected.no_letters += 1,
            }
            offset += line.len();
        }
        expected
    }
}
