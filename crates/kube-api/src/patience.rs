//! A connection under a clock: who does not begin to speak, or does not take what it asked for, is let go.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// A connection that fails with [`io::ErrorKind::TimedOut`] when its client does not begin to speak. It has to be what the words are read
/// from: below TLS a word may have come that was read ahead, or that is none.
pub struct Begins<S> {
    stream: S,
    /// Until when the first word must have come; none once it has.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Begins<S> {
    /// Of a stream whose client is to begin within this time from now on.
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, until: Some(Box::pin(sleep_until(Instant::now() + patience))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begins<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.until = None;
        }
        if outcome.is_pending()
            && let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begins<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection that fails with [`io::ErrorKind::TimedOut`] when its client takes nothing of what is written. It has to be the kernel's: what
/// is above it, as TLS, takes words that nobody reads.
pub struct Takes<S> {
    stream: S,
    /// Until when something must have been taken; none while nothing waits.
    until: Option<Pin<Box<Sleep>>>,
    clock: Clock,
    patience: Duration,
}

/// The clock of a connection; clones are the same.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicBool>);

impl Clock {
    /// From now on the client may take what is sent when it likes: who looks at the output of a command may look for long.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Takes<S> {
    /// Of a stream whose client is to take some of what waits for it within this time.
    pub fn new(stream: S, patience: Duration) -> (Self, Clock) {
        let clock = Clock::default();
        (Self { stream, until: None, clock: clock.clone(), patience }, clock)
    }

    fn told<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() || self.clock.is_stopped() {
            self.until = None;
            return outcome;
        }
        let patience = self.patience;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Takes<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Takes<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.told(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.told(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.told(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.told(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn who_says_nothing_is_let_go_and_who_has_spoken_is_not() {
        let (_silent, server) = duplex(64);
        let error = Begins::new(server, PATIENCE).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (mut client, server) = duplex(64);
        let mut server = Begins::new(server, PATIENCE);
        client.write_all(b"a").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'a');
        assert!(tokio::time::timeout(PATIENCE * 3, server.read_u8()).await.is_err(), "it waits");
    }

    #[tokio::test]
    async fn who_takes_nothing_is_let_go_unless_the_connection_was_handed_on() {
        let (_deaf, server) = duplex(64);
        let error = Takes::new(server, PATIENCE).0.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (_deaf, server) = duplex(64);
        let (mut server, clock) = Takes::new(server, PATIENCE);
        clock.stop();
        assert!(tokio::time::timeout(PATIENCE * 3, server.write_all(&[0; 100])).await.is_err(), "it waits");
    }
}
