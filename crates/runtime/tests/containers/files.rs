//! A container's files from outside: copying in and out, what it has changed, escapes.

use std::path::{Path, PathBuf};

use runtime::{
    rootfs::{Change, ChangeKind, Files, FilesError, PutWish, changes},
    shim::launch::Rootfs,
};

use crate::house::{EVERYTHING, read_until, with_house};

fn tar(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_mtime(1000);
        // The library refuses names with "..", which an attacker's does not.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        let content = if *kind == tar::EntryType::Regular {
            content.as_bytes()
        } else {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            &[]
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
fn files_go_in_and_out_of_a_stopped_container() {
    with_house(|house| async move {
        let container = house.container(&["sh", "-c", "mkdir /d; echo x > /d/f; ln -s f /d/l; ln /d/f /d/h"]);
        house.run(&container).await;
        let Rootfs::Overlay { lower, upper, work } = house.host(&container).rootfs else { unreachable!() };
        let rootfs = Rootfs::Overlay { lower: lower.clone(), upper: upper.clone(), work };
        {
            let files = Files::of_layers(&rootfs).unwrap();
            let stat = files.stat(Path::new("/d/l")).unwrap();
            assert_eq!((stat.name.to_str(), stat.link_target), (Some("l"), Some(PathBuf::from("/d/f"))));
            assert_eq!(files.stat(Path::new("/d/f")).unwrap().size_bytes, 2);
            assert!(matches!(files.stat(Path::new("/none")), Err(FilesError::NotFound(_))));
            let mut archive = Vec::new();
            files.get(Path::new("/d"), &mut archive).unwrap();
            assert_eq!(names(&archive), ["d/", "d/f", "d/h", "d/l"]);
            let put = tar(&[("new/", tar::EntryType::Directory, ""), ("new/file", tar::EntryType::Regular, "content")]);
            files.put(Path::new("/home"), &put[..], PutWish::default()).unwrap();
            assert_eq!(files.stat(Path::new("/home/new/file")).unwrap().modified, (1000, 0));
            let clash = tar(&[("d", tar::EntryType::Regular, "")]);
            let refused = files.put(Path::new("/"), &clash[..], PutWish { keep_types: true, owner: None });
            assert_eq!(
                refused.unwrap_err().to_string(),
                "cannot overwrite directory /d with non-directory in container"
            );
        }
        let change = |path: &str, kind| Change { path: path.into(), kind };
        let expected = [
            change("/d", ChangeKind::Added),
            change("/d/f", ChangeKind::Added),
            change("/d/h", ChangeKind::Added),
            change("/d/l", ChangeKind::Added),
            change("/home", ChangeKind::Changed),
            change("/home/new", ChangeKind::Added),
            change("/home/new/file", ChangeKind::Added),
        ];
        assert_eq!(changes(&lower, &upper).unwrap(), expected);
        let again = house.container(&["true"]);
        assert_eq!(house.run(&again).await.1.code, 0);
    });
}

#[test]
fn deletions_show_as_such() {
    with_house(|house| async move {
        let container = house.container(&["/bin/busybox", "rm", "-r", "/home/web", "/etc/group"]);
        house.run(&container).await;
        let Rootfs::Overlay { lower, upper, .. } = house.host(&container).rootfs else { unreachable!() };
        let found = changes(&lower, &upper).unwrap();
        let found: Vec<(&str, ChangeKind)> =
            found.iter().map(|change| (change.path.to_str().unwrap(), change.kind)).collect();
        let expected = [
            ("/etc", ChangeKind::Changed),
            ("/etc/group", ChangeKind::Deleted),
            ("/home", ChangeKind::Changed),
            ("/home/web", ChangeKind::Deleted),
        ];
        assert_eq!(found, expected);
    });
}

#[test]
fn a_running_container_is_reached_through_its_process() {
    with_house(|house| async move {
        let container = house.container(&["sh", "-c", "echo x > /tmp/f; echo up; sleep 1000"]);
        let mut attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        let started = house.start(&container).await.unwrap();
        read_until(&mut attached, "up").await;
        let files = Files::of_process(started.pid).unwrap();
        assert_eq!(files.stat(Path::new("/tmp/f")).unwrap().size_bytes, 2);
        let mut archive = Vec::new();
        files.export(&mut archive).unwrap();
        let names = names(&archive);
        assert!(names.contains(&"tmp/f".to_owned()) && names.contains(&"proc/".to_owned()));
        assert!(!names.iter().any(|name| name.starts_with("proc/1")), "{names:?}");
    });
}

#[test]
fn nothing_leads_out_of_the_container() {
    with_house(|house| async move {
        let (root, outside) = (house.path("tree"), house.path("outside"));
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../outside", root.join("in/relative")).unwrap();
        let files = Files::of_layers(&Rootfs::Directory(root.clone())).unwrap();
        for path in ["/absolute/secret", "/in/relative/secret", "/../outside/secret", "/in/../../outside/secret"] {
            assert!(matches!(files.stat(Path::new(path)), Err(FilesError::NotFound(_))), "{path}");
        }
        for entry in ["../escaped", "a/../../escaped"] {
            let archive = tar(&[(entry, tar::EntryType::Regular, "x")]);
            let outcome = files.put(Path::new("/in"), &archive[..], PutWish::default());
            assert!(matches!(outcome, Err(FilesError::Breakout(_))), "{entry}");
        }
        let link = format!("{}", outside.display());
        let through = tar(&[("link", tar::EntryType::Symlink, &link), ("link/escaped", tar::EntryType::Regular, "x")]);
        let _ = files.put(Path::new("/in"), &through[..], PutWish::default());
        let hard = tar(&[("hard", tar::EntryType::Link, "../../outside/secret")]);
        assert!(files.put(Path::new("/in"), &hard[..], PutWish::default()).is_err());
        let left: Vec<_> = std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["secret"]);
    });
}
