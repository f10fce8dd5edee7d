//! Batches in which each item carries the right to one verdict. Pure.
//!
//! Whoever works on a batch answers for each item by value. There is no list of verdicts whose length or
//! order two sides have to agree on: an item whose answer is dropped has no verdict, and the other side sees
//! that.

use std::{cell::RefCell, rc::Rc};

/// An item of a batch, and the right to answer for it.
#[derive(Debug)]
pub struct Pending<T, V> {
    /// What is to be worked on.
    pub item: T,
    /// Where the verdict goes.
    pub answer: Answer<V>,
}

/// The right to one verdict; dropping it leaves the item without one.
#[derive(Debug)]
#[must_use = "an item whose answer is dropped is in doubt"]
pub struct Answer<V> {
    verdicts: Rc<RefCell<Vec<Option<V>>>>,
    index: usize,
}

impl<V> Answer<V> {
    /// Answers for the item.
    pub fn give(self, verdict: V) {
        // After `Verdicts::take` there is no place any more: that item counts as not answered.
        if let Some(place) = self.verdicts.borrow_mut().get_mut(self.index) {
            *place = Some(verdict);
        }
    }
}

/// What becomes of the items of one batch.
#[derive(Debug)]
pub struct Verdicts<V>(Rc<RefCell<Vec<Option<V>>>>);

impl<V> Verdicts<V> {
    /// One verdict for each item, in their order; `None` for an item that was not answered until now.
    #[must_use]
    pub fn take(self) -> Vec<Option<V>> {
        self.0.take()
    }
}

/// Makes a batch of `items`.
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

    /// With a list of verdicts, one too few moved all others by a place, or dropped the last item.
    #[test]
    fn a_verdict_belongs_to_its_item_whatever_the_order_and_whoever_is_missing() {
        let (mut batch, verdicts) = batch::<_, String>(["a", "b", "c", "d"].into_iter());
        batch.remove(1);
        for Pending { item, answer } in batch.into_iter().rev() {
            answer.give(item.to_uppercase());
        }
        let verdicts: Vec<_> = verdicts.take().into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(verdicts, ["A", "", "C", "D"]);
    }

    #[test]
    fn an_answer_that_comes_too_late_is_none() {
        let (mut batch, verdicts) = batch::<_, u8>([()].into_iter());
        assert_eq!(verdicts.take(), [None]);
        batch.remove(0).answer.give(1);
    }
}
