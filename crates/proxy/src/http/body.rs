//! Bodies on their way, a piece at a time: nothing is read from one side before the other took what came before.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};

use super::{Limits, exchange::Exchange, pool::Lease, refusal::Refusal};

/// Why a request's body does not come to its end.
#[derive(Debug, Error)]
pub(super) enum Broken {
    #[error("the client is slow")]
    Slow,
    #[error("the body is longer than {0} octets")]
    TooLong(u64),
    #[error("the client broke off: {0}")]
    Client(#[source] hyper::Error),
}

impl Broken {
    /// What the client is told, when it was its body that broke an exchange.
    pub fn refusal(error: &(dyn Error + 'static)) -> Option<Refusal> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(broken) = error.downcast_ref::<Self>() {
                return Some(match broken {
                    Self::Slow => Refusal::Slow,
                    Self::TooLong(limit) => Refusal::TooLong(*limit),
                    Self::Client(error) => Refusal::Bad(format!("the body of the request broke off: {error}")),
                });
            }
            next = error.source();
        }
        None
    }
}

/// From the client to an endpoint.
#[derive(Debug)]
pub(super) enum RequestBody {
    None,
    Some(Box<Upload>),
}

/// A body that is on its way.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    /// What it may still have, and might have had.
    left: u64,
    limit: u64,
    /// For a client of HTTP/1.1. In HTTP/2 a stream may well be silent.
    patience: Option<Duration>,
    clock: Option<Pin<Box<Sleep>>>,
    done: Arc<AtomicBool>,
}

impl RequestBody {
    pub fn new(body: Incoming, limits: &Limits, http2: bool) -> Self {
        if body.is_end_stream() {
            return Self::None;
        }
        let limit = limits.body_octets.unwrap_or(u64::MAX);
        let patience = (!http2).then_some(limits.body_patience);
        Self::Some(Box::new(Upload { body, left: limit, limit, patience, clock: None, done: Arc::default() }))
    }

    /// Becomes true when all of the body has been sent; `None` when there is none.
    pub fn done(&self) -> Option<Arc<AtomicBool>> {
        match self {
            Self::None => None,
            Self::Some(upload) => Some(upload.done.clone()),
        }
    }
}

impl Upload {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if let Some(patience) = self.patience {
                let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(clock.as_mut().poll(cx));
                return Poll::Ready(Some(Err(Broken::Slow)));
            }
            return Poll::Pending;
        };
        if let (Some(clock), Some(patience)) = (&mut self.clock, self.patience) {
            clock.as_mut().reset(Instant::now() + patience);
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let octets = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(octets) {
                    Some(left) => self.left = left,
                    None => return Poll::Ready(Some(Err(Broken::TooLong(self.limit)))),
                }
                if self.body.is_end_stream() {
                    self.done.store(true, Ordering::Relaxed);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(Broken::Client(error))),
            None => {
                self.done.store(true, Ordering::Relaxed);
                None
            }
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::None => Poll::Ready(None),
            Self::Some(upload) => upload.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Some(upload) => upload.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Some(upload) => upload.body.size_hint(),
        }
    }
}

/// From an endpoint, or from the gateway itself, to the client. It holds what ends with the exchange.
#[derive(Debug)]
pub(super) struct ResponseBody {
    source: Source,
    lease: Option<Lease>,
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Source {
    Text(Bytes),
    Endpoint(Incoming),
}

impl ResponseBody {
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self { source: Source::Text(text.into()), lease: None, exchange: None }
    }

    pub fn endpoint(body: Incoming, lease: Lease) -> Self {
        Self { source: Source::Endpoint(body), lease: Some(lease), exchange: None }
    }

    /// The exchange ends when the body does.
    pub fn of(mut self, exchange: Exchange) -> Self {
        self.exchange = Some(exchange);
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Text(text) if text.is_empty() => None,
            Source::Text(text) => Some(Ok(Frame::data(std::mem::take(text)))),
            Source::Endpoint(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        match (&frame, &mut this.exchange) {
            (Some(Ok(frame)), Some(exchange)) => {
                exchange.octets += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            (Some(Err(error)), Some(exchange)) => exchange.broke_off(error),
            _ => {}
        }
        if frame.is_none()
            && let Some(lease) = this.lease.take()
        {
            lease.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_empty(),
            Source::Endpoint(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.len() as u64),
            Source::Endpoint(body) => body.size_hint(),
        }
    }
}

/// Who sends a body of known length need not ask for its end.
impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}
