//! What has to hold for any bytes from outside. Each file here is one target: `check` is called with what a
//! fuzzer makes up (`fuzz/`), and by the test below with every input of the committed corpus, which every
//! fault that was ever found is part of.

mod body;
mod configuration;
mod discovery;
mod frames;
pub(crate) mod grammar;
mod identify;
mod replay;

use crate::support::project;

fn every_input_of(target: &str, check: fn(&[u8])) {
    let folder = project().join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> =
        std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{target} has a corpus");
    for path in inputs {
        println!("{}", path.display()); // shown when it fails
        check(&std::fs::read(&path).expect("an input"));
    }
}

#[test]
fn frames_come_out_as_they_went_in_however_they_are_cut() {
    every_input_of("frames", frames::check);
}

#[test]
fn whatever_nsqd_answers_a_connection_is_made_only_by_its_own_words() {
    every_input_of("identify", identify::check);
}

#[test]
fn whatever_nsqlookupd_and_statistics_say_is_a_place_or_a_number() {
    every_input_of("discovery", discovery::check);
}

#[test]
fn whatever_a_body_holds_it_is_stored_as_it_was_sent_or_refused_for_a_reason_that_is_true() {
    every_input_of("body", body::check);
}

#[test]
fn whatever_stands_in_a_configuration_it_is_understood_or_refused_in_one_line_without_its_secrets() {
    every_input_of("configuration", configuration::check);
}

#[test]
fn whatever_stands_in_a_file_of_dead_letters_each_letter_is_sent_once_and_nothing_else_is_touched() {
    every_input_of("replay", replay::check);
}
