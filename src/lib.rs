//! The program as a library: its list of adapters, for the program, its tests and xtask.

pub mod adapters;
