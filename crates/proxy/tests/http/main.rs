//! The gateway over real sockets on loopback: what clients get, what endpoints see, and what neither can do to the other.

mod changes;
mod forwarding;
mod hostile;
mod protocols;
mod support;
