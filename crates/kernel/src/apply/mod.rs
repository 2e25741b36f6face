//! Carrying operations out, one file per kind. Nothing here decides: each operation says all that is to be done.

pub(crate) mod addr;
pub(crate) mod conntrack;
pub(crate) mod link;
pub(crate) mod netns;
pub(crate) mod nft;
pub(crate) mod route;
pub(crate) mod sysctl;

use crate::fault::Refusal;

/// An operation that failed, by its place among those carried out together, and how many before it are in effect.
pub(crate) struct Failure {
    pub at: usize,
    pub in_effect: usize,
    pub refusal: Refusal,
}

impl Failure {
    /// Failure of the operation at this place, with those before it in effect.
    pub fn of(at: usize) -> impl FnOnce(Refusal) -> Self {
        move |refusal| Self { at, in_effect: at, refusal }
    }
}

/// The refusal of an operation whose object is not of its key's kind.
pub(crate) fn mismatch() -> Refusal {
    Refusal::new(libc::EINVAL).because("the object is not of the key's kind: a bug in linkspan's plan")
}

/// A removal that was refused because the thing is gone already is as good as done.
fn unless_gone(removed: Result<(), Refusal>) -> Result<(), Refusal> {
    match removed {
        Err(refusal) if ![libc::ENOENT, libc::ENODEV, libc::ESRCH, libc::EADDRNOTAVAIL].contains(&refusal.errno) => {
            Err(refusal)
        }
        _ => Ok(()),
    }
}
