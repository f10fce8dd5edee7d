//! The section `fields`: which fields of a message are stored, and under which names.

use std::sync::Arc;

use super::{
    StoreSettings,
    error::Fault,
    file::FieldsShape,
    scalar::{List, Table},
};
use x_msrv_aerospike::values::{MAX_BIN_NAME, check_name};
use x_msrv_core::{
    decode::{Metadata, OnLongName, Path, RuleFault, Rules, Shape},
    record::Value,
};

pub(super) fn parse(section: FieldsShape, store: &StoreSettings) -> Result<Arc<Shape>, Fault> {
    let entries = |table: Option<Table>| table.map(|Table(entries)| entries).unwrap_or_default();
    let mut rules = Rules {
        include: section.include.map(|List(paths)| paths),
        exclude: section.exclude.map(|List(paths)| paths).unwrap_or_default(),
        flatten: section.flatten,
        constant: entries(section.constant),
        on_long_name: section.on_long_name.unwrap_or_default(),
        ..Rules::default()
    };
    for (name, value) in entries(section.rename) {
        let fault = |fault| Fault::new(format!("fields.rename.{name}"), fault);
        let Value::Text(other) = value else {
            return Err(fault("the other name is wanted, as text".to_owned()));
        };
        rules.rename.push((name.parse::<Path>().map_err(fault)?, other));
    }
    for (name, value) in entries(section.metadata) {
        let known =
            Metadata::ALL.iter().find(|what| matches!(&value, Value::Text(text) if text == what.as_str()));
        let Some(what) = known else {
            let words = Metadata::ALL.map(Metadata::as_str).join(", ");
            return Err(Fault::new(format!("fields.metadata.{name}"), format!("one of {words} is wanted")));
        };
        rules.metadata.push((name, *what));
    }
    let (longest, check): (_, fn(&str) -> _) = match store {
        StoreSettings::Aerospike(_) => (Some(MAX_BIN_NAME), check_name),
        StoreSettings::Sqlite(_) => (None, |_| Ok(())),
    };
    let shape = Shape::new(rules, longest, check);
    shape.map(Arc::new).map_err(|RuleFault { key, fault }| Fault::new(format!("fields.{key}"), fault))
}

/// The section as it can be written: lists as elsewhere, names with their values as JSON.
pub(super) fn lines(shape: &Shape) -> Vec<(&'static str, String)> {
    let Rules { include, exclude, flatten, rename, constant, metadata, on_long_name } = shape.rules();
    let mut lines = Vec::new();
    lines.extend(include.as_ref().map(|paths| ("fields.include", list(paths))));
    lines
        .extend(Some(exclude).filter(|paths| !paths.is_empty()).map(|paths| ("fields.exclude", list(paths))));
    lines.extend(flatten.clone().map(|separator| ("fields.flatten", separator)));
    let mut table = |key, entries: Vec<(String, Value)>| {
        if !entries.is_empty() {
            lines
                .push((key, serde_json::to_string(&Value::Map(entries)).expect("a map with names for keys")));
        }
    };
    table(
        "fields.rename",
        rename.iter().map(|(path, name)| (path.to_string(), Value::Text(name.clone()))).collect(),
    );
    table("fields.constant", constant.clone());
    table(
        "fields.metadata",
        metadata.iter().map(|(name, what)| (name.clone(), Value::Text(what.as_str().to_owned()))).collect(),
    );
    let on_long_name = match on_long_name {
        OnLongName::Reject => "reject",
        OnLongName::Hash => "hash",
    };
    lines.push(("fields.on-long-name", on_long_name.to_owned()));
    lines
}

/// A list; names that hold what separates names stand in quotes.
fn list(paths: &[Path]) -> String {
    let word = |path: &Path| match path.to_string() {
        name if name.contains([',', '[', ']', '"']) || name.trim() != name => format!("{name:?}"),
        name => name,
    };
    format!("[{}]", paths.iter().map(word).collect::<Vec<_>>().join(", "))
}
