//! What only the node knows or can reach: logs, running something in a container, ports of pods, and what pods and services answer
//! themselves (`proxy`). The request is handed on to the kubelet's port of the node, or to the pod; an upgraded connection is copied
//! both ways and never looked into.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, UPGRADE},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    discovery::v1::EndpointSlice,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{answer::Answer, path::Resource, query::Query, server::Server, status::Failure, verb::Place};

/// How long a node or pod may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The port of a kubelet that does not say.
const KUBELET_PORT: u16 = 10250;

/// Whether a part of an object is asked of its node.
pub fn is_one(part: &str) -> bool {
    matches!(part, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Asks the node, or the pod, and gives its answer.
pub async fn answer(
    server: &Server,
    place: Place<'_>,
    name: &str,
    part: &str,
    query: &Query,
    resource: &Resource<'_>,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let asked = match (place.kind.kind, part) {
        ("Pod", "proxy") => pod_proxy(server, place, name, resource, request.uri())?,
        ("Service", "proxy") => service_proxy(server, place, name, resource, request.uri())?,
        ("Node", "proxy") => {
            let kubelet = kubelet(server, name)?;
            Asked { path: with_query(&format!("/{}", resource.rest), request.uri()), ..kubelet }
        }
        ("Pod", _) => of_pod(server, place, name, part, query)?,
        _ => return Err(Failure::no_such_path()),
    };
    let answer = hand_on(server, asked, request).await?;
    if part == "log" { refusal(answer).await } else { Ok(answer) }
}

/// What a kubelet answers of logs, whose refusals are words alone.
async fn refusal(answer: Answer) -> Result<Answer, Failure> {
    let refuse: fn(String) -> Failure = match answer.status() {
        StatusCode::BAD_REQUEST => Failure::bad_request,
        StatusCode::INTERNAL_SERVER_ERROR => Failure::internal,
        _ => return Ok(answer),
    };
    let words = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(refuse(String::from_utf8_lossy(&words).into_owned()))
}

/// Who is asked, and for what.
struct Asked {
    /// Where it listens.
    to: SocketAddr,
    /// Whether it is a node's kubelet, which is spoken to by TLS, or a pod.
    kubelet: bool,
    /// Path and query.
    path: String,
    /// What it is in messages.
    label: String,
}

fn kubelet(server: &Server, name: &str) -> Result<Asked, Failure> {
    let cluster = server.view.cluster();
    let node = cluster.get::<Node>("", name);
    let status = node.and_then(|node| node.status.as_ref());
    let addresses = status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
    let address =
        addresses.filter(|address| address.type_ == "InternalIP").find_map(|address| address.address.parse().ok());
    let Some(address) = address else {
        return Err(Failure::unavailable(format!(
            "no preferred addresses found for node {name:?}; known addresses: []"
        )));
    };
    let endpoints = status.and_then(|status| status.daemon_endpoints.as_ref());
    let port = endpoints.and_then(|endpoints| endpoints.kubelet_endpoint.as_ref()).map(|kubelet| kubelet.port);
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0).unwrap_or(KUBELET_PORT);
    Ok(Asked {
        to: SocketAddr::new(address, port),
        kubelet: true,
        path: String::new(),
        label: format!("the kubelet of node {name}"),
    })
}

fn of_pod(server: &Server, place: Place<'_>, name: &str, part: &str, query: &Query) -> Result<Asked, Failure> {
    let cluster = server.view.cluster();
    let pod = cluster.get::<Pod>(place.namespace, name).ok_or_else(|| Failure::not_found(place.kind, name))?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if node.is_empty() {
        return Err(Failure::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let asked = kubelet(server, node)?;
    let namespace = place.namespace;
    let path = match part {
        "portforward" => format!("/portForward/{namespace}/{name}?{}", renamed(query, &[("ports", "port")])),
        "log" => {
            let container = container(pod, name, query)?;
            format!("/containerLogs/{namespace}/{name}/{container}?{}", renamed(query, &LOG))
        }
        _ => {
            let container = container(pod, name, query)?;
            format!("/{part}/{namespace}/{name}/{container}?{}", renamed(query, &STREAMS))
        }
    };
    Ok(Asked { path, ..asked })
}

/// Query parameters that the kubelet takes, by their names here and there.
const LOG: [(&str, &str); 8] = [
    ("follow", "follow"),
    ("previous", "previous"),
    ("sinceSeconds", "sinceSeconds"),
    ("sinceTime", "sinceTime"),
    ("timestamps", "timestamps"),
    ("tailLines", "tailLines"),
    ("limitBytes", "limitBytes"),
    ("stream", "stream"),
];
const STREAMS: [(&str, &str); 5] =
    [("command", "command"), ("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

fn renamed(query: &Query, names: &[(&str, &str)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (ours, theirs) in names {
        for value in query.all(ours) {
            let value = if theirs.ends_with("put") || matches!(*theirs, "error" | "tty") {
                if matches!(value, "true" | "1") { "1" } else { continue }
            } else {
                value
            };
            text.append_pair(theirs, value);
        }
    }
    text.finish()
}

/// The container that is meant: the one that is named, or the only one.
fn container<'p>(pod: &'p Pod, name: &str, query: &'p Query) -> Result<&'p str, Failure> {
    let spec = pod.spec.as_ref();
    let main: Vec<&str> = spec.into_iter().flat_map(|spec| &spec.containers).map(|c| c.name.as_str()).collect();
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten().map(|c| c.name.as_str());
    let ephemeral =
        spec.and_then(|spec| spec.ephemeral_containers.as_ref()).into_iter().flatten().map(|c| c.name.as_str());
    let named = query.text("container");
    if !named.is_empty() {
        let known = main.iter().copied().chain(init).chain(ephemeral).any(|one| one == named);
        let unknown = || Failure::bad_request(format!("container {named} is not valid for pod {name}"));
        return known.then_some(named).ok_or_else(unknown);
    }
    match main.as_slice() {
        [one] => Ok(one),
        many => {
            let choice = many.join(" ");
            let message = format!("a container name must be specified for pod {name}, choose one of: [{choice}]");
            Err(Failure::bad_request(message))
        }
    }
}

fn pod_proxy(
    server: &Server,
    place: Place<'_>,
    name: &str,
    resource: &Resource<'_>,
    uri: &Uri,
) -> Result<Asked, Failure> {
    let (name, port) = split_port(name);
    let cluster = server.view.cluster();
    let pod = cluster.get::<Pod>(place.namespace, name).ok_or_else(|| Failure::not_found(place.kind, name))?;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|c| c.ports.iter().flatten());
    let port = match port {
        None => ports.next().map(|port| port.container_port),
        Some(named) => {
            named.parse().ok().or_else(|| ports.find(|p| p.name.as_deref() == Some(named)).map(|p| p.container_port))
        }
    };
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
    let port = port.and_then(|port| u16::try_from(port).ok());
    let (Some(address), Some(port)) = (address, port) else {
        return Err(Failure::unavailable(format!("pod {name} has no address or no such port yet")));
    };
    let path = with_query(&format!("/{}", resource.rest), uri);
    Ok(Asked { to: SocketAddr::new(address, port), kubelet: false, path, label: format!("pod {name}") })
}

fn service_proxy(
    server: &Server,
    place: Place<'_>,
    name: &str,
    resource: &Resource<'_>,
    uri: &Uri,
) -> Result<Asked, Failure> {
    let (name, port) = split_port(name);
    let cluster = server.view.cluster();
    let service = cluster.get::<k8s_openapi::api::core::v1::Service>(place.namespace, name);
    let service = service.ok_or_else(|| Failure::not_found(place.kind, name))?;
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let wanted = ports.clone().find(|p| match port {
        None => true,
        Some(named) => p.name.as_deref() == Some(named) || p.port.to_string() == named,
    });
    let none = || Failure::unavailable(format!("no endpoints available for service {name:?}"));
    let wanted = wanted.ok_or_else(none)?.name.clone().unwrap_or_default();
    let slices = cluster.list::<EndpointSlice>(Some(place.namespace)).filter(|slice| {
        slice
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get("kubernetes.io/service-name"))
            .is_some_and(|of| of == name)
    });
    for slice in slices {
        let port =
            slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or_default() == wanted).and_then(|p| p.port);
        let ready =
            slice.endpoints.iter().flatten().find(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
        let address = ready.and_then(|e| e.addresses.first()?.parse().ok());
        if let (Some(address), Some(port)) = (address, port.and_then(|port| u16::try_from(port).ok())) {
            let path = with_query(&format!("/{}", resource.rest), uri);
            return Ok(Asked {
                to: SocketAddr::new(address, port),
                kubelet: false,
                path,
                label: format!("service {name}"),
            });
        }
    }
    Err(none())
}

/// `[SCHEME:]NAME[:PORT]`
fn split_port(name: &str) -> (&str, Option<&str>) {
    match name.split(':').collect::<Vec<_>>().as_slice() {
        [name, port] => (name, Some(port)),
        [_scheme, name, ""] => (name, None),
        [_scheme, name, port] => (name, Some(port)),
        _ => (name, None),
    }
}

fn with_query(path: &str, uri: &Uri) -> String {
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

async fn hand_on(server: &Server, asked: Asked, mut request: Request<Incoming>) -> Result<Answer, Failure> {
    let failed =
        |why: String| Failure::unavailable(format!("error trying to reach {} at {}: {why}", asked.label, asked.to));
    let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(asked.to)).await;
    let tcp = tcp.map_err(|_| failed("it does not answer".to_owned()))?.map_err(|e| failed(e.to_string()))?;
    drop(tcp.set_nodelay(true));
    let client = hyper::upgrade::on(&mut request);
    let onward = onward(&asked, request).map_err(|e| failed(e.to_string()))?;
    if asked.kubelet {
        let connector = TlsConnector::from(Arc::clone(&server.nodes));
        let tls = connector
            .connect(ServerName::IpAddress(asked.to.ip().into()), tcp)
            .await
            .map_err(|e| failed(e.to_string()))?;
        converse(tls, onward, client).await.map_err(|e| failed(e.to_string()))
    } else {
        converse(tcp, onward, client).await.map_err(|e| failed(e.to_string()))
    }
}

/// The request as the other gets it: without what concerns the way here, and without what the client showed us.
fn onward(asked: &Asked, request: Request<Incoming>) -> Result<Request<Incoming>, hyper::http::Error> {
    let (head, body) = request.into_parts();
    let mut onward = Request::builder().method(head.method).uri(&asked.path).body(body)?;
    let headers = onward.headers_mut();
    *headers = head.headers;
    headers.remove(AUTHORIZATION);
    if !headers.contains_key(UPGRADE) {
        headers.remove(CONNECTION);
    }
    headers.insert(HOST, HeaderValue::from_str(&asked.to.to_string())?);
    Ok(onward)
}

async fn converse<S>(stream: S, request: Request<Incoming>, client: OnUpgrade) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let node = hyper::upgrade::on(&mut response);
        tokio::spawn(copy(client, node));
    }
    let (head, body) = response.into_parts();
    let mut answer = Response::new(until_it_breaks(body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = passed(head.headers, head.status);
    Ok(answer)
}

async fn copy(client: OnUpgrade, node: OnUpgrade) {
    let (Ok(client), Ok(node)) = tokio::join!(client, node) else { return };
    // Either end may leave when it likes.
    drop(copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(node)).await);
}

fn passed(mut headers: HeaderMap, status: StatusCode) -> HeaderMap {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
            headers.remove(name);
        }
    }
    headers
}

/// A body that ends where the other's breaks off.
fn until_it_breaks(body: Incoming) -> UnsyncBoxBody<Bytes, Infallible> {
    let frames = futures_util::stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        let frame = body.frame().await?.ok()?;
        Some((Ok::<_, Infallible>(frame), Some(body)))
    });
    BodyExt::boxed_unsync(http_body_util::StreamBody::new(frames))
}
