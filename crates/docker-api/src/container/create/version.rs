//! What the documents of older versions of the API mean by what they leave out, or say without knowing it.

use crate::{version::Version, wire::host_config::HostConfig};

/// Before this version clients removed their containers themselves.
const DAEMON_REMOVES: Version = Version::new(1, 25);
/// Before this version containers could share each other's memory without asking.
const PRIVATE_IPC: Version = Version::new(1, 40);
/// Before this version there were none.
const ANNOTATIONS: Version = Version::new(1, 43);

/// Before this version what was mounted below a read-only mount stayed as it was; nobody could ask for either.
const RECURSIVELY_READ_ONLY: Version = Version::new(1, 44);

/// Says outright what a document of this version means.
pub(super) fn spell_out(host: &mut HostConfig, version: Version) {
    if version < DAEMON_REMOVES {
        host.auto_remove = false;
    }
    if version < PRIVATE_IPC && host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".to_owned();
    }
    if version < ANNOTATIONS {
        host.annotations.clear();
    }
    if version < RECURSIVELY_READ_ONLY {
        for mount in host.mounts.iter_mut().filter(|mount| mount.kind == "bind" && mount.read_only) {
            let options = mount.bind_options.get_or_insert_default();
            options.read_only_non_recursive = true;
            options.read_only_force_recursive = false;
        }
    }
}
