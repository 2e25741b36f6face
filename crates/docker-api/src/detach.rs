//! Keys that detach a client from a terminal, `ctrl-p,ctrl-q` unless it says others.

use bytes::Bytes;

use crate::ApiError;

/// The keys, and how many of them were typed just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// What a client typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Input for the process.
    Input(Bytes),
    /// The keys, after this input.
    Detach(Bytes),
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q` or `a,b,ctrl-c`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let key = |name: &str| match name.as_bytes() {
            [key] => Some(*key),
            _ => match name.to_ascii_lowercase().strip_prefix("ctrl-")?.as_bytes() {
                [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
                b"@" => Some(0),
                b"[" => Some(27),
                b"\\" => Some(28),
                b"]" => Some(29),
                b"^" => Some(30),
                b"_" => Some(31),
                _ => None,
            },
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        let keys = keys.ok_or_else(|| ApiError::invalid(format!("Invalid detach keys ({text}) provided")))?;
        Ok(Self { keys, typed: 0 })
    }

    /// Docker's own.
    pub(crate) fn usual() -> Self {
        Self { keys: vec![16, 17], typed: 0 }
    }

    /// Takes the keys out of what was typed. The first of them are held back until it is known what follows.
    pub(crate) fn filter(&mut self, bytes: &[u8]) -> Typed {
        let mut input = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if *byte != self.keys[self.typed] {
                input.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if *byte != self.keys[self.typed] {
                input.push(*byte);
                continue;
            }
            self.typed += 1;
            if self.typed == self.keys.len() {
                self.typed = 0;
                return Typed::Detach(input.into());
            }
        }
        Typed::Input(input.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing() {
        let check = |pieces: &[&[u8]], expected: &[Typed]| {
            let mut keys = DetachKeys::usual();
            let found: Vec<Typed> = pieces.iter().map(|piece| keys.filter(piece)).collect();
            assert_eq!(found, expected, "{pieces:?}");
        };
        let input = |text: &'static [u8]| Typed::Input(Bytes::from_static(text));
        let detach = |text: &'static [u8]| Typed::Detach(Bytes::from_static(text));
        check(&[b"ls\n"], &[input(b"ls\n")]);
        check(&[b"a\x10\x11b"], &[detach(b"a")]);
        check(&[b"\x10", b"\x11"], &[input(b""), detach(b"")]);
        check(&[b"\x10", b"x"], &[input(b""), input(b"\x10x")]);
        check(&[b"\x10\x10\x11"], &[detach(b"\x10")]);
    }

    #[test]
    fn keys() {
        let check = |text: &str, expected: Option<&[u8]>| {
            assert_eq!(DetachKeys::parse(text).ok().map(|keys| keys.keys), expected.map(<[u8]>::to_vec), "{text}");
        };
        check("ctrl-p,ctrl-q", Some(&[16, 17]));
        check("a,ctrl-],CTRL-A", Some(&[b'a', 29, 1]));
        check("", None);
        check("ctrl-", None);
        check("ctrl-1", None);
        check("ab", None);
    }
}
