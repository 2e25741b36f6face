//! Which devices a container has: the usual harmless ones (which every OCI runtime makes by itself), those asked for,
//! or all of the host's.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use model::container::{Device, Privilege, Security};
use rustix::fs::{major, minor};
use serde_json::{Value, json};

use super::OciError;

/// Rules for the usual devices: every node may be made, these may be used.
const USUAL: [(&str, i64, i64, &str); 11] = [
    ("c", -1, -1, "m"),
    ("b", -1, -1, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 1, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, -1, "rwm"),
];

/// What a host's `/dev` holds that is never passed on.
const NOT_PASSED: [&str; 8] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"];

/// The device nodes to make and the rules of the device control group.
pub fn of(security: &Security) -> Result<(Vec<Value>, Vec<Value>), OciError> {
    if security.privilege == Privilege::Privileged {
        let mut nodes = Vec::new();
        all_below(Path::new("/dev"), &mut nodes);
        return Ok((nodes, vec![json!({"allow": true, "access": "rwm"})]));
    }
    let mut nodes = Vec::new();
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend(USUAL.iter().map(|(kind, major, minor, access)| rule(kind, *major, *minor, access)));
    for device in &security.devices {
        let refused = |source: io::Error| OciError::Device { path: device.path.clone(), source };
        let found = nodes_of(device).and_then(some).map_err(refused)?;
        let access = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
        rules.extend(found.iter().map(|node| {
            json!({"allow": true, "type": node["type"], "major": node["major"], "minor": node["minor"], "access": access})
        }));
        nodes.extend(found);
    }
    for text in &security.device_rules {
        rules.push(parse_rule(text).ok_or_else(|| OciError::DeviceRule(text.clone()))?);
    }
    Ok((nodes, rules))
}

fn rule(kind: &str, major: i64, minor: i64, access: &str) -> Value {
    let mut rule = json!({"allow": true, "type": kind, "access": access});
    // Absent means every number.
    if major >= 0 {
        rule["major"] = major.into();
    }
    if minor >= 0 {
        rule["minor"] = minor.into();
    }
    rule
}

/// `c 42:* rmw`
fn parse_rule(text: &str) -> Option<Value> {
    let mut fields = text.split(' ');
    let (kind, numbers, access) = (fields.next()?, fields.next()?, fields.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| if text == "*" { Some(-1) } else { text.parse::<u32>().ok().map(i64::from) };
    let valid = matches!(kind, "a" | "b" | "c")
        && !access.is_empty()
        && access.chars().all(|letter| "rwm".contains(letter))
        && fields.next().is_none();
    valid.then_some(rule(kind, number(major)?, number(minor)?, access))
}

/// The node of a device, or of every device below a directory.
fn nodes_of(device: &Device) -> io::Result<Vec<Value>> {
    if fs::metadata(&device.path)?.is_dir() {
        let mut found = Vec::new();
        for entry in fs::read_dir(&device.path)? {
            let entry = entry?;
            let below = Device {
                path: entry.path(),
                target: device.target.join(entry.file_name()),
                permissions: device.permissions.clone(),
            };
            match nodes_of(&below) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                other => found.extend(other?),
            }
        }
        return Ok(found);
    }
    let node = node(&device.path, &device.target)?;
    some(node.into_iter().collect())
}

/// Something that is no device, or a directory without one, is refused.
fn some(nodes: Vec<Value>) -> io::Result<Vec<Value>> {
    if nodes.is_empty() { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a device node")) } else { Ok(nodes) }
}

fn node(path: &Path, target: &Path) -> io::Result<Option<Value>> {
    let metadata = fs::metadata(path)?;
    let kind = match metadata.file_type() {
        kind if kind.is_block_device() => "b",
        kind if kind.is_char_device() => "c",
        _ => return Ok(None),
    };
    let number = metadata.rdev();
    Ok(Some(json!({
        "path": target, "type": kind, "major": major(number), "minor": minor(number),
        "fileMode": metadata.mode() & 0o7777, "uid": metadata.uid(), "gid": metadata.gid(),
    })))
}

fn all_below(dir: &Path, nodes: &mut Vec<Value>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let (path, name): (PathBuf, _) = (entry.path(), entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !NOT_PASSED.iter().any(|other| name == **other) => all_below(&path, nodes),
            Ok(kind) if (kind.is_char_device() || kind.is_block_device()) && name != "console" => {
                nodes.extend(node(&path, &path).ok().flatten());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed() {
        let everything = json!({"allow": true, "type": "c", "major": 42, "access": "rmw"});
        assert_eq!(parse_rule("c 42:* rmw"), Some(everything));
        for wrong in ["", "c", "c 42 r", "x 1:1 r", "c 1:1 q", "c 1:1 r x", "c -1:1 r"] {
            assert_eq!(parse_rule(wrong), None, "{wrong:?}");
        }
    }
}
