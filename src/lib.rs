//! The program as a library: its list of adapters, for the program itself, its tests and the generated files.

pub mod adapters;
