#![no_main]

#[path = "../../tests/it/corpus/body.rs"]
mod body;
#[path = "../../tests/it/corpus/grammar.rs"]
mod grammar;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::check(bytes));
