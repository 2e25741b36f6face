//! The userspace data plane: DNS for sandboxes, listeners for what the kernel cannot translate, and the HTTP gateway.
//!
//! It owns no policy and opens no namespace. Sockets are handed to it already bound, and what it answers or where it leads is a
//! table made by `plan`, swapped whole while traffic flows.
#![forbid(unsafe_code)]

pub mod dns;
pub mod http;
pub mod listener;
pub mod plain_http;
pub mod tls;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;
