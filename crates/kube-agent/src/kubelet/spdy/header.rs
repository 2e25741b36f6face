//! Header blocks of SPDY/3: names and values, compressed with a dictionary that both sides know (draft 3, 2.6.10). One compression
//! goes on through all blocks of a direction.

use std::{collections::BTreeMap, io, sync::LazyLock};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The words of the dictionary that have their length before them.
const WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
/// What follows them.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let word = |word: &&str| {
        // Words are short.
        let length = (word.len() as u32).to_be_bytes();
        length.into_iter().chain(word.bytes()).collect::<Vec<_>>()
    };
    WORDS.iter().flat_map(word).chain(REST.bytes()).collect()
});

/// The longest header block, bytes.
const BLOCK_MAX: usize = 1 << 20;

/// Writes the blocks of one direction.
pub struct Compressor(Compress);

/// Reads the blocks of one direction.
pub struct Decompressor(Decompress);

impl Default for Compressor {
    fn default() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        // Without the dictionary blocks are longer, but as good.
        let _ = compress.set_dictionary(&DICTIONARY);
        Self(compress)
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Compressor {
    /// Writes a block.
    pub fn write(&mut self, headers: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
        let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend((text.len() as u32).to_be_bytes());
            plain.extend(text.bytes());
        }
        let mut block = Vec::with_capacity(plain.len() + 64);
        let before = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - before).unwrap_or(plain.len());
            let room = block.capacity() - block.len();
            self.0.compress_vec(&plain[done..], &mut block, FlushCompress::Sync).map_err(io::Error::other)?;
            // Room that is left says that all is out.
            if block.len() < block.capacity() && room > 0 {
                return Ok(block);
            }
            block.reserve(256);
        }
    }
}

impl Decompressor {
    /// Reads a block.
    pub fn read(&mut self, block: &[u8]) -> io::Result<BTreeMap<String, String>> {
        let mut plain = Vec::with_capacity(1024);
        let before = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - before).unwrap_or(block.len());
            match self.0.decompress_vec(&block[done..], &mut plain, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => break,
                Ok(_) if plain.len() < plain.capacity() => break,
                Ok(_) if plain.len() > BLOCK_MAX => return Err(malformed()),
                Ok(_) => plain.reserve(1024),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(io::Error::other)?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        pairs(&plain).ok_or_else(malformed)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a header block is malformed")
}

fn pairs(mut plain: &[u8]) -> Option<BTreeMap<String, String>> {
    let length = |of: &mut &[u8]| {
        let (head, rest) = of.split_first_chunk::<4>()?;
        *of = rest;
        usize::try_from(u32::from_be_bytes(*head)).ok()
    };
    let mut pairs = BTreeMap::new();
    for _ in 0..length(&mut plain)? {
        let text = |plain: &mut &[u8]| {
            let length = length(plain)?;
            let (text, rest) = plain.split_at_checked(length)?;
            *plain = rest;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let (name, value) = (text(&mut plain)?, text(&mut plain)?);
        pairs.insert(name.to_ascii_lowercase(), value);
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_one_of_the_draft() {
        let adler = DICTIONARY.iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        assert_eq!((DICTIONARY.len(), adler.1 << 16 | adler.0), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn blocks_come_back_as_they_were() {
        let (mut write, mut read) = (Compressor::default(), Decompressor::default());
        for value in ["error", "data", &"x".repeat(5000), ""] {
            let headers =
                BTreeMap::from([("streamtype".to_owned(), value.to_owned()), ("port".to_owned(), "80".to_owned())]);
            let block = write.write(&headers).unwrap();
            assert_eq!(read.read(&block).unwrap(), headers, "{}", value.len());
        }
        assert!(Decompressor::default().read(b"nonsense").is_err());
    }
}
