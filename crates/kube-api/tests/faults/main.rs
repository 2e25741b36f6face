//! The server over real sockets among clients that mean harm, break, or ask for too much: others are served meanwhile, and nothing stays.

mod clients;
mod events;
mod front;
mod identity;
mod objects;
mod opened_again;
mod shared;
mod watchers;
