//! The image store on a real disk: what it keeps, what a crash leaves, what it refuses.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::house::{busybox, is_root, runtime, store};
use runtime::image::{Assembly, AssemblyFile, ImageError, ListFilters, Reference, RemoveOptions, Store};

#[test]
fn an_assembled_image_is_found_by_every_name() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let id = busybox(&store, "busybox:1.36").await;
        assert_eq!(busybox(&store, "busybox:1.36").await, id, "same files, same image");
        for name in
            ["busybox:1.36", "docker.io/library/busybox:1.36", id.as_str(), id.hex(), id.short(), &id.hex()[..3]]
        {
            assert_eq!(store.resolve(name).expect(name).id, id, "{name}");
        }
        let check = |name: &str, expected: &str| {
            assert_eq!(store.resolve(name).expect_err(name).to_string(), expected);
        };
        check("busybox", "No such image: busybox:latest");
        check("nope/x:1", "No such image: nope/x:1");
        check("Nope", "invalid reference format: repository name (library/Nope) must be lowercase");
        check(&"0".repeat(64), &format!("No such image: {}", "0".repeat(64)));
        let image = store.resolve("busybox:1.36").expect("just made");
        assert_eq!(image.repo_tags, ["busybox:1.36"]);
        assert!(image.size > 100_000);
        let lower = store.lower_dirs(&id).expect("whole");
        assert_eq!(lower.len(), 1);
        assert!(lower[0].join("bin/busybox").is_file());
        assert_eq!(fs::read_link(lower[0].join("bin/sh")).expect("a link").to_str(), Some("busybox"));
    });
}

#[test]
fn short_ids_that_fit_several_images_are_refused() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        for number in 0..17 {
            let files = vec![AssemblyFile::text("n", &number.to_string())];
            store.assemble(Assembly { files, ..Assembly::default() }).await.expect("assembles");
        }
        // Seventeen ids and sixteen digits: two begin alike.
        let ambiguous = "0123456789abcdef"
            .chars()
            .filter(|digit| matches!(store.resolve(&digit.to_string()), Err(ImageError::Ambiguous { .. })));
        assert!(ambiguous.count() > 0);
    });
}

#[test]
fn the_store_survives_being_opened_again() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(async {
        let id = busybox(&store, "busybox").await;
        drop(store);
        let images = dir.path().join("images");
        for stray in ["tmp/123-4", "layers/half"] {
            fs::create_dir_all(images.join(stray).join("diff/deep")).expect("makes what a crash leaves");
        }
        fs::write(images.join("configs/stray.json"), "{").expect("makes what a crash leaves");
        fs::write(images.join("holds/abc.new"), "{").expect("makes what a crash leaves");
        fs::write(images.join("holds/abd.json"), "").expect("makes what a power cut leaves");
        fs::remove_dir_all(images.join("l")).expect("loses the links");
        let store = Store::open(dir.path()).expect("opens");
        assert_eq!(store.resolve("busybox").expect("kept").id, id);
        assert!(store.lower_dirs(&id).expect("whole")[0].join("bin/busybox").is_file(), "links are restored");
        for directory in ["tmp", "holds"] {
            assert_eq!(fs::read_dir(images.join(directory)).expect("there").count(), 0, "{directory}");
        }
        for directory in ["layers", "configs"] {
            assert_eq!(fs::read_dir(images.join(directory)).expect("there").count(), 1, "{directory}");
        }
    });
}

#[test]
fn a_damaged_index_is_refused_with_the_remedy() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(busybox(&store, "busybox"));
    drop(store);
    let path = dir.path().join("images/index.json");
    let whole = fs::read_to_string(&path).expect("written");
    let refused = || match Store::open(dir.path()).map(drop).expect_err("refuses") {
        error @ ImageError::CorruptIndex { .. } => error.to_string(),
        other => panic!("{other}"),
    };
    for damaged in ["", "{", &whole[..whole.len() / 2], &whole.replace("\"version\": 1", "\"version\": 2")] {
        fs::write(&path, damaged).expect("writes");
        assert!(refused().contains("restore it from a backup"), "{damaged:?}");
    }
    fs::remove_file(&path).expect("removes");
    assert!(refused().contains("it is missing, but there are images"));
    fs::write(&path, whole).expect("writes");
    Store::open(dir.path()).expect("opens again");
}

#[test]
fn one_damaged_image_does_not_stop_the_others() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(async {
        let id = busybox(&store, "busybox").await;
        let other = store
            .assemble(Assembly { reference: Some(Reference::parse("other").expect("valid")), ..Assembly::default() })
            .await
            .expect("assembles");
        drop(store);
        fs::write(dir.path().join("images/configs").join(other.hex()).with_extension("json"), "{}").expect("writes");
        let store = Store::open(dir.path()).expect("opens");
        assert_eq!(store.resolve("busybox").expect("whole").id, id);
        assert!(matches!(store.resolve("other"), Err(ImageError::Damaged { .. })));
        assert_eq!(store.damaged().len(), 1);
        store
            .assemble(Assembly { reference: Some(Reference::parse("other").expect("valid")), ..Assembly::default() })
            .await
            .expect("assembles");
        assert_eq!(store.resolve("other").expect("mended").id, other);
    });
}

#[test]
fn a_snapshot_keeps_its_layers() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(async {
        let id = busybox(&store, "busybox").await;
        let snapshot = store.create_snapshot("c0ffee", &id).await.expect("makes");
        assert_eq!(store.create_snapshot("c0ffee", &id).await.expect("again"), snapshot);
        assert!(snapshot.upper.is_dir() && snapshot.work.is_dir());
        assert_eq!(snapshot.upper.metadata().expect("there").mode() & 0o7777, 0o755);
        store.remove_image("busybox", Default::default(), &[]).await.expect("removes");
        assert!(store.resolve("busybox").is_err());
        drop(store);
        let store = Store::open(dir.path()).expect("opens");
        assert_eq!(store.snapshot("c0ffee").expect("known"), Some(snapshot.clone()));
        assert!(snapshot.lower[1].join("bin/busybox").is_file());
        store.remove_snapshot("c0ffee").await.expect("removes");
        store.remove_snapshot("c0ffee").await.expect("again");
        assert!(!snapshot.upper.exists() && !snapshot.lower[1].exists());
        assert_eq!(fs::read_dir(dir.path().join("images/layers")).expect("there").count(), 0);
        assert!(store.create_snapshot("../x", &id).await.is_err());
    });
}

#[test]
fn whiteouts_are_what_overlayfs_knows() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let files = vec![AssemblyFile::text("etc/.wh.gone", ""), AssemblyFile::text("etc/.wh..wh..opq", "")];
        let id = store.assemble(Assembly { files, ..Assembly::default() }).await.expect("assembles");
        let etc = store.lower_dirs(&id).expect("whole")[0].join("etc");
        let gone = fs::symlink_metadata(etc.join("gone")).expect("there");
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        let mut value = [0; 8];
        let len = rustix::fs::getxattr(&etc, "trusted.overlay.opaque", &mut value).expect("is set");
        assert_eq!(&value[..len], b"y");
        assert!(is_root());
    });
}

#[test]
fn two_processes_do_not_share_a_store() {
    let Some((dir, store)) = store() else { return };
    let error = Store::open(dir.path()).map(drop).expect_err("refused").to_string();
    assert!(error.contains("is in use by another process"), "{error}");
    drop(store);
    Store::open(dir.path()).expect("opens");
}

#[test]
fn the_demo_image_runs_its_binary() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        // A dynamic program brings its libraries, a static one needs none: busybox runs, and knows no applet of that name. (A library
        // that is missing would end in other words.)
        for (program, expected) in
            [("/bin/true", (Some(0), "")), ("/bin/busybox", (Some(127), "linkspan: applet not found"))]
        {
            if !Path::new(program).exists() {
                eprintln!("SKIPPED: {program} is missing: apt-get install busybox-static");
                continue;
            }
            let id = store.assemble_demo(Path::new(program)).await.expect("assembles");
            let image = store.resolve("linkspan/demo").expect("made");
            assert_eq!(image.id, id);
            assert_eq!(image.config.config.entrypoint, Some(vec!["/linkspan".to_owned(), "demo".to_owned()]));
            let second = store.resolve("linkspan/demo:v2").expect("made");
            assert_eq!(second.config.config.env, ["PATH=/", "VERSION=v2"]);
            let root = &store.lower_dirs(&id).expect("whole")[0];
            let output = std::process::Command::new("chroot").arg(root).args(["/linkspan", "true"]).output();
            let output = output.expect("chroot runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), said.trim()), expected, "{program}");
        }
    });
}

#[test]
fn the_demo_image_is_made_again_when_its_binary_is_another() {
    let Some((dir, store)) = store() else { return };
    let Some(busybox) = ["/bin/busybox"].into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("SKIPPED: busybox is missing: apt-get install busybox-static");
        return;
    };
    let binary = dir.path().join("binary");
    let content = std::fs::read(busybox).expect("reads");
    let write = |content: &[u8]| std::fs::write(&binary, content).expect("writes");
    runtime().block_on(async {
        write(&content);
        let id = store.assemble_demo(&binary).await.expect("assembles");
        assert_eq!(store.assemble_demo(&binary).await.expect("assembles"), id);
        // Of the same size and age.
        let modified = std::fs::metadata(&binary).and_then(|found| found.modified()).expect("a time");
        let mut other = content.clone();
        *other.last_mut().expect("not empty") ^= 1;
        write(&other);
        std::fs::File::options()
            .write(true)
            .open(&binary)
            .and_then(|file| file.set_modified(modified))
            .expect("a time");
        let new = store.assemble_demo(&binary).await.expect("assembles");
        assert_ne!(new, id);
        assert_eq!(store.resolve("linkspan/demo").expect("made").id, new);
        // Somebody's own image of that name is none of the binary's.
        store.tag("linkspan/demo:v1", "linkspan/demo").await.expect("tags");
        assert_eq!(store.assemble_demo(&binary).await.expect("assembles"), new);
        assert_eq!(store.resolve("linkspan/demo").expect("made").id, new);
    });
}

#[test]
fn work_at_once_does_not_tear_layers_apart() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(async {
        let work = (0..6).map(|worker| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..8 {
                    let name = format!("image:{}", (worker + round) % 3);
                    let id = busybox(&store, &name).await;
                    let container = format!("c{worker}");
                    match store.create_snapshot(&container, &id).await {
                        Ok(snapshot) => assert!(snapshot.lower[1].join("bin/busybox").exists()),
                        // Another worker was faster.
                        Err(ImageError::NoSuchImage(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                    let _ = store.remove_image(&name, RemoveOptions { force: true, ..Default::default() }, &[]).await;
                    store
                        .prune(ListFilters { dangling: Some(false), ..Default::default() }, &[])
                        .await
                        .expect("prunes");
                    store.remove_snapshot(&container).await.expect("removes");
                }
            })
        });
        for worker in work.collect::<Vec<_>>() {
            worker.await.expect("no panic");
        }
        assert!(store.list(&ListFilters::default()).expect("lists").is_empty());
        for directory in ["layers", "configs", "tmp", "holds"] {
            let left = fs::read_dir(dir.path().join("images").join(directory)).expect("there").count();
            assert_eq!(left, 0, "{directory}");
        }
        busybox(&store, "last").await;
        store.save(&["last".to_owned()], std::io::sink()).await.expect("whole");
    });
}
