//! The pages about a pipeline for a browser.

pub mod page;
