//! Lower directories, whiteouts and commits as the kernel's overlayfs sees them, in a mount namespace of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use runtime::image::{CommitRequest, Config, Reference, Snapshot, Store};

use crate::house::{busybox, runtime, store};

/// Mounts a container's root in a new mount namespace and runs a script in it; its output, or nothing where mounting
/// is not allowed. The lower directories are given by their bare names.
fn in_container(data: &Path, snapshot: &Snapshot, script: &str) -> Option<String> {
    let root = data.join("merged");
    std::fs::create_dir_all(&root).expect("writes");
    let name = |path: &PathBuf| path.file_name().expect("named").to_str().expect("hex").to_owned();
    let lower: Vec<_> = snapshot.lower.iter().map(name).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        snapshot.upper.display(),
        snapshot.work.display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", r#"mount -t overlay -o "$1" overlay "$2" || exit 99; cd "$2"; eval "$3""#, "sh"])
        .args([options.as_str(), root.to_str().expect("utf-8"), script])
        .current_dir(snapshot.lower[0].parent().expect("in the store"))
        .output()
        .expect("unshare runs");
    if output.status.code() == Some(99) {
        eprintln!("SKIPPED: no overlay here: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn commit(store: &Store, container: &str, reference: &str) {
    let request = CommitRequest {
        container: container.to_owned(),
        exclude: BTreeSet::new(),
        config: Config::default(),
        changes: Vec::new(),
        author: String::new(),
        comment: String::new(),
        reference: Some(Reference::parse(reference).expect("valid")),
    };
    store.commit(request).await.expect("commits");
}

#[test]
fn a_container_on_a_commit_sees_what_was_committed() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(async {
        let id = busybox(&store, "busybox").await;
        let snapshot = store.create_snapshot("c1", &id).await.expect("makes");
        let changes = "rm etc/issue; mkdir -p opt/deep; echo one >opt/deep/one; ln opt/deep/one opt/two; mv bin/sh bin/ash; \
                       rm -r etc; mkdir etc; echo new >etc/new; mkfifo opt/pipe; chmod 4711 opt/two";
        if in_container(dir.path(), &snapshot, changes).is_none() {
            return;
        }
        commit(&store, "c1", "second").await;
        let look = "find . -printf '%P %y %m %s %n %l\n' | grep -v '^ d' | sort";
        let before = in_container(dir.path(), &snapshot, look).expect("mounted before");

        // The same through a save, a removal of everything, and a load.
        let archive = dir.path().join("second.tar");
        store.save(&["second".to_owned()], std::fs::File::create(&archive).expect("writes")).await.expect("saves");
        store.remove_snapshot("c1").await.expect("removes");
        for name in ["second", "busybox"] {
            store.remove_image(name, Default::default(), &[]).await.expect("removes");
        }
        let file = Box::new(std::fs::File::open(&archive).expect("there"));
        let loaded = store.load(file, runtime::image::ProgressSink::silent()).await.expect("loads");
        let snapshot = store.create_snapshot("c2", &loaded[0].id).await.expect("makes");
        assert_eq!(snapshot.lower.len(), 3, "with the one that all containers have");
        let after = in_container(dir.path(), &snapshot, look).expect("mounted before");
        let sizes_of_directories = |line: &str| !line.contains(" d ");
        let lines = |text: &str| text.lines().filter(|line| sizes_of_directories(line)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&after), lines(&before));
        assert!(after.contains("opt/two f 4711 4 2"), "{after}");
        assert!(!after.contains("etc/issue") && after.contains("etc/new"), "{after}");
    });
}

#[test]
fn a_stack_of_a_hundred_layers_can_be_mounted() {
    let Some((dir, store)) = store() else { return };
    runtime().block_on(async {
        let mut id = busybox(&store, "busybox").await;
        for number in 0..100 {
            let container = format!("c{number}");
            let snapshot = store.create_snapshot(&container, &id).await.expect("makes");
            std::fs::write(snapshot.upper.join("number"), number.to_string()).expect("writes");
            commit(&store, &container, "deep").await;
            id = store.resolve("deep").expect("made").id;
        }
        let snapshot = store.create_snapshot("last", &id).await.expect("makes");
        assert_eq!(snapshot.lower.len(), 102);
        if let Some(number) = in_container(dir.path(), &snapshot, "cat number") {
            assert_eq!(number, "99");
        }
        assert_eq!(store.history("deep").expect("known").len(), 101);
    });
}
