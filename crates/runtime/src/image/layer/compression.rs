//! Which compression a stream has, told by its first bytes: registries and archives are not believed about it.

use std::io::{self, BufRead, BufReader, Read};

/// How a layer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Reads the decompressed stream, whatever it was. xz and bzip2 are refused by name.
pub(crate) fn decompress<'a>(source: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut source = BufReader::with_capacity(64 << 10, Whole(source));
    let start = source.fill_buf()?;
    Ok(match sniff(start)? {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(source)?),
    })
}

fn sniff(start: &[u8]) -> io::Result<Compression> {
    let refuse = |name: &str| {
        let text = format!("{name} compression is not supported: use gzip, zstd or none");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    };
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => refuse("xz"),
        [b'B', b'Z', b'h', ..] => refuse("bzip2"),
        _ => Ok(Compression::None),
    }
}

/// Gives the first read enough bytes to tell by, even from a source that delivers one at a time.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.0.read(buf)?;
        while filled > 0 && filled < 6.min(buf.len()) {
            match self.0.read(&mut buf[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// One byte a read.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = buf.len().min(1);
            self.0.read(&mut buf[..n])
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory does not fail");
        encoder.finish().expect("memory does not fail")
    }

    #[test]
    fn streams_are_told_apart_by_their_first_bytes() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("memory does not fail");
        let cases: [(Vec<u8>, &[u8]); 6] = [
            (b"plain text".to_vec(), b"plain text"),
            (Vec::new(), b""),
            (vec![0x1f], &[0x1f]),
            (gzip(b"one"), b"one"),
            ([gzip(b"one"), gzip(b"two")].concat(), b"onetwo"),
            ([zstd(b"one"), zstd(b"two")].concat(), b"onetwo"),
        ];
        for (packed, expected) in cases {
            let mut found = Vec::new();
            decompress(Slow(&packed)).and_then(|mut r| r.read_to_end(&mut found)).expect("readable");
            assert_eq!(found, expected);
        }
        for refused in [&b"BZh91AY"[..], b"\xfd7zXZ\0\0"] {
            assert!(decompress(refused).is_err());
        }
    }
}
