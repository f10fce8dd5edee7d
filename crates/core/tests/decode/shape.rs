//! Shapes of records.

use std::{collections::BTreeSet, num::NonZeroI64};

use proptest::prelude::*;
use x_msrv_core::decode::{Metadata, OnLongName, Path, RuleFault};

use super::*;

/// The names that a store with short names accepts.
const LONGEST: usize = 15;

fn message() -> Message {
    Message {
        origin: Origin::of_topic("orders", "h:4150"),
        id: "0a".into(),
        body: Bytes::new(),
        attempts: std::num::NonZeroU32::new(3),
        last: false,
        details: None,
        published: NonZeroI64::new(1_700_000_000_123_999_999),
    }
}

fn shape(rules: Rules) -> Result<Shape, RuleFault> {
    Shape::new(rules, Some(LONGEST), |_| Ok(()))
}

fn paths(paths: &[&str]) -> Vec<Path> {
    paths.iter().map(|path| path.parse().expect("a path")).collect()
}

fn rename(names: &[(&str, &str)]) -> Rules {
    Rules {
        rename: names.iter().map(|(from, to)| (from.parse().expect("a path"), (*to).to_owned())).collect(),
        ..Rules::default()
    }
}

fn flatten(separator: &str) -> Rules {
    Rules { flatten: Some(separator.to_owned()), ..Rules::default() }
}

fn constant(name: &str) -> Rules {
    Rules { constant: vec![(name.to_owned(), Value::Int(0))], ..Rules::default() }
}

fn metadata(name: &str, what: Metadata) -> Rules {
    Rules { metadata: vec![(name.to_owned(), what)], ..Rules::default() }
}

fn hashed(rules: Rules) -> Rules {
    Rules { on_long_name: OnLongName::Hash, ..rules }
}

/// Returns the resulting document, or the reason and text of the rejection.
fn applied(rules: Rules, document: &str) -> Result<Fields, String> {
    let shape = shape(rules).expect("rules that make sense");
    shape
        .apply(fields(document), &message(), document.len())
        .map_err(|rejection| format!("{}: {rejection}", rejection.reason()))
}

#[test]
fn a_document_is_shaped_by_the_rules() {
    let include = Rules { include: Some(paths(&["id", "/c/name"])), ..Rules::default() };
    let exclude = Rules { exclude: paths(&["debug", "/c/debug"]), ..Rules::default() };
    let nested = r#"{"a":{"b":{"c":1,"d":[{"e":2}]},"f":null},"g":{},"h":[]}"#;
    let table: [(Rules, &str, &str); 17] = [
        (Rules::default(), nested, nested),
        (include.clone(), r#"{"id":1,"c":{"name":"x","debug":2},"d":3}"#, r#"{"id":1,"c":{"name":"x"}}"#),
        (include, r#"{"c":{"debug":2}}"#, "{}"),
        (exclude, r#"{"debug":{"x":1},"c":{"debug":2},"d":{"debug":3}}"#, r#"{"c":{},"d":{"debug":3}}"#),
        (flatten("_"), nested, r#"{"a_b_c":1,"a_b_d":[{"e":2}],"a_f":null,"g":{},"h":[]}"#),
        (flatten("."), r#"{"":{"":{"":1}}}"#, r#"{"..":1}"#),
        (rename(&[("a", "b"), ("b", "a")]), r#"{"a":1,"b":2,"c":{"a":3}}"#, r#"{"b":1,"a":2,"c":{"a":3}}"#),
        (rename(&[("a", "x"), ("b", "x")]), r#"{"b":1}"#, r#"{"x":1}"#),
        (
            rename(&[("gid", "id"), ("/", "none"), ("/~1a", "a")]),
            r#"{"gid":1,"":2,"/a":3}"#,
            r#"{"id":1,"none":2,"a":3}"#,
        ),
        (
            Rules { flatten: Some("_".into()), ..rename(&[("a_b", "x")]) },
            r#"{"a":{"b":1,"c":2}}"#,
            r#"{"x":1,"a_c":2}"#,
        ),
        (constant("n"), r#"{"a":1}"#, r#"{"a":1,"n":0}"#),
        (metadata("at", Metadata::Timestamp), "{}", r#"{"at":1700000000123}"#),
        (metadata("n", Metadata::Attempts), "{}", r#"{"n":3}"#),
        (metadata("t", Metadata::Topic), "{}", r#"{"t":"orders"}"#),
        (metadata("s", Metadata::Source), "{}", r#"{"s":"orders@h:4150"}"#),
        (metadata("i", Metadata::Id), "{}", r#"{"i":"0a"}"#),
        // All rules at once, in order: a field is included by its old name, flattened, and renamed by its
        // joined name.
        (
            Rules {
                include: Some(paths(&["a", "id"])),
                exclude: paths(&["/a/c"]),
                flatten: Some("_".into()),
                constant: vec![("id".into(), Value::Text("x".into()))],
                metadata: vec![("a_c".into(), Metadata::Attempts)],
                ..rename(&[("id", "number"), ("a_b", "b")])
            },
            r#"{"id":7,"a":{"b":1,"c":2},"z":0}"#,
            r#"{"number":7,"b":1,"id":"x","a_c":3}"#,
        ),
    ];
    for (rules, document, expected) in table {
        assert_eq!(applied(rules, document), Ok(fields(expected)), "{document}");
    }
}

/// One of the two was lost, and which one depended on the order.
#[test]
fn two_fields_with_the_same_new_name_are_rejected() {
    let table = [
        (flatten("_"), r#"{"a":{"b":1},"a_b":2}"#, "a_b"),
        (flatten("_"), r#"{"a":{"b_c":1},"a_b":{"c":2}}"#, "a_b_c"),
        (rename(&[("a", "b")]), r#"{"a":1,"b":2}"#, "b"),
        (rename(&[("a", "x"), ("b", "x")]), r#"{"a":1,"b":2}"#, "x"),
        (constant("a"), r#"{"a":null}"#, "a"),
        (metadata("a", Metadata::Id), r#"{"a":1}"#, "a"),
        (hashed(Rules::default()), r#"{"custom~42301b79":1,"customer-address-line-1":2}"#, "custom~42301b79"),
    ];
    for (rules, document, name) in table {
        assert_eq!(
            applied(rules, document),
            Err(format!("duplicate-field: two fields get the same name `{name}`")),
            "{document}"
        );
    }
}

/// The digits below are the start of `printf customer-address-line-1 | sha256sum`: other programs can
/// compute the names as well.
#[test]
fn a_long_name_becomes_its_beginning_and_a_hash_and_stays_utf_8() {
    let table = [
        ("fifteen-bytes-1", "fifteen-bytes-1"),
        ("customer-address-line-1", "custom~42301b79"),
        ("customer-address-line-2", "custom~246611c4"),
        ("äöüäöüäö", "äöü~0a60e75f"),
        ("xäöüäöüäö", "xäö~45f3eb7f"),
        ("😀😀😀😀", "😀~4e3ede46"),
    ];
    for (name, expected) in table {
        let document = format!("{{\"{name}\":1}}");
        assert_eq!(
            applied(hashed(Rules::default()), &document),
            Ok(fields(&format!("{{\"{expected}\":1}}"))),
            "{name}"
        );
        assert_eq!(applied(Rules::default(), &document), Ok(fields(&document)), "it is left to the store");
        for rules in [rename(&[("a", name)]), constant(name), metadata(name, Metadata::Id)] {
            let shaped = applied(hashed(rules), r#"{"a":1}"#).expect("a record");
            assert_eq!(
                shaped.last().map(|(name, _)| name.as_str()),
                Some(expected),
                "a configured name is like any other"
            );
        }
    }
    let unbounded = Shape::new(hashed(Rules::default()), None, |_| Ok(())).expect("no rules");
    let long = fields(r#"{"customer-address-line-1":1}"#);
    assert_eq!(unbounded.apply(long.clone(), &message(), 30), Ok(long), "a store that takes it gets it");
}

/// A name of 500,000 bytes around 70,000 fields would have become 35 GB.
#[test]
fn flattened_names_much_longer_than_the_body_are_rejected_before_they_are_built() {
    let body = |name: usize, fields: usize| {
        let inside: Vec<_> = (0..fields).map(|number| format!("\"{number}\":1")).collect();
        format!("{{\"{}\":{{{}}}}}", "x".repeat(name), inside.join(","))
    };
    for (name, fields, is_stored) in
        [(500_000, 70_000, false), (1_000, 1_000, false), (200, 20, true), (500_000, 1, true)]
    {
        let applied = applied(flatten("_"), &body(name, fields));
        assert_eq!(applied.is_ok(), is_stored, "{name} {fields}");
        assert!(is_stored || applied.is_err_and(|text| text.starts_with("too-large: the flattened ")));
    }
}

#[test]
fn rules_that_no_message_can_satisfy_are_faults_named_by_their_key() {
    let include = |include: &[&str], exclude: &[&str]| Rules {
        include: Some(paths(include)),
        exclude: paths(exclude),
        ..Rules::default()
    };
    let constant_and = |rules: Rules| Rules { constant: vec![("x".into(), Value::Null)], ..rules };
    let long = "customer-address-line-1";
    let table = [
        (include(&[], &[]), "include", "the list is empty"),
        (include(&["a", "b"], &["b"]), "exclude", "`b` excludes `b`"),
        (include(&["/a/b"], &["a"]), "exclude", "`a` excludes `/a/b`"),
        (flatten(""), "flatten", "is empty"),
        (rename(&[("a", "")]), "rename.a", "a name is empty"),
        (rename(&[("a", "gid")]), "rename.a", "`gid` is reserved for the record's key"),
        (rename(&[("/a/b", "x")]), "rename./a/b", "is inside an object"),
        (rename(&[("a", "x"), ("/a", "y")]), "rename.a", "is a duplicate"),
        (constant(""), "constant.", "a name is empty"),
        (constant("gid"), "constant.gid", "`gid` is reserved for the record's key"),
        (metadata("gid", Metadata::Id), "metadata.gid", "`gid` is reserved for the record's key"),
        (
            constant_and(rename(&[("a", "x")])),
            "constant.x",
            "the name `x` is already given by `fields.rename.a`",
        ),
        (
            constant_and(metadata("x", Metadata::Id)),
            "metadata.x",
            "the name `x` is already given by `fields.constant.x`",
        ),
        (
            hashed(Rules { constant: constant(long).constant, ..rename(&[("a", "custom~42301b79")]) }),
            "constant.customer-address-line-1",
            "the name `custom~42301b79` is already given by `fields.rename.a`",
        ),
    ];
    for (rules, key, fault) in table {
        let found = shape(rules).expect_err(key);
        assert!(found.key == key && found.fault.starts_with(fault), "{key}, {fault}: {found:?}");
    }
    shape(include(&["a"], &["/a/b"])).expect("a part of what is included may be left out");
    let store = |name: &str| if name == "x" { Err("not x".to_owned()) } else { Ok(()) };
    let found = Shape::new(rename(&[("a", "b"), ("c", "x")]), None, store).expect_err("the store says so");
    assert_eq!(found, RuleFault { key: "rename.c".to_owned(), fault: "not x".to_owned() });
}

/// Few letters, so that names collide; some long ones, so that they are hashed.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]", 2 => "a_[ab]", 2 => "[äb]{8,12}", 1 => "[xyz]", 1 => "(gid)?"]
}

/// A name given by a rule that seldom conflicts with the others.
fn any_other() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[s-z]", 2 => "[xyzä]{8,12}", 1 => any_name()]
}

fn any_fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Fields> {
    proptest::collection::btree_map(any_name(), value, 0..6).prop_map(|fields| fields.into_iter().collect())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::Int), "[a-c]{0,3}".prop_map(Value::Text)];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List);
        prop_oneof![any_fields(inner).prop_map(Value::Map), list]
    })
}

fn any_paths(most: usize) -> impl Strategy<Value = Vec<Path>> {
    let pointer = |names: Vec<String>| names.concat().parse().expect("no letter of these is escaped");
    proptest::collection::vec(
        proptest::collection::vec(any_name().prop_map(|name| format!("/{name}")), 1..4).prop_map(pointer),
        1..most,
    )
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let path = any_name().prop_map(|name| format!("/{name}").parse().expect("no letter of these is escaped"));
    let rename = proptest::collection::vec((path, any_other()), 0..3);
    let constant = proptest::collection::vec((any_other(), any::<bool>().prop_map(Value::Bool)), 0..2);
    let what = prop_oneof![Just(Metadata::Timestamp), Just(Metadata::Topic), Just(Metadata::Id)];
    let metadata = proptest::collection::vec((any_other(), what), 0..2);
    let separator = proptest::option::of("[_ä]{1,2}");
    let exclude = proptest::option::weighted(0.3, any_paths(2)).prop_map(Option::unwrap_or_default);
    let parts = (
        proptest::option::weighted(0.3, any_paths(6)),
        exclude,
        separator,
        rename,
        constant,
        metadata,
        any::<bool>(),
    );
    parts.prop_map(|(include, exclude, flatten, rename, constant, metadata, hash)| Rules {
        include,
        exclude,
        flatten,
        rename,
        constant,
        metadata,
        on_long_name: if hash { OnLongName::Hash } else { OnLongName::Reject },
    })
}

/// Counts the values that flattening leaves whole.
fn leaves(fields: &Fields) -> usize {
    let inside = |value: &Value| match value {
        Value::Map(inside) if !inside.is_empty() => leaves(inside),
        _ => 1,
    };
    fields.iter().map(|(_, value)| inside(value)).sum()
}

proptest! {
    #[test]
    fn for_any_rules_field_names_are_unique_and_none_is_too_long(document in any_fields(any_value()), rules in any_rules()) {
        let hash = rules.on_long_name == OnLongName::Hash;
        if let Ok(shape) = shape(rules)
            && let Ok(shaped) = shape.apply(document, &message(), 100)
        {
            let names: BTreeSet<_> = shaped.iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), shaped.len());
            prop_assert!(!hash || names.iter().all(|name| name.len() <= LONGEST), "{:?}", names);
        }
    }

    #[test]
    fn without_rules_nothing_changes(document in any_fields(any_value())) {
        let shape = shape(Rules::default()).expect("no rules");
        prop_assert_eq!(shape.apply(document.clone(), &message(), 0), Ok(document));
    }

    #[test]
    fn only_excluded_values_are_dropped(document in any_fields(any_value()), rules in any_rules()) {
        let rules = Rules { include: None, exclude: Vec::new(), ..rules };
        if let Ok(shape) = shape(rules)
            && let Ok(shaped) = shape.apply(document.clone(), &message(), 100)
        {
            let added = shape.rules().constant.len() + shape.rules().metadata.len();
            prop_assert_eq!(leaves(&shaped), leaves(&document) + added);
        }
    }
}
