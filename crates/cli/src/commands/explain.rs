//! `x-msrv explain`
//!
//! Explains the words in the results of runs and what to do about them. The words are those of `exit`,
//! `budget`, `decode` and `history`; a test compares them.

use std::io::{self, Write as _};

use super::{CommandError, written};
use crate::{cli::ExplainArgs, pipeline::Pipeline};

/// The width of the text in columns.
const WIDTH: usize = 80;

/// A word, its heading, its meaning, and what to do.
type Entry = (&'static str, &'static str, &'static str, &'static str);

const STARTED_AGAIN: &str = "The timer starts the next run, which tries again.";
const AFTER_CORRECTION: &str = "Then `x-msrv dead replay` sends the dead letters again, each once.";
const NOT_HERE: &str = "The publisher must correct the message and publish it again; a replay would be rejected again. `x-msrv dead show ID --body` shows the body.";

const ENTRIES: [Entry; 39] = [
    (
        "0",
        "exit code: everything that was received is settled",
        "N was reached, the queue was empty, time was up, or a signal arrived. Messages that could not be stored are settled as well: they are dead letters.",
        "Nothing. `rejected` in the summary of the run is the number of rejected messages.",
    ),
    (
        "1",
        "exit code of `status`: a warning",
        "The first line of its output names the problem.",
        "Resolve the problem that the line names.",
    ),
    (
        "2",
        "exit code: the command line is wrong; of `status`: critical",
        "The error on standard error names the part. No message was taken. Of `status`, 2 means critical.",
        "See `x-msrv --help`.",
    ),
    (
        "3",
        "exit code of `status`: pipeline state unknown",
        "Either the history contains no run yet, or the configuration or the history cannot be read, or `backlog` or `drain` was given and the last run could not determine the depth of the queue.",
        "Correct what the error names. The history is readable for root and the group x-msrv. nsqd reports the depth in its HTTP statistics.",
    ),
    (
        "65",
        "exit code: the queue refuses a message, or a message would be rejected",
        "`send` or `dead replay` tried to publish a message that the queue refuses, most often because it is too large: nsqd accepts 1 MiB by default (-max-msg-size). Earlier messages are in the queue; the error names the lines that are not. `try` exits with 65 if at least one line would be rejected.",
        "Send the other messages without it, or raise the queue's limit. `x-msrv explain REASON` explains the reasons that `try` shows.",
    ),
    (
        "66",
        "exit code: a file given to a command cannot be used",
        "The file is missing, not readable, or of the wrong type, or it already exists (`init`).",
        "Correct what the error names. Nothing was sent from the file, or only as much as the error says.",
    ),
    (
        "69",
        "exit code: the queue or the store cannot be reached",
        "Or the last connection to the queue was lost during the run. Either no message was taken, or the messages are delivered again.",
        "`x-msrv check --connect` shows what does not answer. The timer starts the next run, which tries again.",
    ),
    (
        "70",
        "exit code: a bug",
        "Either the program failed with an internal error: messages in flight are delivered again after the queue's message timeout. Like a run that was killed, such a run is missing from the history and the metrics; the alert XMsrvRunsMissing detects that. Or the report does not account for every received message: the report and the history contain both numbers.",
        "Report it with the lines from standard error or the journal, which include a backtrace if the program panicked.",
    ),
    (
        "74",
        "exit code: standard output cannot be written",
        "A disk is full, or a device is missing.",
        "Correct the output. A run never exits with 74: it logs a warning and exits with its own result.",
    ),
    (
        "75",
        "exit code: some messages are delivered again",
        "They were requeued because the store or the dead letter failed or is full, or because they arrived after the run had considered the queue empty; or it is unknown whether the queue received their settlement. No message is lost, and a message that is written again is the same record. `check --connect` exits with 75 if the store answers but accepts no records now, for example because a set is full; `dead replay` and `dead purge` do while another one is running.",
        "The warnings of the run name the cause: journalctl -u x-msrv. The timer starts the next run, which tries again.",
    ),
    (
        "78",
        "exit code: the configuration is wrong, or the store is not set up for it",
        "The error names the file and the key, or what the store reports about the namespace, set, table, login or permissions. No message was lost or settled.",
        "Correct it, then run `x-msrv check --connect`.",
    ),
    (
        "130",
        "exit code: a second SIGINT ended the run at once",
        "After the first one a run finishes what is in flight. Messages that were still in flight are delivered again after the queue's message timeout.",
        "Nothing.",
    ),
    (
        "143",
        "exit code: a second SIGTERM ended the run at once",
        "After the first one a run finishes what is in flight. Messages that were still in flight are delivered again after the queue's message timeout.",
        "Nothing.",
    ),
    (
        "limit-reached",
        "stop reason: N messages were taken",
        "More messages may be waiting.",
        "Nothing; the next run continues. If the queue grows, raise `max-messages` or start runs more often (`period`).",
    ),
    (
        "queue-empty",
        "stop reason: the queue is empty",
        "The queue's statistics show it, or the queue was silent for long enough and then confirmed that it had sent everything.",
        "Nothing.",
    ),
    (
        "deadline",
        "stop reason: the run's time was up",
        "No message was taken after `timeout`. Messages that were being stored were finished within `shutdown-timeout`; the others were returned to the queue at once.",
        "If this happens often, `timeout` is too short for `max-messages`, or the queue or the store is slow.",
    ),
    (
        "signal",
        "stop reason: SIGTERM or SIGINT",
        "Messages that were being stored were finished within `shutdown-timeout`; the others were returned to the queue at once.",
        "Nothing.",
    ),
    (
        "queue-closed",
        "stop reason: the connection to the queue was lost",
        "All connections to the queue were lost during the run. Messages that were not settled are delivered again. The exit code is 69.",
        STARTED_AGAIN,
    ),
    (
        "store-unavailable",
        "stop reason: the store accepted nothing of a whole batch",
        "The store has an outage, so no more messages were taken. This also applies if its first answers, and several of them, are all the same unknown error. The messages are delivered again after a delay that doubles with each attempt, up to five minutes. The exit code is 75.",
        "`x-msrv check --connect` shows whether the store answers. The timer starts the next run, which tries again.",
    ),
    (
        "store-setup",
        "stop reason: the store is not set up as required",
        "The namespace, set, table, login or permissions prevent that anything is stored. Or the store refused the first records, and several of them, all for the same reason, which is then not a fault of the records. All messages were returned to the queue at once. The exit code is 78.",
        "Correct what the error names, then run `x-msrv check --connect`.",
    ),
    (
        "failed",
        "stop reason, in the history and in metrics: the run could take no message",
        "The queue or the store was not reached, or it is not set up as configured. The exit code shows which.",
        "`x-msrv status` shows the last error. `x-msrv check --connect` tries without taking a message.",
    ),
    (
        "not-json",
        "reason of a dead letter: the body is not JSON",
        "It violates RFC 8259; `detail` contains the line and the column of the first error.",
        NOT_HERE,
    ),
    (
        "not-object",
        "reason of a dead letter: the body is not a JSON object",
        "It is an array, text, a number, true, false or null. A record consists of the fields of an object.",
        NOT_HERE,
    ),
    (
        "duplicate-field",
        "reason of a dead letter: duplicate field in an object",
        "Or the section `fields` of the configuration gives two fields the same name. One of the two values would be lost. `detail` names the field.",
        "If `fields` is the cause, change the names there. Otherwise the publisher must correct the message and publish it again.",
    ),
    (
        "too-deep",
        "reason of a dead letter: more than 128 levels of arrays and objects",
        "`detail` contains the position.",
        NOT_HERE,
    ),
    (
        "too-large",
        "reason of a dead letter: the body is larger than `max-message-size`",
        "The default is 1 MiB. `detail` contains both sizes. With `content-encoding: gzip` the limit also applies to the decompressed document. Or the names that `fields.flatten` joins would be over 16 times as long as the body.",
        "Raise `max-message-size` if the store accepts records of that size (Aerospike's max-record-size is 1 MiB by default).",
    ),
    (
        "bad-encoding",
        "reason of a dead letter: the gzip body is damaged",
        "It is truncated, its checksum does not match, or other bytes follow it; `detail` shows which. `content-encoding: gzip` accepts complete gzip bodies and uncompressed ones.",
        NOT_HERE,
    ),
    (
        "big-integer",
        "reason of a dead letter: an integer is outside the signed 64-bit range",
        "It could only be stored as a different number. `detail` names the field.",
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
        "`gid` is the field for the key of the record.",
        "Rename the field, by `fields.rename` for instance, or make it the key: `key: {field: /gid}`.",
    ),
    (
        "no-key",
        "reason of a dead letter: the field for the key has no valid key",
        "The configuration takes the key of a record from one or more fields (`key: {field: …}`, `key: {fields: […]}`). In this document the field is missing or empty, or neither text nor an integer.",
        "Change `key`, or have the publisher correct the message and publish it again.",
    ),
    (
        "no-set",
        "reason of a dead letter: the field for the set has no valid set",
        "The configuration takes the set from a field (`aerospike.set: {field: …, allowed: […]}`). In this document the field is missing, or its set is not allowed.",
        "Add the set to `allowed`, then run `x-msrv dead replay`. Otherwise the publisher must correct the message and publish it again.",
    ),
    (
        "no-ttl",
        "reason of a dead letter: the field for the TTL has no valid TTL",
        "The configuration takes the TTL of a record from a field (`aerospike.ttl: {field: …}`). In this document the field is missing, is not a whole number of seconds, or is over 3650 days.",
        "Set `aerospike.ttl.default` for messages without the field. Otherwise the publisher must correct the message and publish it again.",
    ),
    (
        "schema",
        "reason of a dead letter: the document does not match the configured schema",
        "`detail` contains the position in the document and what the schema requires there.",
        "Correct the file that `schema` names, or have the publisher correct the document.",
    ),
    (
        "refused",
        "reason of a dead letter: the store cannot hold this record",
        "For example, in Aerospike a field name of more than 15 bytes or a record over the namespace's max-record-size; in PostgreSQL or SQLite a constraint, a unique index or a trigger of your own table. `detail` contains the store's message.",
        "Raise the store's limit, or change the record with `fields`: for names that are too long, `rename` or `on-long-name: hash` (man x-msrv.yml).",
    ),
    (
        "no-reply",
        "reason of a dead letter: a request has no subject for its reply",
        "A request is settled by its reply, so it cannot be settled without a subject for the reply.",
        "Send requests with a subject for the reply.",
    ),
    (
        "no-route",
        "reason of a dead letter: no route matches the message",
        "No condition in `routes` matches it, and the last route has a condition.",
        "Add a route for it, or a last route without a condition.",
    ),
    (
        "last-delivery",
        "reason of a dead letter: the queue would have dropped the message",
        "It was the last delivery that the queue allows, and the message was not stored. `detail` names the cause. The run exits with 75.",
        "Remove the cause. Raise the queue's limit on deliveries if outages last longer.",
    ),
    (
        "too-many-attempts",
        "reason of a dead letter: the store failed on it repeatedly for an unknown reason",
        "It was rejected after `max-attempts` deliveries. A write may have succeeded nevertheless.",
        "`detail` contains the error of the store. A replay is a new message: if the key is derived from the message, as by default, it can become a second record.",
    ),
];

/// Returns all words that can be explained.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|(word, ..)| *word)
}

pub(super) fn explain(arguments: &ExplainArgs, pipeline: &Pipeline) -> Result<(), CommandError> {
    let text = match &arguments.word {
        None => ENTRIES.map(|(word, what, ..)| format!("{word:<19}{what}\n")).concat(),
        Some(word) => in_full(
            pipeline,
            ENTRIES.iter().find(|(known, ..)| known == word).expect("the command line accepts no other word"),
        ),
    };
    written(io::stdout().write_all(text.as_bytes()))
}

fn in_full(pipeline: &Pipeline, (word, what, meaning, next): &Entry) -> String {
    let is_for_replay = what.starts_with("reason") && *next != NOT_HERE && *word != "too-many-attempts";
    let next = if is_for_replay { format!("{next} {AFTER_CORRECTION}") } else { (*next).to_owned() };
    let paragraphs = [&format!("{word}: {what}."), *meaning, &format!("What to do: {next}")];
    paragraphs.map(|text| folded(&pipeline.instead_of_the_default(text))).join("\n")
}

/// Wraps a text into lines of at most [`WIDTH`] columns.
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
    fn exactly_the_words_in_the_results_of_runs_are_explained() {
        let codes = EXIT_CODES
            .lines()
            .skip(1)
            .flat_map(|line| line.trim_start().split("  ").next().unwrap_or_default().split(", "));
        let stops = StopReason::ALL.map(StopReason::as_str).into_iter().chain([FAILED]);
        let known: BTreeSet<&str> = codes.chain(stops).chain(Rejection::REASONS).collect();
        assert_eq!(words().collect::<BTreeSet<_>>(), known);
        assert_eq!(known.len(), ENTRIES.len(), "each is explained once");
        let page = include_str!("../../../../docs/dead-letters.md")
            .split("Reasons: ")
            .nth(1)
            .expect("the reasons")
            .split("\n\n")
            .next()
            .unwrap_or_default();
        let documented: BTreeSet<&str> =
            page.split('`').skip(1).step_by(2).filter(|word| *word != KEY_FIELD).collect();
        assert_eq!(documented, BTreeSet::from(Rejection::REASONS));
    }

    #[test]
    fn lines_fit_the_width_of_a_terminal() {
        for (_, what, meaning, next) in ENTRIES {
            for text in [what, meaning, next] {
                let folded = folded(text);
                assert!(folded.lines().all(|line| line.chars().count() <= WIDTH), "{folded}");
                assert_eq!(folded.trim_end().replace('\n', " "), text);
            }
        }
    }
}
