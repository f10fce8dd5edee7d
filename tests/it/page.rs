//! The report page in a real browser, opened by `test/page`.

use std::{
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    program::{Ended, Program},
    project,
};

const EMBEDDED: &str =
    "embedded-queue: {path: queue.db}\nsqlite: {path: store.db, set: s}\nmax-messages: 10\n";

/// The page as a browser sees it. Any complaint of the browser, and any visible defect, is a fault.
#[track_caller]
fn look(page: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(project().join("test/page"));
    let output = command
        .arg(page)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("test/prerequisites installs Python");
    let ended = Ended::from(output);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let seen: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    for complaints in ["console", "requests", "faults"] {
        assert_eq!(seen[complaints], json!([]), "{complaints} with {arguments:?}");
    }
    seen
}

#[track_caller]
fn write_page(program: &Program, arguments: &[&str]) -> std::path::PathBuf {
    let ended = program.run(&[&["history", "--html", "page.html"], arguments].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    program.path("page.html")
}

/// The figures by name, and the other contents of the page, as a browser has them.
const CONTENTS: &str = "(() => {
    const text = selector => document.querySelector(selector)?.textContent ?? null;
    const rows = selector => [...document.querySelectorAll(selector + ' tbody tr')].map(row => [...row.cells].map(cell => cell.textContent));
    return {
        figures: ['runs', 'failed', 'received', 'stored', 'rejected', 'backlog-now'].map(name => text('#' + name)),
        bars: ['stored', 'duplicate', 'requeued', 'rejected'].map(name => document.querySelectorAll('.plot rect.' + name).length),
        heights: [...document.querySelectorAll('.plot rect.stored')].map(bar => +bar.getAttribute('height')),
        runs: document.querySelectorAll('.plot circle.run').length,
        crosses: document.querySelectorAll('.plot use.failed').length,
        messages: rows('#messages').map(row => row.slice(1)), backlog: rows('#backlog').map(row => row.slice(1)),
        rejects: rows('#rejects'), reasons: rows('#stop-reasons').map(row => row.slice(0, 3)), failures: rows('#failures'),
        state: text('#state'), problems: text('#problems'), settings: text('#settings'), title: document.title, empty: text('.empty'),
        scripts: document.scripts.length, strangers: document.querySelectorAll('main script, main img, main [onload], main iframe').length,
    };
})()";

/// Text that is in the page can still be invisible in a browser.
#[test]
fn a_browser_shows_the_runs_with_and_without_script_in_light_and_dark_on_desktop_and_phone() {
    let path = "\"'&amp;<script>alert(1)</script>.db".replace('/', "");
    let program = Program::new(&format!(
        "embedded-queue: {{path: {path:?}}}\nsqlite: {{path: store.db, set: s}}\nmax-messages: 10\n"
    ));
    let lines: Vec<_> = (0..25).map(|number| format!("{{\"n\":{number}}}")).collect();
    assert_eq!(program.run_with_input(&["send"], lines.join("\n").as_bytes()).code, Some(0));
    program.run_with_input(
        &["send"],
        b"{\"<img src=x onerror=alert(1)>&\":1,\"<img src=x onerror=alert(1)>&\":2}\n[]\n{a\n{b\n",
    );
    (0..4).for_each(|_| drop(program.drain(&[])));
    let configuration = std::fs::read_to_string(program.path("x-msrv.yml")).expect("it is there");
    program.write("x-msrv.yml", &format!("{configuration}schema: nonesuch.json\n"));
    assert_eq!(program.run(&[]).code, Some(78));
    program.write("x-msrv.yml", &configuration);
    // As if the timer had started them: on a busy machine they may start at any time.
    let history = Connection::open(program.path("history.db")).expect("the history");
    assert_eq!(
        history.execute("UPDATE runs SET started_at = started_at - (6 - id) * 10000", []).expect("rows"),
        5
    );
    let page = write_page(&program, &[]);

    let light = look(&page, &["--eval", CONTENTS]);
    let shown = &light["value"];
    assert_eq!(shown["figures"], json!(["5", "1", "29", "25", "4", "0"]));
    assert_eq!(
        (&shown["bars"], &shown["heights"]),
        (&json!([3, 0, 0, 1]), &json!([180, 180, 90])),
        "as high as N, and as half of it"
    );
    assert_eq!((&shown["runs"], &shown["crosses"]), (&json!(4), &json!(1)));
    let messages = [
        ("limit-reached", 10, 10, 0),
        ("limit-reached", 10, 10, 0),
        ("queue-empty", 9, 5, 4),
        ("queue-empty", 0, 0, 0),
        ("failed", 0, 0, 0),
    ];
    let cells = |(reason, received, stored, rejected): &(&str, u64, u64, u64)| {
        json!([reason, received.to_string(), stored.to_string(), "0", "0", rejected.to_string()])
    };
    assert_eq!(shown["messages"], messages.iter().map(cells).collect::<Value>());
    assert_eq!(shown["backlog"], json!([["29", "19"], ["19", "9"], ["9", "0"], ["0", "0"], ["–", "–"]]));
    assert_eq!(
        shown["reasons"],
        json!([["limit-reached", "2", "40.0%"], ["queue-empty", "2", "40.0%"], ["failed", "1", "20.0%"]])
    );
    let rejects: Vec<_> =
        shown["rejects"].as_array().expect("rows").iter().map(|row| (&row[0], &row[1], &row[2])).collect();
    assert_eq!(rejects[0], (&json!("not-json"), &json!("2"), &json!("50.0%")));
    let detail = shown["rejects"].to_string();
    assert!(
        rejects.len() == 3 && detail.contains("<img src=x onerror=alert(1)>&"),
        "with the text of the message: {detail}"
    );
    assert_eq!((&shown["state"], &shown["title"]), (&json!("warning"), &json!("x-msrv: warning")));
    for (place, words) in [
        ("problems", "the last run ended with exit code 78: cannot use the schema"),
        ("failures", "cannot use the schema"),
        ("settings", path.as_str()),
    ] {
        let text = if shown[place].is_string() {
            shown[place].as_str().expect("text").to_owned()
        } else {
            shown[place].to_string()
        };
        assert!(text.contains(words), "{place}: {text}");
    }
    assert_eq!((&shown["scripts"], &shown["strangers"]), (&json!(1), &json!(0)));

    let dark = look(&page, &["--dark", "--width", "360", "--no-script", "--open", "--eval", CONTENTS]);
    assert_eq!(dark["value"], *shown, "the page is complete without a script");
    assert_ne!(dark["background"], light["background"]);
    look(&page, &["--width", "320"]);
}

/// Some users have neither a touch screen nor a pointer.
#[test]
fn the_values_of_a_chart_can_be_read_with_the_keyboard() {
    let program = Program::new(EMBEDDED);
    program.run_with_input(&["send"], b"{\"a\":1}\n[]\n");
    (0..2).for_each(|_| drop(program.drain(&[])));
    let read = "(() => {
        const plot = document.querySelector('#messages .plot'), tip = plot.querySelector('.tip');
        const press = key => { plot.dispatchEvent(new KeyboardEvent('keydown', { key })); return tip.hidden ? null : tip.innerText };
        plot.focus();
        return [document.activeElement === plot, ...['Home', 'ArrowRight', 'Escape'].map(press)];
    })()";
    let seen = look(&write_page(&program, &[]), &["--eval", read]);
    let read: Vec<_> = seen["value"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|text| text.as_str().unwrap_or_default().replace('\n', " "))
        .collect();
    assert_eq!(seen["value"][0], json!(true));
    assert!(
        read[1].ends_with("stop reason queue-empty received 2 stored 1 duplicate 0 requeued 0 rejected 1"),
        "{read:?}"
    );
    assert!(read[2].ends_with("received 0 stored 0 duplicate 0 requeued 0 rejected 0"), "{read:?}");
    assert_eq!(seen["value"][3], json!(null));
}

/// Otherwise labels would overlap, and the page would be wider than the window.
#[test]
fn many_runs_fit_on_a_phone_whatever_their_duration() {
    let program = Program::new(EMBEDDED);
    program.drain(&[]);
    // A backlog that grows to millions, unknown depths, failures, runs of minutes.
    let history = Connection::open(program.path("history.db")).expect("the history");
    let rows = "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 100000)
        INSERT INTO runs SELECT n + 1, CAST(unixepoch() AS INTEGER) * 1000 - (100001 - n) * 10000, n % 977 * 100000 + 3000, n % 50 / 49 * 69, 'limit-reached',
            n % 11, n % 11, 0, 0, 0, 0, 0, 0, n * 100, NULL, CASE WHEN n % 5000 > 300 THEN n * 17 END, NULL, 0, 0 FROM counted";
    assert_eq!(history.execute(rows, []).expect("rows"), 100_000);
    for since in ["30d", "1d", "61m", "5m", "70s"] {
        let page = write_page(&program, &["--since", since]);
        assert!(page.metadata().expect("a file").len() < 300_000, "{since}");
        let width = if since == "1d" { "1280" } else { "360" };
        let seen = look(
            &page,
            &[
                "--width",
                width,
                "--eval",
                "[document.querySelectorAll('#messages tbody tr').length, document.querySelector('#messages-note').textContent]",
            ],
        );
        let (bars, note) =
            (seen["value"][0].as_u64().expect("a number"), seen["value"][1].as_str().expect("text"));
        assert!((1..=200).contains(&bars), "{since}: {bars}");
        assert_eq!(note.ends_with("one run."), ["5m", "70s"].contains(&since), "{since}: {note}");
    }
}

/// Otherwise a new installation would show empty charts or fail.
#[test]
fn a_history_without_runs_is_a_page_that_reports_it() {
    let program = Program::new(EMBEDDED);
    let shown = &look(&write_page(&program, &["--since", "2h"]), &["--eval", CONTENTS])["value"];
    assert_eq!(
        (&shown["empty"], &shown["state"]),
        (&json!("No run started in the last 2 h."), &json!("unknown"))
    );
    assert!(shown["settings"].as_str().expect("text").contains("max-messages: 10"));
}

/// Otherwise a reader could see a half-written page, and a failed write would destroy the old one.
#[test]
fn the_page_replaces_the_old_one_completely_or_not_at_all() {
    let program = Program::new(EMBEDDED);
    program.write("page.html", "old");
    let before = program.path("page.html").metadata().expect("a file").ino();
    let page = write_page(&program, &[]);
    assert_ne!(page.metadata().expect("a file").ino(), before, "the file is replaced");
    let text = std::fs::read_to_string(&page).expect("the page");
    assert!(text.starts_with("<!DOCTYPE html>") && text.ends_with("</html>\n"));
    assert_eq!(program.run(&["history", "--html", "-"]).stdout.len(), text.len());
    let ended = program.run(&["history", "--html", "nonesuch/page.html"]);
    assert_eq!(ended.code, Some(66));
    assert!(
        ended.stderr.contains("cannot write the page nonesuch/page.html: No such file"),
        "{}",
        ended.stderr
    );
    assert_eq!(program.run(&["history", "--html", "."]).code, Some(66));
    assert_eq!(program.run(&["history", "--html", "page.html", "--json"]).code, Some(2));
    symlink("page.html", program.path("link.html")).expect("a link");
    assert_eq!(program.run(&["history", "--html", "link.html"]).code, Some(0));
    assert!(program.path("link.html").is_symlink() && !page.is_symlink(), "a link is still a link");
    let left = std::fs::read_dir(program.path(""))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name());
    assert_eq!(
        left.filter(|name| name.to_string_lossy().contains("page.html")).count(),
        1,
        "no temporary file remains"
    );
}

/// Otherwise, as root, `--html /dev/stdout` would replace the device with a file.
#[test]
fn a_target_that_is_no_regular_file_is_written_to_and_not_replaced() {
    let program = Program::new(EMBEDDED);
    let pipe = program.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("every system has it").success());
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::read_to_string(pipe).expect("the page"))
    };
    assert_eq!(program.run(&["history", "--html", "pipe"]).code, Some(0));
    assert!(pipe.metadata().expect("still there").file_type().is_fifo());
    assert!(reader.join().expect("it ends").ends_with("</html>\n"));
}
