//! A tar stream read entry by entry: ustar, GNU long names, PAX. Never trusts a length: extension records are
//! bounded, payloads are streamed. Knows nothing of files on disk.

use std::io::{self, Read};

use tar::Header;

use super::extensions::{Extensions, text};
use super::recipe::RecipeWriter;
use crate::image::error::LayerError;

const BLOCK: usize = 512;
const BUFFER_LEN: usize = 128 << 10;
/// Long enough for any real path and attribute; a stream that claims more only wants our memory.
const EXTENSION_MAX_LEN: u64 = 1 << 20;
const EXTENSIONS_MAX: usize = 16;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// One entry, extensions applied.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Target of a symlink or hard link.
    pub(crate) link: Vec<u8>,
    pub(crate) len: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since the epoch.
    pub(crate) mtime: i64,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// Reads entries from a stream and, where asked, writes down the recipe to make the same stream again.
pub(crate) struct TarReader<R> {
    source: R,
    recipe: Option<RecipeWriter>,
    /// Bytes of the current payload not yet read.
    payload_left: u64,
    padding_left: u64,
    /// Kept from file to file: most files are small and many.
    buffer: Vec<u8>,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(source: R, recipe: Option<RecipeWriter>) -> Self {
        TarReader { source, recipe, payload_left: 0, padding_left: 0, buffer: vec![0; BUFFER_LEN] }
    }

    /// The next entry; `None` once the stream is read to its very end.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        self.skip(self.payload_left + self.padding_left)?;
        (self.payload_left, self.padding_left) = (0, 0);
        let mut extensions = Extensions::default();
        for _ in 0..EXTENSIONS_MAX {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let len = length(&header)?;
            match header.as_bytes()[156] {
                b'x' => extensions.read_pax(&self.extension(len)?)?,
                b'g' => drop(self.extension(len)?),
                b'L' => extensions.path = Some(until_nul(self.extension(len)?)),
                b'K' => extensions.link = Some(until_nul(self.extension(len)?)),
                flag => return self.entry(&header, flag, extensions).map(Some),
            }
        }
        Err(LayerError::Tar("too many extension headers in a row".to_owned()))
    }

    /// Copies the payload of the current entry; the recipe then names the file instead of holding the bytes.
    pub(crate) fn copy_payload(&mut self, to: &mut impl io::Write, recipe_path: &[u8]) -> Result<(), LayerError> {
        if let Some(recipe) = &mut self.recipe {
            recipe.file(recipe_path, self.payload_left).map_err(reading)?;
        }
        while self.payload_left > 0 {
            let want = self.buffer.len().min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
            let n = self.source.read(&mut self.buffer[..want]).map_err(reading)?;
            if n == 0 {
                return Err(LayerError::Tar("the stream ends inside a file".to_owned()));
            }
            to.write_all(&self.buffer[..n])
                .map_err(|source| LayerError::Io { what: String::from_utf8_lossy(recipe_path).into_owned(), source })?;
            self.payload_left -= n as u64;
        }
        Ok(())
    }

    /// Gives back the recipe after the last entry.
    pub(crate) fn finish(self) -> (R, Option<RecipeWriter>) {
        (self.source, self.recipe)
    }

    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let mut block = [0; BLOCK];
        let n = read_full(&mut self.source, &mut block)?;
        self.note(&block[..n])?;
        match n {
            0 => return Ok(None),
            BLOCK => {}
            _ => {
                return Err(LayerError::Tar("the stream ends inside a header".to_owned()));
            }
        }
        if block.iter().all(|&b| b == 0) {
            self.drain()?;
            return Ok(None);
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        let sum: u32 =
            block.iter().enumerate().map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) }).sum();
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(Some(header)),
            _ => Err(LayerError::Tar("a header's checksum is wrong".to_owned())),
        }
    }

    fn entry(&mut self, header: &Header, flag: u8, ext: Extensions) -> Result<Entry, LayerError> {
        let path = ext.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let refuse = |reason: String| LayerError::Entry { path: String::from_utf8_lossy(&path).into_owned(), reason };
        let is_payload = matches!(flag, b'0' | 0 | b'7');
        let kind = match flag {
            // Archives from before ustar know directories by their name only.
            0 if path.ends_with(b"/") => EntryKind::Directory,
            b'0' | 0 | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => {
                return Err(refuse("sparse files are not supported; make the archive without them".to_owned()));
            }
            other => {
                return Err(refuse(format!("unknown kind of entry {:?}", char::from(other))));
            }
        };
        let payload = match (is_payload, ext.len) {
            (true, Some(len)) => checked_length(len)?,
            (true, None) => length(header)?,
            (false, _) => 0,
        };
        let fields = header.as_old();
        let id = |from_pax: Option<i64>, from_header: &[u8], what| {
            let value = from_pax.map_or_else(|| number(from_header, what), Ok)?;
            u32::try_from(value).map_err(|_| refuse(format!("{what} {value} is out of range")))
        };
        let device = |number: std::io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
        let entry = Entry {
            kind,
            link: ext.link.or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default(),
            len: if kind == EntryKind::File { payload } else { 0 },
            mode: id(None, &fields.mode, "mode")? & 0o7777,
            uid: id(ext.uid, &fields.uid, "uid")?,
            gid: id(ext.gid, &fields.gid, "gid")?,
            mtime: ext.mtime.map_or_else(|| number(&fields.mtime, "mtime"), Ok)?,
            device: (device(header.device_major()), device(header.device_minor())),
            xattrs: ext.xattrs,
            path,
        };
        self.payload_left = payload;
        self.padding_left = payload.wrapping_neg() % BLOCK as u64;
        Ok(entry)
    }

    fn extension(&mut self, len: u64) -> Result<Vec<u8>, LayerError> {
        if len > EXTENSION_MAX_LEN {
            return Err(LayerError::Tar(format!("an extension header of {len} bytes is refused")));
        }
        // Cannot truncate: bounded just above.
        let mut bytes = vec![0; (len as usize).next_multiple_of(BLOCK)];
        if read_full(&mut self.source, &mut bytes)? < bytes.len() {
            return Err(LayerError::Tar("the stream ends inside an extension header".to_owned()));
        }
        self.note(&bytes)?;
        bytes.truncate(len as usize);
        Ok(bytes)
    }

    fn skip(&mut self, mut len: u64) -> Result<(), LayerError> {
        let mut buffer = [0; 8192];
        while len > 0 {
            let want = buffer.len().min(usize::try_from(len).unwrap_or(usize::MAX));
            let n = self.source.read(&mut buffer[..want]).map_err(reading)?;
            if n == 0 {
                return Err(LayerError::Tar("the stream ends inside a file".to_owned()));
            }
            self.note(&buffer[..n])?;
            len -= n as u64;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), LayerError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.source.read(&mut buffer).map_err(reading)? {
                0 => return Ok(()),
                n => self.note(&buffer[..n])?,
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        match &mut self.recipe {
            Some(recipe) => recipe.raw(bytes).map_err(reading),
            None => Ok(()),
        }
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&b| b == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn length(header: &Header) -> Result<u64, LayerError> {
    checked_length(number(&header.as_old().size, "size")?)
}

fn checked_length(len: i64) -> Result<u64, LayerError> {
    u64::try_from(len).map_err(|_| LayerError::Tar(format!("a header's size is {len}")))
}

/// A field in octal, ended by blank or NUL and 0 when empty, or GNU's big-endian two's complement behind a set top bit.
fn number(field: &[u8], what: &str) -> Result<i64, LayerError> {
    let bad = || LayerError::Tar(format!("a header's {what} is not a number"));
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // The top bit is a mark, the one below it the sign.
        let sign = if first & 0x40 == 0 { 0 } else { -1 };
        let head = if sign == 0 { i128::from(first & 0x3f) } else { i128::from(*first) - 0x100 };
        let value = rest.iter().fold(head, |value, &byte| value << 8 | i128::from(byte));
        return i64::try_from(value).map_err(|_| bad());
    }
    let digits = text(field).ok_or_else(bad)?.trim_matches([' ', '\0']);
    let digits = digits.split(['\0', ' ']).next().unwrap_or_default();
    if digits.is_empty() {
        return Ok(0);
    }
    i64::from_str_radix(digits, 8).map_err(|_| bad())
}

fn reading(source: io::Error) -> LayerError {
    LayerError::Io { what: "reading the stream".to_owned(), source }
}

/// Reads until the buffer is full or the stream ends.
fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, LayerError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(reading(error)),
        }
    }
    Ok(filled)
}
