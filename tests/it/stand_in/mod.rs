//! The stand-in for an Aerospike server, tested with the real client crate.
//!
//! Everything except `faults` is also true for a real server: if the environment names one, the same
//! assertions run there, and the stand-in is right if both runs pass. The tests write to sets named
//! `standin_*` in the namespace `test`, and first delete the existing records there.

mod batches;
mod faults;
mod fixture;
mod infos;
mod queries;
mod records;
