//! The objects: one suite for each home, and what only one home has.

mod etcd;
mod faults;
mod history;
mod sqlite;
mod suite;
