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

/// What a run would do with the waiting messages, as far as known without the store and the dead letter.
#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outlook {
    dry_run: bool,
    /// Whether the queue shows its messages.
    looked_at: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u64>,
    received: u64,
    stored: u64,
    rejected: u64,
    reasons: BTreeMap<&'static str, u64>,
}

/// Shows what a run would do with the waiting messages. Nothing is taken, stored or kept.
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

/// The number of rejected messages that are listed.
const REJECTS_SHOWN: usize = 20;

impl Outlook {
    fn text(&self, rejects: &[String]) -> String {
        let waiting = match self.waiting {
            Some(count) => format!("{} messages waiting", number(count)),
            None => "unknown number of messages waiting".to_owned(),
        };
        if !self.looked_at {
            return format!(
                "{waiting}; this queue shows messages only to a consumer that takes them, so their outcome is unknown"
            );
        }
        let Self { received, stored, rejected, .. } = *self;
        let [received, stored, rejected] = [received, stored, rejected].map(number);
        let mut text =
            format!("{waiting}; a run would take {received}: {stored} would be stored, {rejected} rejected");
        for line in rejects {
            text.push('\n');
            text.push_str(line);
        }
        text
    }
}
