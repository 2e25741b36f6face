//! Kernel settings. `/proc/sys/net` shows those of the namespace of the task that looks.

use std::{fs, io};

use netstate::{Key, Object, Op, netns::NetnsName, sysctl::SysctlKey};

use super::Failure;
use crate::{fault::Refusal, linux::Linux, sysctl};

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

fn write_one(key: &SysctlKey, value: &str) -> Result<(), Refusal> {
    let file = sysctl::file(key)?;
    fs::write(&file, value).map_err(|error| match error.kind() {
        // The docker command takes its exit code, 127, from the words of runc.
        io::ErrorKind::NotFound => Refusal::new(libc::ENOENT).because(format!(
            "open {}: no such file or directory: this kernel has no such setting, or its link or module is not there",
            file.display()
        )),
        _ => error.into(),
    })
}
