//! Tables in Markdown.

use x_msrv_core::adapter::{Adapter, Adapters, SourceFacts, StoreFacts};
use x_msrv_settings::{Key, Kind, Known, Presence, Word, join};

/// Returns the page with `table` between its markers.
///
/// # Panics
/// The page has no such markers.
pub(crate) fn between(page: &str, name: &str, table: &str) -> String {
    let marker = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&marker).unwrap_or_else(|| panic!("the page has no {marker}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("a generated table has an end marker");
    format!("{before}{marker}{table}<!-- end -->{after}")
}

/// Returns the text without backticks.
pub(crate) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// Returns the default of a key, with code in backticks; empty if there is none.
pub(crate) fn default(key: &Key) -> String {
    match key.presence {
        Presence::Required | Presence::Optional => String::new(),
        Presence::Default(text) => format!("`{text}`"),
        Presence::Words(words) => words.to_owned(),
    }
}

/// Returns the words of a choice at this path, including those of adapters.
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

/// Returns the short documentation of a key without a full stop: the first paragraph, and the words of a
/// choice.
pub(crate) fn meaning(known: &Known, path: &str, key: &Key) -> String {
    let meaning = key.doc.split("\n\n").next().unwrap_or_default().trim_end_matches('.');
    match words(known, path, &key.kind).join(", ") {
        words if words.is_empty() => meaning.to_owned(),
        words if meaning.contains(". ") => format!("{meaning}. One of {words}"),
        words => format!("{meaning}: {words}"),
    }
}

/// Calls `see` with each key that is documented and its path. A section that occurs twice is documented once: the
/// second time without its keys, and with the path of the first.
pub(crate) fn visit(known: &Known, see: &mut dyn FnMut(&str, &'static Key, Option<&str>)) {
    for (index, (below, keys)) in known.0.iter().enumerate() {
        let Some((first, _)) = known.0[..index].iter().find(|(_, other)| std::ptr::eq(*other, *keys)) else {
            Known(vec![(*below, *keys)]).visit(&mut |path, key| see(path, key, None));
            continue;
        };
        for key in *keys {
            see(&join(below, key.name), key, Some(&join(first, key.name)));
        }
    }
}

/// Returns the sentence about a section that has the keys of another one.
pub(crate) fn same_keys(first: &str) -> String {
    format!("It has the keys of `{first}`.")
}

/// Returns the reference: a row for each key.
pub(crate) fn settings(adapters: Adapters) -> String {
    let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    let known = x_msrv_config::known(adapters);
    visit(&known, &mut |path, key, first| {
        let name = match key.kind {
            Kind::Section(_) => format!("**`{path}`**"),
            _ => format!("`{path}`"),
        };
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            _ => default(key),
        };
        let mut meaning = meaning(&known, path, key);
        if let Some(first) = first {
            meaning += &format!(". {}", same_keys(first).trim_end_matches('.'));
        }
        table += &format!("| {name} | {default} | {} |\n", meaning.replace('|', "\\|"));
    });
    table
}

/// Returns the tables of what each queue and each store supports.
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
