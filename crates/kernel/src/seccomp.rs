//! Loading a system call filter into the calling thread: seccomp(2). Which calls are refused is decided elsewhere.

use std::io;

/// One instruction of classic BPF, `struct sock_filter` in `linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the test holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// Installs `program` on the calling thread and its future children, for good.
///
/// Unlike the usual wrappers it does not set no_new_privs, so the caller needs CAP_SYS_ADMIN or must have set it
/// (otherwise EACCES). EINVAL: the kernel found the program malformed.
pub fn load(program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program
        .iter()
        .map(|i| libc::sock_filter { code: i.code, jt: i.jump_true, jf: i.jump_false, k: i.operand })
        .collect();
    let len = u16::try_from(filter.len()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, "the seccomp program is longer than 65,535 instructions")
    })?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel copies and checks them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
