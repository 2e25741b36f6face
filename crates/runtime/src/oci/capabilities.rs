//! Which capabilities a container has: Docker's usual fourteen, changed by the user's lists, or all that the daemon
//! has itself. Names are those of capabilities(7), `CAP_NET_RAW`.

use std::{collections::BTreeSet, fs};

use model::container::{Privilege, Security};

/// What a container may do unless asked otherwise.
const USUAL: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// All capabilities in the order of their numbers, `linux/capability.h`.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A list names something else than a capability.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// See the message.
    #[error("invalid {list}: unknown capability: {name:?}")]
    Unknown {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// As given.
        name: String,
    },
    /// The daemon cannot give what it does not have.
    #[error(
        "invalid CapAdd: capability not supported by your kernel or not available in the current environment: {0:?}"
    )]
    Unavailable(String),
}

/// What the daemon itself may give: the bounding set of this process.
pub fn available() -> BTreeSet<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapBnd:")?.trim(), 16).ok()).unwrap_or(0);
    ALL.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| (*name).to_owned()).collect()
}

/// The capabilities of a container, of those that are `available`.
pub fn of(security: &Security, available: &BTreeSet<String>) -> Result<BTreeSet<String>, CapabilityError> {
    if security.privilege == Privilege::Privileged {
        return Ok(available.clone());
    }
    let (add, drop) = (normal("CapAdd", &security.cap_add)?, normal("CapDrop", &security.cap_drop)?);
    let (adds_all, drops_all) = (add.contains("ALL"), drop.contains("ALL"));
    let usual = || USUAL.iter().filter(|name| available.contains(**name)).map(|name| (*name).to_owned());
    let mut kept: BTreeSet<String> = match (adds_all, drops_all) {
        (true, _) => available.clone(),
        (false, true) => BTreeSet::new(),
        (false, false) => usual().collect(),
    };
    kept.retain(|name| !drop.contains(name));
    for name in add.into_iter().filter(|name| name != "ALL") {
        if !available.contains(&name) {
            return Err(CapabilityError::Unavailable(name));
        }
        kept.insert(name);
    }
    Ok(kept)
}

fn normal(list: &'static str, names: &[String]) -> Result<BTreeSet<String>, CapabilityError> {
    let one = |given: &String| {
        let name = given.to_uppercase();
        let name = if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
        let known = name == "ALL" || ALL.contains(&name.as_str());
        if known { Ok(name) } else { Err(CapabilityError::Unknown { list, name: given.clone() }) }
    };
    names.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security() -> Security {
        Security {
            privilege: Privilege::Usual,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            seccomp: model::container::Seccomp::Usual,
            root: model::container::Access::ReadWrite,
            no_new_privileges: false,
            masked_paths: None,
            readonly_paths: None,
            devices: Vec::new(),
            device_rules: Vec::new(),
            sysctls: Default::default(),
            oom_score_adj: 0,
        }
    }

    fn check(privilege: Privilege, add: &[&str], drop: &[&str], expected: Result<u64, CapabilityError>) {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = Security { privilege, cap_add: list(add), cap_drop: list(drop), ..security() };
        // Everything but CAP_SYS_RESOURCE, as on some virtual machines.
        let available = ALL.iter().filter(|name| **name != "CAP_SYS_RESOURCE").map(|name| (*name).to_owned()).collect();
        let mask = of(&security, &available).map(|kept| {
            ALL.iter().enumerate().filter(|(_, name)| kept.contains(**name)).map(|(bit, _)| 1u64 << bit).sum()
        });
        assert_eq!(mask, expected, "add {add:?} drop {drop:?}");
    }

    #[test]
    fn lists_change_the_usual_set() {
        use Privilege::{Privileged, Usual};
        check(Usual, &[], &[], Ok(0xa804_25fb));
        check(Usual, &["net_admin"], &["CAP_MKNOD"], Ok(0xa004_35fb));
        check(Usual, &["CHOWN"], &["ALL"], Ok(1));
        check(Usual, &["ALL"], &["CHOWN"], Ok(0x1ff_feff_fffe));
        check(Privileged, &[], &["ALL"], Ok(0x1ff_feff_ffff));
        check(Usual, &["SYS_RESOURCE"], &[], Err(CapabilityError::Unavailable("CAP_SYS_RESOURCE".to_owned())));
        check(Usual, &[], &["FLY"], Err(CapabilityError::Unknown { list: "CapDrop", name: "FLY".to_owned() }));
    }
}
