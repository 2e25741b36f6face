//! Who a process is: `user[:group]` and additional groups, looked up in the container's own `/etc/passwd` and
//! `/etc/group` by the rules that runc and Docker follow.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use model::container::Memberships;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::{Deserialize, Serialize};

/// No honest user database is larger.
const DATABASE_MAX_BYTES: u64 = 16 << 20;

/// Who a process shall be, in the words of its user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `user[:group]`, names or numbers; empty for root.
    pub user: String,
    /// Additional groups, names or numbers.
    pub groups: Vec<String>,
    /// Which groups it is in besides.
    #[serde(default)]
    pub memberships: Memberships,
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All group ids.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// There is no such user or group.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// See the message.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// See the message.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// The same of an additional group, in Docker's words.
    #[error("Unable to find group {0}: no matching entries in group file")]
    NoAdditionalGroup(String),
    /// A number that is none.
    #[error("uids and gids must be in range 0-2147483647")]
    Range,
}

/// Looks `identity` up in the databases below `rootfs`; a missing database counts as an empty one.
pub fn resolve(identity: &Identity, rootfs: &Path) -> Result<User, UserError> {
    lookup(identity, &database(rootfs, "etc/passwd"), &database(rootfs, "etc/group"))
}

pub(crate) fn lookup(identity: &Identity, passwd: &str, group: &str) -> Result<User, UserError> {
    let (user, wanted_group) = match identity.user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (identity.user.as_str(), None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user)?;
    let entry = entries(passwd, 7)
        .find(|fields| fields[0] == user || number.is_some_and(|number| fields[2].parse() == Ok(number)));
    let (name, uid, mut gid, home) = match (entry, number) {
        (Some(fields), _) => (fields[0], fields[2].parse().unwrap_or(0), fields[3].parse().unwrap_or(0), fields[5]),
        (None, Some(uid)) => ("", uid, 0, "/"),
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    let mut groups = Vec::new();
    if let Some(wanted) = wanted_group {
        gid = find_group(wanted, group)?;
    }
    let counts = match identity.memberships {
        Memberships::UnlessGroup => wanted_group.is_none(),
        Memberships::All => true,
        Memberships::None => false,
    };
    if counts && !name.is_empty() {
        groups.extend(
            entries(group, 4)
                .filter(|f| f[3].split(',').any(|member| member == name))
                .filter_map(|f| f[2].parse::<u32>().ok()),
        );
    }
    for wanted in &identity.groups {
        let found = find_group(wanted, group).map_err(|error| match error {
            UserError::NoGroup(name) => UserError::NoAdditionalGroup(name),
            other => other,
        });
        groups.push(found?);
    }
    // The primary group counts too, or files it owns could be reached by dropping it (CVE-2022-36109).
    groups.insert(0, gid);
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|gid| seen.insert(*gid));
    Ok(User { uid, gid, groups, home: if home.is_empty() { "/" } else { home }.to_owned() })
}

fn find_group(wanted: &str, group: &str) -> Result<u32, UserError> {
    let by_name = entries(group, 4).find(|fields| fields[0] == wanted).and_then(|fields| fields[2].parse().ok());
    match (by_name, number(wanted)?) {
        (Some(gid), _) | (None, Some(gid)) => Ok(gid),
        (None, None) => Err(UserError::NoGroup(wanted.to_owned())),
    }
}

fn number(text: &str) -> Result<Option<u32>, UserError> {
    match text.parse::<i64>() {
        Ok(value) => {
            u32::try_from(value).ok().filter(|value| *value <= i32::MAX as u32).map(Some).ok_or(UserError::Range)
        }
        Err(_) => Ok(None),
    }
}

/// The lines of a database that have at least so many fields.
fn entries(text: &str, fields: usize) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect::<Vec<_>>());
    lines.filter(move |line| line.len() >= fields)
}

fn database(rootfs: &Path, name: &str) -> String {
    let read = || -> io::Result<String> {
        let root = File::open(rootfs)?;
        // A link in an image must not lead out of it.
        let file = File::from(openat2(
            &root,
            name,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )?);
        if !file.metadata()?.is_file() {
            return Ok(String::new());
        }
        let mut bytes = Vec::new();
        file.take(DATABASE_MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "# users\nroot:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\nbad:line\n";
    const GROUP: &str = "root:x:0:root\nweb:x:34:\nadm:x:4:web,root\n";

    #[test]
    fn users_are_found_as_docker_finds_them() {
        for (user, groups, expected) in [
            ("", &[][..], Ok((0, 0, vec![0, 4], "/root"))),
            ("web", &[], Ok((33, 34, vec![34, 4], "/srv"))),
            ("33", &[], Ok((33, 34, vec![34, 4], "/srv"))),
            ("web:adm", &[], Ok((33, 4, vec![4], "/srv"))),
            ("1000", &[], Ok((1000, 0, vec![0], "/"))),
            ("1000:7", &["adm", "9"], Ok((1000, 7, vec![7, 4, 9], "/"))),
            ("nobody", &[], Err("unable to find user nobody: no matching entries in passwd file")),
            ("web:none", &[], Err("unable to find group none: no matching entries in group file")),
            ("web", &["none"], Err("Unable to find group none: no matching entries in group file")),
            ("-1", &[], Err("uids and gids must be in range 0-2147483647")),
        ] {
            let groups = groups.iter().map(|name| (*name).to_owned()).collect();
            let identity = Identity { user: user.to_owned(), groups, ..Identity::default() };
            let found = lookup(&identity, PASSWD, GROUP).map_err(|error| error.to_string());
            let expected = expected.map(|(uid, gid, groups, home)| User { uid, gid, groups, home: home.to_owned() });
            assert_eq!(found, expected.map_err(str::to_owned), "{user}");
        }
    }
    #[test]
    fn groups_of_the_image() {
        for (user, memberships, expected) in [
            ("web", Memberships::UnlessGroup, &[34, 4, 9][..]),
            ("web:7", Memberships::UnlessGroup, &[7, 9]),
            ("web:7", Memberships::All, &[7, 4, 9]),
            ("33", Memberships::None, &[34, 9]),
        ] {
            let identity = Identity { user: user.to_owned(), groups: vec!["9".to_owned()], memberships };
            assert_eq!(lookup(&identity, PASSWD, GROUP).unwrap().groups, expected, "{user} {memberships:?}");
        }
    }
}
