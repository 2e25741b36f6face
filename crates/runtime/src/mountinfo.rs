//! The mounts that this process sees, as far as somebody here asks about them.
//!
//! Source: proc_pid_mountinfo(5).

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Where the kernel lists them.
const TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: PathBuf,
    /// The type of its file system.
    pub kind: Vec<u8>,
    /// It answers to its peers.
    pub shared: bool,
    /// It follows a master.
    pub slave: bool,
}

/// The mount that holds `path`, which must exist. Links are followed.
pub fn holder(path: &Path) -> io::Result<Mount> {
    let path = fs::canonicalize(path)?;
    let table = fs::read(TABLE)?;
    let root = || Mount { point: PathBuf::from("/"), kind: Vec::new(), shared: false, slave: false };
    Ok(holder_in(&table, &path).unwrap_or_else(root))
}

/// All mounts of a type of file system, in the order in which they lie on each other.
pub fn of_kind(kind: &str) -> io::Result<Vec<Mount>> {
    Ok(mounts(&fs::read(TABLE)?).filter(|mount| mount.kind == kind.as_bytes()).collect())
}

fn holder_in(table: &[u8], path: &Path) -> Option<Mount> {
    // Of several at one place the last one is on top.
    mounts(table).filter(|mount| path.starts_with(&mount.point)).max_by_key(|mount| mount.point.as_os_str().len())
}

fn mounts(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|byte| *byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let point = unescape(fields.next()?);
    let optional: Vec<&[u8]> = fields.by_ref().skip(1).take_while(|field| *field != b"-").collect();
    let kind = fields.next().unwrap_or_default().to_owned();
    let has = |tag: &[u8]| optional.iter().any(|field| field.starts_with(tag));
    Some(Mount { point, kind, shared: has(b"shared:"), slave: has(b"master:") })
}

/// Undoes the octal escapes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let value = octal.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        for (field, path) in [("/a", "/a"), (r"/a\040b", "/a b"), (r"/\134x", r"/\x"), (r"/\9", r"/\9")] {
            assert_eq!(unescape(field.as_bytes()), Path::new(path));
        }
    }

    #[test]
    fn the_nearest_mount_on_top_holds_a_path() {
        let table = b"1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/a rw\n\
            2 1 0:5 / /srv rw - tmpfs x rw\n\
            3 2 0:6 / /srv rw shared:7 master:1 - tmpfs y rw\n\
            4 1 0:7 / /srv/data\\040x rw master:3 propagate_from:2 - tmpfs z rw\n";
        for (path, point, kind, shared, slave) in [
            ("/etc", "/", "ext4", true, false),
            ("/srv/data", "/srv", "tmpfs", true, true),
            ("/srv/data x/y", "/srv/data x", "tmpfs", false, true),
            ("/srvx", "/", "ext4", true, false),
        ] {
            let expected = Mount { point: point.into(), kind: kind.into(), shared, slave };
            assert_eq!(holder_in(table, Path::new(path)), Some(expected), "{path}");
        }
    }
}
