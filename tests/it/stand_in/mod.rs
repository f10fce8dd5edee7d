//! The stand-in for an Aerospike server, seen through the real client crate.
//!
//! Everything except `faults` also holds against a real server: where the environment names one, the same
//! assertions run there, and the stand-in is right where both runs pass. They write to sets named `standin_*`
//! in the namespace `test`, and delete what they find there first.

mod batches;
mod faults;
mod fixture;
mod infos;
mod queries;
mod records;
