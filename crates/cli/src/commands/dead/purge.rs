//! `x-msrv dead purge`

use std::path::Path;

use super::{
    NoLetters, confirmed, file_error, files,
    list::{Found, look},
    lock_folder, none_at_all, of_one_source, topic,
};
use crate::{
    cli::{DeadPurgeArgs, SelectArgs},
    commands::{CommandError, say},
    config::Settings,
};
use x_msrv_letters::{
    filter::Filter,
    letters::{self, Line},
};
use x_msrv_state::state_file;

pub(super) async fn purge(settings: &Settings, arguments: &DeadPurgeArgs) -> Result<(), CommandError> {
    let select = &arguments.which.select;
    let filter = of_one_source(settings, select, arguments.which.filter()).await?;
    let mut found = Found::default();
    let whole = if arguments.dry_run {
        look(settings, select, &filter, |letter| found.add(letter, 0)).await?
    } else {
        let removed = remove(settings, select, &filter, &mut found).await;
        removed.map_err(|cause| match cause {
            CommandError::Partly { .. } => cause,
            _ if found.is_empty() => cause,
            _ => CommandError::Partly {
                done: format!("letters removed: {}, then it failed", found.summary()),
                cause: Box::new(cause),
            },
        })?
    };
    let verb = if arguments.dry_run { "that would be removed" } else { "removed" };
    say(&format!("letters {verb}: {}{}", found.summary(), if whole { "" } else { topic::NOT_ALL }));
    Ok(())
}

/// Removes the selected letters from files and from the queue. Returns whether all were seen.
async fn remove(
    settings: &Settings,
    arguments: &SelectArgs,
    filter: &Filter,
    found: &mut Found,
) -> Result<bool, CommandError> {
    for (path, filter) in files(settings, arguments, filter)? {
        from_file(&path, &filter, found).await?;
    }
    let Some(source) = topic::open(settings, arguments).await? else { return Ok(true) };
    let mut letters = topic::Letters::start(source, false).await?;
    let mut removed = 0;
    let failure = loop {
        let taken = match letters.next(filter).await {
            Ok(taken) if taken.is_empty() => break None,
            Ok(taken) => taken,
            Err(cause) => break Some(cause),
        };
        let mut deliveries = Vec::with_capacity(taken.len());
        for (delivery, letter) in taken {
            found.add(letter, 0);
            deliveries.push(delivery);
        }
        removed += deliveries.len() as u64;
        letters.acknowledge(deliveries).await;
    };
    let whole = !letters.has_more;
    let closing = letters.close().await;
    match failure {
        Some(cause) => Err(cause),
        None => confirmed(&closing, removed, "removed").map(|()| whole),
    }
}

/// Counts the removed letters under the lock that runs take to append, so that a letter added meanwhile is
/// either removed and counted, or neither.
async fn from_file(path: &Path, filter: &Filter, found: &mut Found) -> Result<(), CommandError> {
    let _one_at_a_time = lock_folder(path)?;
    state_file::open_to_read(path).map_err(|cause| file_error(path, "open", cause))?; // a missing file must not be created
    let (mut others, mut count) = (NoLetters::new(path), 0);
    let purged = letters::purge(path, |place, line| {
        count += 1;
        match letters::parse(line) {
            Line::Letter(letter) => {
                let is_removed = filter.matches(&letter);
                if is_removed {
                    found.add(letter, 0);
                }
                is_removed
            }
            Line::NoLetter => {
                others.add(place.number);
                false
            }
        }
    });
    purged.await.map_err(|cause| file_error(path, "remove letters from", cause))?;
    none_at_all(path, count, others.count)
}
