//! Everything that needs more than one module: contracts of the traits, the run, the command line, real servers.

mod contracts;
mod nsq;
mod run;
mod stand_in;
mod support;
