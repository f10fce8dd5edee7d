//! Everything that needs more than one module: contracts of the traits, the run, the command line, real servers.

mod aerospike;
mod bodies;
mod cli;
mod compressed;
mod contracts;
mod corpus;
mod dead;
mod embedded;
mod faults;
mod fields;
mod generator;
mod guarded;
mod history;
mod init;
mod instructions;
mod nsq;
mod original;
mod own_tables;
mod packaging;
mod page;
mod run;
mod secrets;
mod servers;
mod stand_in;
mod support;
mod tls;
