//! SQLSTATE: the one place that says what each code means for a record. Pure.
//!
//! The codes are those of PostgreSQL's documentation, appendix A; most of them were measured against a real
//! server (`tests/it/postgres`).

use tokio_postgres::error::DbError;

/// What an error means for the records of the statement that it came for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One of the records is at fault.
    Refused,
    /// One of the records is at fault, or the table, which may be such that no record fits.
    Suspect,
    /// Fewer records in one statement may do; with one alone the server is in trouble.
    Fewer,
    /// The same, because of time. If one record alone takes too long, the others are not tried.
    Slow,
    /// Another session was in the way; the same statement may succeed at once.
    Again,
    /// The server is in trouble, or it is unknown what became of the statement.
    Unavailable,
    /// The set-up is wrong: no record can be written.
    Setup,
    /// A code that is not known; it may be one record.
    Unknown,
}

impl Verdict {
    /// Whether one record of several may have caused it alone.
    pub(crate) fn may_be_one_record(self) -> bool {
        matches!(self, Self::Refused | Self::Suspect | Self::Fewer | Self::Slow | Self::Unknown)
    }

    /// What it means for several records of which none is known to be at fault.
    pub(crate) fn of_several(self) -> Self {
        if self.may_be_one_record() { Self::Unknown } else { self }
    }
}

/// The verdict on an error of the server's.
pub(crate) fn verdict(error: &DbError) -> Verdict {
    // A policy of row-level security or a view's CHECK OPTION has the code of a missing privilege.
    if error.routine() == Some("ExecWithCheckOptions") {
        Verdict::Suspect
    } else if of_pool(error).is_some() {
        Verdict::Setup
    } else {
        of_code(error.code().code())
    }
}

/// What helps where pgbouncer is set up for something else. It has one code for all that it refuses.
fn of_pool(error: &DbError) -> Option<&'static str> {
    const REFUSALS: [(&str, &str); 5] = [
        ("startup parameter", "; in pgbouncer, set `ignore_startup_parameters = options`"),
        ("statement pooling", "; in pgbouncer, set `pool_mode` to transaction or session"),
        ("authentication failed", ""),
        ("no such ", ""),
        ("does not exist", ""),
    ];
    let refusal = REFUSALS.iter().find(|(words, _)| error.message().contains(words))?;
    (error.code().code() == "08P01").then_some(refusal.1)
}

/// Whether it is unknown what became of a statement. One that the server answers with an error changes nothing, but
/// for the codes that say so themselves, and for the end of the session, which may come between commit and answer.
/// Without an answer it may have been committed.
pub(crate) fn is_in_doubt(error: &tokio_postgres::Error) -> bool {
    let code = error.as_db_error().map(|answer| answer.code().code());
    code.is_none_or(|code| ["08", "57P", "40003"].iter().any(|prefix| code.starts_with(prefix)))
}

fn of_code(code: &str) -> Verdict {
    match code {
        // NUL in text; another row has the same value in another unique column; over what an index or the
        // stack takes. Whatever the table is like, other records fit.
        "22P05" | "22021" | "23505" | "54000" | "54001" => Verdict::Refused,
        // A configured limit is exceeded, such as `temp_file_limit`.
        "53400" => Verdict::Fewer,
        // `statement_timeout`: a table with slow triggers or indexes never takes a whole batch.
        "57014" => Verdict::Slow,
        // A conflict of serializable transactions, and a deadlock.
        "40001" | "40P01" => Verdict::Again,
        // One key twice, which two spellings of one value can be (a UUID's, say).
        "21000" => Verdict::Unknown,
        // A trigger raised an exception.
        "P0001" => Verdict::Suspect,
        // In use, lock not available, read-only after a failover, a transaction that failed or timed out, a file
        // that is damaged.
        // A statement that is missing or exists already: a pool has given us another connection.
        "55006" | "55P03" | "25006" | "25P02" | "25P03" | "26000" | "42P05" | "XX001" | "XX002" => {
            Verdict::Unavailable
        }
        "0A000" | "3D000" | "3F000" => Verdict::Setup,
        _ => match code.get(..2) {
            Some("22" | "23" | "44" | "54") => Verdict::Suspect,
            Some("08" | "40" | "53" | "57" | "58") => Verdict::Unavailable,
            Some("28" | "42") => Verdict::Setup,
            _ => Verdict::Unknown,
        },
    }
}

/// What the server says, for a person and without anything of the record.
pub(crate) fn told(error: &DbError) -> String {
    let code = error.code().code();
    let words = match code.get(..2) {
        // The author of the trigger chose the words, and may have put anything into them.
        Some("P0") => {
            let place = error.where_().and_then(|place| place.lines().next()).unwrap_or("a trigger");
            format!("an exception was raised: {place}")
        }
        // What stands in quotes are names.
        Some("08" | "23" | "25" | "28" | "3D" | "3F" | "40" | "42" | "44" | "53" | "55" | "57" | "58") => {
            error.message().to_owned()
        }
        _ => without_values(error.message()),
    };
    format!("{words} (SQLSTATE {code}){}", of_pool(error).unwrap_or_default())
}

/// Returns the value that an error about data quotes. It must not be shown.
pub(crate) fn value(error: &DbError) -> Option<&str> {
    let message = error.message();
    let (first, last) = (message.find('"')?, message.rfind('"')?);
    (error.code().code().starts_with("22") && first < last).then(|| &message[first + 1..last])
}

/// A message in which values stand in double quotes, without them.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &message[..=first], &message[last..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_known_has_the_verdict_of_the_design() {
        let table: [(&[&str], Verdict); 8] = [
            (&["22P05", "22021", "23505", "54000", "54001"], Verdict::Refused),
            (
                &[
                    "22001", "22003", "22007", "22008", "22012", "22023", "22026", "22P02", "23502", "23503",
                    "23514", "23P01", "44000", "54011", "P0001",
                ],
                Verdict::Suspect,
            ),
            (&["53400"], Verdict::Fewer),
            (&["57014"], Verdict::Slow),
            (&["40001", "40P01"], Verdict::Again),
            (
                &[
                    "08000", "08006", "25006", "25P02", "25P03", "26000", "40000", "40003", "42P05", "53000",
                    "53100", "53200", "53300", "55006", "55P03", "57P01", "57P02", "57P03", "57P05", "58030",
                    "XX001", "XX002",
                ],
                Verdict::Unavailable,
            ),
            (
                &[
                    "0A000", "28000", "28P01", "3D000", "3F000", "42501", "42601", "42703", "42804", "42883",
                    "428C9", "42P01", "42P10",
                ],
                Verdict::Setup,
            ),
            (&["21000", "38000", "39000", "P0000", "XX000", "ABCDE", ""], Verdict::Unknown),
        ];
        for (codes, verdict) in table {
            for code in codes {
                assert_eq!(of_code(code), verdict, "{code}");
            }
        }
    }

    /// A value with quotes of its own showed what stood between them.
    #[test]
    fn values_in_messages_are_hidden_with_all_quotes_in_them() {
        assert_eq!(
            without_values(r#"invalid input for type bigint: "a"b"c""#),
            r#"invalid input for type bigint: "…""#
        );
        assert_eq!(without_values("integer out of range"), "integer out of range");
    }
}
