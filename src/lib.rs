//! The program as a library: its list of adapters, for itself, its tests and what is generated from it.

pub mod adapters;
