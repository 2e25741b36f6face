//! Refusals of the kernel in words: what was asked, what the kernel said, what it likely means and what to do.

use std::{fmt, io};

use netstate::Fault;

/// What the kernel refused one request with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// errno(3), positive.
    pub errno: i32,
    /// The text of the extended acknowledgement (NETLINK_EXT_ACK).
    pub text: Option<String>,
    /// What it means, where the request's maker knows better than the kernel's text and the table below.
    pub cause: Option<String>,
}

impl Refusal {
    /// A refusal with this errno.
    pub fn new(errno: i32) -> Self {
        Self { errno, text: None, cause: None }
    }

    /// With the cause in words.
    pub fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The fault that `what` ("create link host:docker0") could not be done.
    pub fn fault(self, what: impl Into<String>) -> Fault {
        Fault { what: what.into(), errno: self.errno, cause: self.to_string(), source: None }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::new(errno),
            None => Self::new(libc::EIO).because(error.to_string()),
        }
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::new(errno.raw_os_error())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = io::Error::from_raw_os_error(self.errno).to_string();
        f.write_str(words.split(" (os error").next().unwrap_or(&words))?;
        if let Some(cause) = &self.cause {
            return write!(f, ": {cause}");
        }
        if let Some(text) = &self.text {
            write!(f, ": {}", text.trim_end_matches('.'))?;
        }
        likely(self.errno).map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// What an errno usually means when a network is changed.
fn likely(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM | libc::EACCES => "linkspan needs CAP_NET_ADMIN and CAP_SYS_ADMIN; run as root",
        libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT => {
            "this kernel lacks it, or has not loaded its module"
        }
        libc::ENOBUFS | libc::EMSGSIZE => {
            "the change is larger than a netlink socket may send; raise net.core.wmem_max"
        }
        libc::ENOMEM => "the kernel is out of memory",
        libc::ENFILE | libc::EMFILE => "too many open files; raise the limit (LimitNOFILE= in the unit)",
        libc::ENOSPC => "the file system of the run directory is full, or a kernel table is",
        libc::EROFS => "/proc/sys is mounted read-only: run privileged, or set it outside",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_happened_and_what_to_do() {
        let check = |refusal: Refusal, expected: &str| assert_eq!(refusal.to_string(), expected);
        check(
            Refusal::new(libc::EPERM),
            "Operation not permitted: linkspan needs CAP_NET_ADMIN and CAP_SYS_ADMIN; run as root",
        );
        check(
            Refusal::new(libc::EEXIST).because("the address 172.17.0.1/16 is already on link br0"),
            "File exists: the address 172.17.0.1/16 is already on link br0",
        );
        check(
            Refusal { text: Some("Device does not exist.".into()), ..Refusal::new(libc::ENODEV) },
            "No such device: Device does not exist",
        );
    }
}
