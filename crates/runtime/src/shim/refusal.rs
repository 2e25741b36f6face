//! Why libcontainer refused, in the words that Docker's users know. What it says to its caller has lost the cause; the
//! errors that [`super::diagnosis`] has kept have it, in Rust's debug notation. Pure: text in, text out.

use std::{error::Error, io};

use crate::{
    shim::protocol::Failure,
    words::{plain, sentence},
};

/// What Docker adds when a file is mounted on a directory or a directory on a file.
const OTHER_TYPE: &str = "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";

/// What was tried when libcontainer refused.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// `create`, `start` or `exec`.
    pub verb: &'a str,
    /// The working directory of the process.
    pub cwd: &'a str,
}

/// The failure of an attempt. `errors` are those that were kept meanwhile, the deepest first.
pub fn failure(attempt: Attempt<'_>, error: &(dyn Error + 'static), errors: &[String]) -> Failure {
    let reason = reason(attempt, &sentence(error), errors);
    let again = if attempt.verb == "exec" { "exec failed: " } else { "" };
    let mut message =
        format!("OCI runtime {} failed: {again}unable to start container process: {reason}: unknown", attempt.verb);
    if reason.contains("error mounting") && reason.ends_with("not a directory") {
        message = format!("{message}: {OTHER_TYPE}");
    }
    Failure { code: exit_code(&message), message }
}

/// The exit code of a container that could not be started for this reason, as Docker has it.
pub fn exit_code(reason: &str) -> i32 {
    let says = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
    if says(&["permission denied", "is a directory"]) {
        126
    } else if says(&["executable file not found", "no such file or directory", "not a directory"]) {
        127
    } else {
        128
    }
}

fn reason(attempt: Attempt<'_>, said: &str, errors: &[String]) -> String {
    if let Some((_, ours)) = said.split_once("executing process : exec: ") {
        return format!("exec: {}", ours.split(": unknown").next().unwrap_or(ours));
    }
    let errno = errors.iter().find_map(|text| errno(text));
    let known = errors.iter().find_map(|text| {
        mount(text, errno)
            .or_else(|| sysctl(text))
            .or_else(|| limit(text, errno))
            .or_else(|| score(text))
            .or_else(|| working_directory(text, attempt.cwd, errno))
    });
    let known = known.or_else(|| control_group(said));
    known.unwrap_or_else(|| match errors.first() {
        Some(deepest) if !said.contains("error in executing process : error ") => without_number(deepest),
        _ => without_number(said.rsplit("executing process : ").next().unwrap_or(said)),
    })
}

/// `failed to mount Mount { destination: "/d", typ: Some("bind"), source: Some("/s"), options: Some(["ro"]), … }: syscall`
fn mount(text: &str, errno: Option<i32>) -> Option<String> {
    let described = text.strip_prefix("failed to mount Mount { destination: \"")?;
    let target = described.split('"').next()?;
    let field = |name: &str, end: char| described.split_once(name).and_then(|(_, rest)| rest.split(end).next());
    let source = field("source: Some(\"", '"').unwrap_or_default();
    let is_bind = described.contains("typ: Some(\"bind\")");
    let options = field("options: Some([", ']').unwrap_or_default().replace(['"', ' '], "");
    let cause = match errno? {
        // move_mount(2) so refuses a file on a directory, and the other way round.
        22 if is_bind => words(20),
        22 => format!("data: {options}: {}", words(22)),
        other => words(other),
    };
    Some(format!("error during container init: error mounting {source:?} to rootfs at {target:?}: {cause}"))
}

/// `failed to set sysctl kernel.x=y: Invalid argument (os error 22)`
fn sysctl(text: &str) -> Option<String> {
    let (setting, cause) = text.strip_prefix("failed to set sysctl ")?.rsplit_once(": ")?;
    let path = setting.split('=').next()?.replace('.', "/");
    Some(format!("error during container init: write /proc/sys/{path}: {}", without_number(cause).to_lowercase()))
}

/// `failed to set rlimit err=Nix(EPERM) rlimit=PosixRlimit { typ: RlimitNofile, … }`
fn limit(text: &str, errno: Option<i32>) -> Option<String> {
    let (_, kind) = text.strip_prefix("failed to set rlimit ")?.split_once("typ: Rlimit")?;
    let kind = kind.split(',').next()?.to_lowercase();
    let cause = words(errno?);
    Some(format!(
        "error during container init: error setting rlimits for ready process: error setting rlimit {kind}: {cause}"
    ))
}

/// `failed to write to /proc/self/oom_score_adj: Permission denied (os error 13)`
fn score(text: &str) -> Option<String> {
    text.strip_prefix("failed to write to /proc/self/oom_score_adj: ")?;
    Some("cannot set oom_score_adj: a score below the daemon's own needs CAP_SYS_RESOURCE".to_owned())
}

/// `failed to chdir e=ENOENT`
fn working_directory(text: &str, cwd: &str, errno: Option<i32>) -> Option<String> {
    text.strip_prefix("failed to chdir")?;
    Some(format!("chdir to cwd ({cwd:?}) set in config.json failed: {}", words(errno?)))
}

/// `… cgroup error: io error: failed to write 77 to /sys/…: Invalid argument (os error 22)`
fn control_group(said: &str) -> Option<String> {
    let (_, cause) = said.split_once("cgroup error: ")?;
    let cause = without_number(cause.strip_prefix("io error: ").unwrap_or(cause));
    let written = cause.strip_prefix("failed to write ").and_then(|rest| {
        let (value, rest) = rest.split_once(" to ")?;
        let (path, cause) = rest.rsplit_once(": ")?;
        Some(format!("failed to write {value:?}: write {path}: {}", cause.to_lowercase()))
    });
    Some(format!("unable to apply cgroup configuration: {}", written.unwrap_or(cause)))
}

/// The error number that a text in debug notation has: `Nix(EINVAL)`, `e=ENOENT` or `code: 22`.
fn errno(text: &str) -> Option<i32> {
    let number = text.split_once("code: ").and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    if let Some(number) = number.and_then(|number| number.parse().ok()) {
        return Some(number);
    }
    let (_, name) = text.split_once("Nix(").or_else(|| text.split_once("e=")).or_else(|| text.split_once("err="))?;
    let name = name.split(|c: char| !c.is_ascii_uppercase()).next()?;
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Those with which mounting and limiting are refused, errno(3).
const NAMES: [(&str, i32); 20] = [
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EIO", 5),
    ("ENXIO", 6),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("ENOTBLK", 15),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("ENODEV", 19),
    ("ENOTDIR", 20),
    ("EINVAL", 22),
    ("EMFILE", 24),
    ("ENOSPC", 28),
    ("EROFS", 30),
    ("ERANGE", 34),
    ("ENAMETOOLONG", 36),
    ("ELOOP", 40),
    ("ECONNREFUSED", 111),
    ("ETIMEDOUT", 110),
];

fn words(errno: i32) -> String {
    plain(&io::Error::from_raw_os_error(errno))
}

fn without_number(text: &str) -> String {
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_those_that_runc_gives() {
        let mounting = |kind: &str, options: &str, cause: &str| {
            format!(
                r#"failed to mount Mount {{ destination: "/d", typ: Some("{kind}"), source: Some("/s"), options: Some([{options}]), uid_mappings: None, gid_mappings: None }}: {cause}"#
            )
        };
        let init = "failed to create container: exec process failed with error error in executing process : failed to prepare rootfs";
        let file = r#"failed to prepare rootfs err=Mount(Pathrs(Error(RawOsError { operation: "x", source: Openat { mode: 0, source: Os { code: 20, kind: NotADirectory, message: "Not a directory" } } })))"#;
        for (said, errors, expected) in [
            (
                r#"failed to create container: exec process failed with error error in executing process : exec: "x": executable file not found in $PATH: unknown"#,
                vec!["failed to initialize container process: exec".to_owned()],
                r#"exec: "x": executable file not found in $PATH"#,
            ),
            (
                init,
                vec![mounting("bind", r#""rbind""#, "syscall"), "failed err=Mount(Syscall(Nix(EINVAL)))".to_owned()],
                r#"error during container init: error mounting "/s" to rootfs at "/d": not a directory"#,
            ),
            (
                init,
                vec![mounting("bind", r#""rbind""#, "openat2 subpath failed"), file.to_owned()],
                r#"error during container init: error mounting "/s" to rootfs at "/d": not a directory"#,
            ),
            (
                init,
                vec![
                    mounting("tmpfs", r#""nodev", "size=x""#, "syscall"),
                    "failed err=Mount(Syscall(Nix(EINVAL)))".to_owned(),
                ],
                r#"error during container init: error mounting "/s" to rootfs at "/d": data: nodev,size=x: invalid argument"#,
            ),
            (
                "failed to set sysctl",
                vec!["failed to set sysctl kernel.shm_rmid_forced=banana: Invalid argument (os error 22)".to_owned()],
                "error during container init: write /proc/sys/kernel/shm_rmid_forced: invalid argument",
            ),
            (
                "failed to create container: intermediate process error cgroup error: io error: failed to write 77 to /sys/fs/cgroup/cpuset/linkspan/x/cpuset.mems: Invalid argument (os error 22)",
                vec![
                    "failed to apply cgroup pid=Pid(8) err=V1(CpuSet(Write { err: Os { code: 22 } })) init=true"
                        .to_owned(),
                ],
                r#"unable to apply cgroup configuration: failed to write "77": write /sys/fs/cgroup/cpuset/linkspan/x/cpuset.mems: invalid argument"#,
            ),
            (
                "intermediate process error EPERM: Operation not permitted",
                vec![
                    "failed to set rlimit err=Nix(EPERM) rlimit=PosixRlimit { typ: RlimitNofile, hard: 9, soft: 9 }"
                        .to_owned(),
                ],
                "error during container init: error setting rlimits for ready process: error setting rlimit nofile: operation not permitted",
            ),
            (
                "failed to unix syscall",
                vec!["failed to chdir e=ENOENT".to_owned(), "failed to initialize container process".to_owned()],
                r#"chdir to cwd ("/w") set in config.json failed: no such file or directory"#,
            ),
            (
                "failed to create container: io error",
                vec!["failed to write to /proc/self/oom_score_adj: Permission denied (os error 13)".to_owned()],
                "cannot set oom_score_adj: a score below the daemon's own needs CAP_SYS_RESOURCE",
            ),
            (init, vec!["something else (os error 5)".to_owned()], "something else"),
            ("broken (os error 5)", vec![], "broken"),
        ] {
            assert_eq!(reason(Attempt { verb: "create", cwd: "/w" }, said, &errors), expected);
        }
    }

    #[test]
    fn codes_are_those_of_docker() {
        for (reason, code) in [
            (r#"exec: "x": executable file not found in $PATH"#, 127),
            ("stat /x: no such file or directory", 127),
            ("error mounting: not a directory", 127),
            ("/etc: is a directory", 126),
            ("/etc/passwd: permission denied", 126),
            ("invalid argument", 128),
        ] {
            assert_eq!(exit_code(reason), code, "{reason}");
        }
    }
}
