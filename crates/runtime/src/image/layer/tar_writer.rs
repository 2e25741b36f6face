//! A tar stream written entry by entry: ustar, with PAX records for what does not fit. Same input, same bytes.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::tar_reader::{Entry, EntryKind};

/// Most one octal field of seven digits holds.
const OCTAL_7_MAX: u64 = 0o7_777_777;
/// Most the size field holds.
const OCTAL_11_MAX: u64 = 0o77_777_777_777;

/// Writes entries to a stream.
pub(crate) struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        TarWriter { out }
    }

    /// Writes one entry. The content is cut or filled with zeros to the length the entry states: a file that is
    /// being written to while it is packed must not break the stream.
    pub(crate) fn append(&mut self, entry: &Entry, content: impl Read) -> io::Result<()> {
        self.begin(entry)?;
        let copied = io::copy(&mut content.take(entry.len), &mut self.out)?;
        io::copy(&mut io::repeat(0).take(entry.len - copied), &mut self.out)?;
        self.pad(entry.len)
    }

    /// Writes one entry whose content `produce` writes; it must be as long as the entry states.
    pub(crate) fn append_with<T>(&mut self, entry: &Entry, produce: impl FnOnce(&mut W) -> T) -> io::Result<T> {
        self.begin(entry)?;
        let produced = produce(&mut self.out);
        self.pad(entry.len)?;
        Ok(produced)
    }

    /// Writes the end mark and gives back the stream.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let pax = pax_records(entry);
        if !pax.is_empty() {
            let mut header = Header::new_ustar();
            header.set_path("PaxHeaders/entry")?;
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(pax.len() as u64);
            header.set_cksum();
            self.out.write_all(header.as_bytes())?;
            self.out.write_all(&pax)?;
            self.pad(pax.len() as u64)?;
        }
        self.out.write_all(header(entry).as_bytes())
    }

    fn pad(&mut self, len: u64) -> io::Result<()> {
        let zeros = [0; 512];
        self.out.write_all(&zeros[..(len.wrapping_neg() % 512) as usize])
    }
}

impl Entry {
    /// A plain file or directory owned by root at the epoch, for archives we lay out ourselves.
    pub(crate) fn plain(path: &str, kind: EntryKind, mode: u32, len: u64) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            kind,
            link: Vec::new(),
            len,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }
}

fn header(entry: &Entry) -> Header {
    let mut header = Header::new_ustar();
    let fields = header.as_old_mut();
    copy_prefix(&mut fields.name, &entry.path);
    copy_prefix(&mut fields.linkname, &entry.link);
    header.set_entry_type(match entry.kind {
        EntryKind::File => EntryType::Regular,
        EntryKind::Directory => EntryType::Directory,
        EntryKind::Symlink => EntryType::Symlink,
        EntryKind::HardLink => EntryType::Link,
        EntryKind::CharDevice => EntryType::Char,
        EntryKind::BlockDevice => EntryType::Block,
        EntryKind::Fifo => EntryType::Fifo,
    });
    header.set_mode(entry.mode);
    header.set_uid(u64::from(entry.uid).min(OCTAL_7_MAX));
    header.set_gid(u64::from(entry.gid).min(OCTAL_7_MAX));
    header.set_size(entry.len.min(OCTAL_11_MAX));
    header.set_mtime(u64::try_from(entry.mtime).unwrap_or(0).min(OCTAL_11_MAX));
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        // Cannot fail: the header was made as ustar.
        let _ = header.set_device_major(entry.device.0);
        let _ = header.set_device_minor(entry.device.1);
    }
    header.set_cksum();
    header
}

fn pax_records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.path.len() > 100 {
        push_record(&mut records, "path", &entry.path);
    }
    if entry.link.len() > 100 {
        push_record(&mut records, "linkpath", &entry.link);
    }
    if entry.len > OCTAL_11_MAX {
        push_record(&mut records, "size", entry.len.to_string().as_bytes());
    }
    for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        if u64::from(id) > OCTAL_7_MAX {
            push_record(&mut records, key, id.to_string().as_bytes());
        }
    }
    if u64::try_from(entry.mtime).is_err() {
        push_record(&mut records, "mtime", entry.mtime.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        push_record(&mut records, &format!("SCHILY.xattr.{name}"), value);
    }
    records
}

/// The length in front counts its own digits.
fn push_record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    len = rest + len.to_string().len();
    records.extend_from_slice(format!("{len} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn copy_prefix(field: &mut [u8], bytes: &[u8]) {
    let len = field.len().min(bytes.len());
    field[..len].copy_from_slice(&bytes[..len]);
}
