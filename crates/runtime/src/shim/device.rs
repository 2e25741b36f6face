//! Devices whose nodes are wanted outside of `/dev`, where libcontainer makes none.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount, Spec};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{MountFlags, mount},
};

use crate::shim::launch::file;

/// Makes such nodes in a file system of their own, in the shim's mount namespace, and lets `spec` bind them instead.
pub fn bind_elsewhere(spec: &mut Spec, dir: &Path) -> io::Result<()> {
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    let devices = linux.devices().clone().unwrap_or_default();
    let (below, elsewhere): (Vec<LinuxDevice>, _) =
        devices.into_iter().partition(|device| device.path().starts_with("/dev"));
    if elsewhere.is_empty() {
        return Ok(());
    }
    linux.set_devices(Some(below));
    let holder = dir.join(file::DEVICES);
    fs::create_dir_all(&holder)?;
    // The run directory's own may not allow device nodes.
    mount("tmpfs", &holder, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, None)?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for (number, device) in elsewhere.iter().enumerate() {
        let node = holder.join(number.to_string());
        make(device, &node)?;
        let mut bind = Mount::default();
        bind.set_destination(device.path().clone()).set_source(Some(node)).set_typ(None);
        bind.set_options(Some(vec!["bind".to_owned()]));
        mounts.push(bind);
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

fn make(device: &LinuxDevice, node: &Path) -> io::Result<()> {
    let kind = if device.typ() == LinuxDeviceType::B { FileType::BlockDevice } else { FileType::CharacterDevice };
    let number = |number: i64| u32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    mknodat(CWD, node, kind, Mode::RUSR, makedev(number(device.major())?, number(device.minor())?))?;
    fs::set_permissions(node, fs::Permissions::from_mode(device.file_mode().unwrap_or(0o666)))?;
    chown(node, device.uid(), device.gid())
}
