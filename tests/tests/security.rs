//! What confines a container: its process's status, and what it is refused when it tries. The answers that Docker's own engine
//! gives as well are checked with it, where it is installed.

use conformance::{Host, Peer};

/// Who may do what a usual container may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// A usual container may.
    All,
    /// One that has the capability, and a privileged one.
    Capable,
    /// One without a filter of system calls, and a privileged one; no capability helps.
    Unfiltered,
    /// Each of them: the kernel itself refuses nobody for the lack of a capability before it has looked at the arguments.
    CapableOrUnfiltered,
    /// A privileged one.
    Privileged,
    /// This depends on the kernel: only the usual container is looked at.
    Unknown,
}

use May::{All, Capable, CapableOrUnfiltered, Privileged, Unfiltered, Unknown};

/// What Docker's default filter, or the kernel, answers.
const REFUSED: &str = "Operation not permitted";
const READ_ONLY: &str = "Read-only file system";
const EMPTY: &str = "nothing there";

/// What is tried (`security/tries.pl`), what a usual container hears, and who may. All engines agree on these.
const ALIKE: &[(&str, &str, May)] = &[
    ("read_timer_list", EMPTY, Privileged),
    ("write_sysctl", READ_ONLY, Privileged),
    ("write_sysctl_net", READ_ONLY, Privileged),
    ("write_irq", READ_ONLY, Privileged),
    ("write_sys", READ_ONLY, Privileged),
    ("open_mem", "No such file or directory", Unknown),
    ("mknod_mem", "yes", All),
    ("mknod_open_mem", REFUSED, Privileged),
    ("mknod_open_kmsg", REFUSED, Privileged),
    ("mknod_open_loop", REFUSED, Privileged),
    ("mknod_open_fuse", REFUSED, Privileged),
    ("mknod_open_disk", REFUSED, Privileged),
    ("mknod_open_null", "yes", All),
    ("open_null", "yes", All),
    ("open_tty", "No such device or address", Unknown),
    ("chmod_suid", "yes", All),
    ("kill_init", "yes", All),
    ("mount", REFUSED, Capable),
    ("remount", REFUSED, Capable),
    ("umount2", REFUSED, Capable),
    ("pivot_root", REFUSED, Privileged),
    ("fsopen", REFUSED, Capable),
    ("open_tree", REFUSED, Capable),
    ("move_mount", REFUSED, Capable),
    ("mount_setattr", REFUSED, CapableOrUnfiltered),
    ("unshare_mount", REFUSED, Capable),
    ("unshare_user", REFUSED, CapableOrUnfiltered),
    ("clone_user", REFUSED, CapableOrUnfiltered),
    ("clone_net", REFUSED, Capable),
    // C libraries fall back to clone(2), whose arguments the filter can see.
    ("clone3", "Function not implemented", CapableOrUnfiltered),
    ("setns", REFUSED, Capable),
    ("sethostname", REFUSED, Capable),
    ("chroot", "yes", All),
    ("keyctl", REFUSED, Unfiltered),
    ("add_key", REFUSED, Unfiltered),
    ("request_key", REFUSED, Unfiltered),
    ("bpf", REFUSED, Unknown),
    ("perf_event_open", REFUSED, Unknown),
    ("userfaultfd", REFUSED, Unfiltered),
    ("ptrace_traceme", "yes", All),
    ("pidfd_getfd", REFUSED, CapableOrUnfiltered),
    ("kcmp", REFUSED, CapableOrUnfiltered),
    ("process_madvise", REFUSED, CapableOrUnfiltered),
    ("reboot", REFUSED, Capable),
    ("kexec_load", REFUSED, Unknown),
    ("init_module", REFUSED, Unknown),
    ("delete_module", REFUSED, Unknown),
    ("swapon", REFUSED, Privileged),
    ("acct", REFUSED, Capable),
    ("clock_settime", REFUSED, CapableOrUnfiltered),
    ("settimeofday", REFUSED, CapableOrUnfiltered),
    ("quotactl", REFUSED, CapableOrUnfiltered),
    ("syslog", REFUSED, Capable),
    ("vhangup", REFUSED, Capable),
    ("iopl", REFUSED, Unknown),
    ("ioperm", REFUSED, Unknown),
    ("open_by_handle_at", REFUSED, CapableOrUnfiltered),
    ("get_mempolicy", REFUSED, CapableOrUnfiltered),
    ("personality", "yes", All),
    ("personality_no_randomize", REFUSED, Unfiltered),
    ("socket_packet", "yes", All),
    ("socket_raw", "yes", All),
];

/// Here a newer Docker than Debian's is followed.
const NEWER: &[(&str, &str, May)] = &[
    ("read_interrupts", EMPTY, Privileged),
    ("write_cgroup", READ_ONLY, Privileged),
    ("io_uring_setup", REFUSED, Unknown),
    ("name_to_handle_at", "No such file or directory", Unknown),
    ("process_vm_readv", "yes", All),
    ("socket_vsock", REFUSED, Unfiltered),
];

/// Hidden where the kernel has them at all.
const HIDDEN: [&str; 5] = ["read_kcore", "read_keys", "list_scsi", "list_acpi", "list_firmware"];

const CAPABILITIES: [&str; 11] = [
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYS_NICE",
    "SYSLOG",
    "DAC_READ_SEARCH",
];

#[test]
fn what_is_tried_is_answered_as_docker_answers() {
    let Some(host) = Host::start().filter(|_| can_try()) else { return };
    let wrong: Vec<String> = compare(&host, &[ALIKE, NEWER].concat(), "--privileged");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn dockers_own_engine_answers_alike() {
    let Some(peer) = Peer::start().filter(|_| can_try()) else { return };
    // Its privileged containers want capabilities that not every machine's root has.
    let wrong = compare(peer.host(), ALIKE, "");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let status = statuses(peer.host());
    assert!(status.is_empty(), "{}", status.join("\n"));
}

#[test]
fn the_status_of_a_process_is_dockers() {
    let Some(host) = Host::start() else { return };
    let wrong = statuses(&host);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn can_try() -> bool {
    let can = cfg!(target_arch = "x86_64") && std::path::Path::new("/usr/bin/perl").exists();
    if !can {
        eprintln!("SKIPPED: what is tried is written in perl, with the numbers of system calls of x86-64");
    }
    can
}

/// The rows that are answered otherwise.
fn compare(host: &Host, table: &[(&str, &str, May)], privileged: &str) -> Vec<String> {
    let capable: String = CAPABILITIES.iter().map(|name| format!("--cap-add {name} ")).collect();
    let usual = answers(host, "");
    let others = [
        ("--cap-add ...", [Capable, CapableOrUnfiltered, All].as_slice(), answers(host, &capable)),
        (
            "seccomp=unconfined",
            [Unfiltered, CapableOrUnfiltered, All].as_slice(),
            answers(host, "--security-opt seccomp=unconfined"),
        ),
        (
            privileged,
            [Capable, Unfiltered, CapableOrUnfiltered, Privileged, All].as_slice(),
            if privileged.is_empty() { String::new() } else { answers(host, privileged) },
        ),
    ];
    let mut wrong = Vec::new();
    for (name, expected, may) in table {
        let said = answer(&usual, name);
        if said != *expected {
            wrong.push(format!("{name}: a usual container hears {said:?} and not {expected:?}"));
        }
        for (options, permitted, answers) in others.iter().filter(|(options, ..)| !options.is_empty()) {
            let said = answer(answers, name);
            let refused = said == *expected && *may != All;
            if *may != Unknown && refused == permitted.contains(may) {
                wrong.push(format!("{name}: with {options} it hears {said:?}, and {may:?} may"));
            }
        }
    }
    for name in HIDDEN {
        if ![EMPTY, "No such file or directory"].contains(&answer(&usual, name)) {
            wrong.push(format!("{name}: {:?}", answer(&usual, name)));
        }
    }
    wrong
}

fn answer<'a>(answers: &'a str, name: &str) -> &'a str {
    let line = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    answers.lines().find_map(line).unwrap_or("no answer")
}

/// What a container with these options answers to all tries.
fn answers(host: &Host, options: &str) -> String {
    let tries = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/tries.pl");
    let libraries = "/lib/x86_64-linux-gnu";
    let modules = "/usr/lib/x86_64-linux-gnu/perl-base";
    let perl = format!("-v /usr/bin/perl:/bin/perl:ro -v {libraries}:{libraries}:ro -v {modules}:{modules}:ro");
    host.docker(&format!("run --rm --network none {perl} -v {tries}:/tries.pl:ro {options} busybox perl /tries.pl"))
        .ok()
}

/// The lines of proc_pid_status(5) that confine: inheritable, permitted, effective, bounding, ambient; no_new_privs; seccomp.
fn statuses(host: &Host) -> Vec<String> {
    const READ: &str = "busybox grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    let usual = "a80425fb";
    let table = [
        ("run --rm", ["0", usual, usual, usual, "0", "0", "2"]),
        ("run --rm -u 1000", ["0", "0", "0", usual, "0", "0", "2"]),
        ("run --rm -u 1000 --cap-add NET_ADMIN", ["0", "0", "0", "a80435fb", "0", "0", "2"]),
        ("run --rm --cap-drop ALL", ["0", "0", "0", "0", "0", "0", "2"]),
        ("run --rm --cap-drop ALL --cap-add CHOWN", ["0", "1", "1", "1", "0", "0", "2"]),
        ("run --rm --cap-drop net_raw", ["0", "a80405fb", "a80405fb", "a80405fb", "0", "0", "2"]),
        ("run --rm --cap-add SYS_ADMIN", ["0", "a82425fb", "a82425fb", "a82425fb", "0", "0", "2"]),
        ("run --rm --security-opt no-new-privileges", ["0", usual, usual, usual, "0", "1", "2"]),
        ("run --rm --security-opt seccomp=unconfined", ["0", usual, usual, usual, "0", "0", "0"]),
        ("exec boxed", ["0", usual, usual, usual, "0", "0", "2"]),
        ("exec -u 1000 boxed", ["0", "0", "0", usual, "0", "0", "2"]),
        ("exec boxed-low", ["0", "0", "0", "0", "0", "1", "2"]),
        ("exec boxed-open", ["0", usual, usual, usual, "0", "0", "0"]),
    ];
    for (name, options) in [
        ("boxed", ""),
        ("boxed-low", "--cap-drop ALL --security-opt no-new-privileges"),
        ("boxed-open", "--security-opt seccomp=unconfined"),
    ] {
        host.docker(&format!("run -d --name {name} --network none {options} busybox sleep 1000")).ok();
    }
    let mut wrong = Vec::new();
    for (words, expected) in table {
        let script = if words.starts_with("exec") { READ.trim_start_matches("busybox ") } else { READ };
        let words = words.replace("run ", "run --network none ");
        let said = host.docker(&format!("{words} {script}")).ok();
        let shown: Vec<&str> = said
            .lines()
            .filter_map(|line| line.split_whitespace().last())
            .map(|value| value.trim_start_matches('0'))
            .map(|value| if value.is_empty() { "0" } else { value })
            .collect();
        if shown != expected {
            wrong.push(format!("{words}: {shown:?} and not {expected:?}"));
        }
    }
    wrong
}
