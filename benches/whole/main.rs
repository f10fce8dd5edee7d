//! Measures the cost of whole runs, from the start of the program to its exit, together with the ceilings
//! measured in the same minute. `test/bench` starts the servers and this program.
//!
//! Machines are shared, so seconds alone mean little: each figure is a median with its spread, and only
//! ratios within one report are comparable.

mod ceiling;
mod measure;
mod report;
mod table;

#[path = "../../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
mod support;

/// The same allocator as in the program itself: the ceilings are parts of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The Aerospike server that stores the records, if there is one, as HOST:PORT.
const AEROSPIKE: &str = "X_MSRV_TEST_AEROSPIKE";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["measure", program, ref arguments @ ..] => measure::as_parent_of(program, arguments),
        ["consume", configuration] => ceiling::consume(configuration),
        ["store", configuration] => ceiling::store(configuration),
        [folder, runs, ref before @ ..] => {
            let before = before.first().map(|before| (*before).to_owned());
            report::write(folder.as_ref(), &table::measure(runs.parse().expect("a number of runs"), before));
        }
        _ => panic!("test/bench starts this"),
    }
}
