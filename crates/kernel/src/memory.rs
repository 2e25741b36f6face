//! Giving memory back while a process waits for long: madvise(2).

use std::{fs, io};

/// Takes the running program's code out of this process's resident memory. It stays in the page cache, from where the
/// pages that are executed again come back one by one.
pub fn release_code() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    for (start, end) in maps.lines().filter_map(code) {
        let address = start as *mut libc::c_void;
        // SAFETY: the range is a mapping of a file that is executable and was never writable, so each of its pages is a
        // page of the file and comes back unchanged when it is touched again. Nobody else unmaps it: the program does not
        // unload code. The address is not dereferenced here.
        if unsafe { libc::madvise(address, end - start, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The range of a mapping of a file's code: `7f50-7f60 r-xp 000cc000 fe:00 62 /usr/bin/linkspan`, proc_pid_maps(5).
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/');
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    if is_code { address(start).zip(address(end)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_released() {
        for (line, expected) in [
            ("1000-3000 r-xp 000cc000 fe:00 62    /usr/bin/linkspan", Some((0x1000, 0x3000))),
            ("1000-3000 r--p 000cc000 fe:00 62    /usr/bin/linkspan", None),
            ("1000-3000 rwxp 000cc000 fe:00 62    /usr/bin/linkspan", None),
            ("1000-3000 r-xp 00000000 00:00 0     [vdso]", None),
            ("1000-3000 r-xp 00000000 00:00 0", None),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }

    #[test]
    fn the_program_goes_on() {
        release_code().unwrap();
        assert_eq!(format!("{:?}", "1 2".split(' ').collect::<Vec<_>>()), r#"["1", "2"]"#);
    }
}
