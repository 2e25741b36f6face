//! Writing a container's log. A disk that is full or slow to open costs log lines, never the container.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    mem,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{ENTRY_MAX_BYTES, Entry, rotated};
use crate::shim::protocol::Stream;

/// An open log.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    max_size_bytes: Option<u64>,
    max_files: u32,
    attrs: BTreeMap<String, String>,
    file: File,
    size_bytes: u64,
    /// What came without a newline yet, by stream.
    partial: [Vec<u8>; 2],
    line: Vec<u8>,
}

impl Writer {
    /// Opens the log for appending. `max_files` counts the current file.
    pub fn open(path: &Path, max_size_bytes: Option<u64>, max_files: u32) -> io::Result<Self> {
        let file = open_append(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            max_size_bytes,
            max_files,
            attrs: BTreeMap::new(),
            file,
            size_bytes,
            partial: Default::default(),
            line: Vec::new(),
        })
    }

    /// The same; every entry has these attributes.
    pub fn with_attrs(self, attrs: BTreeMap<String, String>) -> Self {
        Self { attrs, ..self }
    }

    /// Adds output; whole lines are written at once.
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8], time: Timestamp) -> io::Result<()> {
        let slot = stream as usize;
        while !bytes.is_empty() {
            let room = ENTRY_MAX_BYTES - self.partial[slot].len();
            let newline = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let take = newline.map_or(room.min(bytes.len()), |at| at + 1);
            self.partial[slot].extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if newline.is_some() || self.partial[slot].len() >= ENTRY_MAX_BYTES {
                self.emit(slot, stream, time)?;
            }
        }
        Ok(())
    }

    /// Writes what is left without a newline; the process has ended.
    pub fn finish(&mut self, time: Timestamp) -> io::Result<()> {
        for (slot, stream) in [(0, Stream::Stdout), (1, Stream::Stderr)] {
            if !self.partial[slot].is_empty() {
                self.emit(slot, stream, time)?;
            }
        }
        Ok(())
    }

    fn emit(&mut self, slot: usize, stream: Stream, time: Timestamp) -> io::Result<()> {
        let text = &self.partial[slot];
        let end = character_boundary(text);
        // Lent to each entry, so that none needs a copy.
        let attrs = mem::take(&mut self.attrs);
        let entry = Entry { log: String::from_utf8_lossy(&text[..end]).into_owned(), stream, attrs, time };
        self.partial[slot].drain(..end);
        self.line.clear();
        let line = serde_json::to_writer(&mut self.line, &entry);
        self.attrs = entry.attrs;
        line?;
        self.line.push(b'\n');
        if self.max_size_bytes.is_some_and(|max| self.size_bytes >= max) {
            self.rotate()?;
        }
        self.file.write_all(&self.line)?;
        self.size_bytes += self.line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.max_files < 2 {
            self.file.set_len(0)?;
        } else {
            for age in (0..self.max_files - 1).rev() {
                match fs::rename(rotated(&self.path, age), rotated(&self.path, age + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            self.file = open_append(&self.path)?;
        }
        self.size_bytes = 0;
        Ok(())
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// Where to cut an entry so that no character is torn; its whole length when it ends in a newline or is not UTF-8.
fn character_boundary(text: &[u8]) -> usize {
    if text.last() == Some(&b'\n') || text.len() < ENTRY_MAX_BYTES {
        return text.len();
    }
    match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(max_size_bytes: Option<u64>, max_files: u32, parts: &[(Stream, &[u8])]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        let mut writer = Writer::open(&path, max_size_bytes, max_files).unwrap();
        for (stream, bytes) in parts {
            writer.write(*stream, bytes, Timestamp::UNIX_EPOCH).unwrap();
        }
        writer.finish(Timestamp::UNIX_EPOCH).unwrap();
        (0..9).map_while(|age| fs::read_to_string(rotated(&path, age)).ok()).collect()
    }

    #[test]
    fn lines_of_two_streams_do_not_mix() {
        let files = written(None, 1, &[(Stream::Stdout, b"a"), (Stream::Stderr, b"e\nx"), (Stream::Stdout, b"b\n")]);
        let expected = "{\"log\":\"e\\n\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:00Z\"}\n\
            {\"log\":\"ab\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}\n\
            {\"log\":\"x\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:00Z\"}\n";
        assert_eq!(files, [expected]);
    }

    #[test]
    fn every_entry_has_the_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        let attrs = [("tag", "web/1"), ("env", "a\"b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut writer = Writer::open(&path, None, 1).unwrap().with_attrs(attrs.into());
        writer.write(Stream::Stdout, b"a\nb\n", Timestamp::UNIX_EPOCH).unwrap();
        let line = |text: &str| {
            format!(
                r#"{{"log":"{text}\n","stream":"stdout","attrs":{{"env":"a\"b","tag":"web/1"}},"time":"1970-01-01T00:00:00Z"}}"#
            )
        };
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n{}\n", line("a"), line("b")));
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let long = format!("a{}\n", "é".repeat(10_000));
        let files = written(None, 1, &[(Stream::Stdout, long.as_bytes())]);
        let entries: Vec<Entry> = files[0].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lengths: Vec<usize> = entries.iter().map(|entry| entry.log.len()).collect();
        assert_eq!(lengths, [ENTRY_MAX_BYTES - 1, 20_002 - ENTRY_MAX_BYTES + 1]);
        assert_eq!(entries.iter().map(|entry| entry.log.as_str()).collect::<String>(), long);
    }

    #[test]
    fn files_rotate_and_the_oldest_goes() {
        let lines: Vec<String> = (0..10).map(|n| format!("{n}\n")).collect();
        let parts: Vec<(Stream, &[u8])> = lines.iter().map(|line| (Stream::Stdout, line.as_bytes())).collect();
        let files = written(Some(100), 3, &parts);
        let logs: Vec<Vec<String>> = files
            .iter()
            .map(|file| file.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap().log).collect())
            .collect();
        assert_eq!(logs, [["8\n", "9\n"], ["6\n", "7\n"], ["4\n", "5\n"]]);
        assert_eq!(written(Some(1), 1, &parts).concat().lines().count(), 1);
    }
}
