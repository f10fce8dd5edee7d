//! The promises under faults: the program itself against real servers, through proxies that do what networks
//! do. `x_msrv_contract::faults` has the proxy, the schedules and the oracle.
//!
//! `docs/reliability.md` has the list. The program is the one that the tests are built with, or the one that
//! `X_MSRV_TEST_PROGRAM` names.

mod clock;
mod files;
mod hostile;
mod instances;
mod letters;
mod load;
mod lookup;
mod network;
mod nsqd;
mod paths;
mod postgres;
mod scene;
mod signals;
mod store;
mod witness;

use x_msrv_contract::faults::{Schedule, factor, proxy, setting};

/// Totals added up by hand would not match the rows of the table.
#[test]
fn the_table_of_schedules_adds_up_and_names_every_schedule() {
    let page = include_str!("../../../docs/reliability.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| test, `faults::`"))
        .skip(2)
        .take_while(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let (total, rows) = rows.split_last().expect("a table");
    let numbers = |row: &Vec<&str>| -> Vec<u64> {
        row[1..].iter().map(|cell| cell.replace(',', "").parse().expect("a number")).collect()
    };
    let sums = rows
        .iter()
        .map(numbers)
        .reduce(|sums, row| sums.iter().zip(row).map(|(sum, number)| sum + number).collect());
    assert_eq!((total[0], Some(numbers(total))), ("in all", sums));
    let tested: std::collections::BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let folder = crate::support::project().join("tests/it/faults");
    for entry in std::fs::read_dir(folder).expect("its folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        for name in text
            .split("Schedule::each(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|name| !name.is_empty())
        {
            assert!(tested.contains(name), "{name} is not in the table");
        }
    }
}
