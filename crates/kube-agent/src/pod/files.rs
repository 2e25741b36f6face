//! Files that containers see change all at once: they are links into a directory that is replaced whole. The names `..data` and
//! `..YEAR_...` are those that programs which watch such files know from kubelet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Component, Path},
};

use jiff::Timestamp;

/// Files by their path in the volume.
pub type Files = BTreeMap<String, File>;

/// A file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";
/// The group that a volume is given to may read it, and only root writes.
const GROUP_READS: u32 = 0o440;
/// New files of a directory of a group are the group's too.
const SET_GROUP: u32 = 0o2000;

/// Makes `dir` hold these files and no others; nothing is touched when it does already.
pub fn write(dir: &Path, files: &Files, group: Option<u32>, now: Timestamp) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if files.keys().any(|path| !stays_inside(path)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file's path leads out of its volume"));
    }
    if dir.join(DATA).exists() && holds(&dir.join(DATA), files) {
        return Ok(());
    }
    let old = fs::read_link(dir.join(DATA)).ok();
    let stamp = format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond());
    let place = dir.join(&stamp);
    fs::create_dir_all(&place)?;
    for (path, file) in files {
        let path = place.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        let mode = if group.is_some() { file.mode | GROUP_READS } else { file.mode };
        fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
        chown(&path, None, group)?;
    }
    give(dir, group)?;
    give(&place, group)?;
    let _ = fs::remove_file(dir.join(NEXT));
    symlink(&stamp, dir.join(NEXT))?;
    fs::rename(dir.join(NEXT), dir.join(DATA))?;
    link_names(dir, files)?;
    if let Some(old) = old.filter(|old| old.as_os_str() != stamp.as_str()) {
        fs::remove_dir_all(dir.join(old))?;
    }
    Ok(())
}

/// Gives a directory to a group, so that it may write there.
pub fn share(dir: &Path, group: u32) -> io::Result<()> {
    let mode = fs::metadata(dir)?.permissions().mode();
    chown(dir, None, Some(group))?;
    fs::set_permissions(dir, PermissionsExt::from_mode(mode | 0o770 | SET_GROUP))
}

fn give(dir: &Path, group: Option<u32>) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    chown(dir, None, Some(group))?;
    let mode = fs::metadata(dir)?.permissions().mode();
    fs::set_permissions(dir, PermissionsExt::from_mode(mode | 0o550 | SET_GROUP))
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a directory has these files and no others.
fn holds(data: &Path, files: &Files) -> bool {
    let same = |(path, file): (&String, &File)| fs::read(data.join(path)).is_ok_and(|bytes| bytes == file.bytes);
    files.iter().all(same) && count(data) == files.len()
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.file_type().is_ok_and(|kind| kind.is_dir()) { count(&entry.path()) } else { 1 }).sum()
}

/// The names that containers see: each leads into what is there now.
fn link_names(dir: &Path, files: &Files) -> io::Result<()> {
    let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
    let wanted: BTreeSet<String> = files.keys().map(first).collect();
    for name in &wanted {
        let (link, target) = (dir.join(name), Path::new(DATA).join(name));
        if fs::read_link(&link).ok().as_deref() != Some(&target) {
            let _ = fs::remove_file(&link);
            symlink(target, link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let files = |pairs: &[(&str, &str)]| -> Files {
            let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o644 };
            pairs.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
        };
        let now = |second| Timestamp::from_second(second).unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).ok();
        write(dir.path(), &files(&[("a", "1"), ("deep/b", "2")]), None, now(1)).unwrap();
        assert_eq!((read("a").as_deref(), read("deep/b").as_deref()), (Some("1"), Some("2")));
        let before = fs::read_link(dir.path().join(DATA)).unwrap();
        write(dir.path(), &files(&[("a", "1"), ("deep/b", "2")]), None, now(2)).unwrap();
        assert_eq!(fs::read_link(dir.path().join(DATA)).unwrap(), before);
        write(dir.path(), &files(&[("a", "3")]), None, now(3)).unwrap();
        assert_eq!((read("a").as_deref(), read("deep/b")), (Some("3"), None));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        write(dir.path(), &files(&[]), None, now(4)).unwrap();
        assert_eq!(read("a"), None);
        for path in ["../x", "/x", "a/../../x", ""] {
            assert!(write(dir.path(), &files(&[(path, "")]), None, now(5)).is_err(), "{path:?}");
        }
    }
}
