//! Reading a container's log: the end of it, a stretch of time, and what is written from now on, over any number of
//! rotations in between.

use std::{
    collections::VecDeque,
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::net::unix::pipe;

use super::{Entry, rotated};

/// Scanning backwards reads so much at a time.
const BLOCK_BYTES: u64 = 64 * 1024;
/// No log keeps more files.
const AGES_MAX: u32 = 10_000;

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Only so many from the end; none for all.
    pub tail: Option<usize>,
    /// Only those at or after this moment.
    pub since: Option<Timestamp>,
    /// Only those at or before this moment; the first later one ends the reading.
    pub until: Option<Timestamp>,
}

/// A log that is being read. A log that does not exist yet is empty.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    wish: Wish,
    current: Option<Current>,
    /// An entry after `until` was seen.
    over: bool,
}

#[derive(Debug)]
struct Current {
    inode: u64,
    file: BufReader<File>,
    /// The start of a line that is still being written, or a whole one that was put back.
    line: Vec<u8>,
}

impl Reader {
    /// Opens the log whose current file is `path`. With a tail this scans backwards over so many lines.
    pub fn open(path: &Path, wish: Wish) -> io::Result<Self> {
        let current = match wish.tail {
            Some(lines) => {
                let (age, offset) = tail_start(path, lines)?;
                Current::open(&rotated(path, age), offset)?
            }
            None => Current::oldest(path)?,
        };
        Ok(Self { path: path.to_owned(), wish, current, over: false })
    }

    /// The next entry that is in the log now; none at its end, or after `until`. May be called again when more
    /// has been written.
    pub fn next_now(&mut self) -> io::Result<Option<Entry>> {
        while !self.over {
            let Some(current) = self.opened()? else { return Ok(None) };
            let Some(line) = current.line()? else {
                if self.advance()? {
                    continue;
                }
                return Ok(None);
            };
            // A line that a crash cut short is no entry.
            let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { continue };
            if self.wish.until.is_some_and(|until| entry.time > until) {
                self.over = true;
            } else if self.wish.since.is_none_or(|since| entry.time >= since) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn opened(&mut self) -> io::Result<Option<&mut Current>> {
        if self.current.is_none() {
            self.current = Current::oldest(&self.path)?;
        }
        Ok(self.current.as_mut())
    }

    /// Goes on to the file that followed the one that is at its end; false when that is the newest.
    ///
    /// The writer renames from the oldest to the newest meanwhile, so every look at the names may be outdated by the next.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let Some(age) = current.age(&self.path) else {
            // It has been rotated out of existence, and what followed it perhaps too.
            self.current = Current::oldest(&self.path)?;
            return Ok(self.current.is_some());
        };
        if age == 0 {
            // A log of one file is cut back to nothing instead.
            let shrunk = current.file.get_ref().metadata()?.len() < current.file.stream_position()?;
            if shrunk {
                current.file.seek(SeekFrom::Start(0))?;
                current.line.clear();
            }
            return Ok(shrunk);
        }
        // What was written between the last read and the rotation is still to come.
        if let Some(line) = current.line()? {
            current.line = line;
            return Ok(true);
        }
        let Some(newer) = Current::open(&rotated(&self.path, age - 1), 0)? else { return Ok(false) };
        // Ours is renamed before its follower is: if it is where it was, so was the follower when it was opened.
        if current.age(&self.path) == Some(age) {
            self.current = Some(newer);
        }
        Ok(true)
    }
}

impl Current {
    /// The file with the earliest entries.
    fn oldest(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let age = oldest(path);
            let current = Self::open(&rotated(path, age), 0)?;
            // The oldest is the first to be renamed.
            if oldest(path) == age {
                return Ok(current);
            }
        }
    }

    fn open(path: &Path, offset: u64) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(Self { inode: file.metadata()?.ino(), file: BufReader::new(file), line: Vec::new() }))
    }

    /// The next whole line, which may have been put back.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.line.ends_with(b"\n") {
            self.file.read_until(b'\n', &mut self.line)?;
        }
        Ok(self.line.ends_with(b"\n").then(|| std::mem::take(&mut self.line)))
    }

    /// How often this file has been rotated; none when it is not among the log's files any more.
    fn age(&self, path: &Path) -> Option<u32> {
        let mut files = ages(path);
        files.find(|(_, file)| file.ino() == self.inode).map(|(age, _)| age)
    }
}

/// A reader that waits for what is written later.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    changes: pipe::Receiver,
}

impl Follower {
    /// Watches the directory of the log, so that rotation is noticed too.
    pub fn new(reader: Reader) -> io::Result<Self> {
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let directory = reader.path.parent().unwrap_or(Path::new("/"));
        let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&changes, directory, wanted)?;
        // It is read as a pipe is.
        let changes = pipe::Receiver::from_owned_fd_unchecked(changes)?;
        Ok(Self { reader, changes })
    }

    /// The next entry, now or when it is written; none after `until`. May be cancelled without loss.
    pub async fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.reader.next_now()? {
                return Ok(Some(entry));
            }
            if self.reader.over {
                return Ok(None);
            }
            self.changes.readable().await?;
            let mut events = [0u8; 4096];
            match self.changes.try_read(&mut events) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => drop(other?),
            }
        }
    }

    /// The next entry that is in the log now: for what is left when its container has ended.
    pub fn next_now(&mut self) -> io::Result<Option<Entry>> {
        self.reader.next_now()
    }
}

fn oldest(path: &Path) -> u32 {
    ages(path).last().map_or(0, |(age, _)| age)
}

/// The files of a log from the newest to the oldest. While one is being renamed, one age has none.
fn ages(path: &Path) -> impl Iterator<Item = (u32, Metadata)> {
    let mut missing = 0;
    let looked_at = (0..AGES_MAX).map(move |age| (age, fs::metadata(rotated(path, age)).ok()));
    let found = looked_at.take_while(move |(_, file)| {
        missing = if file.is_some() { 0 } else { missing + 1 };
        missing < 2
    });
    found.filter_map(|(age, file)| Some((age, file?)))
}

/// In which file, and where in it, the last `lines` lines start.
fn tail_start(path: &Path, lines: usize) -> io::Result<(u32, u64)> {
    let mut wanted = lines;
    for age in 0..=oldest(path) {
        let mut file = match File::open(rotated(path, age)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match lines_from_end(&mut file, wanted)? {
            Found::Start(offset) => return Ok((age, offset)),
            Found::Fewer(count) => wanted -= count,
        }
    }
    Ok((oldest(path), 0))
}

enum Found {
    /// The wanted lines start here.
    Start(u64),
    /// There are only so many.
    Fewer(usize),
}

fn lines_from_end(file: &mut File, wanted: usize) -> io::Result<Found> {
    let mut end = file.metadata()?.len();
    if wanted == 0 {
        return Ok(Found::Start(end));
    }
    let (mut count, mut block) = (0, Vec::new());
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::take(&mut *file, end - start).read_to_end(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if count == wanted {
                return Ok(Found::Start(start + index as u64 + 1));
            }
            count += 1;
        }
        end = start;
    }
    Ok(if count == wanted { Found::Start(0) } else { Found::Fewer(count) })
}

/// All entries that are in the log now.
pub fn read(path: &Path, wish: Wish) -> io::Result<VecDeque<Entry>> {
    let mut reader = Reader::open(path, wish)?;
    let mut entries = VecDeque::new();
    while let Some(entry) = reader.next_now()? {
        entries.push_back(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log::writer::Writer, shim::protocol::Stream};

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn write(writer: &mut Writer, lines: std::ops::Range<i64>) {
        for line in lines {
            writer.write(Stream::Stdout, format!("{line}\n").as_bytes(), moment(line)).unwrap();
        }
    }

    fn numbers(entries: impl IntoIterator<Item = Entry>) -> Vec<i64> {
        entries.into_iter().map(|entry| entry.log.trim().parse().unwrap()).collect()
    }

    #[test]
    fn stretches_are_read_over_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        // Two or so entries a file, and all are kept.
        let mut writer = Writer::open(&path, Some(100), 20).unwrap();
        write(&mut writer, 0..20);
        let all = Wish::default();
        for (wish, expected) in [
            (all, 0..20),
            (Wish { tail: Some(0), ..all }, 0..0),
            (Wish { tail: Some(1), ..all }, 19..20),
            (Wish { tail: Some(7), ..all }, 13..20),
            (Wish { tail: Some(100), ..all }, 0..20),
            (Wish { since: Some(moment(5)), until: Some(moment(8)), ..all }, 5..9),
            (Wish { tail: Some(3), since: Some(moment(18)), ..all }, 18..20),
        ] {
            assert_eq!(numbers(read(&path, wish).unwrap()), expected.collect::<Vec<_>>(), "{wish:?}");
        }
    }

    #[test]
    fn a_long_file_is_scanned_backwards_over_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path, None, 1).unwrap();
        write(&mut writer, 0..5000);
        let last = read(&path, Wish { tail: Some(3000), ..Wish::default() }).unwrap();
        assert_eq!(numbers(last), (2000..5000).collect::<Vec<_>>());
    }

    #[test]
    fn a_missing_log_is_empty() {
        assert!(read(Path::new("/nowhere/log"), Wish { tail: Some(3), ..Wish::default() }).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_follower_sees_every_line_once() {
        const LINES: i64 = 200;
        for (max_size_bytes, max_files) in [(None, 1), (Some(100), 200)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut follower = Follower::new(Reader::open(&path, Wish::default()).unwrap()).unwrap();
            let writing = std::thread::spawn(move || {
                let mut writer = Writer::open(&path, max_size_bytes, max_files).unwrap();
                write(&mut writer, 0..LINES);
            });
            let mut seen = Vec::new();
            while seen.len() < LINES as usize {
                seen.push(follower.next().await.unwrap().unwrap());
            }
            writing.join().unwrap();
            assert_eq!(numbers(seen), (0..LINES).collect::<Vec<_>>());
            assert_eq!(follower.next_now().unwrap(), None);
        }
    }
}
