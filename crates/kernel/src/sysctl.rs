//! Where settings are.

use std::path::{Path, PathBuf};

use netstate::{netns::NetnsName, sysctl::SysctlKey};

use crate::fault::Refusal;

/// The file of a setting. The path comes from a plan, so it is kept below `/proc/sys` and, in a namespace of ours, below its `net`.
pub(crate) fn file(key: &SysctlKey) -> Result<PathBuf, Refusal> {
    let is_plain =
        !key.path.is_empty() && key.path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    let is_here = key.netns == NetnsName::Host || key.path.starts_with("net/");
    if is_plain && is_here {
        Ok(Path::new("/proc/sys").join(&key.path))
    } else {
        Err(Refusal::new(libc::EINVAL).because("only settings below /proc/sys/net belong to a network namespace"))
    }
}
