//! `x-msrv send`

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    CommandError,
    publish::{alive_until, publish},
    say,
};
use crate::{cli::SendArgs, config::Settings};
use x_msrv_core::source::Publisher;

/// The most messages published at once.
const MESSAGES_AT_ONCE: usize = 100;

/// The most bytes published at once; nsqd accepts 5 MiB by default.
const BYTES_AT_ONCE: usize = 1 << 20;

/// The longest line in bytes: the maximum of `max-message-size`.
pub(super) const LONGEST_LINE: u64 = 1 << 30;

pub(super) async fn send(settings: &Settings, arguments: &SendArgs) -> Result<(), CommandError> {
    let lines = open(arguments.input.file())?;
    let publisher = settings.source.publisher().await?;
    let mut sender = Sender { publisher, batch: Vec::new(), numbers: Vec::new(), bytes: 0, sent: 0 };
    let mut batches = read_in_background(lines);
    // Standard input can be read only once, so lines to be repeated are kept.
    let mut kept = Vec::new();
    while let Some(batch) = alive_until(&*sender.publisher, batches.recv()).await {
        let batch = batch.map_err(|cause| file_error(arguments.input.file(), "read", cause))?;
        if arguments.count > 1 {
            kept.extend_from_slice(&batch);
        }
        if arguments.count > 0 {
            for (number, line) in batch {
                sender.add(number, line).await?;
            }
            sender.flush().await?;
        }
    }
    for _ in 1..arguments.count {
        for (number, line) in &kept {
            sender.add(*number, line.clone()).await?;
        }
    }
    sender.flush().await?;
    say(&format!("messages sent: {}", sender.sent));
    Ok(())
}

/// Lines that are not empty, with their numbers.
type Batch = Vec<(u64, Bytes)>;

/// Reads in a thread: a read of standard input cannot be cancelled, and the connection to the queue has to be
/// kept alive while a program such as `tail -f` writes nothing.
fn read_in_background(mut lines: Lines) -> mpsc::Receiver<io::Result<Batch>> {
    let (read, batches) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut number = 0;
        loop {
            let batch = next_batch(&mut lines, &mut number);
            let is_last = batch.as_ref().map_or(true, Vec::is_empty);
            // Without a receiver, publishing has failed.
            if read.blocking_send(batch).is_err() || is_last {
                return;
            }
        }
    });
    batches
}

/// Returns the next line and those that can be read without waiting, at most as many as are published at once;
/// nothing at the end.
fn next_batch(lines: &mut Lines, number: &mut u64) -> io::Result<Batch> {
    let (mut batch, mut bytes) = (Batch::new(), 0);
    while let Some(line) = next_line(lines, LONGEST_LINE, number)? {
        bytes += line.len();
        batch.push((*number, line));
        let is_full = batch.len() == MESSAGES_AT_ONCE || bytes >= BYTES_AT_ONCE;
        if is_full || !has_line(lines.buffer()) {
            break;
        }
    }
    Ok(batch)
}

/// Returns whether text contains a complete line that is not empty.
fn has_line(text: &[u8]) -> bool {
    let end = text.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    text[..end].iter().any(|byte| !matches!(byte, b'\n' | b'\r'))
}

pub(super) type Lines = BufReader<Box<dyn Read + Send>>;

pub(super) fn open(path: &Path) -> Result<Lines, CommandError> {
    let file: Box<dyn Read + Send> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|cause| file_error(path, "open", cause))?)
    };
    Ok(BufReader::with_capacity(1 << 16, file))
}

pub(super) fn file_error(path: &Path, attempt: &'static str, cause: io::Error) -> CommandError {
    CommandError::File { name: path.display().to_string(), attempt, cause: cause.into() }
}

/// Returns the next line that is not empty, without its end. It need not be UTF-8. `number` counts all lines.
pub(super) fn next_line(
    lines: &mut impl BufRead,
    longest: u64,
    number: &mut u64,
) -> io::Result<Option<Bytes>> {
    loop {
        let mut line = Vec::new();
        if lines.take(longest + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        *number += 1;
        if line.len() as u64 > longest && !line.ends_with(b"\n") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("line {number} is longer than {longest} bytes"),
            ));
        }
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        if !line.is_empty() {
            return Ok(Some(line.into()));
        }
    }
}

struct Sender {
    publisher: Box<dyn Publisher>,
    batch: Vec<Bytes>,
    /// The line numbers of the batch.
    numbers: Vec<u64>,
    bytes: usize,
    sent: usize,
}

impl Sender {
    async fn add(&mut self, number: u64, message: Bytes) -> Result<(), CommandError> {
        if self.batch.len() == MESSAGES_AT_ONCE || self.bytes + message.len() > BYTES_AT_ONCE {
            self.flush().await?;
        }
        self.bytes += message.len();
        self.batch.push(message);
        self.numbers.push(number);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), CommandError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let results = publish(&*self.publisher, &self.batch).await;
        self.sent += results.iter().filter(|result| result.is_ok()).count();
        let mut failed =
            self.numbers.iter().zip(results).filter_map(|(line, result)| Some((line, result.err()?)));
        if let Some((line, fault)) = failed.next() {
            let others = failed.count();
            let lines =
                if others == 0 { format!("line {line}") } else { format!("line {line} and {others} others") };
            let done = format!("messages sent: {}, then it failed at {lines}", self.sent);
            return Err(CommandError::Partly { done, cause: Box::new(fault.into()) });
        }
        self.batch.clear();
        self.numbers.clear();
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a line that is followed by empty ones would wait for the next one.
    #[test]
    fn only_what_can_be_read_without_waiting_is_in_one_batch() {
        let mut lines: Lines = BufReader::new(Box::new(&b"1\n\n2\r\n\n\r\n3"[..]));
        let mut number = 0;
        let mut next = || next_batch(&mut lines, &mut number).expect("read");
        assert_eq!(next(), [(1, Bytes::from("1")), (3, Bytes::from("2"))]);
        assert_eq!(next(), [(6, Bytes::from("3"))]);
        assert_eq!(next(), []);
    }

    /// Otherwise `send` of input without line ends, such as /dev/zero, uses all memory.
    #[test]
    fn a_line_without_an_end_is_an_error_and_the_longest_allowed_line_is_sent() {
        let (mut lines, mut number) = (&b"1234\r\n\n12345\n123456"[..], 0);
        let mut line =
            |lines: &mut &[u8]| next_line(lines, 5, &mut number).map_err(|error| error.to_string());
        assert_eq!(line(&mut lines), Ok(Some(Bytes::from("1234"))));
        assert_eq!(line(&mut lines), Ok(Some(Bytes::from("12345"))));
        assert_eq!(line(&mut lines), Err("line 4 is longer than 5 bytes".to_owned()));
        assert_eq!(next_line(&mut &b"\n"[..], 5, &mut 0).expect("read"), None);
    }
}
