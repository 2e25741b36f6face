//! Commit, save, load, import, tag, remove, prune, history and disk usage, on a real disk.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::house::{busybox, runtime, store};
use runtime::image::{
    CommitRequest, Config, ContainerUse, ImageId, ImportRequest, ListFilters, Progress, ProgressSink, Reference,
    RemoveOptions, Removed, Store,
};

fn commit_request(container: &str, reference: &str) -> CommitRequest {
    CommitRequest {
        container: container.to_owned(),
        exclude: BTreeSet::from([PathBuf::from("etc/hosts")]),
        config: Config { cmd: Some(vec!["sh".to_owned()]), ..Config::default() },
        changes: vec!["ENV A=1".to_owned(), "LABEL made=here".to_owned()],
        author: "me".to_owned(),
        comment: "why".to_owned(),
        reference: Some(Reference::parse(reference).expect("valid")),
    }
}

/// A container on busybox that changed something of every kind, and the image committed from it.
async fn changed(store: &Store, reference: &str) -> ImageId {
    let id = store.resolve("busybox").expect("made before").id;
    let upper = store.create_snapshot("c1", &id).await.expect("makes").upper;
    fs::create_dir_all(upper.join("etc/conf.d")).expect("writes");
    fs::write(upper.join("etc/hosts"), "").expect("writes");
    fs::write(upper.join("etc/new"), reference).expect("writes");
    let _ = fs::hard_link(upper.join("etc/new"), upper.join("etc/same"));
    let whiteout = || {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            upper.join("etc/issue"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        )
    };
    let _ = whiteout();
    let opaque = upper.join("etc/conf.d");
    rustix::fs::setxattr(&opaque, "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).expect("root may");
    store.commit(commit_request("c1", reference)).await.expect("commits")
}

async fn save(store: &Store, names: &[&str]) -> Vec<u8> {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    store.save(&names, writer).await.expect("saves");
    reading.await.expect("joins").expect("reads")
}

async fn load(store: &Store, bytes: &[u8]) -> Result<Vec<String>, runtime::image::ImageError> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let listener = lines.clone();
    let sink = ProgressSink::new(move |news| {
        if let Progress::Line(line) = news {
            listener.lock().expect("no panic").push(line);
        }
    });
    store.load(Box::new(std::io::Cursor::new(bytes.to_vec())), sink).await?;
    Ok(lines.lock().expect("no panic").clone())
}

#[test]
fn a_commit_holds_the_changes_and_nothing_else() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let parent = busybox(&store, "busybox").await;
        let id = changed(&store, "changed").await;
        let image = store.resolve("changed").expect("made");
        assert_eq!((image.id.clone(), image.parent.clone()), (id.clone(), Some(parent)));
        assert_eq!(image.config.config.env, ["A=1"]);
        let lower = store.lower_dirs(&id).expect("whole");
        assert_eq!(lower.len(), 2);
        let etc = lower[0].join("etc");
        let mut names: Vec<_> = fs::read_dir(&etc).expect("there").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["conf.d", "issue", "new", "same"]);
        assert!(fs::symlink_metadata(etc.join("issue")).expect("there").file_type().is_char_device());
        assert_eq!(fs::metadata(etc.join("new")).expect("there").nlink(), 2);
        let mut value = [0; 4];
        assert_eq!(rustix::fs::getxattr(etc.join("conf.d"), "trusted.overlay.opaque", &mut value), Ok(1));
        let history = store.history("changed").expect("known");
        assert_eq!(history.len(), 2);
        assert_eq!((history[0].comment.as_str(), &history[0].tags[..]), ("why", &["changed:latest".to_owned()][..]));
        assert_eq!(history[1].tags, ["busybox:latest"]);
        assert!(history[1].size > history[0].size);
    });
}

#[test]
fn a_commit_without_changes_adds_no_layer() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let id = busybox(&store, "busybox").await;
        store.create_snapshot("c2", &id).await.expect("makes");
        let child = store.commit(commit_request("c2", "same")).await.expect("commits");
        assert_eq!(store.lower_dirs(&child).expect("whole"), store.lower_dirs(&id).expect("whole"));
        let bad = CommitRequest { changes: vec!["RUN x".to_owned()], ..commit_request("c2", "x") };
        assert_eq!(store.commit(bad).await.expect_err("refused").to_string(), "RUN is not a valid change command");
    });
}

#[test]
fn saved_images_load_elsewhere_as_the_same() {
    let (Some((_a, here)), Some((_b, there))) = (store(), store()) else { return };
    runtime().block_on(async {
        busybox(&here, "busybox").await;
        let id = changed(&here, "changed:1").await;
        here.tag("changed:1", "changed:2").await.expect("tags");
        let archive = save(&here, &["changed", "busybox:latest"]).await;
        let lines = load(&there, &archive).await.expect("loads");
        let expected = ["Loaded image: busybox:latest", "Loaded image: changed:1", "Loaded image: changed:2"];
        assert_eq!(lines.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(expected));
        let image = there.resolve("changed:2").expect("loaded");
        assert_eq!(image.id, id);
        assert_eq!(image.repo_tags, ["changed:1", "changed:2"]);
        let again = save(&there, &["changed", "busybox:latest"]).await;
        assert_eq!(archive, again, "an archive of the same images is the same archive");
        // Compressed, and by the OCI index alone.
        let (mut oci, mut archive) = (tar::Builder::new(Vec::new()), tar::Archive::new(archive.as_slice()));
        for entry in archive.entries().expect("reads") {
            let entry = entry.expect("reads");
            if entry.path().expect("named") != Path::new("manifest.json") {
                oci.append(&entry.header().clone(), entry).expect("memory");
            }
        }
        let zstd = zstd::encode_all(oci.into_inner().expect("memory").as_slice(), 1).expect("memory");
        for name in ["changed:1", "changed:2", "busybox"] {
            there.remove_image(name, RemoveOptions::default(), &[]).await.expect("removes");
        }
        assert!(there.list(&ListFilters::default()).expect("lists").is_empty());
        load(&there, &zstd).await.expect("loads");
        assert_eq!(there.resolve("changed:1").expect("loaded").id, id);
        let by_id = save(&here, &[id.short()]).await;
        assert_eq!(load(&there, &by_id).await.expect("loads"), [format!("Loaded image ID: {id}")]);
    });
}

#[test]
fn archives_that_lie_are_refused() {
    let (Some((_a, here)), Some((dir, there))) = (store(), store()) else { return };
    runtime().block_on(async {
        busybox(&here, "busybox").await;
        let archive = save(&here, &["busybox"]).await;
        let mut flipped = archive.clone();
        let inside_layer = archive.len() / 2;
        flipped[inside_layer] ^= 1;
        let error = load(&there, &flipped).await.expect_err("refused").to_string();
        assert!(error.contains("does not match its digest"), "{error}");
        let error = load(&there, &archive[..archive.len() / 2]).await.expect_err("refused").to_string();
        assert!(error.contains("ends inside a file"), "{error}");
        let error = load(&there, &[0; 1024]).await.expect_err("refused").to_string();
        assert!(error.contains("docker import"), "{error}");
        assert_eq!(fs::read_dir(dir.path().join("images/layers")).expect("there").count(), 0);
        assert_eq!(fs::read_dir(dir.path().join("images/tmp")).expect("there").count(), 0);
    });
}

#[test]
fn a_layer_that_changed_on_disk_is_not_handed_on() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let id = busybox(&store, "busybox").await;
        fs::write(store.lower_dirs(&id).expect("whole")[0].join("etc/issue"), "BUSYBOX\n").expect("writes");
        let error = store.save(&["busybox".to_owned()], std::io::sink()).await.expect_err("refused").to_string();
        assert!(error.contains("is damaged on disk"), "{error}");
    });
}

#[test]
fn an_import_is_an_image() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        builder.append_data(&mut header, "etc/hi", &b"hi"[..]).expect("memory");
        let request = ImportRequest {
            source: Box::new(std::io::Cursor::new(builder.into_inner().expect("memory"))),
            reference: Some(Reference::parse("me/import:1").expect("valid")),
            changes: vec!["CMD [\"/x\"]".to_owned()],
            message: "Imported from -".to_owned(),
            platform: Some("linux/arm64".parse().expect("valid")),
        };
        let id = store.import(request).await.expect("imports");
        let image = store.resolve("me/import:1").expect("made");
        assert_eq!((&image.id, image.size, image.config.architecture.as_str()), (&id, 2, "arm64"));
        assert_eq!(image.config.config.cmd, Some(vec!["/x".to_owned()]));
        assert_eq!(store.history("me/import:1").expect("known")[0].comment, "Imported from -");
    });
}

fn uses(image: &ImageId, running: bool) -> Vec<ContainerUse> {
    vec![ContainerUse { container: "0123456789abcdef".to_owned(), image: image.clone(), running }]
}

#[test]
fn images_are_removed_by_dockers_rules() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(async {
        let force = RemoveOptions { force: true, ..RemoveOptions::default() };
        let gentle = RemoveOptions::default();
        let base = busybox(&store, "busybox").await;
        let child = changed(&store, "changed").await;
        store.remove_snapshot("c1").await.expect("removes");
        store.tag("changed", "other/name:v1").await.expect("tags");
        let refused = |name: &str, options, used: Vec<ContainerUse>| {
            let (store, name) = (store.clone(), name.to_owned());
            async move { store.remove_image(&name, options, &used).await.expect_err("refused").to_string() }
        };
        assert_eq!(refused("nope", gentle, vec![]).await, "No such image: nope:latest");
        assert_eq!(
            refused("busybox", gentle, uses(&base, false)).await,
            format!("conflict: unable to remove repository reference \"busybox:latest\" (must force) - container 0123456789ab is using its referenced image {}", base.short())
        );
        assert_eq!(
            refused(child.hex(), gentle, vec![]).await,
            format!("conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories", child.short())
        );
        assert_eq!(
            refused(base.short(), force, vec![]).await,
            format!("conflict: unable to delete {} (cannot be forced) - image has dependent child images", base.short())
        );
        assert_eq!(
            refused(child.short(), force, uses(&child, true)).await,
            format!("conflict: unable to delete {} (cannot be forced) - image is being used by running container 0123456789ab", child.short())
        );
        let removed = store.remove_image("changed", gentle, &uses(&child, true)).await.expect("another name is left");
        assert_eq!(removed, [Removed::Untagged("changed:latest".to_owned())]);
        assert_eq!(
            refused(child.short(), gentle, uses(&child, false)).await,
            format!("conflict: unable to delete {} (must be forced) - image is being used by stopped container 0123456789ab", child.short())
        );
        let removed = store.remove_image("busybox", gentle, &[]).await.expect("its child keeps the image");
        assert_eq!(removed, [Removed::Untagged("busybox:latest".to_owned())]);
        let removed = store.remove_image("other/name:v1", gentle, &[]).await.expect("removes");
        assert_eq!(removed[0], Removed::Untagged("other/name:v1".to_owned()));
        assert_eq!(removed[1], Removed::Deleted(child.to_string()));
        assert!(removed.contains(&Removed::Deleted(base.to_string())), "the parent nobody names goes too: {removed:?}");
        assert_eq!(removed.len(), 5, "two images, two layers, one name: {removed:?}");
        for directory in ["layers", "configs", "tmp"] {
            assert_eq!(fs::read_dir(dir.path().join("images").join(directory)).expect("there").count(), 0, "{directory}");
        }
    });
}

#[test]
fn lists_prunes_and_sizes_agree() {
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let base = busybox(&store, "busybox").await;
        let child = changed(&store, "changed").await;
        let newer = changed(&store, "changed").await;
        store.remove_snapshot("c1").await.expect("removes");
        let names = |filters: ListFilters| -> Vec<ImageId> {
            store.list(&filters).expect("lists").into_iter().map(|image| image.id).collect()
        };
        assert_eq!(names(ListFilters::default()), [newer.clone(), child.clone(), base.clone()]);
        assert_eq!(names(ListFilters { dangling: Some(true), ..Default::default() }), std::slice::from_ref(&child));
        assert_eq!(
            names(ListFilters { reference: vec!["chan*".to_owned()], ..Default::default() }),
            std::slice::from_ref(&newer)
        );
        assert_eq!(names(ListFilters { label: vec!["made=here".to_owned()], ..Default::default() }).len(), 2);
        assert_eq!(
            names(ListFilters { label_not: vec!["made".to_owned()], ..Default::default() }),
            std::slice::from_ref(&base)
        );
        assert_eq!(names(ListFilters { before: Some("changed".to_owned()), ..Default::default() }).last(), Some(&base));
        assert_eq!(names(ListFilters { since: Some("busybox".to_owned()), ..Default::default() }).len(), 2);
        assert_eq!(names(ListFilters { until_unix_s: Some(1), ..Default::default() }), std::slice::from_ref(&base));
        assert!(store.list(&ListFilters { before: Some("nope".to_owned()), ..Default::default() }).is_err());
        let usage = store.disk_usage();
        assert_eq!(usage.images.len(), 3);
        assert_eq!(usage.images[&base].shared, usage.images[&base].size);
        assert!(usage.layers < usage.images.values().map(|image| image.size).sum());
        let pruned = store.prune(ListFilters::default(), &[]).await.expect("prunes");
        assert!(pruned.removed.contains(&Removed::Deleted(child.to_string())));
        assert_eq!(names(ListFilters::default()), [newer.clone(), base.clone()]);
        let all = ListFilters { dangling: Some(false), ..Default::default() };
        let pruned = store.prune(all.clone(), &uses(&newer, false)).await.expect("prunes");
        assert_eq!((pruned.removed.len(), pruned.reclaimed), (0, 0), "a container uses one, that one needs the other");
        let pruned = store.prune(all, &[]).await.expect("prunes");
        assert_eq!(pruned.reclaimed, usage.images[&newer].size);
        assert!(names(ListFilters::default()).is_empty());
    });
}
