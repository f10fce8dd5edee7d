//! What a browser shows of a pipeline.

pub mod page;
