//! Layers from hostile hands: contained or refused, and what was taken in comes out byte for byte.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::house::{runtime, store};
use proptest::prelude::*;
use runtime::image::{ErrorKind, ImageError, ImportRequest, Store};
use tar::{EntryType, Header};

/// One entry as an attacker writes it: no library checks it.
struct Hostile {
    kind: EntryType,
    path: &'static str,
    link: &'static str,
    content: &'static [u8],
}

const fn file(path: &'static str) -> Hostile {
    Hostile { kind: EntryType::Regular, path, link: "", content: b"content" }
}

const fn dir(path: &'static str) -> Hostile {
    Hostile { kind: EntryType::Directory, path, link: "", content: b"" }
}

const fn link(kind: EntryType, path: &'static str, link: &'static str) -> Hostile {
    Hostile { kind, path, link, content: b"" }
}

fn archive(entries: &[Hostile]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = Header::new_ustar();
        let fields = header.as_old_mut();
        fields.name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        fields.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_mode(0o4751);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000_000);
        header.set_size(entry.content.len() as u64);
        header.set_device_major(1).expect("ustar");
        header.set_device_minor(3).expect("ustar");
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

/// Imports a stream as the image `x`; what it unpacked to stands in its lower directory.
fn import(store: &Store, bytes: Vec<u8>) -> Result<std::path::PathBuf, ImageError> {
    runtime().block_on(async {
        let id = store
            .import(ImportRequest {
                source: Box::new(std::io::Cursor::new(bytes)),
                reference: Some("x".parse().expect("valid")),
                changes: Vec::new(),
                message: String::new(),
                platform: None,
            })
            .await?;
        // Saving replays the stream and fails if a byte differs.
        store.save(&["x".to_owned()], std::io::sink()).await?;
        Ok(store.lower_dirs(&id)?.remove(0))
    })
}

/// Everything outside the store stays as it is; inside, `expected` says what became of the entries.
fn check(name: &str, entries: &[Hostile], expected: Result<&[&str], &str>) {
    let Some((dir, store)) = store() else { return };
    let outside = dir.path().join("outside");
    fs::write(&outside, "untouched").expect("writes");
    match (import(&store, archive(entries)), expected) {
        (Ok(root), Ok(paths)) => {
            for path in paths {
                assert!(root.join(path).symlink_metadata().is_ok(), "{name}: {path} should be there");
            }
        }
        (Err(error), Err(text)) => {
            assert!(error.to_string().contains(text), "{name}: {error}");
            let images = dir.path().join("images");
            for directory in ["tmp", "layers", "configs"] {
                assert_eq!(fs::read_dir(images.join(directory)).expect("there").count(), 0, "{name}: {directory}");
            }
        }
        (found, _) => panic!("{name}: {found:?}"),
    }
    let mut names: Vec<_> = fs::read_dir(dir.path()).expect("there").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["images", "outside"], "{name}");
    assert_eq!(fs::read_to_string(&outside).expect("there"), "untouched", "{name}");
}

#[test]
fn hostile_entries_are_contained_or_refused() {
    use EntryType::{Block, Char, Fifo, GNUSparse, Link, Symlink};
    let out = "leads out of the layer";
    check("traversal", &[file("../../../outside")], Err(out));
    check("traversal inside", &[file("a/../../outside")], Err(out));
    check("harmless dots", &[file("a/../b/./c")], Ok(&["b/c"]));
    check("absolute path", &[file("/etc/x")], Ok(&["etc/x"]));
    check("only slashes", &[file("//")], Err("only a directory can be the root"));
    check("the root as a directory", &[dir("/"), dir("./")], Ok(&[]));
    check("the root as a file", &[file(".")], Err("only a directory can be the root"));
    check(
        "symlink out, then through it",
        &[link(Symlink, "l", "../../../.."), file("l/outside")],
        Ok(&["l", "outside"]),
    );
    check("absolute symlink, then through it", &[link(Symlink, "l", "/"), file("l/x")], Ok(&["l", "x"]));
    check("symlink to nowhere, then through it", &[link(Symlink, "l", "/no"), file("l/x")], Err("l/x"));
    check("symlink loop", &[link(Symlink, "l", "l"), file("l/x")], Err("l/x"));
    check("symlink replaced by a file", &[link(Symlink, "l", "../../outside"), file("l")], Ok(&["l"]));
    check("hard link out", &[link(Link, "h", "../../outside")], Err(out));
    check("hard link to an absolute path", &[link(Link, "h", "/outside")], Err("hard link to"));
    check(
        "hard link through a symlink",
        &[link(Symlink, "l", "/.."), link(Link, "h", "l/outside")],
        Err("hard link to"),
    );
    check("hard link to a symlink", &[link(Symlink, "l", "/etc/shadow"), link(Link, "h", "l")], Ok(&["h"]));
    check("hard link to nothing", &[link(Link, "h", "")], Err("needs a target"));
    check("devices", &[link(Char, "null", ""), link(Block, "b", ""), link(Fifo, "f", "")], Ok(&["null", "b", "f"]));
    check("whiteout of the parent", &[file("a/.wh...")], Err("must name an entry of its own directory"));
    check("whiteout of itself", &[file("a/.wh..")], Err("must name an entry of its own directory"));
    check("whiteout of nothing", &[file(".wh.")], Err("must name an entry of its own directory"));
    check("whiteout through a symlink", &[link(Symlink, "l", "../.."), file("l/.wh.outside")], Ok(&["outside"]));
    check("whiteout notes of AUFS", &[file(".wh..wh.plnk")], Ok(&[]));
    check("sparse", &[link(GNUSparse, "s", "")], Err("sparse files are not supported"));
    check("unknown kind", &[link(EntryType::new(b'Z'), "s", "")], Err("unknown kind"));
    check("file becomes directory", &[file("a"), file("a2"), dir("a"), file("a/b")], Ok(&["a/b", "a2"]));
    check("directory becomes file", &[file("a/b"), file("a/c"), file("a")], Ok(&["a"]));
    check("the same file again and again", &[file("a"), file("a"), link(Link, "h", "a"), file("a")], Ok(&["a", "h"]));
    check("file under a file", &[file("a"), file("a/b")], Err("a/b"));
}

#[test]
fn damaged_streams_are_refused() {
    let good = archive(&[file("a"), file("b")]);
    let long_name = {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let pax = |record: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(record.len() as u64);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(record);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend_from_slice(&archive(&[file("a")]));
        bytes
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (good[..600].to_vec(), "ends inside a file"),
        (good[..200].to_vec(), "ends inside a header"),
        (b"not a tar stream at all".repeat(100), "checksum"),
        (long_name, "extension header of 1099511627776 bytes is refused"),
        (pax(b"20 path=x\n"), "PAX"),
        (pax(b"9 size=-1\n"), "PAX"),
        (pax(b"16 path=../../x\n"), "leads out of the layer"),
        (pax(b"12 path=a\0b\n"), "NUL"),
        (pax(b"22 GNU.sparse.major=1\n"), "sparse"),
        (b"BZh91AY".to_vec(), "bzip2 compression is not supported"),
    ];
    let Some((_dir, store)) = store() else { return };
    for (bytes, expected) in cases {
        let error = import(&store, bytes).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert_eq!(import(&store, b"junk".repeat(300)).expect_err("refused").kind(), ErrorKind::Invalid);
}

#[test]
fn attributes_survive() {
    let Some((_dir, store)) = store() else { return };
    let mut builder = tar::Builder::new(Vec::new());
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let long = format!("{}/file", "d".repeat(120));
    let extensions: [(&str, &[u8]); 4] = [
        ("path", long.as_bytes()),
        ("SCHILY.xattr.security.capability", capability),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("mtime", b"-5.5"),
    ];
    builder.append_pax_extensions(extensions).expect("memory");
    let mut header = Header::new_ustar();
    header.set_path("short").expect("fits");
    header.set_mode(0o6755);
    header.set_uid(100_000);
    header.set_size(3);
    header.set_cksum();
    builder.append(&header, &b"abc"[..]).expect("memory");
    for (path, mode) in [("dir/", 0o1777), ("dir/inner/", 0o700)] {
        let mut header = Header::new_ustar();
        header.set_path(path).expect("fits");
        header.set_entry_type(EntryType::Directory);
        header.set_mode(mode);
        header.set_mtime(1_234_567);
        header.set_cksum();
        builder.append(&header, std::io::empty()).expect("memory");
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&builder.into_inner().expect("memory")).expect("memory");
    let root = import(&store, encoder.finish().expect("memory")).expect("imports");
    let path = root.join(&long);
    let found = fs::metadata(&path).expect("there");
    assert_eq!((found.mode() & 0o7777, found.uid(), found.mtime()), (0o6755, 100_000, -6));
    let mut value = [0; 64];
    let len = rustix::fs::getxattr(&path, "security.capability", &mut value).expect("set");
    assert_eq!(&value[..len], capability);
    assert!(rustix::fs::getxattr(&path, "trusted.overlay.redirect", &mut value).is_err(), "overlayfs takes no orders");
    let dir = fs::metadata(root.join("dir")).expect("there");
    assert_eq!((dir.mode() & 0o7777, dir.mtime()), (0o1777, 1_234_567));
}

#[test]
fn device_nodes_keep_their_numbers() {
    let Some((_dir, store)) = store() else { return };
    let root = import(&store, archive(&[link(EntryType::Char, "dev/null", "")])).expect("imports");
    let null = fs::metadata(root.join("dev/null")).expect("there");
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.permissions().mode() & 0o7777, null.uid()), (rustix::fs::makedev(1, 3), 0o4751, 7));
}

const NAMES: [&str; 10] = ["a", "b", "a/b", "../a", "/a/c", "l/a", "l/../b", "a/.wh.b", "a/.wh..wh..opq", "./l"];
const KINDS: [EntryType; 7] = [
    EntryType::Regular,
    EntryType::Directory,
    EntryType::Symlink,
    EntryType::Link,
    EntryType::Char,
    EntryType::Fifo,
    EntryType::Regular,
];
const TARGETS: [&str; 7] = ["a", "b", "/", "..", "../../outside", "/a/b", "l"];

fn outside_is_untouched(dir: &Path) {
    let mut names: Vec<_> = fs::read_dir(dir).expect("there").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["images", "outside"]);
    assert_eq!(fs::read_to_string(dir.join("outside")).expect("there"), "untouched");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_entries_escapes(
        entries in prop::collection::vec((0..NAMES.len(), 0..KINDS.len(), 0..TARGETS.len()), 1..12),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    ) {
        let Some((dir, store)) = store() else { return Ok(()) };
        fs::write(dir.path().join("outside"), "untouched").expect("writes");
        let entries: Vec<Hostile> = entries
            .into_iter()
            .map(|(name, kind, target)| Hostile {
                kind: KINDS[kind],
                path: NAMES[name],
                link: TARGETS[target],
                content: if KINDS[kind] == EntryType::Regular { TARGETS[target].as_bytes() } else { b"" },
            })
            .collect();
        let mut bytes = archive(&entries);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Err(ImageError::Damaged { what, reason }) = import(&store, bytes) {
            prop_assert!(false, "{what} did not come out as it went in: {reason}");
        }
        outside_is_untouched(dir.path());
    }
}
