//! The emulator: it runs until the machine powers itself off, and its console tells the verdicts.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    process::Stdio,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{Kernel, image::Disks};
use crate::run::{Result, command};

/// How long a machine may take.
struct Limits {
    /// All cases of one kernel.
    whole: Duration,
    /// From one line of the console to the next. The machine says every ten seconds that it is there.
    silence: Duration,
}

const LIMITS: Limits = Limits { whole: Duration::from_secs(1800), silence: Duration::from_secs(120) };

/// How lines of the console begin that are meant for here: `vm-test: pass walk (3 s)`.
const MARK: &str = "vm-test: ";

/// Boots, shows what the machine says, and returns which cases passed.
pub fn run(kernel: &Kernel, disks: &Disks) -> Result<BTreeMap<String, bool>> {
    println!("Booting {}", kernel.release);
    let mut emulator = command("qemu-system-x86_64", ARGUMENTS.split_whitespace());
    emulator.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&disks.initramfs);
    emulator.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on"]);
    emulator.args(["-drive", &format!("file={},format=raw,if=virtio,cache=unsafe", disks.root.display())]);
    let mut child = emulator
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run qemu-system-x86_64: {e}"))?;
    let verdicts = match child.stdout.take() {
        Some(console) => listen(console, &LIMITS),
        None => Err("the emulator has no console".to_owned()),
    };
    // It has ended, or is of no use any more.
    let _ = child.kill();
    child.wait().map_err(|e| e.to_string())?;
    verdicts
}

/// No KVM: the host may itself be a virtual machine. The network is all inside. QEMU 7.2 gets the flags of CMPXCHG16B wrong,
/// which newer kernels use where they find it.
const ARGUMENTS: &str = "-accel tcg,thread=multi,tb-size=512 -cpu max,cx16=off,la57=off -smp 2 -m 1024 -nodefaults -display none -serial stdio -rtc base=utc";

fn listen(console: impl Read + Send + 'static, limits: &Limits) -> Result<BTreeMap<String, bool>> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(std::result::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + limits.whole;
    let mut verdicts = BTreeMap::new();
    let mut at = "starting".to_owned();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left.min(limits.silence)) {
            Ok(line) => {
                let told = line.strip_prefix(MARK);
                let mut words = told.unwrap_or_default().split(' ');
                match (words.next(), words.next()) {
                    (Some("alive"), _) => continue,
                    (Some("begin"), Some(case)) => {
                        at = format!("in the case {case}");
                        continue;
                    }
                    (Some("pass"), Some(case)) => drop(verdicts.insert(case.to_owned(), true)),
                    (Some("FAIL"), Some(case)) => drop(verdicts.insert(case.to_owned(), false)),
                    _ if line.contains("Kernel panic") => return Err(format!("the kernel panicked, {at}: {line}")),
                    _ => {}
                }
                println!("  {}", told.unwrap_or(&line));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(verdicts),
            Err(RecvTimeoutError::Timeout) if left <= limits.silence => {
                return Err(format!("the cases took more than {} s; the machine was {at}", limits.whole.as_secs()));
            }
            Err(RecvTimeoutError::Timeout) => {
                let silence = limits.silence.as_secs();
                return Err(format!("the machine fell silent {at}: no sign of life for {silence} s"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What is made of a machine that says this on its console, and does not end.
    fn check(says: &str, limits: &Limits, expected: &str) {
        let (console, mut machine) = std::io::pipe().expect("a pipe");
        machine.write_all(says.as_bytes()).expect("it takes words");
        assert_eq!(listen(console, limits), Err(expected.to_owned()));
    }

    #[test]
    fn a_machine_that_hangs_ends_the_run() {
        let (long, none) = (Duration::from_secs(1000), Duration::ZERO);
        // What it said is there before it is listened to, so that this is no race.
        let silent = Limits { whole: long, silence: Duration::from_secs(2) };
        let begin = "vm-test: begin walk\nvm-test: alive\n";
        check(begin, &silent, "the machine fell silent in the case walk: no sign of life for 2 s");
        let slow = Limits { whole: none, silence: long };
        check("", &slow, "the cases took more than 0 s; the machine was starting");
        let panic = "vm-test: begin walk\nKernel panic - not syncing\n";
        let patient = Limits { whole: long, silence: long };
        check(panic, &patient, "the kernel panicked, in the case walk: Kernel panic - not syncing");
    }
}
