//! How the mounts below a bind mount come and go with those below its source.
//!
//! Source: mount_namespaces(7), and Docker's words for the six kinds.

use std::path::Path;

use model::container::{Container, MountSource};
use oci_spec::runtime::{Mount, Spec};
use rustix::mount::MountPropagationFlags;

use super::OciError;
use crate::mountinfo;

/// What a mount in the container must be made: its place and the kind.
pub type Propagation = (std::path::PathBuf, MountPropagationFlags);

/// Refuses what the source of a bind mount cannot give.
pub fn check(path: &Path, propagation: &str) -> Result<(), OciError> {
    let wanted = propagation.trim_start_matches('r');
    if !matches!(wanted, "shared" | "slave") {
        return Ok(());
    }
    // A path that cannot be read is refused where it is mounted, with the reason.
    let Ok(holder) = mountinfo::holder(path) else { return Ok(()) };
    let lacks = match wanted {
        "shared" if !holder.shared => "a shared",
        "slave" if !holder.shared && !holder.slave => "a shared or slave",
        _ => return Ok(()),
    };
    Err(OciError::Propagation { path: path.to_owned(), holder: holder.point, lacks })
}

/// How a container's root follows the host's mounts, when one of its own mounts needs more than the runtime's
/// default, which is to follow without answering.
pub fn of_root(container: &Container) -> Option<&'static str> {
    let asks = |wanted: &str| {
        container.mounts.iter().any(|mount| match &mount.source {
            MountSource::Bind { propagation, .. } => propagation.trim_start_matches('r') == wanted,
            MountSource::Volume { .. } | MountSource::Tmpfs { .. } => false,
        })
    };
    match (asks("shared"), asks("slave")) {
        (true, _) => Some("shared"),
        (false, true) => Some("slave"),
        (false, false) => None,
    }
}

/// What each mount must be made once all are there.
pub fn of_mounts(spec: &Spec) -> Vec<Propagation> {
    let asked = |mount: &Mount| {
        let options = mount.options().iter().flatten();
        options.filter_map(|option| flags(option)).next_back().map(|flags| (mount.destination().clone(), flags))
    };
    spec.mounts().iter().flatten().filter_map(asked).collect()
}

fn flags(option: &str) -> Option<MountPropagationFlags> {
    let (recursive, kind) = match option.strip_prefix('r') {
        Some(kind) => (MountPropagationFlags::REC, kind),
        None => (MountPropagationFlags::empty(), option),
    };
    let kind = match kind {
        "private" => MountPropagationFlags::PRIVATE,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "shared" => MountPropagationFlags::SHARED,
        _ => return None,
    };
    Some(kind | recursive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_six_words_are_kinds() {
        let recursive = MountPropagationFlags::REC;
        for (option, expected) in [
            ("private", Some(MountPropagationFlags::PRIVATE)),
            ("rprivate", Some(MountPropagationFlags::PRIVATE | recursive)),
            ("slave", Some(MountPropagationFlags::DOWNSTREAM)),
            ("rslave", Some(MountPropagationFlags::DOWNSTREAM | recursive)),
            ("shared", Some(MountPropagationFlags::SHARED)),
            ("rshared", Some(MountPropagationFlags::SHARED | recursive)),
            ("ro", None),
            ("rbind", None),
            ("rro", None),
        ] {
            assert_eq!(flags(option), expected, "{option}");
        }
    }
}
