//! Tables in Markdown.

use x_msrv_core::adapter::{Adapter, Adapters, SourceFacts, StoreFacts};
use x_msrv_settings::{Key, Kind, Known, Presence, Word};

/// The page with `table` between its markers.
///
/// # Panics
/// The page has no such markers.
pub(crate) fn between(page: &str, name: &str, table: &str) -> String {
    let marker = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&marker).unwrap_or_else(|| panic!("the page has no {marker}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("what is generated has an end");
    format!("{before}{marker}{table}<!-- end -->{after}")
}

/// Text without backticks.
pub(crate) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// What holds without a key, with code in backticks; empty where nothing does.
pub(crate) fn default(key: &Key) -> String {
    match key.presence {
        Presence::Required | Presence::Optional => String::new(),
        Presence::Default(text) => format!("`{text}`"),
        Presence::Words(words) => words.to_owned(),
    }
}

/// The words of a choice at this path, with those that adapters bring.
fn words(known: &Known, path: &str, kind: &Kind) -> Vec<String> {
    let Kind::Choice(words) = kind else { return Vec::new() };
    let form = |word: &Word| match word.value {
        None => format!("`{}`", word.name),
        Some((Kind::List(_), _)) => format!("`{{{}: […]}}`", word.name),
        Some(_) => format!("`{{{}: …}}`", word.name),
    };
    let of_adapters = known.0.iter().filter(|(below, _)| *below == path).flat_map(|(_, keys)| *keys);
    words.iter().map(form).chain(of_adapters.map(|key| format!("`{{{}: …}}`", key.name))).collect()
}

/// What a key means, in a few words and without a full stop: the first paragraph, and the words of a choice.
pub(crate) fn meaning(known: &Known, path: &str, key: &Key) -> String {
    let meaning = key.doc.split("\n\n").next().unwrap_or_default().trim_end_matches('.');
    match words(known, path, &key.kind).join(", ") {
        words if words.is_empty() => meaning.to_owned(),
        words if meaning.contains(". ") => format!("{meaning}. One of {words}"),
        words => format!("{meaning}: {words}"),
    }
}

/// The reference: a row for each key.
pub(crate) fn settings(adapters: Adapters) -> String {
    let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    let known = x_msrv_config::known(adapters);
    known.visit(&mut |path, key| {
        let name = match key.kind {
            Kind::Section(_) => format!("**`{path}`**"),
            _ => format!("`{path}`"),
        };
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            _ => default(key),
        };
        let meaning = meaning(&known, path, key);
        table += &format!("| {name} | {default} | {} |\n", meaning.replace('|', "\\|"));
    });
    table
}

/// What each queue and each store promises.
pub(crate) fn support(adapters: Adapters) -> String {
    let name = |adapter: &Adapter, section: &Key| {
        format!("{} (`{}`) | `{}`", adapter.name, section.name, adapter.feature)
    };
    let mut text =
        "| queue | feature | identity of a message | retry | \"empty\" is | TLS | login |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (adapter, role) in adapters.iter().filter_map(|adapter| Some((adapter, adapter.source.as_ref()?))) {
        let SourceFacts { identity, retry, proof_of_empty, tls, login, .. } = role.facts;
        let cells = [identity, retry, proof_of_empty, tls, login].join(" | ");
        text += &format!("| {} | {cells} |\n", name(adapter, &role.section));
    }
    text += "\n| store | feature | a repeated delivery | limits | TLS | login |\n|---|---|---|---|---|---|\n";
    for (adapter, role) in adapters.iter().filter_map(|adapter| Some((adapter, adapter.store.as_ref()?))) {
        let StoreFacts { idempotence, limits, tls, login, .. } = role.facts;
        let cells = [idempotence, limits, tls, login].join(" | ");
        text += &format!("| {} | {cells} |\n", name(adapter, &role.section));
    }
    text
}
