#![no_main]

#[path = "../../tests/it/corpus/identify.rs"]
mod identify;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| identify::check(bytes));
