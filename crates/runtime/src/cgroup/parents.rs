//! The groups above those of containers. What is made here for `--cgroup-parent` carries a mark and goes with the last
//! container in it; what somebody else made stays. The daemon's own group is kept until [`leave`]. A daemon that is in a container
//! itself has to [`make_room`] first.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{XattrFlags, getxattr, setxattr};

use super::{Cgroup, pids_in, poll_until};

/// The parent of containers that ask for no other.
pub const USUAL: &str = "/linkspan";

/// Where the processes of a container go whose root group hands its controllers on.
const LEAF: &str = "init";
/// The file of a group of v2 that lists what it has.
const CONTROLLERS: &str = "cgroup.controllers";
/// The extended attribute (xattr(7)) of a group that we made.
const MARK: &str = "trusted.linkspan";
/// A parent may be removed, with the last container in it, while a new one is made there; so often it is tried.
const ATTEMPTS: usize = 8;
/// How long a process may be on its way into the root group of a container.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Makes the group and those that are missing above it, which may be on their way out with the last one in them.
    pub fn make(&self) -> io::Result<()> {
        self.roots().try_for_each(|root| make(root))?;
        if let Self::V2(dir) = self {
            let above: Vec<&Path> = dir.ancestors().skip(1).take_while(|dir| dir.join(CONTROLLERS).exists()).collect();
            // A limit that cannot be set for want of its controller says so.
            if let Some((root, below)) = above.split_last() {
                drop(if is_true_root(root) { enable(root) } else { hand_on(root) });
                below.iter().rev().for_each(|dir| drop(enable(dir)));
            }
        }
        Ok(())
    }

    /// Removes the groups above that are ours and empty.
    pub(super) fn remove_parents(&self) {
        for root in self.roots() {
            let ours = root.ancestors().skip(1).take_while(|parent| is_marked(parent));
            // The first one that somebody else is in ends it.
            let _ = ours.map(fs::remove_dir).take_while(Result::is_ok).count();
        }
    }
}

/// Lets groups of containers have controllers. With v2 and in a container, all processes are in the group that is the root there, and
/// a group hands controllers on only while it has no process itself ("No Internal Process Constraint"): they go one level down, where
/// Docker's own image for this puts them too. The host's true root is exempt.
pub fn make_room() -> io::Result<()> {
    match Cgroup::at("/")? {
        // One that is just coming from outside cannot be moved from here: it shows as process 0, and goes on in a moment.
        Cgroup::V2(root) if !is_true_root(&root) => poll_until(Instant::now() + PATIENCE, || match hand_on(&root) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
            other => other.map(|()| true),
        }),
        _ => Ok(()),
    }
}

/// Removes the daemon's own group, unless somebody is in it.
pub fn leave() -> io::Result<()> {
    for root in Cgroup::at(USUAL)?.roots() {
        // Another daemon's containers may be there, and keep it.
        let _ = fs::remove_dir(root);
    }
    Ok(())
}

fn hand_on(root: &Path) -> io::Result<()> {
    let leaf = root.join(LEAF);
    for pid in pids_in(root) {
        fs::create_dir_all(&leaf)?;
        // It may have ended; one that cannot be moved is told of below.
        let _ = fs::write(leaf.join("cgroup.procs"), pid.to_string());
    }
    enable(root)
}

/// Lets the groups below have every controller that this one of v2 has; those that it can, when it cannot all.
fn enable(group: &Path) -> io::Result<()> {
    let switch = group.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&switch)?;
    let enabled: BTreeSet<&str> = enabled.split_whitespace().collect();
    let controllers = fs::read_to_string(group.join(CONTROLLERS))?;
    let missing = controllers.split_whitespace().filter(|controller| !enabled.contains(controller));
    missing.map(|controller| fs::write(&switch, format!("+{controller}"))).fold(Ok(()), Result::and)
}

/// Only the host's true root is without this file.
fn is_true_root(group: &Path) -> bool {
    !group.join("cgroup.type").exists()
}

fn is_usual(group: &Path) -> bool {
    group.parent().is_some_and(|parent| parent.ends_with(USUAL.trim_start_matches('/')))
}

fn make(group: &Path) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        match make_once(group) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    make_once(group)
}

fn make_once(group: &Path) -> io::Result<()> {
    let mut missing: Vec<PathBuf> = group.ancestors().take_while(|above| !above.exists()).map(Path::to_owned).collect();
    while let Some(dir) = missing.pop() {
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            // Without a mark it stays, which harms nobody.
            Ok(()) if dir != group && !is_usual(group) => drop(setxattr(&dir, MARK, b"1", XattrFlags::empty())),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn is_marked(group: &Path) -> bool {
    getxattr(group, MARK, &mut [0u8; 8]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_group_is_told_from_others() {
        for (group, usual) in [("/sys/fs/cgroup/cpu/linkspan/x", true), ("/c/linkspan/deep/x", false), ("/c/x", false)]
        {
            assert_eq!(is_usual(Path::new(group)), usual, "{group}");
        }
    }
}
