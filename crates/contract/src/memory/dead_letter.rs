//! Letters in memory, for tests of what stands above dead letters.

use std::{cell::RefCell, rc::Rc};

use x_msrv_core::{
    BoxFuture,
    dead_letter::{DeadLetter, DeadLetterError, Kept, Letter, Pending, answer_all},
};

/// Letters that several handles share.
#[derive(Debug, Clone, Default)]
pub struct MemoryDeadLetter {
    letters: Rc<RefCell<Vec<Letter>>>,
    broken: bool,
}

impl MemoryDeadLetter {
    /// One that keeps nothing and says so.
    #[must_use]
    pub fn broken() -> Self {
        Self { broken: true, ..Self::default() }
    }

    /// What was kept.
    #[must_use]
    pub fn letters(&self) -> Vec<Letter> {
        self.letters.borrow().clone()
    }
}

impl DeadLetter for MemoryDeadLetter {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        let result = if self.broken {
            Err(DeadLetterError { place: "memory".into(), cause: "told to fail".into(), is_setup: false })
        } else {
            self.letters.borrow_mut().extend(letters.iter().map(|letter| letter.item.clone()));
            Ok(Kept::Durably)
        };
        answer_all(letters, &result);
        Box::pin(std::future::ready(()))
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), DeadLetterError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
