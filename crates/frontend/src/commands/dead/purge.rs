//! `x-msrv dead purge`

use std::path::Path;

use super::{NoLetters, each_letter, file_error, files, list::Found, lock_folder, none_at_all, topic};
use crate::{
    cli::DeadPurgeArgs,
    commands::{CommandError, say},
    config::Settings,
};
use x_msrv_engine::{
    dead_letter::{
        filter::Filter,
        letters::{self, Line},
    },
    state_file,
};

pub(super) async fn purge(settings: &Settings, arguments: &DeadPurgeArgs) -> Result<(), CommandError> {
    let (filter, mut found) = (arguments.which.filter(), Found::default());
    for path in files(settings, &arguments.which.select) {
        if arguments.dry_run {
            each_letter(&path, |letter| {
                if filter.matches(&letter) {
                    found.add(letter, 0);
                }
            })?;
        } else {
            from_file(&path, &filter, &mut found).await?;
        }
    }
    if let Some(source) = topic::open(settings, &arguments.which.select).await? {
        let mut letters = topic::Letters::start(source, arguments.dry_run).await?;
        loop {
            let taken = letters.next(&filter).await;
            if taken.is_empty() {
                break;
            }
            let mut done = Vec::new();
            for (delivery, letter) in taken {
                found.add(letter, 0);
                if arguments.dry_run {
                    letters.hold(delivery).await;
                } else {
                    done.push(delivery);
                }
            }
            letters.finish(done).await;
        }
        letters.close().await;
    }
    let verb = if arguments.dry_run { "that would be removed" } else { "removed" };
    say(&format!("letters {verb}: {}", found.summary()));
    Ok(())
}

/// Counts what goes under the lock by which runs append: what they add in between goes as well, or is not counted.
async fn from_file(path: &Path, filter: &Filter, found: &mut Found) -> Result<(), CommandError> {
    let _one_at_a_time = lock_folder(path)?;
    state_file::open_to_read(path).map_err(|cause| file_error(path, "open", cause))?; // what is not there is not made
    let (mut others, mut count) = (NoLetters::new(path), 0);
    let purged = letters::purge(path, |place, line| {
        count += 1;
        match letters::parse(line) {
            Line::Letter(letter) => {
                let goes = filter.matches(&letter);
                if goes {
                    found.add(letter, 0);
                }
                goes
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
