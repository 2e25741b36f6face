//! What a container may not do, as Docker has it, seen from inside.

use model::container::{Access, Mount, MountSource, Privilege, Seccomp, Share};

use crate::house::{House, with_house};

async fn sh(house: &House, script: &str, change: impl FnOnce(&mut model::Container)) -> String {
    let mut container = house.container(&["sh", "-c", script]);
    change(&mut container);
    let (output, _) = house.run(&container).await;
    output
}

#[test]
fn status_is_that_of_docker() {
    with_house(|house| async move {
        let status = "grep '^Cap\\|^NoNewPrivs\\|^Seccomp:' /proc/self/status | cut -f2";
        let status = status.replace("cut -f2", "awk '{print $2}'");
        let usual = "00000000a80425fb";
        let none = "0000000000000000";
        let lines = |values: [&str; 7]| values.map(|value| format!("{value}\n")).concat();
        assert_eq!(sh(&house, &status, |_| {}).await, lines([none, usual, usual, usual, none, "0", "2"]));
        let user = sh(&house, &status, |container| container.process.user = "web".to_owned()).await;
        assert_eq!(user, lines([none, none, none, usual, none, "0", "2"]));
        let locked = sh(&house, &status, |container| {
            container.security.no_new_privileges = true;
            container.security.cap_drop = vec!["ALL".to_owned()];
        });
        assert_eq!(locked.await, lines([none, none, none, none, none, "1", "2"]));
        let open = sh(&house, &status, |container| container.security.seccomp = Seccomp::Unconfined).await;
        assert_eq!(open, lines([none, usual, usual, usual, none, "0", "0"]));
    });
}

#[test]
fn what_must_be_refused_is() {
    with_house(|house| async move {
        let script = "
            mount -t tmpfs x /tmp 2>/dev/null && echo mounted
            (echo 1 > /proc/sys/vm/swappiness) 2>/dev/null && echo wrote sysctl
            touch /sys/x 2>/dev/null && echo wrote sys
            touch /sys/fs/cgroup/x 2>/dev/null && echo wrote cgroup
            mkdir /sys/fs/cgroup/memory/x 2>/dev/null && echo made a cgroup
            [ -s /proc/kcore ] && echo read kcore
            ls /sys/firmware | grep -q . && echo read firmware
            dd if=/dev/mem count=1 2>/dev/null && echo read memory
            chroot / true || echo no chroot
            echo done";
        assert_eq!(sh(&house, script, |_| {}).await, "done\n");
    });
}

#[test]
fn a_privileged_container_may() {
    with_house(|house| async move {
        let script = "mount -t tmpfs x /tmp && echo mounted; ls /dev | wc -l; grep Seccomp: /proc/self/status; touch /proc/sys/x 2>&1 | grep -c Read-only";
        let output = sh(&house, script, |container| container.security.privilege = Privilege::Privileged).await;
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!((lines[0], lines[2], lines[3]), ("mounted", "Seccomp:\t0", "0"), "{output}");
    });
}

#[test]
fn namespaces_are_its_own_unless_shared() {
    with_house(|house| async move {
        let script = "for n in cgroup ipc mnt pid uts; do ls -l /proc/self/ns/$n | awk '{print $NF}'; done";
        let here =
            |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned();
        let own = sh(&house, script, |_| {}).await;
        for name in ["cgroup", "ipc", "mnt", "pid", "uts"] {
            assert!(!own.contains(&here(name)), "{name}: {own}");
        }
        let shared = sh(&house, script, |container| {
            container.namespaces.ipc = Share::Host;
            container.namespaces.uts = Share::Host;
            container.namespaces.pid = Share::Host;
            container.namespaces.cgroup = Share::Host;
        });
        let shared = shared.await;
        for name in ["cgroup", "ipc", "pid", "uts"] {
            assert!(shared.contains(&here(name)), "{name}: {shared}");
        }
    });
}

#[test]
fn hostname_user_and_directory() {
    with_house(|house| async move {
        let output = sh(&house, "hostname; id -un; pwd; echo $HOME; echo $$", |container| {
            container.process.user = "web".to_owned();
            container.process.cwd = "/srv/new".to_owned();
        });
        let output = output.await;
        let (_, rest) = output.split_once('\n').unwrap();
        assert_eq!(rest, "web\n/srv/new\n/home/web\n1\n");
    });
}

#[test]
fn mounts_are_as_asked() {
    with_house(|house| async move {
        let shared = house.path("shared");
        std::fs::create_dir_all(&shared).unwrap();
        std::fs::write(shared.join("file"), "from the host\n").unwrap();
        let bind = |target: &str, access: Access| Mount {
            target: target.to_owned(),
            source: MountSource::Bind {
                path: shared.clone(),
                propagation: "rprivate".to_owned(),
                missing: model::container::Missing::Refuse,
                recursive: true,
                read_only: model::container::ReadOnly::default(),
            },
            access,
        };
        let tmpfs = Mount {
            target: "/mem".to_owned(),
            source: MountSource::Tmpfs { options: vec!["size=1m".to_owned()] },
            access: Access::ReadWrite,
        };
        let script = "
            cat /ro/file
            touch /ro/x 2>/dev/null && echo wrote /ro
            touch /rw/x && echo wrote /rw
            touch /x 2>/dev/null && echo wrote the root
            dd if=/dev/zero of=/mem/x bs=64k count=32 2>/dev/null || echo full
            grep -c ' /mem tmpfs rw,nosuid,nodev,noexec' /proc/mounts";
        let output = sh(&house, script, |container| {
            container.mounts = vec![bind("/ro", Access::ReadOnly), bind("/rw", Access::ReadWrite), tmpfs];
            container.security.root = Access::ReadOnly;
        });
        assert_eq!(output.await, "from the host\nwrote /rw\nfull\n1\n");
        assert!(shared.join("x").exists());
    });
}

#[test]
fn sysctls_limits_and_devices() {
    with_house(|house| async move {
        let script = "cat /proc/sys/kernel/msgmax; ulimit -n; head -c 3 /dev/zero | wc -c; cat /proc/self/oom_score_adj; ls /dev/kmsg";
        let output = sh(&house, script, |container| {
            container.security.sysctls.insert("kernel.msgmax".to_owned(), "4242".to_owned());
            container.resources.ulimits =
                vec![model::container::Ulimit { name: "nofile".to_owned(), soft: 111, hard: 222 }];
            container.security.oom_score_adj = 77;
            container.security.devices = vec![model::container::Device {
                path: "/dev/kmsg".into(),
                target: "/dev/kmsg".into(),
                permissions: "r".to_owned(),
            }];
        });
        assert_eq!(output.await, "4242\n111\n3\n77\n/dev/kmsg\n");
    });
}
