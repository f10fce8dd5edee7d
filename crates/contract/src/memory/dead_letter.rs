//! Dead letters in memory, for tests of the code above the contract.

use std::{cell::RefCell, rc::Rc};

use x_msrv_core::{
    BoxFuture,
    dead_letter::{DeadLetter, DeadLetterError, Kept, Letter, Pending, answer_all},
};

/// Dead letters that several handles share.
#[derive(Debug, Clone, Default)]
pub struct MemoryDeadLetter {
    letters: Rc<RefCell<Vec<Letter>>>,
    broken: bool,
}

impl MemoryDeadLetter {
    /// Creates a destination that keeps nothing and reports failures.
    #[must_use]
    pub fn broken() -> Self {
        Self { broken: true, ..Self::default() }
    }

    /// Returns the kept letters.
    #[must_use]
    pub fn letters(&self) -> Vec<Letter> {
        self.letters.borrow().clone()
    }
}

impl DeadLetter for MemoryDeadLetter {
    fn keep<'a>(&'a mut self, letters: Vec<Pending<'a>>) -> BoxFuture<'a, ()> {
        let result = if self.broken {
            Err(DeadLetterError {
                place: "memory".into(),
                cause: "configured to fail".into(),
                is_setup: false,
            })
        } else {
            self.letters.borrow_mut().extend(letters.iter().map(|letter| letter.item.clone()));
            Ok(Kept::Durably)
        };
        answer_all(letters, &result);
        Box::pin(std::future::ready(()))
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<String, DeadLetterError>> {
        Box::pin(std::future::ready(Ok("in memory".to_owned())))
    }
}
