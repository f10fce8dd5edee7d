//! What must be true for any bytes from outside. Each file here is one target: a fuzzer calls `check` with
//! generated input (`fuzz/`), and the tests below with every input of the committed corpus, which contains
//! every fault ever found.

mod body;
mod configuration;
mod discovery;
mod frames;
pub(crate) mod grammar;
mod identify;
mod replay;

use crate::support::project;

fn every_input_of(target: &str, mut check: impl FnMut(&[u8])) {
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

/// The network divides frames at any byte.
#[test]
fn frames_are_decoded_as_encoded_however_they_are_divided() {
    every_input_of("frames", frames::check);
}

/// Otherwise bytes of any other server could be used as limits of a connection.
#[test]
fn only_valid_answers_of_nsqd_make_a_connection() {
    every_input_of("identify", identify::check);
}

/// Otherwise a malformed answer could crash a run or overflow a count.
#[test]
fn any_answer_of_nsqlookupd_or_statistics_gives_addresses_and_numbers() {
    every_input_of("discovery", discovery::check);
}

/// Otherwise a body could be altered silently or crash a run.
#[test]
fn any_body_is_stored_as_sent_or_refused_with_the_right_reason() {
    every_input_of("body", body::check);
}

/// Otherwise a malformed configuration could show its secrets in the log, or `check` could show settings that
/// mean something else.
#[test]
fn any_configuration_is_loaded_or_refused_in_one_line_without_its_secrets() {
    let mut counts = configuration::Counts::default();
    every_input_of("configuration", |input| configuration::check(input, &mut counts));
    let is_mostly_compared = counts.compared >= 69 && counts.compared * 4 >= counts.loaded * 3;
    assert!(is_mostly_compared, "fewer settings than before are compared: {counts:?}");
}

/// Otherwise a replay of a damaged file could lose dead letters or send them twice.
#[test]
fn any_file_of_dead_letters_is_replayed_once_each_and_otherwise_unchanged() {
    every_input_of("replay", replay::check);
}
