//! What comes from outside, for the fuzzer: nothing may panic, whatever the bytes, and what is understood must come out again. Built for
//! tests, which replay the corpora of `fuzz/`, and by `cargo fuzz`; never into the product.

use std::collections::BTreeSet;

pub use crate::image::fuzz::{image_documents, image_references, layers, tar_entries};
use crate::{
    oci::{
        seccomp,
        user::{self, Identity},
    },
    shim::protocol::{Frames, Message, Report, Request},
};

/// A stream of frames, as the shim reads it and as the daemon does: the same whatever pieces it comes in.
pub fn shim_frames(stream: &[u8]) {
    check_frames::<Request>(stream);
    check_frames::<Report>(stream);
}

/// A profile of `--security-opt seccomp=`, compiled as far as it goes.
pub fn seccomp_profiles(json: &[u8]) {
    let Ok(json) = std::str::from_utf8(json) else { return };
    for capabilities in [BTreeSet::new(), ["CAP_SYS_ADMIN".to_owned()].into()] {
        if let Ok(profile) = seccomp::profile(json, &capabilities) {
            let _ = seccomp::compile(&profile);
        }
    }
}

/// `--user` on the first line, then an image's `/etc/passwd` and, after an empty line, its `/etc/group`.
pub fn users(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (wanted, files) = text.split_once('\n').unwrap_or((&text, ""));
    let (passwd, group) = files.split_once("\n\n").unwrap_or((files, ""));
    let groups = wanted.split(' ').skip(1).map(str::to_owned).collect();
    let user = wanted.split(' ').next().unwrap_or_default().to_owned();
    let identity = Identity { user, groups, ..Identity::default() };
    if let Ok(user) = user::lookup(&identity, passwd, group) {
        assert_eq!(user.groups.first(), Some(&user.gid));
    }
}

fn check_frames<M: Message + PartialEq + std::fmt::Debug>(stream: &[u8]) {
    let whole = read::<M>([stream]);
    assert_eq!(read::<M>(stream.chunks(3)), whole, "in pieces");
    for message in whole {
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        // No bytes at all need no frame.
        if !encoded.is_empty() {
            assert_eq!(read::<M>([&encoded[..]]), [message], "written and read again");
        }
    }
}

fn read<'a, M: Message>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<M> {
    let mut frames = Frames::default();
    let mut read = Vec::new();
    for piece in pieces {
        frames.push(piece);
        loop {
            match frames.take() {
                Ok(Some(message)) => read.push(message),
                Ok(None) => break,
                // The connection ends here.
                Err(_) => return read,
            }
        }
    }
    read
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora() {
        replay::replay("image_documents", image_documents);
        replay::replay("image_references", image_references);
        replay::replay("layers", layers);
        replay::replay("seccomp_profiles", seccomp_profiles);
        replay::replay("shim_frames", shim_frames);
        replay::replay("tar_entries", tar_entries);
        replay::replay("users", users);
    }
}
