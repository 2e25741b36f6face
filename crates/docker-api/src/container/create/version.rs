//! What the documents of older versions of the API mean by what they leave out, or say without knowing it.

use crate::{version::Version, wire::host_config::HostConfig};

/// Before this version clients removed their containers themselves.
const DAEMON_REMOVES: Version = Version::new(1, 25);
/// Before this version containers could share each other's memory without asking.
const PRIVATE_IPC: Version = Version::new(1, 40);
/// Before this version there were none.
const ANNOTATIONS: Version = Version::new(1, 43);

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
}
