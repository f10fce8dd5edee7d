//! What whole runs cost, from the start of the program to its end, beside the ceilings of the same minute.
//! `test/bench` starts the servers and this.
//!
//! Machines are shared, and seconds on them are not worth much alone: each figure is a median with its
//! spread, and what matters is a ratio within one report.

mod ceiling;
mod measure;
mod report;
mod table;

#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
mod support;

/// As in the program itself, of which the ceilings are parts.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The Aerospike server that records go to, if there is one, as HOST:PORT.
const AEROSPIKE: &str = "X_MSRV_TEST_AEROSPIKE";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["measure", program, ref arguments @ ..] => measure::as_parent_of(program, arguments),
        ["consume", configuration] => ceiling::consume(configuration),
        ["store", configuration] => ceiling::store(configuration),
        [folder, runs] => {
            report::write(folder.as_ref(), &table::measure(runs.parse().expect("a number of runs")));
        }
        _ => panic!("test/bench starts this"),
    }
}
