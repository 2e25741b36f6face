//! A program that the kernel asks before a device is opened or made by a process of a control group (version 2), by bpf(2). What it answers
//! is decided elsewhere.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`, "Device controller", and `linux/bpf.h`.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

/// One instruction of eBPF, `struct bpf_insn` in `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Register that is written, or compared.
    pub to: u8,
    /// Register that is read.
    pub from: u8,
    /// Where in memory, or how many instructions a jump skips.
    pub offset: i16,
    /// Constant.
    pub constant: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Groups below may have programs of their own, and then all must agree.
const ALLOW_MULTI: u32 = 1 << 1;

/// The part of `union bpf_attr` that PROG_LOAD reads.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part of `union bpf_attr` that PROG_ATTACH reads.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Puts `program` in charge of the devices of the group whose directory is `cgroup`. It stays until the group goes.
///
/// EPERM: the caller lacks CAP_BPF or CAP_NET_ADMIN, or a group above forbids programs. EINVAL: the kernel was built without
/// `CONFIG_CGROUP_BPF`, or found the program malformed.
pub fn attach(program: &[Instruction], cgroup: &Path) -> io::Result<()> {
    let program = load(program)?;
    let group = File::open(cgroup)?;
    let attached = attach_with(&group, &program, ALLOW_MULTI);
    match attached {
        // A group above, or a kernel, that knows only one program for all.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => attach_with(&group, &program, 0),
        other => other,
    }
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let instructions: Vec<u64> = program.iter().map(encode).collect();
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the device program is too long");
    let mut attr = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(too_long)?,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"linkspan_devices",
    };
    // The name ends with a zero.
    attr.prog_name[15] = 0;
    // SAFETY: `attr` is laid out as the kernel reads it for this command, and `instructions` and the licence, to which it points,
    // live until the call returns; the kernel copies and checks them.
    let fd = unsafe { bpf(PROG_LOAD, &attr)? };
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach_with(group: &File, program: &OwnedFd, flags: u32) -> io::Result<()> {
    let attr = Attach {
        target_fd: group.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: program.as_raw_fd().unsigned_abs(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: flags,
    };
    // SAFETY: `attr` is laid out as the kernel reads it for this command and holds no pointers.
    unsafe { bpf(PROG_ATTACH, &attr) }.map(drop)
}

/// # Safety
/// `attr` must be what `command` reads, and what it points to must live during the call.
unsafe fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<RawFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes at `attr`; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    // A descriptor fits.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

/// On little-endian machines, the only ones linkspan is built for, the two registers share a byte so.
fn encode(instruction: &Instruction) -> u64 {
    let Instruction { code, to, from, offset, constant } = *instruction;
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = constant.to_le_bytes();
    u64::from_le_bytes([code, (from << 4) | (to & 0xf), low, high, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        // `if w2 != 0x1234 goto +3`, as an assembler writes it.
        let jump = Instruction { code: 0x56, to: 2, from: 0, offset: 3, constant: 0x1234 };
        assert_eq!(encode(&jump).to_le_bytes(), [0x56, 0x02, 3, 0, 0x34, 0x12, 0, 0]);
        let load = Instruction { code: 0x61, to: 3, from: 1, offset: 4, constant: 0 };
        assert_eq!(encode(&load).to_le_bytes(), [0x61, 0x13, 4, 0, 0, 0, 0, 0]);
    }
}
