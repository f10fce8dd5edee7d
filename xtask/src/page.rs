//! `man/x-msrv.yml.5`: its template with the keys filled in.

use x_msrv_core::adapter::Adapters;
use x_msrv_settings::{Key, Kind, Known, Presence, rounded_size};

use crate::{
    roff::{bold, escape, paragraphs},
    tables::{default, same_keys, visit},
};

pub(crate) fn page(template: &str, adapters: Adapters) -> String {
    assert!(template.contains("@KEYS@\n"), "the page has no @KEYS@");
    template.replace("@KEYS@\n", &keys(adapters))
}

fn keys(adapters: Adapters) -> String {
    let known = x_msrv_config::known(adapters);
    let (mut text, mut heading) = (String::new(), String::new());
    visit(&known, &mut |path, key, first| {
        let own = heading_of(adapters, &known, path);
        if own != heading {
            text += &format!(".SH {}\n", escape(&own));
            heading = own;
        }
        text += &format!(".TP\n.B {}\n{}", escape(path), entry(key));
        text += &first.map(|first| paragraphs(&same_keys(first))).unwrap_or_default();
    });
    text
}

/// Returns the heading of a key.
fn heading_of(adapters: Adapters, known: &Known, path: &str) -> String {
    let section = path.split('.').next().unwrap_or_default();
    let source = adapters.iter().filter_map(|adapter| Some(&adapter.source.as_ref()?.section));
    let store = adapters.iter().filter_map(|adapter| Some(&adapter.store.as_ref()?.section));
    let is = |key: &Key| key.name == section;
    match section {
        _ if source.clone().any(is) => format!("THE QUEUE: {}", section.to_uppercase()),
        _ if store.clone().any(is) => format!("THE STORE: {}", section.to_uppercase()),
        "dead-letter" => "DEAD LETTERS".to_owned(),
        "history" | "metrics" => "HISTORY AND METRICS".to_owned(),
        "log" => "THE LOG".to_owned(),
        "fields" => "FIELDS".to_owned(),
        _ if known.find(section).is_some() => "TOP LEVEL".to_owned(),
        _ => unreachable!("{path} is a key"),
    }
}

fn entry(key: &Key) -> String {
    let default = match key.presence {
        Presence::Required => ", required".to_owned(),
        Presence::Optional if matches!(key.kind, Kind::Section(_)) => String::new(),
        Presence::Optional => ", no default".to_owned(),
        _ => format!(", default {}", default(key)),
    };
    let first = format!("{}{}{default}.", what(&key.kind), bounds(key));
    let text = format!("{}{}", paragraphs(&first), paragraphs(key.doc));
    let Kind::Choice(words) = &key.kind else { return text };
    let word = |word: &x_msrv_settings::Word| {
        let tag = match word.value {
            None => bold(word.name),
            Some((kind, _)) => format!("{{{}:\\ \\fI{}\\fP}}", bold(word.name), placeholder(&kind)),
        };
        format!(".TP\n{tag}\n{}", paragraphs(word.doc))
    };
    format!("{text}.RS\n{}.RE\n", words.iter().map(word).collect::<String>())
}

fn placeholder(kind: &Kind) -> &'static str {
    match kind {
        Kind::List(_) => "LIST",
        Kind::Section(_) => "SECTION",
        _ => "VALUE",
    }
}

/// Returns the type of a value, with a capital letter.
fn what(kind: &Kind) -> String {
    match kind {
        Kind::Whole => "Number".to_owned(),
        Kind::Span => "Duration".to_owned(),
        Kind::Size => "Size".to_owned(),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Text => "Text".to_owned(),
        Kind::Address => "Address".to_owned(),
        Kind::Path { is_state: true } => "Path (relative to the state directory)".to_owned(),
        Kind::Path { is_state: false } => "Path (relative to the configuration's folder)".to_owned(),
        Kind::List(Kind::Address) => "List of addresses".to_owned(),
        Kind::List(_) => "List".to_owned(),
        Kind::Table(_) => "Map of names to values".to_owned(),
        Kind::Scalar => "Text, number, `true` or `false`".to_owned(),
        Kind::Secret { text_is_path: false } => "A secret (see SECRETS)".to_owned(),
        Kind::Secret { text_is_path: true } => {
            "A path, or a reference as for a secret (see SECRETS)".to_owned()
        }
        Kind::Choice(_) => "One of the words below".to_owned(),
        Kind::WordOr(words, other) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("{}, or a {}", words.join(", "), what(other).to_lowercase())
        }
        Kind::Section(_) => "A section".to_owned(),
        Kind::OnOr(_) => "`true`, `false` or a section".to_owned(),
        Kind::TextOr(text, _) => format!("{}, or a section", what(text)),
    }
}

fn bounds(key: &Key) -> String {
    let (min, max) = (key.bounds.min, key.bounds.max);
    match key.kind {
        Kind::Whole if min > 0 => format!(", at least {min}"),
        Kind::Size if max < u64::MAX => format!(", at most {}", rounded_size(max)),
        Kind::Span if min == 0 => ", or 0 s".to_owned(),
        _ => String::new(),
    }
}
