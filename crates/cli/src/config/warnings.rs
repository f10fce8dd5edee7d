//! What works, and is not wise.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use super::{DeadLetterSettings, Settings, SourceSettings, paths};
use x_msrv_net::secret::Secret;

/// Secrets in files of their own that everybody can read, and certificates that nobody verifies.
pub(super) fn of(settings: &Settings) -> Vec<String> {
    let mut warnings = ephemeral(settings);
    for (section, _) in paths::tls_sections(settings).into_iter().filter(|(_, tls)| tls.insecure_skip_verify)
    {
        warnings.push(format!(
            "{section}.insecure-skip-verify: certificates are not verified, so an attacker on the network path can read and change everything"
        ));
    }
    for (key, secret) in paths::secrets(settings) {
        if let Secret::File(path) = secret
            && everybody_can_read(path)
        {
            warnings.push(in_the_open(path, &key));
        }
    }
    warnings
}

/// What names that end in `#ephemeral` cost.
fn ephemeral(settings: &Settings) -> Vec<String> {
    const CHANNEL: &str =
        "nsqd drops the channel, and all messages that a run leaves in it, when the run ends";
    const TOPIC: &str = "nsqd keeps its messages in memory only, drops those that do not fit, and drops the topic with its last channel";
    const LETTERS: &str =
        "nsqd drops the channel, and all dead letters that `x-msrv dead` leaves in it, when the command ends";
    let mut names = Vec::new();
    if let SourceSettings::Nsq(nsq) = &settings.source {
        names.push(("nsq.topic", nsq.topic.to_string(), nsq.topic.is_ephemeral(), TOPIC));
        names.push(("nsq.channel", nsq.channel.to_string(), nsq.channel.is_ephemeral(), CHANNEL));
    }
    if let DeadLetterSettings::Nsq(nsq, _) = &settings.dead_letter {
        names.push(("dead-letter.nsq.topic", nsq.topic.to_string(), nsq.topic.is_ephemeral(), TOPIC));
        names.push(("dead-letter.nsq.channel", nsq.channel.to_string(), nsq.channel.is_ephemeral(), LETTERS));
    }
    let ephemeral = names.into_iter().filter(|(_, _, is_ephemeral, _)| *is_ephemeral);
    ephemeral.map(|(key, name, _, cost)| format!("{key}: {name} is ephemeral: {cost}")).collect()
}

/// The warning of a secret that is in the open.
pub(super) fn in_the_open(path: &Path, key: &str) -> String {
    format!("{}: {key} is a secret, and everybody on this machine can read the file", path.display())
}

pub(super) fn everybody_can_read(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}
