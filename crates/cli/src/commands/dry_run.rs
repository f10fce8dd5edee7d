//! `x-msrv run --dry-run`

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use serde::Serialize;

use super::{CommandError, written};
use crate::{cli::ReportFormat, config::Settings};
use x_msrv_core::{message::Message, source::Peek};
use x_msrv_history::words::number;

/// What a run would do with what waits, as far as that is known before the store and the dead letter are
/// asked.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outlook {
    dry_run: bool,
    /// Whether messages could be looked at.
    looked_at: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u64>,
    received: u64,
    stored: u64,
    rejected: u64,
    reasons: BTreeMap<&'static str, u64>,
}

/// Looks at what waits, and says what a run would do; nothing is taken, stored or kept.
pub(super) async fn dry_run(settings: &Settings, report: Option<ReportFormat>) -> Result<(), CommandError> {
    let decoder = settings.decoder()?;
    let (mut outlook, mut rejects) = (Outlook { dry_run: true, ..Outlook::default() }, Vec::new());
    let limit = settings.limits.max_messages;
    let mut see = |message: &Message| {
        outlook.received += 1;
        match decoder.check_size(message).and_then(|()| decoder.decode(message)) {
            Ok(_) => outlook.stored += 1,
            Err(rejection) => {
                outlook.rejected += 1;
                *outlook.reasons.entry(rejection.reason()).or_default() += 1;
                if rejects.len() < REJECTS_SHOWN {
                    rejects.push(format!(
                        "  {} {}: {}: {rejection}",
                        message.origin,
                        message.id,
                        rejection.reason()
                    ));
                }
            }
        }
    };
    let peek = settings.source.peek(limit, &mut see).await?;
    (outlook.looked_at, outlook.waiting) = match peek {
        Peek::Messages { waiting } => (true, Some(waiting)),
        Peek::Hidden { waiting } => (false, waiting),
    };
    let text = if report == Some(ReportFormat::Json) {
        serde_json::to_string(&outlook).expect("text keys and numbers")
    } else {
        outlook.text(&rejects)
    };
    written(writeln!(io::stdout(), "{text}"))
}

/// Rejected messages that are named one by one.
const REJECTS_SHOWN: usize = 20;

impl Outlook {
    fn text(&self, rejects: &[String]) -> String {
        let waiting = match self.waiting {
            Some(count) => format!("{} messages wait in the queue", number(count)),
            None => "how many messages wait is not known".to_owned(),
        };
        if !self.looked_at {
            return format!(
                "{waiting}; what they are is not known, for this queue shows messages only to whoever takes them"
            );
        }
        let Self { received, stored, rejected, .. } = *self;
        let [received, stored, rejected] = [received, stored, rejected].map(number);
        let mut text = format!(
            "{waiting}; a run takes {received}: {stored} would go to the store, {rejected} to the dead letter"
        );
        for line in rejects {
            text.push('\n');
            text.push_str(line);
        }
        text
    }
}
