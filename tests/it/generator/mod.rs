//! The generator: input is a tree of an administrator's files, output is a tree of drop-ins. Each folder of
//! `fixtures` is one case: `root` is the input, `expected` the output, and `expected/warnings` the warnings.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use x_msrv::adapters;
use x_msrv_cli::generator::generate;

use crate::support::project;

/// All files below a folder, by their relative paths.
fn tree(top: &Path) -> BTreeMap<String, String> {
    fn walk(top: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                walk(top, &entry, files);
            } else {
                let name = entry.strip_prefix(top).expect("below").display().to_string();
                files.insert(name, fs::read_to_string(&entry).expect("text"));
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(top, top, &mut files);
    files
}

/// Otherwise a timer could run with the wrong period, or override an administrator's settings.
#[test]
fn each_tree_of_files_becomes_the_expected_drop_ins_and_warnings() {
    let fixtures = project().join("tests/it/generator/fixtures");
    let mut cases: Vec<_> =
        fs::read_dir(fixtures).expect("fixtures").map(|case| case.expect("a case").path()).collect();
    cases.sort();
    assert!(cases.len() >= 8, "{cases:?}");
    for case in cases {
        let output = TempDir::new().expect("a folder");
        let root = case.join("root");
        let warnings = generate(adapters::ALL, &root, output.path()).expect("it writes");
        let mut found = tree(output.path());
        if !warnings.is_empty() {
            let shown = warnings.join("\n").replace(&root.display().to_string(), "");
            found.insert("warnings".to_owned(), shown + "\n");
        }
        let expected =
            if case.join("expected").exists() { tree(&case.join("expected")) } else { BTreeMap::new() };
        assert_eq!(found, expected, "{}", case.display());
    }
}

/// Runs the program under the generator's name, as systemd does.
fn call(root: &Path, arguments: &[&Path]) -> std::process::Output {
    let folder = TempDir::new().expect("a folder");
    let name = folder.path().join("x-msrv-generator");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_x-msrv"), &name).expect("a symlink");
    Command::new(name)
        .args(arguments)
        .env("X_MSRV_TEST_ROOT", root)
        .stdin(Stdio::null())
        .output()
        .expect("it starts")
}

/// Otherwise one bad file would leave all other pipelines without drop-ins.
#[test]
fn the_program_under_the_generator_name_does_not_fail_on_a_bad_file() {
    let (root, output) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let folder = root.path().join("etc/x-msrv");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("bad.yml"), "nsq: [").expect("written");
    fs::write(folder.join("good.yml"), "period: 7s\nembedded-queue: {path: q}\nsqlite: {path: s, set: s}\n")
        .expect("written");
    let ended = call(root.path(), &[output.path(), Path::new("/nonexistent"), Path::new("/nonexistent")]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(
        said.starts_with("x-msrv-generator: ignored: ")
            && said.contains("/bad.yml: ")
            && said.lines().count() == 1,
        "{said}"
    );
    assert!(tree(output.path())["x-msrv@good.timer.d/00-period.conf"].ends_with("\nOnUnitActiveSec=7s\n"));
}

/// Otherwise a user who runs it by hand could write into the current folder.
#[test]
fn without_its_arguments_the_generator_writes_nothing() {
    let root = TempDir::new().expect("a folder");
    assert_eq!(call(root.path(), &[]).status.code(), Some(2));
    assert_eq!(call(root.path(), &[root.path(); 4]).status.code(), Some(2));
    assert_eq!(tree(root.path()).len(), 0);
}

/// Otherwise the generator, which runs as root, could overwrite a file elsewhere.
#[test]
fn a_symlink_in_place_of_a_drop_in_is_replaced_and_not_followed() {
    let (root, output) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    fs::create_dir_all(root.path().join("etc/x-msrv")).expect("a folder");
    fs::write(
        root.path().join("etc/x-msrv/a.yml"),
        "period: 7s\nembedded-queue: {path: q}\nsqlite: {path: s, set: s}\n",
    )
    .expect("written");
    let (folder, elsewhere) = (output.path().join("x-msrv@a.timer.d"), root.path().join("elsewhere"));
    fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, folder.join("00-period.conf")).expect("a symlink");
    for _ in 0..2 {
        generate(adapters::ALL, root.path(), output.path()).expect("it writes");
        assert!(!elsewhere.exists());
        assert_eq!(tree(output.path()).into_keys().collect::<Vec<_>>(), ["x-msrv@a.timer.d/00-period.conf"]);
    }
}
