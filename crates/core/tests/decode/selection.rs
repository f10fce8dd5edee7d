//! Selections of document fields.

use super::*;

fn shaped(rules: Rules, document: &str) -> Fields {
    let shape = Shape::new(rules, None, |_| Ok(())).expect("rules that make sense");
    shape.apply(fields(document), &message(document), document.len()).expect("a record")
}

#[test]
fn selected_fields_are_kept_with_the_objects_around_them_or_removed() {
    let document = r#"{"a":1,"b":{"c":2,"d":{"e":3}},"l":[{"c":4}],"":5,"/a":6}"#;
    let table: [(&[&str], &str, &str); 10] = [
        (&["a"], r#"{"a":1}"#, r#"{"b":{"c":2,"d":{"e":3}},"l":[{"c":4}],"":5,"/a":6}"#),
        (&["b"], r#"{"b":{"c":2,"d":{"e":3}}}"#, r#"{"a":1,"l":[{"c":4}],"":5,"/a":6}"#),
        (&["/b/c"], r#"{"b":{"c":2}}"#, r#"{"a":1,"b":{"d":{"e":3}},"l":[{"c":4}],"":5,"/a":6}"#),
        (
            &["/b/d/e", "/b/c"],
            r#"{"b":{"c":2,"d":{"e":3}}}"#,
            r#"{"a":1,"b":{"d":{}},"l":[{"c":4}],"":5,"/a":6}"#,
        ),
        (&["/b/d/e", "b"], r#"{"b":{"c":2,"d":{"e":3}}}"#, r#"{"a":1,"l":[{"c":4}],"":5,"/a":6}"#),
        (&["b", "/b/d/e"], r#"{"b":{"c":2,"d":{"e":3}}}"#, r#"{"a":1,"l":[{"c":4}],"":5,"/a":6}"#),
        (&["/", "/~1a"], r#"{"":5,"/a":6}"#, r#"{"a":1,"b":{"c":2,"d":{"e":3}},"l":[{"c":4}]}"#),
        // The field is missing, or only an object around it exists, or it is in a list.
        (&["/a/b"], "{}", document),
        (&["/b/x", "/b/d/e/f"], "{}", document),
        (&["/l/0", "/l/0/c", "c"], "{}", document),
    ];
    for (paths, kept, rest) in table {
        let selection: Vec<_> = paths.iter().map(|path| path.parse().expect("a path")).collect();
        let include = Rules { include: Some(selection.clone()), ..Rules::default() };
        let exclude = Rules { exclude: selection, ..Rules::default() };
        let (some, others) = (shaped(include, document), shaped(exclude, document));
        assert_eq!((some, others), (fields(kept), fields(rest)), "{paths:?}");
    }
}
