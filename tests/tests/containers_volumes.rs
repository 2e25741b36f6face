//! What is mounted in containers: volumes and what fills them, binds, memory, and how mounts propagate.

use conformance::{Host, eventually};

#[test]
fn volumes_are_filled_listed_and_pruned() {
    let Some(host) = Host::start() else { return };
    let check = |words: &str, out: &str| assert_eq!(host.docker(words).ok(), out, "{words}");
    // An image with content of its own, owned by somebody, where its volume is.
    host.sh(&format!("mkdir -p {0}/own/deep; echo 1 > {0}/own/deep/file; ln -s deep {0}/own/link; chown -R 2:10 {0}/own; chmod 750 {0}/own", host.path().display())).ok();
    host.docker("create --name seed busybox").ok();
    host.docker(&format!("cp -a {}/own seed:/srv", host.path().display())).ok();
    host.docker("commit -c 'VOLUME /srv' -c 'VOLUME /anonymous' seed seeded").ok();
    host.docker("rm seed").ok();
    check("run --rm -v site:/var/www busybox cat /var/www/index.html", "hello");
    check("run --rm -v site:/mnt busybox ls /mnt", "index.html");
    check("run --rm -v site:/etc busybox ls /etc", "hostname\nhosts\nindex.html\nresolv.conf");
    check("run --rm -v empty:/var/www:nocopy busybox ls /var/www", "");
    check("run --rm --mount type=volume,src=empty2,dst=/var/www,volume-nocopy busybox ls /var/www", "");
    check(
        "run --rm seeded stat -c '%u:%g %a %N' /srv /srv/deep/file /srv/link",
        "2:10 750 /srv\n2:10 644 /srv/deep/file\n2:10 777 '/srv/link' -> 'deep'",
    );
    check("volume ls -q", "empty\nempty2\nsite");
    // Anonymous ones go with --rm and rm -v, and stay with rm.
    host.docker("run --name gone seeded true").ok();
    check("volume ls -q --filter dangling=true", "empty\nempty2\nsite");
    assert_eq!(host.docker("volume ls -q").ok().lines().count(), 5);
    host.docker("rm -v gone").ok();
    check("volume ls -q", "empty\nempty2\nsite");
    host.docker("run --name gone seeded true").ok();
    host.docker("rm gone").ok();
    assert_eq!(host.docker("volume ls -q").ok().lines().count(), 5);
    host.docker("volume prune -f").ok();
    check("volume ls -q", "empty\nempty2\nsite");
    check("volume create --label a=b labelled", "labelled");
    check("volume ls -q --filter label=a=b", "labelled");
    check("volume inspect -f '{{.Driver}} {{.Scope}} {{.Labels.a}}' labelled", "local local b");
    assert!(host.docker("volume inspect -f '{{.Mountpoint}}' site").ok().ends_with("/volumes/site/_data"));
    assert!(host.docker("volume prune -af").ok().contains("site"));
    check("volume ls -q", "");
}

#[test]
fn volumes_are_filled_when_a_container_is_made() {
    let Some(host) = Host::start() else { return };
    let check = |words: &str, out: &str| assert_eq!(host.docker(words).ok(), out, "{words}");
    host.docker("create --name made -v site:/var/www busybox true").ok();
    check("run --rm -v site:/s busybox ls /s", "index.html");
    // What its users took away does not come back at a start.
    host.docker("run --rm -v site:/s busybox rm /s/index.html").ok();
    host.docker("start -a made").ok();
    check("run --rm -v site:/s busybox ls /s", "");
    check("diff made", "");
    // Several at once make the same new volume.
    let all = "for i in 1 2 3 4 5 6; do docker create -v shared:/var/www busybox true >/dev/null & done; wait";
    host.sh(all).ok();
    check("run --rm -v shared:/s busybox cat /s/index.html", "hello");
}

#[test]
fn a_volume_made_again_is_new() {
    let Some(host) = Host::start() else { return };
    for n in 0..10 {
        let fill = format!("[ -z \"$(ls /v)\" ] && mkdir -p /v/{n} && cd /v/{n} && touch $(seq 1 2000)");
        host.docker(&format!("run --rm -v again:/v busybox sh -c '{fill}'")).ok();
        host.docker("volume rm again").ok();
    }
    let volumes = host.data_root().join("volumes").display().to_string();
    eventually("what was in them is gone", || host.sh(&format!("ls -A {volumes}")).ok().is_empty().then_some(()));
}

#[test]
fn parts_of_volumes_and_drivers_options() {
    let Some(host) = Host::start() else { return };
    let check = |words: &str, out: &str| assert_eq!(host.docker(words).ok(), out, "{words}");
    host.docker("run --rm -v sub:/d busybox sh -c 'mkdir /d/in; echo x > /d/in/file; ln -s / /d/escape'").ok();
    let part = |path: &str| {
        host.docker(&format!("run --rm --mount type=volume,src=sub,dst=/e,volume-subpath={path} busybox ls /e"))
    };
    assert_eq!(part("in").ok(), "file");
    part("nosuch").fails_with("cannot access path \"nosuch\" in volume sub");
    part("escape").fails_with("leads out of the volume");
    part("../..").fails_with("subpath must be a relative path within the volume");
    host.docker("volume create -o type=tmpfs -o device=tmpfs -o o=size=3m memory").ok();
    assert!(
        host.docker("run --rm -v memory:/t busybox grep ' /t ' /proc/mounts")
            .ok()
            .contains("tmpfs rw,relatime,size=3072k")
    );
    // Who uses it at a time shares it, and what is in it goes with the last.
    host.docker("run -d --name writer -v memory:/t busybox sleep 1000").ok();
    host.docker("run -d --name reader -v memory:/mnt/deep:ro busybox sleep 1000").ok();
    host.docker("exec writer sh -c 'echo written > /t/file'").ok();
    check("exec reader cat /mnt/deep/file", "written");
    host.docker("exec reader touch /mnt/deep/x").fails_with("Read-only");
    host.docker("rm -f writer").ok();
    host.kill_daemon();
    host.start_daemon();
    check("run --rm -v memory:/t busybox cat /t/file", "written");
    host.docker("rm -f reader").ok();
    check("run --rm -v memory:/t busybox ls /t", "");
    let mounted = host.sh("grep -c linkspan.*volumes /proc/self/mountinfo").out;
    assert_eq!(mounted.trim(), "0", "nothing of it is on the host");
    let dir = host.path().join("device");
    let device = dir.display();
    host.sh(&format!("mkdir {device}; echo x > {device}/file")).ok();
    host.docker(&format!("volume create -o type=none -o o=bind -o device={device} bound")).ok();
    check("run --rm -v bound:/t busybox ls /t", "file");
    host.docker("run --rm -v bound:/t:ro busybox touch /t/x").fails_with("Read-only");
    host.docker(&format!("volume create -o type=none -o o=bind,ro -o device={device} sealed")).ok();
    host.docker("run --rm -v sealed:/t busybox touch /t/x").fails_with("Read-only");
    host.docker("volume create -o type=none -o o=bind -o device=/nosuch broken").ok();
    host.docker("run --rm -v broken:/t busybox true").fails_with("its device /nosuch does not exist");
    host.docker("volume create -o type=nosuchfs -o device=x odd").ok();
    host.docker("run --rm -v odd:/t busybox true").fails_with("error while mounting volume 'odd'");
}

#[test]
fn binds_memory_and_propagation() {
    let Some(host) = Host::start() else { return };
    let dir = host.path().display().to_string();
    let check = |words: &str, code: i32, out: &str, err: &str| {
        let said = host.docker(words);
        assert_eq!((said.code, said.out.trim()), (code, out), "{words}: {}", said.err);
        assert!(said.err.contains(err), "{words}: {}", said.err);
    };
    check(&format!("run --rm -v {dir}/made/deep:/n busybox stat -c '%u %a' /n"), 0, "0 755", "");
    check(
        &format!("run --rm --mount type=bind,src={dir}/nosuch,dst=/n busybox true"),
        125,
        "",
        "bind source path does not exist",
    );
    check(&format!("run --rm --mount type=bind,src={dir}/made,dst=/n,readonly busybox touch /n/x"), 1, "", "Read-only");
    host.sh(&format!("echo said > {dir}/file")).ok();
    check(&format!("run --rm -v {dir}/file:/etc/motd:ro busybox cat /etc/motd"), 0, "said", "");
    check("run --rm --read-only --tmpfs /tmp busybox sh -c 'touch /tmp/x && echo ok; touch /y'", 1, "ok", "Read-only");
    check(
        "run --rm --tmpfs /t:size=1m,mode=0700 busybox sh -c 'stat -c %a /t; dd if=/dev/zero of=/t/x bs=1k count=2000 2>/dev/null; stat -c %s /t/x'",
        0,
        "700\n1048576",
        "",
    );
    check(
        "run --rm --mount type=tmpfs,dst=/t,tmpfs-size=2097152,tmpfs-mode=01750 busybox sh -c 'stat -c %a /t; df -k /t | grep -c 2048'",
        0,
        "1750\n1",
        "",
    );
    check(
        "run --rm -v relative/path:/x busybox true",
        125,
        "",
        "If you intended to pass a host directory, use absolute path",
    );
    check(
        "run --rm --mount type=tmpfs,dst=/a --mount type=tmpfs,dst=/a busybox true",
        125,
        "",
        "Duplicate mount point: /a",
    );
}

#[test]
fn read_only_mounts_are_so_with_those_below() {
    let Some(host) = Host::start() else { return };
    let dir = host.path().display().to_string();
    host.sh(&format!("set -e; mkdir -p {dir}/top/below; mount -t tmpfs below {dir}/top/below")).ok();
    let mount = format!("--mount type=bind,src={dir}/top,dst=/n,readonly");
    let writes =
        "sh -c 'grep -c \" /n[/ ]\" /proc/self/mountinfo; touch /n/x && echo top; touch /n/below/x && echo below'";
    for (client, options, seen) in [
        ("docker", format!("-v {dir}/top:/n"), "2\ntop\nbelow"),
        ("docker", format!("-v {dir}/top:/n:ro"), "2"),
        ("docker", format!("--runtime /usr/sbin/runc -v {dir}/top:/n:ro"), "2"),
        ("docker", format!("-v {dir}/top:/n:ro,rprivate"), "2"),
        ("docker", mount.clone(), "2"),
        ("docker", format!("{mount},bind-recursive=readonly,bind-propagation=rprivate"), "2"),
        ("docker", format!("{mount},bind-recursive=writable"), "2\nbelow"),
        ("docker", format!("{mount},bind-recursive=disabled"), "1"),
        // Older clients have what they always had.
        ("DOCKER_API_VERSION=1.43 docker", mount.clone(), "2\nbelow"),
    ] {
        let said = host.sh(&format!("{client} run --rm {options} busybox {writes}"));
        assert_eq!(said.out.trim(), seen, "{client} {options}: {}", said.err);
    }
    host.sh(&format!("touch {dir}/top/below/x && umount {dir}/top/below")).ok();
}

/// What Docker documents of each kind. The last column is what the mounts below follow that were there before: only the kinds
/// with an `r` change them, and with `-v` they come along.
#[test]
fn mounts_propagate_as_asked() {
    let Some(host) = Host::start() else { return };
    for (kind, from_host, from_container, below, fields) in [
        ("", false, false, false, ""),
        ("private", false, false, true, ""),
        ("rprivate", false, false, false, ""),
        ("slave", true, false, true, "master:"),
        ("rslave", true, false, true, "master:"),
        ("shared", true, true, true, "shared:"),
        ("rshared", true, true, true, "shared:"),
    ] {
        let name = format!("by-{}", if kind.is_empty() { "default" } else { kind });
        let dir = host.path().join(&name).display().to_string();
        host.sh(&format!(
            "set -e; mkdir {dir}; mount -t tmpfs x {dir}; mount --make-shared {dir}; mkdir {dir}/host {dir}/container {dir}/below
             mount -t tmpfs y {dir}/below; mount --make-shared {dir}/below; mkdir {dir}/below/host"
        ))
        .ok();
        let mode = if kind.is_empty() { String::new() } else { format!(":{kind}") };
        host.docker(&format!("run -d --name {name} --cap-add SYS_ADMIN -v {dir}:/p{mode} busybox sleep 1000")).ok();
        host.sh(&format!(
            "set -e; mount -t tmpfs z {dir}/host; touch {dir}/host/it; mount -t tmpfs z {dir}/below/host; touch {dir}/below/host/it"
        ))
        .ok();
        host.docker(&format!("exec {name} sh -c 'mount -t tmpfs y /p/container; touch /p/container/it'")).ok();
        let inside = |path: &str| host.docker(&format!("exec {name} ls {path}")).ok() == "it";
        let seen = (inside("/p/host"), host.sh(&format!("ls {dir}/container")).ok() == "it", inside("/p/below/host"));
        assert_eq!(seen, (from_host, from_container, below), "{name}");
        let line = host.docker(&format!("exec {name} grep ' /p ' /proc/self/mountinfo")).ok();
        let has = |field: &str| line.contains(field);
        assert_eq!((has("shared:"), has("master:")), (fields == "shared:", fields == "master:"), "{name}: {line}");
    }
}

#[test]
fn some_mounts_follow_and_others_do_not() {
    let Some(host) = Host::start() else { return };
    let dir = host.path().display().to_string();
    let check = |words: &str, code: i32, out: &str, err: &str| {
        let said = host.docker(words);
        assert_eq!((said.code, said.out.trim()), (code, out), "{words}: {}", said.err);
        assert!(said.err.contains(err), "{words}: {}", said.err);
    };
    // Both directions with rshared, one with rslave.
    host.sh(&format!("mkdir {dir}/shared; mount -t tmpfs x {dir}/shared; mount --make-shared {dir}/shared; mkdir {dir}/shared/host {dir}/shared/container")).ok();
    // One container may have all kinds at once.
    host.docker(&format!(
        "run -d --name shares --cap-add SYS_ADMIN -v {dir}/shared:/p:rshared -v {dir}/shared:/own:rprivate busybox sleep 1000"
    ))
    .ok();
    host.docker(&format!("run -d --name follows --cap-add SYS_ADMIN -v {dir}/shared:/p:rslave busybox sleep 1000"))
        .ok();
    host.docker("exec shares sh -c 'mount -t tmpfs y /p/container; touch /p/container/here'").ok();
    assert_eq!(host.sh(&format!("ls {dir}/shared/container")).ok(), "here");
    host.sh(&format!("mount -t tmpfs z {dir}/shared/host; touch {dir}/shared/host/there")).ok();
    check("exec shares ls /p/host", 0, "there", "");
    check("exec shares ls /own/host", 0, "", "");
    check("exec follows ls /p/host", 0, "there", "");
    host.docker("exec follows sh -c 'mkdir /p/own; mount -t tmpfs y /p/own; touch /p/own/here'").ok();
    assert_eq!(host.sh(&format!("ls {dir}/shared/own")).ok(), "");
}
