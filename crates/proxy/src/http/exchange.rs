//! One request and its answer: route, forward, and what is counted and logged when it ends.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hyper::{
    Request, Response, StatusCode, Version,
    body::{Body, Incoming},
    header::{self, HeaderValue},
};

use super::{
    accept::Worker,
    access_log::Line,
    body::{RequestBody, ResponseBody},
    forward::{self, Forwarded},
    header as fields,
    peer::Peer,
    refusal::Refusal,
    request, tunnel,
};

/// A request that is under way; it ends by being dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    worker: Arc<Worker>,
    peer: Arc<Peer>,
    began: Instant,
    status: u16,
    /// Of the answer's body, so far.
    pub octets: u64,
    line: Option<Box<Line>>,
}

/// Answers a request, in whatever way.
pub(super) async fn answer(
    worker: &Arc<Worker>,
    peer: &Arc<Peer>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let mut exchange = Exchange::begin(worker, peer, &request);
    let mut response = match exchange.forward(request).await {
        Ok(response) => response,
        Err(refusal) => exchange.refuse(&refusal),
    };
    exchange.status = response.status().as_u16();
    if worker.leaving.load(Ordering::Relaxed) && !peer.http2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| body.of(exchange))
}

impl Exchange {
    fn begin(worker: &Arc<Worker>, peer: &Arc<Peer>, request: &Request<Incoming>) -> Self {
        peer.begin();
        worker.counters.under_way.add(1);
        let line = worker.log.as_ref().map(|_| {
            Box::new(Line {
                client: peer.addresses.source.to_string(),
                method: request.method().to_string(),
                path: request.uri().path().to_owned(),
                http2: peer.http2,
                tls: peer.origin.scheme == "https",
                ..Line::default()
            })
        });
        Self { worker: worker.clone(), peer: peer.clone(), began: Instant::now(), status: 0, octets: 0, line }
    }

    async fn forward(&mut self, mut request: Request<Incoming>) -> Result<Response<ResponseBody>, Refusal> {
        let (worker, peer) = (self.worker.clone(), self.peer.clone());
        let limits = &worker.settings.limits;
        let target = request::target(&request, limits)?;
        // What this leads to stays as it is, whatever the table becomes, unless its endpoints fail.
        let route = || worker.table.load().route(&target.host, &target.path).cloned();
        let backend = route().ok_or(Refusal::NoRoute);
        if let Some(line) = &mut self.line {
            line.host.clone_from(&target.host);
            line.backend = backend.as_ref().map(|backend| backend.name.clone()).unwrap_or_default();
        }
        let backend = backend?;
        let trailers =
            request.headers().get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
        let mut upgrade = fields::end_hop(request.headers_mut());
        if request.version() != Version::HTTP_11 || backend.protocol.is_http2() || !request.body().is_end_stream() {
            upgrade = None;
        }
        let client = upgrade.as_ref().map(|_| hyper::upgrade::on(&mut request));
        request::address(&mut request, &target, backend.protocol);
        let headers = request.headers_mut();
        fields::forward(headers, &peer.origin, &target.authority);
        // hyper says it to the client when the endpoint takes the first of the body.
        headers.remove(header::EXPECT);
        if !backend.protocol.is_http2() {
            fields::join_cookies(headers);
        } else if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(protocol) = upgrade {
            fields::upgrade(headers, protocol);
        }
        let request = request.map(|body| RequestBody::new(body, limits, peer.http2));
        let Forwarded { mut response, lease } = forward::forward(&worker, &peer, backend, route, request).await?;
        self.went_to(lease.endpoint.address);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(client) = client else {
                return Err(Refusal::BadGateway(format!("{} switched protocols unasked", lease.endpoint.address)));
            };
            let granted = fields::end_hop(response.headers_mut());
            fields::upgrade(response.headers_mut(), granted.unwrap_or_else(|| HeaderValue::from_static("websocket")));
            tunnel::start(&worker, &peer, (client, hyper::upgrade::on(&mut response)), lease);
            return Ok(response.map(|_| ResponseBody::text("")));
        }
        fields::end_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| ResponseBody::endpoint(body, lease)))
    }

    fn refuse(&mut self, refusal: &Refusal) -> Response<ResponseBody> {
        self.worker.counters.refused.add(1);
        let (status, cause) = (refusal.status().as_u16(), refusal.cause());
        if status >= 500 {
            let client = self.peer.addresses.source;
            tracing::warn!(status, %client, cause, "a request was not answered by its service");
        } else {
            tracing::debug!(status, client = %self.peer.addresses.source, cause, "a request was refused");
        }
        if let Some(line) = &mut self.line {
            cause.clone_into(&mut line.cause);
        }
        refusal.response(self.peer.http2)
    }

    fn went_to(&mut self, endpoint: SocketAddr) {
        if let Some(line) = &mut self.line {
            line.endpoint = Some(endpoint);
        }
    }

    /// The endpoint ended in the middle of an answer; the client sees that by the connection's or the stream's end.
    pub fn broke_off(&mut self, error: &hyper::Error) {
        tracing::debug!(%error, "an answer broke off");
        if let Some(line) = &mut self.line {
            line.cause = format!("the answer broke off: {error}");
        }
    }

    fn took(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.peer.end();
        self.worker.counters.under_way.sub(1);
        // 499 is what others call a client that did not wait.
        let status = if self.status == 0 { 499 } else { self.status };
        self.worker.counters.request(status, self.took());
        if let (Some(mut line), Some(log)) = (self.line.take(), &self.worker.log) {
            (line.status, line.octets, line.took) = (status, self.octets, self.took());
            // A full queue loses the line, not the request.
            let _ = log.try_send(*line);
        }
    }
}
