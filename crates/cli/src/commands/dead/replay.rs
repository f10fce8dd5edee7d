//! `x-msrv dead replay`
//!
//! A published letter is marked with the time, in place in its file. The mark has the length of the text it
//! replaces, so the file may be appended to or renamed meanwhile. Letters without room for a mark, which were
//! written by another program, get it before any is published. The mark is written and synced after the queue
//! has acknowledged its batch; a process killed in between sends that batch again. A letter in a queue is
//! acknowledged there in the same order.

use std::{fs::File, io, path::Path, time::SystemTime};

use bytes::Bytes;
use log::warn;

use super::{
    NoLetters, confirmed, file_error, files,
    list::{Found, look},
    lock_folder, none_at_all, of_one_source, topic,
};
use crate::{
    cli::DeadReplayArgs,
    commands::{
        CommandError,
        publish::{alive_until, publish},
        say,
    },
    config::Settings,
    timer::Now,
};
use x_msrv_core::{
    message::Delivery,
    source::{Publisher, Source},
};
use x_msrv_letters::{
    filter::Filter,
    letters::{self, Line},
};

/// The most letters that are published and then marked at once.
const LETTERS_AT_ONCE: usize = 100;

/// The most bytes of bodies published at once; nsqd accepts 5 MiB by default.
const BYTES_AT_ONCE: usize = 1 << 20;

pub(super) async fn replay(settings: &Settings, arguments: &DeadReplayArgs) -> Result<(), CommandError> {
    let select = &arguments.which.select;
    let filter = of_one_source(settings, select, arguments.which.filter()).await?;
    if arguments.dry_run {
        let mut found = Found::default();
        let whole = look(settings, select, &filter, |letter| found.add(letter, 0)).await?;
        say(&format!(
            "letters that would be sent: {}{}",
            found.summary(),
            if whole { "" } else { topic::NOT_ALL }
        ));
        return Ok(());
    }
    let publisher = settings.source.publisher().await?;
    let mut replayed = Replayed::default();
    for (path, filter) in files(settings, select, &filter)? {
        // Lock first: a purge replaces the file, and marks in the old file would be lost.
        let locked = lock_folder(&path).map_err(|cause| replayed.until(cause))?;
        let file = match letters::open_to_mark(&path, |letter| filter.matches(letter)).await {
            // A run has renamed it since it was found; the next replay includes it.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && select.files().is_empty() => continue,
            opened => opened.map_err(|cause| replayed.until(file_error(&path, "open", cause)))?,
        };
        letters(&file, &path, &filter, Now::take().realtime, &*publisher, &mut replayed)
            .await
            .map_err(|cause| replayed.until(cause))?;
        drop(locked);
    }
    let mut whole = true;
    if let Some(source) = topic::open(settings, select).await.map_err(|cause| replayed.until(cause))? {
        whole = from_queue(source, &filter, &*publisher, &mut replayed)
            .await
            .map_err(|cause| replayed.until(cause))?;
    }
    let skipped = if replayed.no_letters > 0 {
        format!(", not dead letters: {}", replayed.no_letters)
    } else {
        String::new()
    };
    let more = if whole { "" } else { topic::NOT_ALL };
    say(&format!("letters sent: {}, sent before: {}{skipped}{more}", replayed.sent, replayed.before));
    Ok(())
}

/// The result of a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that were published and then marked or acknowledged.
    pub sent: usize,
    /// Letters that were not selected because they were already marked.
    pub before: usize,
    /// Lines or messages that are not dead letters.
    pub no_letters: u64,
}

impl Replayed {
    /// Adds what was done before an error.
    fn until(&self, cause: CommandError) -> CommandError {
        match cause {
            CommandError::Partly { .. } => cause,
            _ if self.sent == 0 => cause,
            _ => CommandError::Partly {
                done: format!("letters sent: {}, then it failed", self.sent),
                cause: Box::new(cause),
            },
        }
    }
}

/// Publishes the selected letters in `file`, which [`letters::open_to_mark`] returned, and marks them with
/// `time`. `path` is its name in messages. The result is added to `replayed`, also after an error.
///
/// # Errors
/// The file cannot be read or written, has lines but no letter, or the queue refuses a letter.
pub async fn letters(
    file: &File,
    path: &Path,
    filter: &Filter,
    time: SystemTime,
    publisher: &dyn Publisher,
    replayed: &mut Replayed,
) -> Result<(), CommandError> {
    let mut replay = Replay { publisher, file, path, time, batch: Batch::default(), replayed };
    let sent_or_not = Filter { replayed: None, ..filter.clone() };
    let (mut others, mut count) = (NoLetters::new(path), 0);
    for line in letters::lines(file).map_err(|cause| file_error(path, "read", cause))? {
        let (place, line) = line.map_err(|cause| file_error(path, "read", cause))?;
        count += 1;
        match letters::parse(&line) {
            Line::Letter(letter) if filter.matches(&letter) && !letters::has_room(&line) => {
                warn!(path = path.display().to_string(), line = place.number; "a dead letter arrived too late for this replay");
            }
            Line::Letter(letter) if filter.matches(&letter) => {
                let body = letter.body.to_bytes().expect("a letter is parsed with its body");
                replay.add(place.offset, body.into()).await?;
            }
            Line::Letter(letter) if letter.replayed.is_some() && sent_or_not.matches(&letter) => {
                replay.replayed.before += 1;
            }
            Line::Letter(_) => {}
            Line::NoLetter => others.add(place.number),
        }
    }
    replay.flush().await?;
    replayed.no_letters += others.count;
    none_at_all(path, count, others.count)
}

#[derive(Default)]
struct Batch {
    bodies: Vec<Bytes>,
    /// The offset of each letter's line.
    offsets: Vec<u64>,
    bytes: usize,
}

struct Replay<'a> {
    publisher: &'a dyn Publisher,
    file: &'a File,
    path: &'a Path,
    time: SystemTime,
    batch: Batch,
    replayed: &'a mut Replayed,
}

impl Replay<'_> {
    async fn add(&mut self, offset: u64, body: Bytes) -> Result<(), CommandError> {
        if self.batch.bodies.len() == LETTERS_AT_ONCE || self.batch.bytes + body.len() > BYTES_AT_ONCE {
            self.flush().await?;
        }
        self.batch.bytes += body.len();
        self.batch.bodies.push(body);
        self.batch.offsets.push(offset);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), CommandError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.bodies.is_empty() {
            return Ok(());
        }
        let results = publish(self.publisher, &batch.bodies).await;
        let sent: Vec<_> = batch
            .offsets
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_ok())
            .map(|(offset, _)| *offset)
            .collect();
        self.replayed.sent += sent.len();
        let marked = letters::mark_replayed(self.file, &sent, self.time);
        marked.map_err(|cause| {
            file_error(self.path, "mark the sent letters (a replay will send them again) in", cause)
        })?;
        Ok(results.into_iter().collect::<Result<(), _>>()?)
    }
}

/// Publishes the selected letters of a queue and acknowledges them there. Returns whether all were seen.
async fn from_queue(
    source: Box<dyn Source>,
    filter: &Filter,
    publisher: &dyn Publisher,
    replayed: &mut Replayed,
) -> Result<bool, CommandError> {
    let mut letters = topic::Letters::start(source, false).await?;
    let (mut acknowledged, mut failure) = (0, None);
    while failure.is_none() {
        let mut taken = match alive_until(publisher, letters.next(filter)).await {
            Ok(taken) if taken.is_empty() => break,
            Ok(taken) => taken,
            Err(cause) => {
                failure = Some(cause);
                break;
            }
        };
        while !taken.is_empty() {
            let (deliveries, bodies) = batch(&mut taken);
            let results = match failure {
                None => publish(publisher, &bodies).await,
                Some(_) => Vec::new(),
            };
            let mut results = results.into_iter().fuse();
            let mut sent = Vec::new();
            for delivery in deliveries {
                match results.next() {
                    Some(Ok(())) => sent.push(delivery),
                    Some(Err(fault)) => {
                        failure.get_or_insert(fault.into());
                        letters.hold(delivery).await;
                    }
                    None => letters.hold(delivery).await,
                }
            }
            acknowledged += sent.len();
            letters.acknowledge(sent).await;
        }
    }
    replayed.sent += acknowledged;
    replayed.no_letters += letters.others;
    let whole = !letters.has_more;
    let closing = letters.close().await;
    match failure {
        Some(cause) => Err(cause),
        None => confirmed(&closing, acknowledged as u64, "sent").map(|()| whole),
    }
}

/// Takes the letters of the next batch.
fn batch(taken: &mut Vec<topic::Taken>) -> (Vec<Delivery>, Vec<Bytes>) {
    let mut bytes = 0;
    let fits = |(_, letter): &&topic::Taken| {
        bytes += letter.body.len();
        bytes <= BYTES_AT_ONCE
    };
    let count = taken.iter().take(LETTERS_AT_ONCE).take_while(fits).count().max(1);
    let body = |(delivery, letter): topic::Taken| {
        (delivery, letter.body.to_bytes().expect("a letter is parsed with its body").into())
    };
    taken.drain(..count).map(body).unzip()
}
