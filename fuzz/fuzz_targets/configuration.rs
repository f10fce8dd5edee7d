#![no_main]

#[path = "../../tests/it/corpus/configuration.rs"]
mod configuration;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    configuration::check(bytes, &mut configuration::Counts::default());
});
