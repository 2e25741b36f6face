//! Sends a request to an endpoint, and to another where that is safe: when it was certainly not sent, or when it may be done twice and
//! the connection closed under it without an answer (RFC 9110, 9.2.2).

use std::{net::SocketAddr, sync::Arc};

use hyper::{Request, Response, body::Incoming};
use tokio::time::timeout;

use super::{
    accept::Worker,
    body::{Broken, RequestBody},
    peer::Peer,
    pool::{ConnectError, Endpoint, Lease},
    refusal::Refusal,
    table::Backend,
};

/// Endpoints that are tried for one request.
const ATTEMPTS: usize = 3;

/// An answer that has begun, and the hold on who gives it.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub response: Response<Incoming>,
    pub lease: Lease,
}

/// How an attempt failed.
enum Failed {
    /// Nothing was sent; another endpoint may be better.
    Refused(Request<RequestBody>, ConnectError),
    /// A kept connection closed; a new one may be better, even to the same.
    Stale(Request<RequestBody>, String),
    /// A new connection closed, as those do that wait in the queue of a server that ends; another endpoint may be better.
    Closed(Request<RequestBody>, String),
    Final(Refusal),
}

/// Finds who answers. `now` is where the request would be led by now: an endpoint that failed may have been replaced meanwhile.
pub(super) async fn forward(
    worker: &Worker,
    peer: &Peer,
    mut backend: Arc<Backend>,
    now: impl Fn() -> Option<Arc<Backend>>,
    mut request: Request<RequestBody>,
) -> Result<Forwarded, Refusal> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    let mut fresh = false;
    let mut cause = None;
    for _ in 0..ATTEMPTS {
        let Some(address) = choose(worker, &backend, &tried, fresh) else { break };
        let endpoint = worker.pool.endpoint(address, backend.protocol);
        let failed = match attempt(worker, peer, &backend, &endpoint, request, fresh).await {
            Ok(forwarded) => return Ok(forwarded),
            Err(failed) => failed,
        };
        worker.counters.retries.add(1);
        (request, fresh) = match failed {
            Failed::Refused(request, error) => {
                worker.counters.connects_failed.add(1);
                cause = Some(match error {
                    ConnectError::Late => Refusal::Timeout(format!("{}: {address}: {error}", backend.name)),
                    _ => Refusal::BadGateway(format!("{}: {address}: {error}", backend.name)),
                });
                tried.push(address);
                (request, false)
            }
            Failed::Stale(request, error) => {
                cause = Some(Refusal::BadGateway(format!("{}: {address}: {error}", backend.name)));
                (request, true)
            }
            Failed::Closed(request, error) => {
                cause = Some(Refusal::BadGateway(format!("{}: {address}: {error}", backend.name)));
                tried.push(address);
                (request, false)
            }
            Failed::Final(refusal) => {
                worker.counters.retries.sub(1);
                return Err(refusal);
            }
        };
        // The request is made for what this one speaks.
        let alike = |newer: &Arc<Backend>| newer.protocol == backend.protocol && newer.send_proxy == backend.send_proxy;
        backend = now().filter(alike).unwrap_or(backend);
    }
    if cause.is_some() {
        worker.counters.retries.sub(1);
    }
    let nobody = || match &backend.trouble {
        Some(trouble) => format!("{}: {trouble}", backend.name),
        None => format!("{} has no endpoint that is ready", backend.name),
    };
    Err(cause.unwrap_or_else(|| Refusal::Unavailable(nobody())))
}

/// An endpoint that was not tried, better one that did not refuse lately. After a stale connection any is good.
fn choose(worker: &Worker, backend: &Backend, tried: &[SocketAddr], fresh: bool) -> Option<SocketAddr> {
    let new = |address: &SocketAddr| fresh || !tried.contains(address);
    let cost = |address: SocketAddr| worker.pool.cost(address, backend.protocol);
    backend
        .choose(|address| new(&address).then(|| cost(address)).flatten())
        .or_else(|| backend.choose(|address| new(&address).then_some(0)))
}

async fn attempt(
    worker: &Worker,
    peer: &Peer,
    backend: &Backend,
    endpoint: &Arc<Endpoint>,
    request: Request<RequestBody>,
    fresh: bool,
) -> Result<Forwarded, Failed> {
    let mut lease = endpoint.lease();
    let patience = worker.settings.limits.response_patience;
    let late = |_| {
        let why = format!("{}: {} did not answer in {patience:?}", backend.name, endpoint.address);
        Failed::Final(Refusal::Timeout(why))
    };
    if backend.protocol.is_http2() {
        let (mut sender, kept) = match endpoint.shared().await {
            Ok(shared) => shared,
            Err(error) => return Err(Failed::Refused(request, error)),
        };
        let again = repeatable(&request);
        let sent = timeout(patience, sender.try_send_request(request)).await.map_err(late)?;
        let response =
            sent.map_err(|mut e| failed(backend, endpoint, kept, e.take_message().or(again), e.into_error()))?;
        return Ok(Forwarded { response, lease });
    }
    let tell = backend.send_proxy.map(|version| (version, peer.addresses));
    let kept = if fresh || tell.is_some() { None } else { endpoint.kept().await };
    let was_kept = kept.is_some();
    let again = repeatable(&request);
    let mut sender = match kept {
        Some(sender) => sender,
        None => {
            worker.counters.connects.add(1);
            match endpoint.connect(tell).await {
                Ok(sender) => sender,
                Err(error) => return Err(Failed::Refused(request, error)),
            }
        }
    };
    let uploaded = request.body().done();
    let sent = timeout(patience, sender.try_send_request(request)).await.map_err(late)?;
    let response =
        sent.map_err(|mut e| failed(backend, endpoint, was_kept, e.take_message().or(again), e.into_error()))?;
    if tell.is_none() {
        lease.keep(sender, uploaded);
    }
    Ok(Forwarded { response, lease })
}

fn failed(
    backend: &Backend,
    endpoint: &Endpoint,
    kept: bool,
    again: Option<Request<RequestBody>>,
    error: hyper::Error,
) -> Failed {
    if let Some(refusal) = Broken::refusal(&error) {
        return Failed::Final(refusal);
    }
    let mut why = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        why = format!("{why}: {source}");
    }
    match again {
        Some(request) if kept => Failed::Stale(request, why),
        // An answer that is not HTTP is one.
        Some(request) if !error.is_parse() => Failed::Closed(request, why),
        _ => Failed::Final(Refusal::BadGateway(format!("{}: {}: {why}", backend.name, endpoint.address))),
    }
}

/// A copy of a request that may be sent twice: it asks only, or says how things shall be, and has no body.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !matches!(request.body(), RequestBody::None) {
        return None;
    }
    let mut copy = Request::new(RequestBody::None);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
