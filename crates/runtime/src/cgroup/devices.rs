//! The device rules of a control group of version 2: from the OCI's list to the program that the kernel asks. Version 1 has files for them,
//! which the OCI runtime writes.
//!
//! A rule names a kind of device, its numbers and some of the accesses read, write and mknod. The last rule that names an access of a
//! device decides it, and what none names is refused.

use std::{io, path::PathBuf};

use kernel::cgroup_device::{Instruction, attach};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::Cgroup;

/// The kernel does not take the rules.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refuses to restrict the devices of {}{}", cgroup.display(), hint(source))]
pub struct DevicesError {
    /// Where.
    cgroup: PathBuf,
    /// Its word.
    #[source]
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ", which wants CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN (--privileged runs without)"
        }
        io::ErrorKind::InvalidInput => ", which wants CONFIG_CGROUP_BPF (--privileged runs without)",
        _ => "",
    }
}

impl Cgroup {
    /// Holds the group's processes to `rules` for good. On version 1 the OCI runtime has done it.
    pub fn restrict_devices(&self, rules: &[LinuxDeviceCgroup]) -> Result<(), DevicesError> {
        match (self, program(rules)) {
            (Self::V2(dir), Some(program)) => {
                attach(&program, dir).map_err(|source| DevicesError { cgroup: dir.clone(), source })
            }
            (Self::V2(_), None) | (Self::V1(_), _) => Ok(()),
        }
    }
}

/// Bits of an access as the kernel gives them (`BPF_DEVCG_ACC_*`).
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;

/// Kinds of devices as the kernel gives them (`BPF_DEVCG_DEV_*`).
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// Registers: the answer, and what the program is given (`struct bpf_cgroup_dev_ctx`).
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
/// And what it keeps: the kind, the accesses that no rule has decided yet, the numbers.
const KIND: u8 = 2;
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// One rule in the kernel's numbers; `None` is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allows: bool,
    kind: Option<i32>,
    major: Option<i32>,
    minor: Option<i32>,
    access: i32,
}

/// The program; none when everything is allowed.
fn program(rules: &[LinuxDeviceCgroup]) -> Option<Vec<Instruction>> {
    let rules: Vec<Rule> = rules.iter().filter_map(Rule::of).collect();
    // What comes before a rule about everything has no effect.
    let first = rules.iter().rposition(Rule::is_about_everything).unwrap_or(0);
    let rules = &rules[first..];
    if rules.first().is_some_and(Rule::is_about_everything) && rules.iter().all(|rule| rule.allows) {
        return None;
    }
    let mut program =
        vec![load(KIND, 0), load(ASKED, 0), and(KIND, 0xffff), shift_right(ASKED, 16), load(MAJOR, 4), load(MINOR, 8)];
    for rule in rules.iter().rev() {
        program.extend(rule.check());
    }
    program.extend([answer(0), exit()]);
    Some(program)
}

impl Rule {
    /// None for a rule that names no access or no device of this kernel.
    fn of(rule: &LinuxDeviceCgroup) -> Option<Self> {
        let letters = rule.access().as_deref().unwrap_or("rwm");
        let bit = |letter| match letter {
            'm' => MKNOD,
            'r' => READ,
            'w' => WRITE,
            _ => 0,
        };
        // The kernel keeps device numbers in 32 bits, compared as such.
        let number = |number: Option<i64>| match number {
            Some(number) if number >= 0 => u32::try_from(number).ok().map(|number| Some(number.cast_signed())),
            _ => Some(None),
        };
        Some(Self {
            allows: rule.allow(),
            kind: match rule.typ() {
                Some(LinuxDeviceType::B) => Some(BLOCK),
                Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(CHARACTER),
                Some(LinuxDeviceType::P) => return None,
                Some(LinuxDeviceType::A) | None => None,
            },
            major: number(rule.major())?,
            minor: number(rule.minor())?,
            access: letters.chars().map(bit).fold(0, |all, bit| all | bit),
        })
        .filter(|rule| rule.access != 0)
    }

    fn is_about_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }

    /// Decides the accesses it names, or goes on behind itself when it is about other devices.
    fn check(&self) -> Vec<Instruction> {
        let verdict = if self.allows {
            // Decided are these; the program is done when all are.
            vec![and(ASKED, !self.access), unless(ASKED, 0, 2), answer(1), exit()]
        } else {
            vec![if_any(ASKED, self.access, 1), always(2), answer(0), exit()]
        };
        let wanted = [(KIND, self.kind), (MAJOR, self.major), (MINOR, self.minor)];
        let wanted: Vec<(u8, i32)> =
            wanted.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
        let length = wanted.len() + verdict.len();
        let matches = wanted.into_iter().enumerate().map(|(at, (register, value))| {
            // At most six, so it fits.
            unless(register, value, i16::try_from(length - at - 1).unwrap_or(i16::MAX))
        });
        matches.chain(verdict).collect()
    }
}

/// `BPF_LDX | BPF_MEM | BPF_W`
fn load(to: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, to, from: CONTEXT, offset, constant: 0 }
}

/// `BPF_ALU | BPF_AND | BPF_K`
fn and(to: u8, constant: i32) -> Instruction {
    Instruction { code: 0x54, to, from: 0, offset: 0, constant }
}

/// `BPF_ALU | BPF_RSH | BPF_K`
fn shift_right(to: u8, constant: i32) -> Instruction {
    Instruction { code: 0x74, to, from: 0, offset: 0, constant }
}

/// Skips instructions unless the register has this value: `BPF_JMP32 | BPF_JNE | BPF_K`
fn unless(to: u8, constant: i32, skipped: i16) -> Instruction {
    Instruction { code: 0x56, to, from: 0, offset: skipped, constant }
}

/// Skips instructions if the register has any of these bits: `BPF_JMP32 | BPF_JSET | BPF_K`
fn if_any(to: u8, constant: i32, skipped: i16) -> Instruction {
    Instruction { code: 0x46, to, from: 0, offset: skipped, constant }
}

/// Skips instructions: `BPF_JMP | BPF_JA`
fn always(skipped: i16) -> Instruction {
    Instruction { code: 0x05, to: 0, from: 0, offset: skipped, constant: 0 }
}

/// Sets the answer, 1 for yes: `BPF_ALU64 | BPF_MOV | BPF_K`
fn answer(constant: i32) -> Instruction {
    Instruction { code: 0xb7, to: ANSWER, from: 0, offset: 0, constant }
}

/// Ends with the answer: `BPF_JMP | BPF_EXIT`
fn exit() -> Instruction {
    Instruction { code: 0x95, to: 0, from: 0, offset: 0, constant: 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What a process asks: kind, accesses, numbers.
    type Request = (i32, i32, u32, u32);

    fn rules(rules: Value) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_value(rules).unwrap()
    }

    /// Runs a program as the kernel does.
    fn run(program: &[Instruction], (kind, access, major, minor): Request) -> bool {
        let context = [(access << 16 | kind).cast_unsigned(), major, minor];
        let mut registers = [0u32; 6];
        let mut at = 0;
        loop {
            let Instruction { code, to, offset, constant, .. } = program[at];
            let (register, constant) = (&mut registers[usize::from(to)], constant.cast_unsigned());
            let mut jumps = false;
            match code {
                0x61 => *register = context[usize::try_from(offset).unwrap() / 4],
                0x54 => *register &= constant,
                0x74 => *register >>= constant,
                0xb7 => *register = constant,
                0x56 => jumps = *register != constant,
                0x46 => jumps = *register & constant != 0,
                0x05 => jumps = true,
                0x95 => return registers[0] == 1,
                other => panic!("no instruction {other:#x}"),
            }
            at += 1 + if jumps { usize::try_from(offset).unwrap() } else { 0 };
        }
    }

    fn check(list: Value, requests: &[(Request, bool)]) {
        let program = program(&rules(list.clone())).expect("not everything is allowed");
        for (request, expected) in requests {
            assert_eq!(run(&program, *request), *expected, "{list}: {request:?}");
        }
    }

    #[test]
    fn the_last_rule_that_names_an_access_decides_it() {
        let usual = json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "access": "m"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": true, "type": "c", "major": 136, "access": "rwm"},
        ]);
        check(
            usual,
            &[
                ((CHARACTER, READ | WRITE, 1, 3), true),
                ((CHARACTER, READ, 1, 1), false),
                ((CHARACTER, MKNOD, 1, 1), true),
                ((CHARACTER, MKNOD | READ, 1, 1), false),
                ((BLOCK, MKNOD, 1, 3), false),
                ((BLOCK, READ, 1, 3), false),
                ((CHARACTER, WRITE, 136, 7), true),
            ],
        );
        let taken_back = json!([
            {"allow": true, "type": "b", "major": 8, "access": "r"},
            {"allow": true, "type": "b", "major": 8, "access": "w"},
            {"allow": false, "type": "b", "major": 8, "minor": 1, "access": "w"},
        ]);
        check(
            taken_back,
            &[
                ((BLOCK, READ | WRITE, 8, 0), true),
                ((BLOCK, READ, 8, 1), true),
                ((BLOCK, READ | WRITE, 8, 1), false),
                ((BLOCK, READ, 9, 0), false),
            ],
        );
        check(json!([]), &[((CHARACTER, READ, 1, 3), false)]);
        let but_one = json!([
            {"allow": false, "type": "c", "major": 5, "access": "rwm"},
            {"allow": true, "access": "rwm"},
            {"allow": false, "type": "c", "major": 4_294_967_295_u32, "access": "rwm"},
        ]);
        check(but_one, &[((CHARACTER, READ, 5, 0), true), ((CHARACTER, READ, u32::MAX, 0), false)]);
    }

    #[test]
    fn nothing_is_asked_where_everything_is_allowed() {
        for all in [
            json!([{"allow": true, "access": "rwm"}]),
            json!([{"allow": false, "type": "a", "access": "rwm"}, {"allow": true, "type": "a", "major": -1, "minor": -1}]),
        ] {
            assert_eq!(program(&rules(all)), None);
        }
    }

    /// What the rules mean, said directly.
    fn meaning(rules: &[Rule], (kind, access, major, minor): Request) -> bool {
        let matches = |rule: &Rule| {
            rule.kind.is_none_or(|wanted| wanted == kind)
                && rule.major.is_none_or(|wanted| wanted.cast_unsigned() == major)
                && rule.minor.is_none_or(|wanted| wanted.cast_unsigned() == minor)
        };
        let allows = |bit: i32| {
            rules.iter().rev().find(|rule| matches(rule) && rule.access & bit != 0).is_some_and(|rule| rule.allows)
        };
        [MKNOD, READ, WRITE].into_iter().filter(|bit| access & bit != 0).all(allows)
    }

    prop_compose! {
        fn any_rule()(
            allow in any::<bool>(),
            kind in prop::sample::select(vec!["a", "b", "c"]),
            major in -1_i64..3,
            minor in -1_i64..3,
            access in prop::sample::select(vec!["r", "w", "m", "rw", "rwm"]),
        ) -> Value {
            json!({"allow": allow, "type": kind, "major": major, "minor": minor, "access": access})
        }
    }

    proptest! {
        #[test]
        fn the_program_does_what_the_rules_mean(
            list in prop::collection::vec(any_rule(), 0..8),
            request in (1_i32..3, 1_i32..8, 0_u32..3, 0_u32..3),
        ) {
            let rules = rules(list.into());
            let parsed: Vec<Rule> = rules.iter().filter_map(Rule::of).collect();
            let answer = program(&rules).is_none_or(|program| run(&program, request));
            prop_assert_eq!(answer, meaning(&parsed, request));
        }
    }
}
