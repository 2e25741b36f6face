//! A seccomp profile as a classic BPF program: one section per architecture, in it a binary search over the system
//! call numbers, so that the length of the profile hardly matters.
//!
//! Source: seccomp(2); `linux/seccomp.h` for actions; `linux/audit.h` for architectures.

use std::collections::BTreeMap;

use kernel::seccomp::Instruction;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};

/// The profile asks for what cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The action needs an agent.
    #[error("seccomp action {0:?} is not supported")]
    Action(LinuxSeccompAction),
    /// System calls have six arguments.
    #[error("a seccomp rule names argument {0}, but system calls have arguments 0 to 5")]
    Argument(usize),
    /// The kernel takes no more.
    #[error("the seccomp profile makes a program of {0} instructions; the kernel allows 4,096")]
    TooLong(usize),
}

const PROGRAM_MAX: usize = 4096;

// `struct seccomp_data`: nr u32, arch u32, instruction pointer u64, args [u64; 6].
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQ: u16 = 0x15;
const JUMP_GT: u16 = 0x25;
const JUMP_GE: u16 = 0x35;
const RETURN: u16 = 0x06;

const KILL_PROCESS: u32 = 0x8000_0000;
/// System calls of the x32 ABI have this bit set; they get the default action.
const X32_BIT: u32 = 0x4000_0000;
/// Stands for "the rule does not match" until its length is known. No rule is so long.
const MISMATCH: u8 = u8::MAX;

/// What happens to one system call.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// Always this.
    Always(u32),
    /// The first matching rule's, else the last.
    Rules(Vec<(Vec<LinuxSeccompArg>, u32)>, u32),
}

/// Compiles a profile. Names that an architecture does not have are ignored there.
pub fn compile(profile: &LinuxSeccomp) -> Result<Vec<Instruction>, CompileError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let native = [super::native().0];
    let architectures = profile.architectures().as_deref().unwrap_or(&native);
    let mut program = vec![plain(LOAD, OFFSET_ARCH)];
    for arch in architectures {
        // x32 shares the audit number of x86_64.
        let Some(audit) = audit_number(*arch) else { continue };
        let mut section = vec![plain(LOAD, OFFSET_NR)];
        search(&segments(profile, *arch, default)?, &mut section)?;
        program.push(jump(JUMP_EQ, audit, 1, 0));
        program.push(plain(JUMP, section.len() as u32));
        program.append(&mut section);
    }
    program.push(plain(RETURN, KILL_PROCESS));
    if program.len() > PROGRAM_MAX {
        return Err(CompileError::TooLong(program.len()));
    }
    Ok(program)
}

/// The whole range of numbers in ascending pieces: where each starts, and its fate.
fn segments(profile: &LinuxSeccomp, arch: Arch, default: u32) -> Result<Vec<(u32, Fate)>, CompileError> {
    let mut fates: BTreeMap<u32, Fate> = BTreeMap::new();
    for rule in profile.syscalls().iter().flatten() {
        let verdict = action(rule.action(), rule.errno_ret())?;
        let args = rule.args().as_deref().unwrap_or_default();
        for number in rule.names().iter().filter_map(|name| number_of(arch, name)) {
            let fate = fates.entry(number).or_insert_with(|| Fate::Rules(Vec::new(), default));
            match fate {
                Fate::Always(_) => {}
                _ if args.is_empty() => *fate = Fate::Always(verdict),
                Fate::Rules(rules, _) => rules.push((args.to_vec(), verdict)),
            }
        }
    }
    let mut segments = vec![(0, Fate::Always(default))];
    for (number, fate) in fates {
        // A later piece at the same start replaces the default that was laid after the previous number.
        segments.retain(|(start, _)| *start != number);
        segments.push((number, fate));
        segments.push((number + 1, Fate::Always(default)));
    }
    if arch == Arch::ScmpArchX86_64 {
        segments.push((X32_BIT, Fate::Always(default)));
    }
    segments.dedup_by(|next, previous| next.1 == previous.1);
    Ok(segments)
}

/// Emits a search for the number in the accumulator.
fn search(segments: &[(u32, Fate)], out: &mut Vec<Instruction>) -> Result<(), CompileError> {
    let middle = segments.len() / 2;
    let (low, high) = segments.split_at(middle);
    match (low, high) {
        ([], [(_, fate)]) => decide(fate, out),
        ([], []) => Ok(()),
        (low, high) => {
            let mut left = Vec::new();
            search(low, &mut left)?;
            out.push(jump(JUMP_GE, high[0].0, 0, 1));
            out.push(plain(JUMP, left.len() as u32));
            out.append(&mut left);
            search(high, out)
        }
    }
}

fn decide(fate: &Fate, out: &mut Vec<Instruction>) -> Result<(), CompileError> {
    let last = match fate {
        Fate::Always(verdict) => verdict,
        Fate::Rules(rules, last) => {
            for (args, verdict) in rules {
                let mut rule = Vec::new();
                for arg in args {
                    test(arg, &mut rule)?;
                }
                rule.push(plain(RETURN, *verdict));
                let length = rule.len();
                for (index, instruction) in rule.iter_mut().enumerate() {
                    let to_end = (length - index - 1) as u8;
                    for target in [&mut instruction.jump_true, &mut instruction.jump_false] {
                        if *target == MISMATCH {
                            *target = to_end;
                        }
                    }
                }
                out.append(&mut rule);
            }
            last
        }
    };
    out.push(plain(RETURN, *last));
    Ok(())
}

/// Emits a test that falls through when it holds. Arguments have 64 bits, the machine 32.
fn test(arg: &LinuxSeccompArg, out: &mut Vec<Instruction>) -> Result<(), CompileError> {
    let index =
        u32::try_from(arg.index()).ok().filter(|index| *index < 6).ok_or(CompileError::Argument(arg.index()))?;
    let low_at = OFFSET_ARGS + 8 * index;
    let (low_at, high_at) = if cfg!(target_endian = "little") { (low_at, low_at + 4) } else { (low_at + 4, low_at) };
    let (low, high) = halves(arg.value());
    let (load_low, load_high) = (plain(LOAD, low_at), plain(LOAD, high_at));
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => {
            out.extend([load_high, jump(JUMP_EQ, high, 0, MISMATCH), load_low, jump(JUMP_EQ, low, 0, MISMATCH)]);
        }
        LinuxSeccompOperator::ScmpCmpNe => {
            out.extend([load_high, jump(JUMP_EQ, high, 0, 2), load_low, jump(JUMP_EQ, low, MISMATCH, 0)]);
        }
        LinuxSeccompOperator::ScmpCmpGt | LinuxSeccompOperator::ScmpCmpGe => {
            let last = if arg.op() == LinuxSeccompOperator::ScmpCmpGt { JUMP_GT } else { JUMP_GE };
            let tests = [
                load_high,
                jump(JUMP_GT, high, 3, 0),
                jump(JUMP_EQ, high, 0, MISMATCH),
                load_low,
                jump(last, low, 0, MISMATCH),
            ];
            out.extend(tests);
        }
        LinuxSeccompOperator::ScmpCmpLt | LinuxSeccompOperator::ScmpCmpLe => {
            let last = if arg.op() == LinuxSeccompOperator::ScmpCmpLt { JUMP_GE } else { JUMP_GT };
            let tests = [
                load_high,
                jump(JUMP_GT, high, MISMATCH, 0),
                jump(JUMP_EQ, high, 0, 2),
                load_low,
                jump(last, low, MISMATCH, 0),
            ];
            out.extend(tests);
        }
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let (wanted_low, wanted_high) = halves(arg.value_two().unwrap_or(0));
            out.extend([load_high, plain(AND, high), jump(JUMP_EQ, wanted_high, 0, MISMATCH)]);
            out.extend([load_low, plain(AND, low), jump(JUMP_EQ, wanted_low, 0, MISMATCH)]);
        }
    }
    Ok(())
}

fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

fn action(action: LinuxSeccompAction, data: Option<u32>) -> Result<u32, CompileError> {
    /// EPERM, what Docker and runc return when a profile does not say.
    const EPERM: u32 = 1;
    let data = data.unwrap_or(EPERM) & 0xffff;
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | data,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | data,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        LinuxSeccompAction::ScmpActKillProcess => KILL_PROCESS,
        LinuxSeccompAction::ScmpActNotify => return Err(CompileError::Action(action)),
    })
}

fn audit_number(arch: Arch) -> Option<u32> {
    match arch {
        Arch::ScmpArchX86_64 => Some(0xc000_003e),
        Arch::ScmpArchX86 => Some(0x4000_0003),
        Arch::ScmpArchAarch64 => Some(0xc000_00b7),
        Arch::ScmpArchArm => Some(0x4000_0028),
        Arch::ScmpArchNative => audit_number(super::native().0),
        _ => None,
    }
}

fn number_of(arch: Arch, name: &str) -> Option<u32> {
    let number = match arch {
        Arch::ScmpArchX86_64 => name.parse::<syscalls::x86_64::Sysno>().ok()?.id(),
        Arch::ScmpArchX86 => name.parse::<syscalls::x86::Sysno>().ok()?.id(),
        Arch::ScmpArchAarch64 => name.parse::<syscalls::aarch64::Sysno>().ok()?.id(),
        Arch::ScmpArchArm => name.parse::<syscalls::arm::Sysno>().ok()?.id(),
        Arch::ScmpArchNative => return number_of(super::native().0, name),
        _ => return None,
    };
    u32::try_from(number).ok()
}

fn plain(code: u16, operand: u32) -> Instruction {
    jump(code, operand, 0, 0)
}

fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;
    const X86_64: u32 = 0xc000_003e;

    /// What the kernel would do.
    fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(arch.to_ne_bytes());
        data.extend(0u64.to_ne_bytes());
        args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let Instruction { code, jump_true, jump_false, operand } = program[at];
            at += 1;
            let branch = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
            match code {
                LOAD => accumulator = u32::from_ne_bytes(data[operand as usize..][..4].try_into().unwrap()),
                AND => accumulator &= operand,
                JUMP => at += operand as usize,
                JUMP_EQ => at += branch(accumulator == operand),
                JUMP_GT => at += branch(accumulator > operand),
                JUMP_GE => at += branch(accumulator >= operand),
                RETURN => return operand,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn usual(capabilities: &[&str]) -> Vec<Instruction> {
        let capabilities: BTreeSet<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
        let program = compile(&super::super::usual(&capabilities).unwrap()).unwrap();
        assert!(program.len() < 1500, "{} instructions", program.len());
        program
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_usual_profile_judges_as_docker_does() {
        let (plain, admin) = (usual(&[]), usual(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]));
        let number = |name: &str| number_of(Arch::ScmpArchX86_64, name).unwrap();
        let new_user = 0x1000_0000;
        for (program, name, argument, expected) in [
            (&plain, "read", 0, ALLOW),
            (&plain, "ptrace", 0, ALLOW),
            (&plain, "mount", 0, EPERM),
            (&admin, "mount", 0, ALLOW),
            (&plain, "chroot", 0, EPERM),
            (&admin, "chroot", 0, ALLOW),
            (&plain, "clone", 0x11, ALLOW),
            (&plain, "clone", new_user, EPERM),
            (&admin, "clone", new_user, ALLOW),
            (&plain, "clone3", 0, ENOSYS),
            (&admin, "clone3", 0, ALLOW),
            (&plain, "socket", 2, ALLOW),
            (&plain, "socket", 38, EPERM),
            (&plain, "socket", 39, ALLOW),
            (&plain, "socket", 40, EPERM),
            (&plain, "socket", 41, ALLOW),
            (&plain, "socket", 1 << 32, ALLOW),
            (&plain, "personality", 0x2_0008, ALLOW),
            (&plain, "personality", 0xffff_ffff, ALLOW),
            (&plain, "personality", 0x4_0000, EPERM),
            (&plain, "keyctl", 0, EPERM),
        ] {
            assert_eq!(run(program, X86_64, number(name), [argument; 6]), expected, "{name}({argument:#x})");
        }
        assert_eq!(run(&plain, X86_64, 100_000, [0; 6]), EPERM);
        assert_eq!(run(&plain, X86_64, X32_BIT | 1, [0; 6]), EPERM);
        assert_eq!(run(&plain, 0x4000_0003, number_of(Arch::ScmpArchX86, "waitpid").unwrap(), [0; 6]), ALLOW);
        assert_eq!(run(&plain, 0xdead_beef, 0, [0; 6]), KILL_PROCESS);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_comparison_sees_64_bits() {
        let big = 0x2_0000_0005u64;
        for (op, holds, fails) in [
            ("EQ", vec![big], vec![5, big + 1, big & !0xff]),
            ("NE", vec![5, big + 1, 0x1_0000_0005], vec![big]),
            ("LT", vec![0, big - 1, 0x1_ffff_ffff], vec![big, big + 1, 0x3_0000_0000]),
            ("LE", vec![0, big], vec![big + 1, 0x3_0000_0000]),
            ("GT", vec![big + 1, 0x3_0000_0000], vec![big, 0x1_ffff_ffff]),
            ("GE", vec![big, big + 1, 0x3_0000_0000], vec![big - 1, 0x1_ffff_ffff]),
            ("MASKED_EQ", vec![0, 0x10], vec![big, 1, 0x2_0000_0000]),
        ] {
            let json = format!(
                r#"{{"defaultAction":"SCMP_ACT_KILL","syscalls":[{{"name":"read","action":"SCMP_ACT_ALLOW","args":[{{"index":3,"value":{big},"op":"SCMP_CMP_{op}"}}]}}]}}"#
            );
            let program = compile(&super::super::profile(&json, &BTreeSet::new()).unwrap()).unwrap();
            for (values, expected) in [(holds, ALLOW), (fails, 0)] {
                for value in values {
                    assert_eq!(run(&program, X86_64, 0, [0, 0, 0, value, 0, 0]), expected, "{op} {value:#x}");
                }
            }
        }
    }
}
