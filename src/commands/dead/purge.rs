//! `x-msrv dead purge`

use super::{NoLetters, each_letter, file_error, files, list::Found, lock_folder, topic};
use crate::{
    cli::DeadPurgeArgs,
    commands::{CommandError, say},
    config::Settings,
    dead_letter::letters::{self, Line},
};

pub(super) async fn purge(settings: &Settings, arguments: &DeadPurgeArgs) -> Result<(), CommandError> {
    let (filter, mut found) = (arguments.filter(), Found::default());
    for path in files(settings, &arguments.select) {
        let _one_at_a_time = lock_folder(&path)?;
        let mut meant = 0_u64;
        each_letter(&path, |letter| {
            if filter.matches(&letter) {
                meant += 1;
                found.add(letter, 0);
            }
        })?;
        if meant == 0 || arguments.dry_run {
            continue; // a file of which nothing goes is left as it is
        }
        let mut others = NoLetters::new(&path);
        let purged = letters::purge(&path, |place, line| match letters::parse(line) {
            Line::Letter(letter) => filter.matches(&letter),
            Line::NoLetter => {
                others.add(place.number);
                false
            }
        });
        purged.await.map_err(|cause| file_error(&path, "remove letters from", cause))?;
    }
    if let Some(source) = topic::open(settings, &arguments.select).await? {
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
