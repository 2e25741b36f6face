//! The streams of a process on a taken-over connection: raw for a terminal, in frames otherwise
//! (`[stream u8][0 0 0][length u32, big endian]`, 1 is standard output, 2 standard error).

use bytes::{BufMut, Bytes, BytesMut};
use runtime::{Attached, shim::protocol::Stream};

use crate::{
    detach::{DetachKeys, Typed},
    hijack::{Input, Output},
    version::Version,
};

/// How a process's output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As it comes: a terminal.
    Raw,
    /// In frames that say which stream it is.
    Multiplexed,
}

/// What is relayed, and when it ends.
pub(crate) struct Terms {
    /// How output is written.
    pub(crate) framing: Framing,
    /// Which streams are wanted.
    pub(crate) stdout: bool,
    /// Which streams are wanted.
    pub(crate) stderr: bool,
    /// Whether the client's bytes are input.
    pub(crate) stdin: bool,
    /// Whether the end of the client's bytes is the end of the input.
    pub(crate) close_stdin: bool,
    /// Keys that end the session, and nothing else.
    pub(crate) detach: Option<DetachKeys>,
}

/// Before this version both forms had the same content type.
const OWN_TYPE: Version = Version::new(1, 42);

impl Framing {
    /// That of a process with or without a terminal.
    pub(crate) fn of_terminal(terminal: bool) -> Self {
        if terminal { Self::Raw } else { Self::Multiplexed }
    }

    /// The content type that says so.
    pub(crate) fn content_type(self, version: Version) -> &'static str {
        match self {
            Self::Multiplexed if version >= OWN_TYPE => "application/vnd.docker.multiplexed-stream",
            _ => "application/vnd.docker.raw-stream",
        }
    }

    /// Output as it goes over the wire.
    pub(crate) fn frame(self, stream: Stream, bytes: Vec<u8>) -> Bytes {
        match self {
            Self::Raw => bytes.into(),
            Self::Multiplexed => {
                let mut frame = BytesMut::with_capacity(bytes.len() + 8);
                frame.put_u32(if stream == Stream::Stdout { 0x0100_0000 } else { 0x0200_0000 });
                // A piece of output is far below 4 GiB: the shim's frames hold one MiB.
                frame.put_u32(bytes.len() as u32);
                frame.put_slice(&bytes);
                frame.freeze()
            }
        }
    }
}

/// Relays until the process ends, its client leaves, or types the keys.
pub(crate) async fn relay(client: (Input, Output), process: Attached, terms: Terms) {
    let (mut from_client, mut to_client) = client;
    let Attached { mut output, input: mut to_process } = process;
    let Terms { framing, stdout, stderr, stdin, close_stdin, mut detach } = terms;
    let outward = async {
        while let Ok(Some((stream, bytes))) = output.read().await {
            let wanted = if stream == Stream::Stdout { stdout } else { stderr };
            if wanted && to_client.write(framing.frame(stream, bytes)).await.is_err() {
                return;
            }
        }
    };
    let inward = async {
        while let Some(bytes) = from_client.read().await {
            if !stdin {
                continue;
            }
            let typed = match &mut detach {
                Some(keys) => keys.filter(&bytes),
                None => Typed::Input(bytes),
            };
            let (bytes, ends) = match typed {
                Typed::Input(bytes) => (bytes, false),
                Typed::Detach(before) => (before, true),
            };
            // A process that reads no more is no reason to stop showing its output.
            let _ = to_process.write(&bytes).await;
            if ends {
                return;
            }
        }
        if stdin && close_stdin {
            let _ = to_process.close().await;
        }
        from_client.gone().await;
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
    to_client.finish().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let framed = Framing::Multiplexed.frame(Stream::Stderr, b"no\n".to_vec());
        assert_eq!(framed.as_ref(), b"\x02\0\0\0\0\0\0\x03no\n");
        assert_eq!(Framing::Raw.frame(Stream::Stdout, b"yes".to_vec()).as_ref(), b"yes");
    }
}
