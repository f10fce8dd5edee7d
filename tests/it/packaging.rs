//! The files shipped with the program agree with it and with each other; `make e2e` tests the packages.

use std::{fs, process::Command};

use serde_json::Value;

use crate::support::project;

fn text(path: &str) -> String {
    fs::read_to_string(project().join(path)).expect("it is shipped")
}

/// Otherwise a hardening option that is missing in one of two nearly equal units would go unnoticed.
#[test]
fn the_template_units_differ_from_the_plain_ones_in_the_name_only() {
    for kind in ["service", "timer"] {
        let template = text(&format!("systemd/x-msrv@.{kind}"));
        let instance = template
            .replace(" (%i)", "")
            .replace("/etc/x-msrv/%i.yml", "/etc/x-msrv/x-msrv.yml")
            .replace("=x-msrv/%i", "=x-msrv");
        assert_eq!(instance, text(&format!("systemd/x-msrv.{kind}")));
        assert!(!instance.contains('%'), "{instance}");
    }
}

/// Otherwise systemd could kill a run that is within its own time limits.
#[test]
fn the_service_allows_more_time_than_a_default_run_and_is_not_enabled_itself() {
    let service = text("systemd/x-msrv.service");
    assert!(!service.contains("[Install]"), "only the timer is enabled");
    assert!(service.contains("\nStartLimitIntervalSec=0\n"), "a short interval would reach a limit");
    let seconds = |key: &str| {
        let value =
            service.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')?.strip_suffix('s'));
        value.and_then(|value| value.parse::<u64>().ok()).expect("seconds")
    };
    let (connect, timeout, shutdown) = (2, 2, 5);
    assert!(
        seconds("TimeoutStartSec") > connect + timeout + shutdown && seconds("TimeoutStopSec") > shutdown
    );
}

/// Otherwise a package could be installed under a wrong version.
#[test]
fn the_packages_have_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("deb-spec/changelog").starts_with(&format!("x-msrv ({version}-1) ")));
    assert!(
        text("rpm-spec/x-msrv.spec").lines().any(|line| line.split_whitespace().eq(["Version:", version]))
    );
    assert!(
        text("rpm-spec/x-msrv.spec").contains(&format!("- {version}-1\n")),
        "the newest entry of the changelog"
    );
}

/// The man page once described `--dry-run` for `run` only, although other commands have it.
#[test]
fn every_option_of_a_command_is_in_its_section_of_the_man_page() {
    let page = text("man/x-msrv.1");
    let usages: Vec<_> = page
        .split(".SY \"x\\-msrv ")
        .skip(1)
        .filter_map(|rest| rest.split(".YS").next()?.split_once("\"\n"))
        .collect();
    assert!(usages.iter().any(|(command, _)| *command == "dead replay"), "{usages:?}");
    for (command, usage) in usages {
        let section = page
            .split(&format!("\n.SS {command}\n"))
            .nth(1)
            .and_then(|rest| rest.split("\n.S").next())
            .expect("a section");
        let options = usage.lines().filter_map(|option| {
            option.trim_start_matches('[').strip_prefix("\\fB\\-\\-")?.split("\\fP").next()
        });
        for option in options {
            assert!(section.contains(&format!("\n\\fB\\-\\-{option}\\fP")), "--{option} of {command}");
        }
    }
}

/// Only a user with the stated Rust version would notice a crate that needs a newer one.
#[test]
fn no_crate_needs_a_newer_rust_than_stated() {
    let arguments =
        ["metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(project()).output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata");
    let newest = |crates: &mut dyn Iterator<Item = &Value>| {
        let number = |part: &str| part.parse::<u32>().expect("a number");
        let version =
            |version: &str| version.split('.').map(number).chain([0, 0]).take(3).collect::<Vec<_>>();
        crates
            .filter_map(|one| {
                Some((version(one["rust_version"].as_str()?), one["name"].as_str()?.to_owned()))
            })
            .max()
            .expect("a crate")
    };
    let crates = metadata["packages"].as_array().expect("crates");
    let (ours, _) = newest(&mut crates.iter().filter(|one| one["name"] == "x-msrv"));
    let (theirs, name) = newest(&mut crates.iter());
    assert!(theirs <= ours, "{name} needs Rust {theirs:?}, we state {ours:?}");
}
