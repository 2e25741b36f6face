//! Limits, identities and namespaces of containers.

use conformance::{From, Host, eventually};

fn check(host: &Host, words: &str, code: i32, out: &str, err: &str) {
    let said = host.docker(words);
    assert_eq!((said.code, said.out.trim()), (code, out), "{words}: {}", said.err);
    assert!(said.err.contains(err), "{words}: {}", said.err);
}

/// Reads a control group's file in the words of both versions.
fn group(v1: &str, v2: &str) -> String {
    format!(
        "if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/{v2}; else cat /sys/fs/cgroup/{v1}; fi"
    )
}

#[test]
fn limits_are_set_and_changed() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name box --memory 64m --memory-swap 64m --pids-limit 50 --cpus 0.5 --shm-size 32m --oom-score-adj 100 --ulimit nofile=100:200 --sysctl net.ipv4.ip_local_port_range='10000 20000' busybox sleep 1000").ok();
    let reads = |script: &str, out: &str| check(&host, &format!("exec box sh -c '{script}'"), 0, out, "");
    let memory = group("memory/memory.limit_in_bytes", "memory.max");
    let pids = group("pids/pids.max", "pids.max");
    let cpu = group("cpu/cpu.cfs_quota_us", "cpu.max | cut -d \" \" -f 1");
    reads(&memory, "67108864");
    reads(&pids, "50");
    reads(&cpu, "50000");
    reads("df -k /dev/shm | tail -n 1 | tr -s \" \" | cut -d \" \" -f 2", "32768");
    reads(
        "cat /proc/1/oom_score_adj; ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_local_port_range",
        "100\n100\n200\n10000\t20000",
    );
    host.docker("update --memory 128m --memory-swap 128m --cpus 1 --pids-limit 60 --restart always box").ok();
    reads(&memory, "134217728");
    reads(&pids, "60");
    reads(&cpu, "100000");
    host.docker("update --pids-limit -1 box").ok();
    reads(&pids, "max");
    assert_eq!(
        host.docker("inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}' box").ok(),
        "134217728 always"
    );
    check(
        &host,
        "run --rm --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done'",
        2,
        "",
        "can't fork",
    );
    check(&host, "run --rm --memory 1m busybox true", 125, "", "Minimum memory limit allowed is 6MB");
    check(&host, "run --rm --cpus 99 busybox true", 125, "", "Range of CPUs is from 0.01 to");
    check(
        &host,
        "run --rm --cgroup-parent /mine busybox grep -c /mine/ /proc/self/cgroup",
        0,
        host.docker("run --rm busybox grep -c /linkspan/ /proc/self/cgroup").out.trim(),
        "",
    );
}

#[test]
fn limits_that_are_refused_are_not_kept() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name box --memory 64m --memory-swap 64m busybox sh -c 'head -c 30000000 /dev/zero > /dev/shm/it; sleep 1000'").ok();
    let shown = || host.docker("inspect -f '{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}' box").ok();
    check(&host, "update --cpuset-mems 4095 box", 1, "", "Requested memory nodes are not available - requested 4095");
    assert_eq!(shown(), "67108864 0");
    if host.sh("test -e /sys/fs/cgroup/cgroup.controllers").code == 0 {
        return eprintln!("SKIPPED: control groups v2 take memory back, and refuse no limit");
    }
    let held = "exec box stat -c %s /dev/shm/it";
    eventually("it holds memory", || (host.docker(held).out.trim() == "30000000").then_some(()));
    let id = host.docker("inspect -f '{{.Id}}' box").ok();
    let words = format!("Cannot update container {id}: ");
    let said = host.docker("update --memory 8m --memory-swap 8m --cpu-shares 77 box").fails();
    assert!(said.contains(&words) && said.contains("more is in use than the new limit allows"), "{said}");
    assert_eq!(shown(), "67108864 0");
    host.docker("restart -t 0 box").ok();
    check(&host, "update --memory 96m --memory-swap 96m --cpu-shares 77 box", 0, "box", "");
    assert_eq!(shown(), "100663296 77");
}

#[test]
fn out_of_memory_is_told() {
    let Some(host) = Host::start() else { return };
    check(&host, "run --name hog --memory 32m --memory-swap 32m busybox tail /dev/zero", 137, "", "");
    check(&host, "inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' hog", 0, "true 137", "");
    let events =
        "events --since 1m --until $(date -d '+1 second' +%s) --filter event=oom --format '{{.Actor.Attributes.name}}'";
    check(&host, events, 0, "hog", "");
}

#[test]
fn devices_users_and_words() {
    let Some(host) = Host::start() else { return };
    for (words, code, out, err) in [
        (
            "--device /dev/loop-control:/dev/control busybox sh -c 'test -c /dev/control && cat < /dev/control'",
            1,
            "",
            "Invalid argument",
        ),
        ("busybox sh -c 'mknod /dev/control c 10 237; cat < /dev/control'", 1, "", "Operation not permitted"),
        (
            "--device-cgroup-rule 'c 10:237 rm' busybox sh -c 'mknod /dev/control c 10 237; cat < /dev/control'",
            1,
            "",
            "Invalid argument",
        ),
        ("--device /dev/nosuch busybox true", 127, "", "error gathering device information"),
        ("--group-add 1234 --group-add wheel busybox id -G", 0, "0 10 1234", ""),
        ("-u bin busybox id -u", 0, "2", ""),
        ("-u 7:8 busybox id", 0, "uid=7 gid=8 groups=8", ""),
        ("-u nosuch busybox id", 125, "", "unable to find user nosuch: no matching entries in passwd file"),
        ("--entrypoint /bin/echo busybox a b", 0, "a b", ""),
        ("--entrypoint '' busybox echo a b", 0, "a b", ""),
        ("-w /made/deep busybox pwd", 0, "/made/deep", ""),
        ("--env-file /tmp/env -e C=3 busybox sh -c 'echo $A,$B,$C'", 0, "1,x y,3", ""),
        ("--userns host busybox id -u", 0, "0", ""),
        ("--uts host busybox hostname", 0, "HOST", ""),
        ("-h box --domainname example.org busybox hostname -f", 0, "box.example.org", ""),
        ("--cap-add BOGUS busybox true", 125, "", "unknown capability"),
        ("--security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status", 0, "Seccomp:\t0", ""),
        (
            "--network host --sysctl net.ipv4.ip_forward=1 busybox true",
            125,
            "",
            "not allowed in host network namespace",
        ),
    ] {
        let env = host.path().join("env");
        std::fs::write(&env, "A=1\n# none\nB=x y\n").unwrap();
        let words = format!("run --rm {}", words.replace("/tmp/env", &env.display().to_string()));
        check(&host, &words, code, &out.replace("HOST", &host.sh("hostname").ok()), err);
    }
}

#[test]
fn namespaces_are_shared() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name box busybox sleep 1000").ok();
    host.docker("run -d --name sharer --ipc shareable busybox sleep 1000").ok();
    let of = |name: &str, kind: &str| host.docker(&format!("exec {name} readlink /proc/self/ns/{kind}")).ok();
    check(&host, "run --rm --pid container:box busybox readlink /proc/self/ns/pid", 0, &of("box", "pid"), "");
    check(&host, "run --rm --pid container:box busybox cat /proc/1/comm", 0, "sleep", "");
    // Its own control groups, read-only, also where it looks at another's processes.
    let groups = "sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true'";
    check(&host, &format!("run --rm --pid container:box --pids-limit 77 busybox {groups}"), 0, "77", "");
    check(
        &host,
        "run --rm --pid container:box busybox sh -c 'for f in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $f/x && echo $f; done 2>/dev/null; true'",
        0,
        "",
        "",
    );
    check(
        &host,
        "run --rm --pid host busybox readlink /proc/self/ns/pid",
        0,
        &host.sh("readlink /proc/self/ns/pid").ok(),
        "",
    );
    host.docker("exec sharer sh -c 'echo shared > /dev/shm/file'").ok();
    for runtime in ["", "--runtime /usr/sbin/runc"] {
        check(&host, &format!("run --rm {runtime} --ipc container:sharer busybox cat /dev/shm/file"), 0, "shared", "");
    }
    check(&host, "run --rm --ipc container:sharer busybox readlink /proc/self/ns/ipc", 0, &of("sharer", "ipc"), "");
    check(
        &host,
        "run --rm --ipc container:box busybox true",
        125,
        "",
        "non-shareable IPC (hint: use IpcMode:shareable",
    );
    check(
        &host,
        "run --rm --ipc host busybox readlink /proc/self/ns/ipc",
        0,
        &host.sh("readlink /proc/self/ns/ipc").ok(),
        "",
    );
    check(
        &host,
        "run --rm --uts host busybox readlink /proc/self/ns/uts",
        0,
        &host.sh("readlink /proc/self/ns/uts").ok(),
        "",
    );
    host.docker("stop -t 0 sharer").ok();
    check(&host, "run --rm --ipc container:sharer busybox true", 125, "", "non running container");
}

#[test]
fn stopping_restarting_and_other_runtimes() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name usr1 --stop-signal USR1 busybox sh -c 'trap \"exit 9\" USR1; echo ready; while :; do sleep 0.1; done'").ok();
    eventually("it listens", || (host.docker("logs usr1").ok() == "ready").then_some(()));
    host.docker("stop usr1").ok();
    check(&host, "inspect -f '{{.State.ExitCode}}' usr1", 0, "9", "");
    host.docker("run -d --name deaf --stop-timeout 1 busybox sleep 1000").ok();
    host.docker("stop deaf").ok();
    check(&host, "inspect -f '{{.State.ExitCode}}' deaf", 0, "137", "");

    host.docker("run -d --name unless --restart unless-stopped busybox sleep 1000").ok();
    host.docker("run -d --name stopped --restart unless-stopped busybox sleep 1000").ok();
    host.docker("stop -t 0 stopped").ok();
    let pid = host.docker("inspect -f '{{.State.Pid}}' unless").ok();
    host.kill_daemon();
    host.sh(&format!("kill -9 {pid}")).ok();
    host.start_daemon();
    eventually("it runs again", || {
        let now = host.docker("inspect -f '{{.State.Running}} {{.State.Pid}}' unless").ok();
        (now.starts_with("true") && now != format!("true {pid}")).then_some(())
    });
    check(&host, "inspect -f '{{.State.Running}}' stopped", 0, "false", "");

    let runc = "--runtime /usr/sbin/runc";
    check(&host, &format!("run --rm {runc} busybox sh -c 'echo out; echo err >&2; exit 3'"), 3, "out", "err");
    check(&host, "run --rm --runtime nosuch busybox true", 125, "", "unknown or invalid runtime name: nosuch");
    host.docker(&format!("run -d --name web {runc} -p 8080:80 busybox httpd -f -p 80 -h /var/www")).ok();
    check(&host, "exec web echo inside", 0, "inside", "");
    host.reaches(From::Outside, "192.0.2.1:8080");
    host.docker("kill web").ok();
    check(&host, "wait web", 0, "137", "");
    host.docker("start web").ok();
    // runc answers before the program is executed.
    eventually("it is the server", || (host.docker("exec web cat /proc/1/comm").out.trim() == "httpd").then_some(()));
}

#[test]
fn block_devices_are_limited() {
    let Some(host) = Host::start() else { return };
    let device = host.sh("head -n 1 $(ls /sys/block/*/dev | head -n 1)").ok();
    let Some((major, minor)) = device.split_once(':') else {
        eprintln!("SKIPPED: no block device here");
        return;
    };
    host.sh(&format!("mknod /run/block b {major} {minor}")).ok();
    let v2 = host.sh("test -e /sys/fs/cgroup/cgroup.controllers").code == 0;
    if v2 {
        let options = "--device-read-bps /dev/../run/block:1mb --device-write-iops /dev/../run/block:7";
        let limits = "cat /sys/fs/cgroup/io.max";
        check(
            &host,
            &format!("run --rm {options} busybox {limits}"),
            0,
            &format!("{device} rbps=1048576 wbps=max riops=max wiops=7"),
            "",
        );
    } else {
        for (option, file, limit) in [
            ("--device-read-bps /dev/../run/block:1mb", "read_bps_device", "1048576"),
            ("--device-write-bps /dev/../run/block:2mb", "write_bps_device", "2097152"),
            ("--device-read-iops /dev/../run/block:5", "read_iops_device", "5"),
            ("--device-write-iops /dev/../run/block:7", "write_iops_device", "7"),
        ] {
            let shown = format!("{device} {limit}");
            check(
                &host,
                &format!("run --rm {option} busybox cat /sys/fs/cgroup/blkio/blkio.throttle.{file}"),
                0,
                &shown,
                "",
            );
        }
        let words = "Your kernel does not support Block I/O weight_device";
        check(&host, "run --rm --blkio-weight-device /dev/../run/block:100 busybox true", 0, "", words);
    }
    host.docker("create --name kept --device-read-bps /dev/../run/block:1mb busybox").ok();
    check(
        &host,
        "inspect -f '{{json .HostConfig.BlkioDeviceReadBps}}' kept",
        0,
        "[{\"Path\":\"/dev/../run/block\",\"Rate\":1048576}]",
        "",
    );
    check(
        &host,
        "run --rm --device-read-bps /dev/nosuch:1mb busybox true",
        127,
        "",
        "cannot limit the block device /dev/nosuch: no such file or directory",
    );
    check(&host, "run --rm --device-read-bps /dev/null:1mb busybox true", 125, "", "it is not a block device");
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(host) = Host::start() else { return };
    check(&host, "run --rm --storage-opt size=1G busybox true", 125, "", "--storage-opt is not supported");
    check(&host, "run --rm --gpus all busybox true", 125, "", "--gpus");
    check(&host, "run --rm --ipc none busybox sh -c 'ls /dev/shm'", 1, "", "No such file");
    let create = |host_config: &str| {
        let body = format!("{{\"Image\":\"busybox\",\"HostConfig\":{{{host_config}}}}}");
        let curl = "curl -s --unix-socket /var/run/docker.sock -H 'Content-Type: application/json' -d";
        host.sh(&format!("{curl} '{body}' http://docker/v1.41/containers/create")).ok()
    };
    for (config, words) in [
        ("\"KernelMemoryTCP\":1000000", "kernel TCP memory"),
        ("\"KernelMemory\":1000000", "KernelMemory discarded"),
        ("\"CpuCount\":1", "Windows"),
        ("\"IOMaximumIOps\":1", "Windows"),
        ("\"Cgroup\":\"container:x\"", "cannot be joined"),
        ("\"BlkioWeightDevice\":[{\"Path\":\"/dev/x\",\"Weight\":5}]", "from 10 to 1000"),
    ] {
        let said = create(config);
        assert!(said.contains(words), "{config}: {said}");
    }
}

#[test]
fn groups_above_go_with_the_last_container() {
    let Some(host) = Host::start() else { return };
    let own = format!("linkspan-test-parent-{}", host.pid());
    let run = |name: &str, parent: &str| {
        host.docker(&format!("run -d --name {name} --cgroup-parent /{parent} busybox sleep 1000")).ok()
    };
    run("one", &format!("{own}/deep"));
    run("two", &format!("{own}/deep"));
    host.docker("rm -f one").ok();
    assert_ne!(host.groups(&format!("-path '*/{own}/deep'")), "", "somebody is in it");
    host.docker("rm -f two").ok();
    assert_eq!(host.groups(&format!("-path '*/{own}*'")), "", "nobody is in it");
    // What others made is theirs, also when it is empty.
    let everywhere = |verb: &str| {
        format!("for t in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -e $t/cgroup.procs ] && {verb} $t/{own}; done; true")
    };
    host.sh(&everywhere("mkdir")).ok();
    run("three", &format!("{own}/deep"));
    host.docker("rm -f three").ok();
    assert_eq!(host.groups(&format!("-path '*/{own}/*'")), "");
    let theirs = host.groups(&format!("-path '*/{own}'"));
    host.sh(&everywhere("rmdir")).ok();
    assert_ne!(theirs, "");
}
