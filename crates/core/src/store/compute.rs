//! Client-side aggregates and series, for stores whose server does not compute them. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use super::reader::{Aggregate, Bucket, Function, Group, Series, Window};
use crate::record::{Fields, Timestamp, Value};

/// The groups of an [`Aggregate`], filled record by record.
pub(super) struct Groups<'a> {
    query: &'a Aggregate,
    groups: BTreeMap<Vec<String>, (Vec<Value>, Vec<State>)>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(query: &'a Aggregate) -> Self {
        Self { query, groups: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, fields: &Fields) -> ControlFlow<()> {
        let counts = self.query.window.as_ref().is_none_or(|window| moment(window, fields).is_some());
        if counts {
            let by: Vec<Value> = self
                .query
                .by
                .iter()
                .map(|name| field(fields, name).cloned().unwrap_or(Value::Null))
                .collect();
            let key: Vec<String> = by.iter().map(comparable).collect();
            let has_room = self.groups.len() < self.query.limit;
            if has_room || self.groups.contains_key(&key) {
                let new = || (by, self.query.functions.iter().map(State::new).collect());
                let (_, states) = self.groups.entry(key).or_insert_with(new);
                for (state, function) in states.iter_mut().zip(&self.query.functions) {
                    state.add(function, fields);
                }
            }
        }
        ControlFlow::Continue(())
    }

    pub(super) fn finish(self) -> Vec<Group> {
        let group = |(by, states): (Vec<Value>, Vec<State>)| Group {
            by,
            values: states.into_iter().map(State::finish).collect(),
        };
        self.groups.into_values().map(group).collect()
    }
}

/// The buckets of a [`Series`], filled record by record.
pub(super) struct Buckets<'a> {
    query: &'a Series,
    buckets: BTreeMap<Timestamp, State>,
}

impl<'a> Buckets<'a> {
    pub(super) fn new(query: &'a Series) -> Self {
        Self { query, buckets: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, fields: &Fields) -> ControlFlow<()> {
        if let Some(at) = moment(&self.query.window, fields) {
            let length = i64::try_from(self.query.bucket.as_nanos()).unwrap_or(i64::MAX).max(1);
            let begin = Timestamp(at.0.div_euclid(length).saturating_mul(length));
            let state = self.buckets.entry(begin).or_insert_with(|| State::new(&self.query.function));
            state.add(&self.query.function, fields);
        }
        ControlFlow::Continue(())
    }

    pub(super) fn finish(self) -> Vec<Bucket> {
        self.buckets.into_iter().map(|(at, state)| Bucket { at, value: state.finish() }).collect()
    }
}

/// The state of a function over the records so far.
enum State {
    Count(i64),
    Distinct(BTreeSet<String>),
    Sum(Option<f64>),
    Min(Option<f64>),
    Max(Option<f64>),
    Mean(f64, u64),
}

impl State {
    fn new(function: &Function) -> Self {
        match function {
            Function::Count => Self::Count(0),
            Function::Distinct(_) => Self::Distinct(BTreeSet::new()),
            Function::Sum(_) => Self::Sum(None),
            Function::Min(_) => Self::Min(None),
            Function::Max(_) => Self::Max(None),
            Function::Mean(_) => Self::Mean(0.0, 0),
        }
    }

    fn add(&mut self, function: &Function, fields: &Fields) {
        let (Function::Distinct(name)
        | Function::Sum(name)
        | Function::Min(name)
        | Function::Max(name)
        | Function::Mean(name)) = function
        else {
            if let Self::Count(count) = self {
                *count += 1;
            }
            return;
        };
        let Some(value) = field(fields, name).filter(|value| **value != Value::Null) else { return };
        if let Self::Distinct(seen) = self {
            seen.insert(comparable(value));
            return;
        }
        let Some(number) = number(value) else { return };
        match self {
            Self::Sum(sum) => *sum = Some(sum.unwrap_or(0.0) + number),
            Self::Min(least) => *least = Some(least.map_or(number, |least| least.min(number))),
            Self::Max(most) => *most = Some(most.map_or(number, |most| most.max(number))),
            Self::Mean(sum, count) => (*sum, *count) = (*sum + number, *count + 1),
            Self::Count(_) | Self::Distinct(_) => {}
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean is a float")]
    fn finish(self) -> Value {
        match self {
            Self::Count(count) => Value::Int(count),
            Self::Distinct(seen) => Value::Int(i64::try_from(seen.len()).unwrap_or(i64::MAX)),
            Self::Sum(number) | Self::Min(number) | Self::Max(number) => {
                number.map_or(Value::Null, Value::Float)
            }
            Self::Mean(_, 0) => Value::Null,
            Self::Mean(sum, count) => Value::Float(sum / count as f64),
        }
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "functions are computed in floats, as databases do for mixed types"
)]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// Returns a text that is equal for equal values, and sorts integers in their order.
fn comparable(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("{:020}", i128::from(*number) - i128::from(i64::MIN)),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// Returns the time of a record, if it is in the window.
fn moment(window: &Window, fields: &Fields) -> Option<Timestamp> {
    let at = match field(fields, &window.field)? {
        Value::Timestamp(at) => *at,
        Value::Int(seconds) => Timestamp::from_seconds(*seconds)?,
        _ => return None,
    };
    (window.from <= at && at < window.until).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rows() -> Vec<Fields> {
        let row = |user: &str, at: i64, amount: Value| {
            vec![
                ("user".to_owned(), Value::Text(user.to_owned())),
                ("at".to_owned(), Value::Int(at)),
                ("amount".to_owned(), amount),
            ]
        };
        vec![
            row("ann", 5, Value::Int(2)),
            row("ann", 14, Value::Float(0.5)),
            row("bob", 15, Value::Int(7)),
            row("bob", 29, Value::Text("none".to_owned())),
            row("bob", 30, Value::Int(1_000)),
        ]
    }

    fn window() -> Window {
        let at = |seconds| Timestamp::from_seconds(seconds).expect("a moment");
        Window { field: "at".to_owned(), from: at(5), until: at(30) }
    }

    /// A value that is not a number, and a record at the end of the window, must not be counted.
    #[test]
    fn groups_count_only_their_records_in_the_window() {
        let amount = || "amount".to_owned();
        let query = Aggregate {
            by: vec!["user".to_owned()],
            functions: vec![
                Function::Count,
                Function::Sum(amount()),
                Function::Min(amount()),
                Function::Max(amount()),
                Function::Mean(amount()),
                Function::Distinct(amount()),
            ],
            window: Some(window()),
            limit: 10,
        };
        let mut groups = Groups::new(&query);
        assert!(rows().iter().all(|fields| groups.add(fields).is_continue()));
        let values: Vec<_> = groups.finish().into_iter().map(|group| group.values).collect();
        let (int, float) = (Value::Int, |number: i32| Value::Float(number.into()));
        assert_eq!(
            values,
            [
                vec![int(2), Value::Float(2.5), Value::Float(0.5), float(2), Value::Float(1.25), int(2)],
                vec![int(2), float(7), float(7), float(7), float(7), int(2)],
            ]
        );
    }

    #[test]
    fn buckets_start_at_multiples_of_their_length_and_empty_ones_are_omitted() {
        let query = Series { window: window(), bucket: Duration::from_secs(5), function: Function::Count };
        let mut buckets = Buckets::new(&query);
        assert!(rows().iter().all(|fields| buckets.add(fields).is_continue()));
        let found: Vec<_> =
            buckets.finish().into_iter().map(|bucket| (bucket.at.0 / 1_000_000_000, bucket.value)).collect();
        assert_eq!(found, [5, 10, 15, 25].map(|at| (at, Value::Int(1))));
    }
}
