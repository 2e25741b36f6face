//! What cannot be started is refused in Docker's words, with Docker's exit codes. The words of the first table are checked with
//! Docker's own engine too, where it is installed.

use conformance::{Host, Peer};

/// Both engines refuse these alike: the docker command's words, its exit code, a part of what it says. `DIR` is a directory of
/// the host with `file` and `dir` in it.
const ALIKE: &[(&str, i32, &str)] = &[
    (
        "run --rm busybox nosuch",
        127,
        r#"unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown"#,
    ),
    (
        "run --rm busybox /bin/nosuch",
        127,
        r#"exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory: unknown"#,
    ),
    ("run --rm busybox /etc/passwd", 126, r#"exec: "/etc/passwd": permission denied: unknown"#),
    ("run --rm busybox /etc/passwd/x", 125, r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory: unknown"#),
    ("run --rm --log-opt bogus=1 busybox true", 125, "unknown log opt 'bogus' for json-file log driver"),
    ("run --rm --log-opt mode=fast busybox true", 125, "logger: logging mode not supported: fast"),
    (
        "run --rm --log-opt max-buffer-size=1m busybox true",
        125,
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ),
    ("run --rm --log-opt max-size=much busybox true", 125, "failed to initialize logging driver: invalid size: 'much'"),
    (
        "run --rm --log-opt max-file=0 busybox true",
        125,
        "failed to initialize logging driver: max-file cannot be less than 1",
    ),
    (
        "run --rm --log-opt compress=true busybox true",
        125,
        "compress cannot be true when max-file is less than 2 or max-size is not set",
    ),
    ("run --rm --log-opt compress=maybe busybox true", 125, "parsing \"maybe\": invalid syntax"),
    ("run --rm --log-opt env-regex=[ busybox true", 125, "failed to initialize logging driver: error parsing regexp: "),
    (
        "run --rm -w relative busybox true",
        125,
        "the working directory 'relative' is invalid, it needs to be an absolute path",
    ),
    ("run --rm -w /etc/passwd busybox true", 125, "Cannot mkdir: /etc/passwd is not a directory"),
    ("run --rm -u nosuchuser busybox true", 125, "unable to find user nosuchuser: no matching entries in passwd file"),
    (
        "run --rm -u 0:nosuchgroup busybox true",
        125,
        "unable to find group nosuchgroup: no matching entries in group file",
    ),
    ("run --rm -u 99999999999 busybox true", 125, "uids and gids must be in range 0-2147483647"),
    (
        "run --rm --group-add nosuchgroup busybox true",
        125,
        "Unable to find group nosuchgroup: no matching entries in group file",
    ),
    (
        "run --rm --device /dev/nosuch busybox true",
        127,
        r#"error gathering device information while adding custom device "/dev/nosuch": no such file or directory"#,
    ),
    ("run --rm --device DIR/file busybox true", 125, r#"file": not a device node"#),
    ("run --rm --device DIR/dir busybox true", 125, r#"dir": not a device node"#),
    (
        "run --rm --mount type=bind,src=DIR/nosuch,dst=/m busybox true",
        125,
        r#"invalid mount config for type "bind": bind source path does not exist: DIR/nosuch"#,
    ),
    (
        "run --rm -v DIR/file:/etc busybox true",
        125,
        r#"error during container init: error mounting "DIR/file" to rootfs at "/etc": "#,
    ),
    (
        "run --rm -v DIR/file:/etc busybox true",
        125,
        "not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
    ),
    (
        "run --rm -v DIR/dir:/etc/passwd busybox true",
        125,
        r#"error during container init: error mounting "DIR/dir" to rootfs at "/etc/passwd": "#,
    ),
    ("run --rm -v DIR/dir:/etc/passwd busybox true", 125, "not a directory: unknown: Are you trying to mount"),
    (
        "run --rm -v DIR/file:/etc/passwd/x busybox true",
        125,
        r#"error mounting "DIR/file" to rootfs at "/etc/passwd/x": "#,
    ),
    ("run --rm -v DIR/dir:/etc/passwd/x busybox true", 125, "not a directory: unknown: Are you trying to mount"),
    ("run --rm --tmpfs /etc/passwd busybox true", 125, r#"error mounting "tmpfs" to rootfs at "/etc/passwd": "#),
    ("run --rm --tmpfs /t:size=nonsense busybox true", 125, "size=nonsense: invalid argument: unknown"),
    ("run --rm -v DIR/dir:/m:shared busybox true", 125, "path DIR/dir is mounted on / but it is not a shared mount"),
    ("run --rm -v DIR/dir:/m:rshared busybox true", 125, "path DIR/dir is mounted on / but it is not a shared mount"),
    (
        "run --rm -v DIR/dir:/m:slave busybox true",
        125,
        "path DIR/dir is mounted on / but it is not a shared or slave mount",
    ),
    ("run --rm -v DIR/dir:/m:nosuch busybox true", 125, "invalid mode: nosuch"),
    (
        "run --rm --sysctl kernel.shm_rmid_forced=banana busybox true",
        125,
        "error during container init: write /proc/sys/kernel/shm_rmid_forced: invalid argument: unknown",
    ),
    ("run --rm --sysctl net.nope=1 busybox true", 127, "open /proc/sys/net/nope: no such file or directory"),
    (
        "run --rm --network host --sysctl net.ipv4.ip_forward=1 busybox true",
        125,
        r#"sysctl "net.ipv4.ip_forward" not allowed in host network namespace"#,
    ),
    ("run --rm --memory 1m busybox true", 125, "Minimum memory limit allowed is 6MB"),
    (
        "run --rm --memory 10m --memory-swap 5m busybox true",
        125,
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    (
        "run --rm --cpuset-cpus 4095 busybox true",
        125,
        "Requested CPUs are not available - requested 4095, available: 0",
    ),
    (
        "run --rm --cpuset-mems 4095 busybox true",
        125,
        "Requested memory nodes are not available - requested 4095, available: 0",
    ),
    ("run --rm --cpus 1000 busybox true", 125, "Range of CPUs is from 0.01 to "),
    (
        "run --rm --cpu-period 1 busybox true",
        125,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    ),
    (
        "run --rm --ulimit nofile=99999999999 busybox true",
        125,
        "error during container init: error setting rlimits for ready process: error setting rlimit ",
    ),
    ("run --rm --security-opt nosuch busybox true", 125, r#"Invalid --security-opt: "nosuch""#),
    ("run --rm --cap-add NOSUCH busybox true", 125, r#"invalid CapAdd: unknown capability: "CAP_NOSUCH""#),
    ("run --rm --oom-score-adj 2000 busybox true", 125, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
    ("run --rm --pid container:nosuch busybox true", 125, "No such container: nosuch"),
    ("run --rm --read-only -v DIR/dir:/made busybox true", 0, ""),
    ("run --rm --read-only -w /made busybox pwd", 0, ""),
    (
        "exec running /etc/passwd",
        126,
        r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "/etc/passwd": permission denied: unknown"#,
    ),
    ("exec -u nosuchuser running true", 126, "unable to find user nosuchuser: no matching entries in passwd file"),
    ("update --memory 1m running", 1, "Minimum memory limit allowed is 6MB"),
    ("update --cpuset-cpus x running", 1, "Invalid value x for cpuset cpus: invalid format: x"),
    ("update --cpu-quota 20000 --cpu-shares 512 --pids-limit 20 running", 0, "running"),
    (
        "inspect -f {{.HostConfig.CpuQuota}},{{.HostConfig.CpuShares}},{{.HostConfig.PidsLimit}} running",
        0,
        "20000,512,20",
    ),
    ("update --cpu-quota 10 running", 1, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ("update --cpus 0.5 running", 1, "Cannot update container "),
    (
        "update --cpus 0.5 running",
        1,
        ": Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
    ),
    ("update --pids-limit -1 running", 0, "running"),
    ("inspect -f {{.HostConfig.PidsLimit}} running", 0, "0"),
];

/// Here a newer Docker than Debian's, or a clearer word, is followed.
const OURS: &[(&str, i32, &str)] = &[
    ("run --rm busybox /etc", 126, r#"exec: "/etc": is a directory: unknown"#),
    ("run --rm --tmpfs /t:nosuchoption busybox true", 125, r#"error mounting "tmpfs" to rootfs at "/t": "#),
    ("run --rm --oom-score-adj=-1000 busybox true", 125, "a score below the daemon's own needs CAP_SYS_RESOURCE"),
    ("run --rm --security-opt seccomp=DIR/bad.json busybox true", 125, "unknown variant `NOSUCH`"),
    (
        "exec running nosuch",
        127,
        r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown"#,
    ),
    (
        "exec -w /nosuch running true",
        127,
        r#"chdir to cwd ("/nosuch") set in config.json failed: no such file or directory: unknown"#,
    ),
];

#[test]
fn refusals_have_dockers_words_and_codes() {
    let Some(host) = Host::start() else { return };
    let wrong: Vec<String> = ask(&host, ALIKE).into_iter().chain(ask(&host, OURS)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing stays of what was refused.
    host.docker("rm -f running").ok();
    assert_eq!(host.docker("ps -aq").ok(), "");
    assert_eq!(host.sh("ls /run/linkspan/containers /run/linkspan/netns | grep '^[0-9a-f]'; true").ok(), "");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}

#[test]
fn dockers_own_engine_agrees() {
    let Some(peer) = Peer::start() else { return };
    let wrong = ask(peer.host(), ALIKE);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rows that are answered otherwise.
fn ask(host: &Host, table: &[(&str, i32, &str)]) -> Vec<String> {
    let dir = host.path().join("refused");
    let dir = dir.display().to_string();
    host.sh(&format!(
        "mkdir -p {dir}/dir; echo x > {dir}/file; echo '{{\"defaultAction\":\"NOSUCH\"}}' > {dir}/bad.json"
    ))
    .ok();
    if host.docker("inspect running").code != 0 {
        host.docker("run -d --name running --network none busybox sleep 1000").ok();
    }
    let ask = |(words, code, part): &(&str, i32, &str)| {
        // No row is about networks.
        let words = words.replace("DIR", &dir);
        let words = if words.contains("--network") { words } else { words.replace("run ", "run --network none ") };
        let said = host.docker(&words);
        let part = part.replace("DIR", &dir);
        let text = said.err + &said.out;
        let is_so = said.code == *code && text.contains(&part);
        (!is_so).then(|| format!("{words}\n  expected {code}: {part}\n  but {}: {}", said.code, text.trim()))
    };
    table.iter().filter_map(ask).collect()
}
