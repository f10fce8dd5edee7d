//! Batches in which each item carries the right to one verdict. Pure.
//!
//! The worker that handles a batch answers for each item by value. There is no list of verdicts whose length
//! or order two sides must agree on. If an answer is dropped, its item has no verdict, and the other side
//! sees that.

use std::{cell::RefCell, rc::Rc};

/// An item of a batch, with the right to answer for it.
#[derive(Debug)]
pub struct Pending<T, V> {
    /// The item to work on.
    pub item: T,
    /// The right to answer for it.
    pub answer: Answer<V>,
}

/// The right to give one verdict. An item whose answer is dropped has no verdict.
#[derive(Debug)]
#[must_use = "an item whose answer is dropped is in doubt"]
pub struct Answer<V> {
    verdicts: Rc<RefCell<Vec<Option<V>>>>,
    index: usize,
}

impl<V> Answer<V> {
    /// Gives the verdict on the item.
    pub fn give(self, verdict: V) {
        // After `Verdicts::take` nothing receives it, and the item counts as not answered.
        if let Some(place) = self.verdicts.borrow_mut().get_mut(self.index) {
            *place = Some(verdict);
        }
    }
}

/// The verdicts on the items of one batch.
#[derive(Debug)]
pub struct Verdicts<V>(Rc<RefCell<Vec<Option<V>>>>);

impl<V> Verdicts<V> {
    /// Returns one verdict for each item, in order; `None` for an item without an answer so far.
    #[must_use]
    pub fn take(self) -> Vec<Option<V>> {
        self.0.take()
    }
}

/// Creates a batch of `items`.
pub fn batch<T, V>(items: impl ExactSizeIterator<Item = T>) -> (Vec<Pending<T, V>>, Verdicts<V>) {
    let verdicts = Rc::new(RefCell::new(std::iter::repeat_with(|| None).take(items.len()).collect()));
    let pending = items
        .enumerate()
        .map(|(index, item)| Pending { item, answer: Answer { verdicts: Rc::clone(&verdicts), index } });
    (pending.collect(), Verdicts(verdicts))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a list of verdicts, one missing verdict shifted all later ones, or dropped the last item.
    #[test]
    fn a_verdict_belongs_to_its_item_in_any_order_and_with_answers_missing() {
        let (mut batch, verdicts) = batch::<_, String>(["a", "b", "c", "d"].into_iter());
        batch.remove(1);
        for Pending { item, answer } in batch.into_iter().rev() {
            answer.give(item.to_uppercase());
        }
        let verdicts: Vec<_> = verdicts.take().into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(verdicts, ["A", "", "C", "D"]);
    }

    #[test]
    fn an_answer_given_too_late_does_not_count() {
        let (mut batch, verdicts) = batch::<_, u8>([()].into_iter());
        assert_eq!(verdicts.take(), [None]);
        batch.remove(0).answer.give(1);
    }
}
