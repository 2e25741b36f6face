//! Images on a real disk and over real sockets, all in temporary directories and on loopback.

mod archive;
mod crash;
mod debian_registry;
mod fake_registry;
mod house;
mod overlay;
mod pull;
mod push;
mod store;
mod unpack;
