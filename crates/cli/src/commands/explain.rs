//! `x-msrv explain`
//!
//! The words that a run leaves behind, each with what it means and what to do. They are those of `exit`,
//! `budget`, `decode` and `history`; a test holds them against this page.

use std::io::{self, Write as _};

use super::{CommandError, written};
use crate::{cli::ExplainArgs, pipeline::Pipeline};

/// Columns of the text.
const WIDTH: usize = 80;

/// A word, what it stands for, what it means, and what to do next.
type Entry = (&'static str, &'static str, &'static str, &'static str);

const STARTED_AGAIN: &str = "The timer starts the next run, which tries again.";
const AFTER_MENDING: &str = "When that is done, `x-msrv dead replay` sends dead letters again, each once.";
const NOT_HERE: &str = "Whoever publishes it has to mend it and to publish it again: a replay would be rejected again. `x-msrv dead show ID --body` shows what came.";

const ENTRIES: [Entry; 39] = [
    (
        "0",
        "exit code: everything that was received is settled",
        "N was reached, the queue was empty, time was up, or a signal came. What could not be stored counts as settled as well: it is a dead letter.",
        "Nothing. `rejected` in the run's summary says how many dead letters there are.",
    ),
    (
        "1",
        "exit code of `status`: a warning",
        "Its first line says what is not as it should be.",
        "What that line says.",
    ),
    (
        "2",
        "exit code: the command line is wrong; of `status`: critical",
        "The words on standard error say which part of it. No message was taken. Of `status`, 2 means that something is critical.",
        "See `x-msrv --help`.",
    ),
    (
        "3",
        "exit code of `status`: pipeline state unknown",
        "Either the history has no run yet, or the configuration or the history cannot be read, or `backlog` or `drain` was given and the last run could not determine the depth of the queue.",
        "Correct what the error names. The history is readable for root and the group x-msrv. nsqd reports the depth in its HTTP statistics.",
    ),
    (
        "65",
        "exit code: a message was refused by the queue, or would be rejected",
        "`send` or `dead replay` had one that the queue does not take, most often because it is too large: nsqd takes 1 MiB by default (-max-msg-size). What had gone before is in the queue; the error names the lines that are not. `try` ends like this when at least one line would be rejected.",
        "Send the others without it, or raise the queue's limit. `x-msrv explain` has the reasons that `try` names.",
    ),
    (
        "66",
        "exit code: a file given to a command cannot be used",
        "It is not there, may not be read, or is no file of the kind.",
        "Mend what the error names. Nothing was sent from it, or as much as the error says.",
    ),
    (
        "69",
        "exit code: the queue or the store cannot be reached",
        "Or no queue was left during the run. Nothing was taken, or what was taken comes again.",
        "`x-msrv check --connect` says who does not answer. The timer starts the next run, which tries again.",
    ),
    (
        "70",
        "exit code: a bug",
        "Either the program ended where it should not have: what was in flight comes again after the queue's message timeout, and the run, like one that is killed, is neither in the history nor in the metrics, of which the alert XMsrvRunsMissing sees that runs are too few. Or the report does not account for every message that was received: it and the history have both numbers.",
        "Report it with the lines on standard error or in the journal, which include a backtrace if the program panicked.",
    ),
    (
        "74",
        "exit code: standard output cannot be written",
        "A disk is full, or a device is not there.",
        "A run does not end with this: it warns, and its exit code says how it went.",
    ),
    (
        "75",
        "exit code: some messages come again",
        "They were given back because the store or the dead letter failed or is full, or because they arrived when the run had taken the queue for empty; or it is not known whether the queue took their settlement. None is lost; whatever is written again is the same record. `check --connect` ends like this where the store answers and takes no record now, as a full set does; `dead replay` and `dead purge` do while another one is under way.",
        "The warnings of the run name the cause: journalctl -u x-msrv. The timer starts the next run, which tries again.",
    ),
    (
        "78",
        "exit code: the configuration is wrong, or the store is not set up for it",
        "The error names the file and the key, or what the store says of namespace, set, login or rights. No message was lost or spent.",
        "Mend it, then `x-msrv check --connect`.",
    ),
    (
        "130",
        "exit code: a second SIGINT ended the run at once",
        "The first one lets a run finish what is under way. What was in flight comes again after the queue's message timeout.",
        "Nothing.",
    ),
    (
        "143",
        "exit code: a second SIGTERM ended the run at once",
        "The first one lets a run finish what is under way. What was in flight comes again after the queue's message timeout.",
        "Nothing.",
    ),
    (
        "limit-reached",
        "stop reason: N messages were taken",
        "More may wait.",
        "Nothing; the next run goes on. If the queue grows, raise `max-messages`, or let runs start more often (`period`).",
    ),
    (
        "queue-empty",
        "stop reason: nothing waits in the queue",
        "The queue's own statistics say so, or it was silent for long enough and then confirmed that it had sent everything.",
        "Nothing.",
    ),
    (
        "deadline",
        "stop reason: the run's time was up",
        "No message was taken after `timeout`. What was with the store was finished, within `shutdown-timeout`; the rest went back to the queue at once.",
        "If that happens often, `timeout` is too short for `max-messages`, or queue or store are slow.",
    ),
    (
        "signal",
        "stop reason: SIGTERM or SIGINT",
        "What was with the store was finished, within `shutdown-timeout`; the rest went back to the queue at once.",
        "Nothing.",
    ),
    (
        "queue-closed",
        "stop reason: the queue went away",
        "All connections to it were lost during the run. What was not settled comes again. The exit code is 69.",
        STARTED_AGAIN,
    ),
    (
        "store-unavailable",
        "stop reason: the store took nothing of a whole batch",
        "It is in trouble, so nothing more was taken. A store whose first answers, several of them, are all the same unknown error counts as in trouble as well. Its messages come again after a delay that doubles with each attempt, up to five minutes. The exit code is 75.",
        "`x-msrv check --connect` says whether the store answers. The timer starts the next run, which tries again.",
    ),
    (
        "store-setup",
        "stop reason: the store says that the set-up is wrong",
        "Namespace, set, login or rights are not such that anything could be stored; or it refused the first records, several of them, all for the same reason, which then is not theirs. Everything went back to the queue at once. The exit code is 78.",
        "Mend what the error names, then `x-msrv check --connect`.",
    ),
    (
        "failed",
        "stop reason, in the history and in metrics: the run could take no message",
        "The queue or the store was not reached, or the configuration does not fit them. The exit code says which.",
        "`x-msrv status` shows the last error. `x-msrv check --connect` tries without taking a message.",
    ),
    (
        "not-json",
        "reason of a dead letter: the body is not JSON",
        "It does not fit RFC 8259; `detail` names the line and the column of the first fault.",
        NOT_HERE,
    ),
    (
        "not-object",
        "reason of a dead letter: the body is no JSON object",
        "It is an array, a text, a number, true, false or null. A record is made of an object's fields.",
        NOT_HERE,
    ),
    (
        "duplicate-field",
        "reason of a dead letter: a field stands twice in one object",
        "Or two of the document's fields get one name by the configuration's section `fields`. One of the two values would be lost. `detail` names the field.",
        "Let `fields` name its fields otherwise, if that is where it comes from. Else whoever publishes it has to mend it and to publish it again.",
    ),
    (
        "too-deep",
        "reason of a dead letter: more than 128 levels of arrays and objects",
        "`detail` names where.",
        NOT_HERE,
    ),
    (
        "too-large",
        "reason of a dead letter: the body is larger than `max-message-size`",
        "1 MiB by default. `detail` has both sizes. With `content-encoding: gzip` the same limit is for the document in it. Or the names that `fields.flatten` joins would be 16 times as long as the body.",
        "Raise `max-message-size` if the store takes records of that size (Aerospike's max-record-size is 1 MiB by default).",
    ),
    (
        "bad-encoding",
        "reason of a dead letter: the body is compressed with gzip, and damaged",
        "It is truncated, its checksum does not match, or other bytes follow it; `detail` says which. `content-encoding: gzip` takes bodies that are whole, and those that are not compressed.",
        NOT_HERE,
    ),
    (
        "big-integer",
        "reason of a dead letter: an integer does not fit 64 bits with sign",
        "It could be stored only as another number. `detail` names the field.",
        "`big-integers: text` stores such integers as text.",
    ),
    (
        "huge-number",
        "reason of a dead letter: a number is too large for a 64-bit float",
        "It would become infinite. `detail` names the field.",
        NOT_HERE,
    ),
    (
        "reserved-field",
        "reason of a dead letter: there is a field `gid`",
        "That is where the record's key stands.",
        "Rename the field, by `fields.rename` for instance, or make it the key: `key: {field: /gid}`.",
    ),
    (
        "no-key",
        "reason of a dead letter: the field that is to be the key is no key",
        "The configuration makes a record's key of a field or of several (`key: {field: …}`, `key: {fields: […]}`), and this document has none there, or an empty one, or neither a text nor an integer.",
        "Let `key` be another. Else whoever publishes it has to mend it and to publish it again.",
    ),
    (
        "no-set",
        "reason of a dead letter: the field that names the record's set names none",
        "The configuration lets a field name the set (`aerospike.set: {field: …, allowed: […]}`), and this document has none there, or another than those that are allowed.",
        "Let `allowed` have it, then `x-msrv dead replay`. Else whoever publishes it has to mend it and to publish it again.",
    ),
    (
        "no-ttl",
        "reason of a dead letter: the field that says how long the record lives does not say that",
        "The configuration lets a field say it (`aerospike.ttl: {field: …}`), and this document has none there, or what is there is no whole number of seconds, or over 3650 days.",
        "`aerospike.ttl.default` is for messages without it. Else whoever publishes it has to mend it and to publish it again.",
    ),
    (
        "schema",
        "reason of a dead letter: the document does not fit the configured schema",
        "`detail` names the place in the document, and what the schema wants there.",
        "Mend the file that `schema` names, or let whoever publishes it mend the document.",
    ),
    (
        "refused",
        "reason of a dead letter: the store cannot hold this record",
        "In Aerospike for instance a field name of more than 15 bytes, or a record over the namespace's max-record-size; in SQLite a unique index, a constraint or a trigger of your own table. `detail` has the store's words.",
        "Raise the store's limit, or let `fields` change the record: it has `rename` and `on-long-name: hash` for names that are too long (man x-msrv.yml).",
    ),
    (
        "no-reply",
        "reason of a dead letter: a request does not say where its reply is expected",
        "In request and reply a message is settled by its reply, so one without a place for it cannot be.",
        "Send requests with a subject for the reply.",
    ),
    (
        "no-route",
        "reason of a dead letter: no route sends the message to a store",
        "None of the `routes` is for it, and the last one has a condition.",
        "Add a route for it, or a last one without a condition.",
    ),
    (
        "last-delivery",
        "reason of a dead letter: the queue would have dropped the message",
        "It was the last delivery that the queue allows, and the message was not stored. `detail` names the cause. The run exits with 75.",
        "Remove the cause. Raise the queue's limit on deliveries if outages last longer.",
    ),
    (
        "too-many-attempts",
        "reason of a dead letter: the store failed on it again and again, for a reason that is not known",
        "It was given up after `max-attempts` deliveries. A write may have arrived nevertheless.",
        "Find out from `detail` what the store had. A replay is a new message: where a record's key is made of the message, as by default, it can become a second record.",
    ),
];

/// All that can be explained.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|(word, ..)| *word)
}

pub(super) fn explain(arguments: &ExplainArgs, pipeline: &Pipeline) -> Result<(), CommandError> {
    let text = match &arguments.word {
        None => ENTRIES.map(|(word, what, ..)| format!("{word:<19}{what}\n")).concat(),
        Some(word) => in_full(
            pipeline,
            ENTRIES.iter().find(|(known, ..)| known == word).expect("the command line lets no other through"),
        ),
    };
    written(io::stdout().write_all(text.as_bytes()))
}

fn in_full(pipeline: &Pipeline, (word, what, meaning, next): &Entry) -> String {
    let is_for_replay = what.starts_with("reason") && *next != NOT_HERE && *word != "too-many-attempts";
    let next = if is_for_replay { format!("{next} {AFTER_MENDING}") } else { (*next).to_owned() };
    let paragraphs = [&format!("{word}: {what}."), *meaning, &format!("What to do: {next}")];
    paragraphs.map(|text| folded(&pipeline.instead_of_the_default(text))).join("\n")
}

/// The text in lines of at most [`WIDTH`] columns.
fn folded(text: &str) -> String {
    let (mut folded, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            folded.push('\n');
            column = 0;
        } else if column > 0 {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += width;
    }
    folded.push('\n');
    folded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::EXIT_CODES;
    use x_msrv_core::{budget::StopReason, decode::Rejection, record::KEY_FIELD};
    use x_msrv_history::FAILED;

    #[test]
    fn every_word_that_a_run_leaves_behind_is_explained_and_no_other() {
        let codes = EXIT_CODES
            .lines()
            .skip(1)
            .flat_map(|line| line.trim_start().split("  ").next().unwrap_or_default().split(", "));
        let stops = StopReason::ALL.map(StopReason::as_str).into_iter().chain([FAILED]);
        let known: BTreeSet<&str> = codes.chain(stops).chain(Rejection::REASONS).collect();
        assert_eq!(words().collect::<BTreeSet<_>>(), known);
        assert_eq!(known.len(), ENTRIES.len(), "each stands there once");
        let page = include_str!("../../../../docs/dead-letters.md")
            .split("Reasons: ")
            .nth(1)
            .expect("the reasons")
            .split("\n\n")
            .next()
            .unwrap_or_default();
        let told: BTreeSet<&str> =
            page.split('`').skip(1).step_by(2).filter(|word| *word != KEY_FIELD).collect();
        assert_eq!(told, BTreeSet::from(Rejection::REASONS));
    }

    #[test]
    fn lines_are_no_longer_than_a_terminal_is_wide() {
        for (_, what, meaning, next) in ENTRIES {
            for text in [what, meaning, next] {
                let folded = folded(text);
                assert!(folded.lines().all(|line| line.chars().count() <= WIDTH), "{folded}");
                assert_eq!(folded.trim_end().replace('\n', " "), text);
            }
        }
    }
}
