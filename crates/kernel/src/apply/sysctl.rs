//! Kernel settings. `/proc/sys/net` shows those of the namespace of the task that looks.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use netstate::{Key, Object, Op, netns::NetnsName, sysctl::SysctlKey};

use super::Failure;
use crate::{fault::Refusal, linux::Linux};

/// Writes settings of one namespace.
pub(crate) fn write(linux: &mut Linux, ops: &[Op]) -> Result<(), Failure> {
    let mut writes = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let (Op::Create { object: Object::Sysctl(wanted), .. } | Op::Change { to: Object::Sysctl(wanted), .. }) = op
        else {
            return Err(Failure { at, in_effect: 0, refusal: super::mismatch() });
        };
        if let Key::Sysctl(key) = op.key() {
            writes.push((key, &wanted.value));
        }
    }
    let Some((first, _)) = writes.first() else { return Ok(()) };
    let netns: &NetnsName = &first.netns;
    let write_all =
        || writes.iter().enumerate().try_for_each(|(at, (key, value))| write_one(key, value).map_err(Failure::of(at)));
    linux.inside(netns, write_all).unwrap_or_else(|refusal| Err(Failure::of(0)(refusal)))
}

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

fn write_one(key: &SysctlKey, value: &str) -> Result<(), Refusal> {
    fs::write(file(key)?, value).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Refusal::new(libc::ENOENT).because("this kernel has no such setting, or its link or module is not there")
        }
        _ => error.into(),
    })
}
