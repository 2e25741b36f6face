//! The emulator: it runs until the machine powers itself off, and its console tells the verdicts.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{Kernel, image::Disks};
use crate::run::{Result, command};

/// The longest that all cases of one kernel may take.
const PATIENCE: Duration = Duration::from_secs(1200);

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
    let verdicts = listen(&mut child);
    // It has ended, or is of no use any more.
    let _ = child.kill();
    child.wait().map_err(|e| e.to_string())?;
    verdicts
}

/// No KVM: the host may itself be a virtual machine. The network is all inside. QEMU 7.2 gets the flags of CMPXCHG16B wrong,
/// which newer kernels use where they find it.
const ARGUMENTS: &str = "-accel tcg,thread=multi,tb-size=512 -cpu max,cx16=off,la57=off -smp 2 -m 1024 -nodefaults -display none -serial stdio -rtc base=utc";

fn listen(child: &mut Child) -> Result<BTreeMap<String, bool>> {
    let console = child.stdout.take().ok_or("the emulator has no console")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(std::result::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut verdicts = BTreeMap::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let told = line.strip_prefix(MARK);
                println!("  {}", told.unwrap_or(&line));
                let mut words = told.unwrap_or_default().split(' ');
                match (words.next(), words.next()) {
                    (Some("pass"), Some(case)) => drop(verdicts.insert(case.to_owned(), true)),
                    (Some("FAIL"), Some(case)) => drop(verdicts.insert(case.to_owned(), false)),
                    _ if line.contains("Kernel panic") => return Err("the kernel panicked".to_owned()),
                    _ => {}
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(verdicts),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("the cases took more than {} s", PATIENCE.as_secs()));
            }
        }
    }
}
