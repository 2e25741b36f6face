//! What a shim and its clients say to each other over `RUN/containers/<id>/sock`: frames of
//! `[type u8][length u32, big endian][data]`. Pure: bytes in, values out. Both sides use this file.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::shim::launch::ExecLaunch;

/// No frame carries more than this many bytes; a longer one ends the connection. Arguments and environment of an exec, which execve(2)
/// takes up to 6 MiB of, must fit.
pub const FRAME_MAX_BYTES: usize = 16 << 20;
/// An error is not told at greater length: it may quote what was asked for.
const MESSAGE_MAX_BYTES: usize = 64 << 10;
/// So many bytes of frames that were taken are kept before the rest is moved to their place.
const TAKEN_MAX_BYTES: usize = 1 << 20;
const HEADER_BYTES: usize = 5;

/// Which of a process's two outputs some bytes came from. A terminal has only [`Stream::Stdout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What an attacher of the container's main process wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachWish {
    /// Send standard output.
    pub stdout: bool,
    /// Send standard error.
    pub stderr: bool,
    /// This attacher writes standard input; when it leaves, an input that is attached once is closed.
    pub stdin: bool,
    /// What is sent first.
    pub replay: Replay,
}

/// What an attacher is sent before live output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replay {
    /// Nothing: live output only.
    #[default]
    Nothing,
    /// The last output that the shim still holds in memory (64 KiB), without a gap to the live output.
    Backlog,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Process id in the host's namespace.
    pub pid: u32,
    /// Milliseconds since the Unix epoch.
    pub started_ms: u64,
}

/// The process could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What a shell would report: 127 no such command, 126 not executable, 128 anything else.
    pub code: i32,
    /// One sentence with the likely cause, in the words Docker's users know.
    pub message: String,
}

impl Failure {
    fn shortened(&self) -> Self {
        let end = self.message.floor_char_boundary(MESSAGE_MAX_BYTES);
        let rest = if end < self.message.len() { "..." } else { "" };
        Self { code: self.code, message: format!("{}{rest}", &self.message[..end]) }
    }
}

/// The process has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, or 128 plus the number of the signal that ended it.
    pub code: i32,
    /// The kernel killed a process of the container because its memory limit was reached.
    pub oom_killed: bool,
    /// Milliseconds since the Unix epoch.
    pub finished_ms: u64,
    /// How long it ran, milliseconds, whatever the host's clock did meanwhile; 0 when it never ran.
    #[serde(default)]
    pub ran_ms: u64,
    /// Why the container ended when it was not its own doing.
    pub error: Option<String>,
}

/// A client's frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Let the created process run. Answered by [`Report::Started`] or [`Report::Failed`], later [`Report::Exited`].
    Start,
    /// Send me the main process's output.
    Attach(AttachWish),
    /// Bytes for the standard input of this connection's process.
    Stdin(Vec<u8>),
    /// No more input follows.
    CloseStdin,
    /// The terminal of this connection's process has a new size.
    Resize(WindowSize),
    /// The terminal of the exec with this process id has a new size.
    ResizeExec(u32, WindowSize),
    /// Send this signal to this connection's process.
    Signal(i32),
    /// Run one more process in the container; this connection belongs to it from now on.
    Exec(Box<ExecLaunch>),
    /// Tell me when the main process ends. Answered as [`Request::Start`] is.
    Wait,
}

/// A shim's frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The process of this connection runs.
    Started(Started),
    /// The process of this connection could not be started; nothing follows.
    Failed(Failure),
    /// Output.
    Output(Stream, Vec<u8>),
    /// The process of this connection ended; nothing follows.
    Exited(Exit),
    /// A resize or signal on a connection that is neither attached nor an exec's has been carried out.
    Done,
}

/// A peer sent what is not a frame of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// Longer than [`FRAME_MAX_BYTES`].
    #[error(
        "a frame of {0} bytes is longer than the {FRAME_MAX_BYTES} allowed: the peer does not speak the shim protocol"
    )]
    TooLong(usize),
    /// Not a type that this side expects.
    #[error("frame type {0} is unknown: the shim and the daemon are of different versions")]
    UnknownType(u8),
    /// The data does not parse.
    #[error("a frame of type {kind} does not parse: the shim and the daemon are of different versions")]
    Data {
        /// The frame's type.
        kind: u8,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A value that travels as one frame.
pub trait Message: Sized {
    /// Appends the frame to `out`.
    fn encode(&self, out: &mut Vec<u8>);
    /// Makes the value of a frame's type and data.
    fn decode(kind: u8, data: &[u8]) -> Result<Self, ProtocolError>;
}

impl Message for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Start => frame(out, 1, &[]),
            Self::Attach(wish) => json_frame(out, 2, wish),
            Self::Stdin(bytes) => bytes.chunks(FRAME_MAX_BYTES).for_each(|part| frame(out, 3, part)),
            Self::CloseStdin => frame(out, 4, &[]),
            Self::Resize(size) => json_frame(out, 5, size),
            Self::Signal(signal) => json_frame(out, 6, signal),
            Self::Exec(launch) => json_frame(out, 7, launch),
            Self::Wait => frame(out, 8, &[]),
            Self::ResizeExec(pid, size) => json_frame(out, 9, &(pid, size)),
        }
    }

    fn decode(kind: u8, data: &[u8]) -> Result<Self, ProtocolError> {
        Ok(match kind {
            1 => Self::Start,
            2 => Self::Attach(from_json(kind, data)?),
            3 => Self::Stdin(data.to_vec()),
            4 => Self::CloseStdin,
            5 => Self::Resize(from_json(kind, data)?),
            6 => Self::Signal(from_json(kind, data)?),
            7 => Self::Exec(from_json(kind, data)?),
            8 => Self::Wait,
            9 => from_json(kind, data).map(|(pid, size)| Self::ResizeExec(pid, size))?,
            other => return Err(ProtocolError::UnknownType(other)),
        })
    }
}

impl Message for Report {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Started(started) => json_frame(out, 64, started),
            Self::Failed(failure) => json_frame(out, 65, &failure.shortened()),
            Self::Output(stream, bytes) => output_frame(out, *stream, bytes),
            Self::Exited(exit) => json_frame(out, 68, exit),
            Self::Done => frame(out, 69, &[]),
        }
    }

    fn decode(kind: u8, data: &[u8]) -> Result<Self, ProtocolError> {
        Ok(match kind {
            64 => Self::Started(from_json(kind, data)?),
            65 => Self::Failed(from_json(kind, data)?),
            66 => Self::Output(Stream::Stdout, data.to_vec()),
            67 => Self::Output(Stream::Stderr, data.to_vec()),
            68 => Self::Exited(from_json(kind, data)?),
            69 => Self::Done,
            other => return Err(ProtocolError::UnknownType(other)),
        })
    }
}

/// Appends output frames without a copy of `bytes` in between.
pub fn output_frame(out: &mut Vec<u8>, stream: Stream, bytes: &[u8]) {
    let kind = match stream {
        Stream::Stdout => 66,
        Stream::Stderr => 67,
    };
    bytes.chunks(FRAME_MAX_BYTES).for_each(|part| frame(out, kind, part));
}

/// Cuts a stream of bytes into frames, whatever the pieces it arrives in.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next whole frame; none until more bytes arrive.
    pub fn take<M: Message>(&mut self) -> Result<Option<M>, ProtocolError> {
        let rest = &self.bytes[self.taken..];
        let Some((header, body)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [kind, a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > FRAME_MAX_BYTES {
            return Err(ProtocolError::TooLong(length));
        }
        let Some(data) = body.get(..length) else {
            return Ok(None);
        };
        let message = M::decode(kind, data)?;
        self.taken += HEADER_BYTES + length;
        if self.taken > TAKEN_MAX_BYTES {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        Ok(Some(message))
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
}

fn json_frame(out: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    // Our own types have string keys and no failing serializer, so this cannot fail; an empty frame is refused by the peer.
    frame(out, kind, &serde_json::to_vec(value).unwrap_or_default());
}

fn from_json<T: DeserializeOwned>(kind: u8, data: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(data).map_err(|source| ProtocolError::Data { kind, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reports() -> impl Strategy<Value = Vec<Report>> {
        let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
        let report = prop_oneof![
            (any::<u32>(), any::<u64>()).prop_map(|(pid, started_ms)| Report::Started(Started { pid, started_ms })),
            (any::<i32>(), ".*").prop_map(|(code, message)| Report::Failed(Failure { code, message })),
            (stream, prop::collection::vec(any::<u8>(), 1..600))
                .prop_map(|(stream, bytes)| Report::Output(stream, bytes)),
            (any::<i32>(), any::<bool>(), any::<[u64; 2]>(), prop::option::of(".*")).prop_map(
                |(code, oom_killed, [finished_ms, ran_ms], error)| {
                    Report::Exited(Exit { code, oom_killed, finished_ms, ran_ms, error })
                }
            ),
        ];
        prop::collection::vec(report, 0..20)
    }

    proptest! {
        #[test]
        fn frames_arrive_whole_however_they_are_cut(sent in reports(), piece in 1usize..300) {
            let mut wire = Vec::new();
            sent.iter().for_each(|report| report.encode(&mut wire));
            let (mut frames, mut received) = (Frames::default(), Vec::new());
            for part in wire.chunks(piece) {
                frames.push(part);
                while let Some(report) = frames.take::<Report>().unwrap() {
                    received.push(report);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn garbage_is_refused_without_a_panic(wire in prop::collection::vec(any::<u8>(), 0..4000), small in any::<bool>()) {
            let mut wire = wire;
            if small && wire.len() > 4 {
                wire[0] %= 70;
                wire[1..4].fill(0);
            }
            let mut frames = Frames::default();
            frames.push(&wire);
            while let Ok(Some(_)) = frames.take::<Request>() {}
            let mut frames = Frames::default();
            frames.push(&wire);
            while let Ok(Some(_)) = frames.take::<Report>() {}
        }
    }

    #[test]
    fn an_endless_frame_is_refused_by_its_header() {
        let mut frames = Frames::default();
        frames.push(&[66, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(frames.take::<Report>(), Err(ProtocolError::TooLong(_))));
    }
}
