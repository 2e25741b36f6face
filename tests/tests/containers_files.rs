//! Files in and out of containers and images.

use conformance::Host;

#[test]
fn copies_go_where_they_are_told_and_nowhere_else() {
    let Some(host) = Host::start() else { return };
    let dir = host.path().display().to_string();
    let copy = |from: &str, to: &str| host.docker(&format!("cp {from} {to}"));
    let list = |path: &str| host.sh(&format!("cd {path} && find . | sort")).ok();
    host.docker("run -d --name box busybox sleep 1000").ok();
    assert_eq!(host.docker("diff box").ok(), "", "a start changes nothing");
    host.docker("exec box sh -c 'ln -s /etc/passwd /tmp/absolute; ln -s ../../../../../etc/shadow /tmp/escape; ln -s / /tmp/root; ln -s /planted /tmp/dangling; mkdir -p /tmp/d/e; echo 1 > /tmp/d/e/f; ln /tmp/d/e/f /tmp/d/hard'").ok();
    host.sh(&format!("mkdir -p {dir}/in/sub; echo s > {dir}/in/sub/s; echo file > {dir}/file; mkdir {dir}/out")).ok();

    // Out: a directory into one that is there, to a new name, and its content alone.
    copy("box:/tmp/d", &format!("{dir}/out")).ok();
    copy("box:/tmp/d", &format!("{dir}/out/new")).ok();
    copy("box:/tmp/d/.", &format!("{dir}/out/content")).ok();
    let one = |name: &str| format!("./{name}\n./{name}/e\n./{name}/e/f\n./{name}/hard\n");
    assert_eq!(list(&format!("{dir}/out")), format!(".\n{}{}{}", one("content"), one("d"), one("new")).trim());
    assert_eq!(host.sh("docker cp box:/etc/hosts - | tar -t").ok(), "hosts");

    // Links stay links, are followed within the container, and lead nowhere else.
    copy("box:/tmp/absolute", &format!("{dir}/link")).ok();
    assert_eq!(host.sh(&format!("readlink {dir}/link")).ok(), "/etc/passwd");
    copy("-L box:/tmp/absolute", &format!("{dir}/passwd")).ok();
    assert_eq!(host.sh(&format!("head -n 1 {dir}/passwd")).ok(), "root:x:0:0:root:/root:/bin/sh");
    copy("-L box:/tmp/escape", &format!("{dir}/shadow")).fails_with("Could not find the file");
    copy(&format!("{dir}/in"), "box:/tmp/root/home").ok();
    assert_eq!(host.docker("exec box find /home").ok(), "/home\n/home/in\n/home/in/sub\n/home/in/sub/s");
    copy(&format!("{dir}/file"), "box:/tmp/dangling").ok();
    assert_eq!(host.docker("exec box cat /planted").ok(), "file");
    assert_eq!(host.sh("ls /planted /home/in").code, 2, "nothing came to the host");

    copy(&format!("{dir}/file"), "box:/nosuch/dir/file")
        .fails_with("Could not find the file /nosuch/dir in container box");
    copy("box:/nosuch", &dir).fails_with("Could not find the file /nosuch in container box");
    copy(&format!("{dir}/in"), "box:/etc/passwd").fails_with("cannot copy directory");
    let changes = host.docker("diff box").ok();
    for line in ["A /planted", "C /tmp", "A /tmp/d/e/f", "A /home/in/sub/s"] {
        assert!(changes.lines().any(|change| change == line), "{line} is not in\n{changes}");
    }
    // A stopped container's files are there too.
    host.docker("stop -t 0 box").ok();
    assert_eq!(host.sh("docker cp box:/tmp/d/e/f - | tar -xO").ok(), "1");
    copy(&format!("{dir}/file"), "box:/tmp/later").ok();
    host.docker("start box").ok();
    assert_eq!(host.docker("exec box cat /tmp/later").ok(), "file");
}

#[test]
fn there_and_back_again() {
    let Some(host) = Host::start() else { return };
    let dir = host.path().display().to_string();
    host.docker("run --name box busybox sh -c 'echo kept > /file; chown 2:10 /file; ln -s file /link; mkfifo /fifo; chmod 4755 /bin/get'").ok();
    let looks = |image: &str| {
        host.docker(&format!("run --rm {image} stat -c '%n %u:%g %a %F' /file /link /fifo /bin/get")).ok()
    };
    host.docker("commit -m message -a author -c 'ENV A=b' -c 'CMD [\"env\"]' box committed").ok();
    let expected = looks("committed");
    assert!(expected.contains("/file 2:10 644") && expected.contains("/bin/get 0:0 4755"), "{expected}");
    assert!(host.docker("run --rm committed").ok().contains("A=b"));
    assert_eq!(host.docker("inspect -f '{{.Comment}} {{.Author}}' committed").ok(), "message author");

    host.docker(&format!("export -o {dir}/export.tar box")).ok();
    host.docker(&format!("import -c 'ENV PATH=/bin' {dir}/export.tar imported:1")).ok();
    assert_eq!(looks("imported:1"), expected);

    let id = host.docker("inspect -f '{{.Id}}' committed").ok();
    host.docker(&format!("save -o {dir}/save.tar committed imported:1")).ok();
    host.docker("rmi committed imported:1").ok();
    host.docker("image inspect committed").fails();
    let loaded = host.docker(&format!("load -i {dir}/save.tar")).ok();
    assert!(
        loaded.contains("Loaded image: committed:latest") && loaded.contains("Loaded image: imported:1"),
        "{loaded}"
    );
    assert_eq!(host.docker("inspect -f '{{.Id}}' committed").ok(), id);
    assert_eq!(looks("committed"), expected);
    assert_eq!(host.sh("docker save busybox | docker load").ok(), "Loaded image: busybox:latest");
    assert!(host.docker("history committed").ok().contains("message"));
}

#[test]
fn pruning_and_disk_usage() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name used -v kept:/data --network bridge busybox sleep 1000").ok();
    host.docker("create --name unused busybox").ok();
    host.docker("network create unused").ok();
    host.docker("volume create unused").ok();
    host.docker("tag busybox other").ok();
    let usage = host.docker("system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'").ok();
    assert_eq!(usage, "Images 1 1\nContainers 2 1\nLocal Volumes 2 1\nBuild Cache 0 0");
    assert!(host.docker("system df -v").ok().contains("kept"));
    assert!(host.docker("container prune -f").ok().contains("Deleted Containers"));
    assert!(host.docker("network prune -f").ok().contains("unused"));
    assert!(host.docker("volume prune -af").ok().contains("unused"));
    host.docker("rm -f used").ok();
    let pruned = host.docker("system prune -af --volumes").ok();
    assert!(pruned.contains("Untagged") || pruned.contains("untagged"), "{pruned}");
    assert_eq!(host.docker("ps -aq").ok() + &host.docker("images -q").ok(), "");
}

#[test]
fn archives_may_be_compressed() {
    let Some(host) = Host::start() else { return };
    let dir = host.path().display().to_string();
    host.docker("create --name box busybox").ok();
    let put = |file: &str| {
        let url = "http://docker/v1.50/containers/box/archive?path=/tmp";
        host.sh(&format!("curl -s --unix-socket /var/run/docker.sock -T {dir}/{file} '{url}'")).ok()
    };
    host.sh(&format!(
        "cd {dir} && for kind in plain gzip zstd; do echo $kind >$kind; tar -cf $kind.tar $kind; done; gzip gzip.tar"
    ))
    .ok();
    assert_eq!(put("plain.tar"), "");
    assert_eq!(put("gzip.tar.gz"), "");
    if host.sh(&format!("cd {dir} && zstd -q zstd.tar")).code == 0 {
        assert_eq!(put("zstd.tar.zst"), "");
        assert_eq!(host.sh("docker cp box:/tmp/zstd - | tar -xO").ok(), "zstd");
    }
    assert_eq!(host.sh("docker cp box:/tmp/gzip - | tar -xO").ok(), "gzip");
    host.sh(&format!("printf 'BZh91AY&SY' > {dir}/file.bz2; printf '\\375\\067\\172\\130\\132\\000' > {dir}/file.xz"))
        .ok();
    for (file, kind) in [("file.bz2", "bzip2"), ("file.xz", "xz")] {
        let said = put(file);
        assert!(said.contains(&format!("{kind} compression is not supported: use gzip, zstd or none")), "{said}");
    }
}

#[test]
fn programs_can_tell_that_they_are_in_a_container() {
    let Some(host) = Host::start() else { return };
    assert_eq!(host.docker("run --name box busybox stat -c '%a %s' /.dockerenv").ok(), "755 0");
    assert_eq!(host.docker("diff box").ok(), "", "it is no change of the container's");
    host.docker("commit box committed").ok();
    host.docker("create --name other committed").ok();
    assert_eq!(host.docker("diff other").ok(), "");
    assert_eq!(host.sh("docker export other | tar -t | grep -c '^.dockerenv$'").ok(), "1");
    let lower = host.docker("inspect -f '{{.GraphDriver.Data.LowerDir}}' box").ok();
    assert!(lower.split(':').next().is_some_and(|top| top.ends_with("/init")), "{lower}");
}
