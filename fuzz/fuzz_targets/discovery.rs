#![no_main]

#[path = "../../tests/it/corpus/discovery.rs"]
mod discovery;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| discovery::check(bytes));
