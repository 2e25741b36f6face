//! One question to a running container, of each kind, and the words in which kubelet tells what came of it.

use std::{io, net::IpAddr, time::Duration};

use engine::Engine;
use k8s_openapi::{
    api::core::v1::{ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use model::ContainerId;
use proxy::tls;
use runtime::{Attached, ExecWish, words::plain};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::probe::Asked;

/// So much of what is answered is read, bytes.
const ANSWER_MAX: usize = 10 << 10;
/// Kubernetes' number where a probe says nothing, seconds.
const TIMEOUT_S: i32 = 1;
const SIGKILL: i32 = 9;
/// Who asks, as servers see it.
const PROBE: &str = "kube-probe/1.36";
const HOOK: &str = "kube-lifecycle/1.36";

impl Asked {
    /// Asks once. Why not, when the answer is no.
    pub(super) async fn ask(&self, probe: &Probe) -> Result<(), String> {
        let seconds = probe.timeout_seconds.unwrap_or(TIMEOUT_S).max(1).unsigned_abs();
        let limit = Duration::from_secs(seconds.into());
        if let Some(exec) = &probe.exec {
            return self.exec(exec, Some(limit)).await;
        }
        if let Some(get) = &probe.http_get {
            let target = self.url(get)?;
            let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            let answer = timeout(limit, target.get(get, PROBE)).await;
            let code = answer.unwrap_or_else(|_| Err(format!("Get \"{}\": {late}", target.spelled())))?;
            return match code {
                200..=399 => Ok(()),
                _ => Err(format!("HTTP probe failed with statuscode: {code}")),
            };
        }
        if let Some(tcp) = &probe.tcp_socket {
            let target = self.socket(tcp)?;
            let answer = timeout(limit, target.connect()).await;
            return answer.unwrap_or_else(|_| Err(format!("dial tcp {}: i/o timeout", target.place()))).map(drop);
        }
        if let Some(grpc) = &probe.grpc {
            let (host, port) = self.target(None, &IntOrString::Int(grpc.port))?;
            return crate::grpc::check(&host, port, grpc.service.as_deref().unwrap_or_default(), limit).await;
        }
        Ok(())
    }

    /// Runs a hook to its end. What a server answers to it is its own business.
    pub async fn hook(&self, hook: &LifecycleHandler) -> Result<(), String> {
        if let Some(exec) = &hook.exec {
            return self.exec(exec, None).await;
        }
        if let Some(get) = &hook.http_get {
            return self.url(get)?.get(get, HOOK).await.map(drop);
        }
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
        }
        Ok(())
    }

    async fn exec(&self, exec: &ExecAction, limit: Option<Duration>) -> Result<(), String> {
        let args = exec.command.clone().unwrap_or_default();
        match run(&self.engine, &self.id, args.clone(), limit).await {
            Ok(Some((0, _))) => Ok(()),
            Ok(Some((_, output))) => Err(output),
            Ok(None) => {
                let seconds = limit.unwrap_or_default().as_secs();
                Err(format!("command timed out: {:?} timed out after {seconds}s", args.join(" ")))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn url(&self, get: &HTTPGetAction) -> Result<Target, String> {
        let (host, port) = self.target(get.host.as_deref(), &get.port)?;
        let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let tls = get.scheme.as_deref() == Some("HTTPS");
        Ok(Target { host, port, path, tls })
    }

    fn socket(&self, tcp: &TCPSocketAction) -> Result<Target, String> {
        let (host, port) = self.target(tcp.host.as_deref(), &tcp.port)?;
        Ok(Target { host, port, path: String::new(), tls: false })
    }

    /// Where a probe goes: the pod's address and the number of a port, which may be named.
    fn target(&self, host: Option<&str>, port: &IntOrString) -> Result<(String, u16), String> {
        let host = match host.filter(|host| !host.is_empty()) {
            Some(host) => host.to_owned(),
            None => self.address.ok_or("the pod has no address")?.to_string(),
        };
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let mut ports = self.container.ports.iter().flatten();
                let named = ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port);
                named.or_else(|| name.parse().ok())
            }
        };
        let number = number.and_then(|number| u16::try_from(number).ok());
        Ok((host, number.ok_or_else(|| format!("unknown port: {port:?}"))?))
    }
}

/// A server in a container.
struct Target {
    host: String,
    port: u16,
    path: String,
    tls: bool,
}

impl Target {
    fn place(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    fn spelled(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.place(), self.path)
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        connected.map_err(|error| format!("dial tcp {}: connect: {}", self.place(), plain(&error)))
    }

    /// The status that a server answers with.
    async fn get(&self, get: &HTTPGetAction, agent: &str) -> Result<u16, String> {
        let failed = |words: String| format!("Get \"{}\": {words}", self.spelled());
        let request = self.request(get, agent);
        let stream = self.connect().await.map_err(failed)?;
        let code = match self.tls {
            true => {
                let config = tls::unverified(&[]).map_err(|error| failed(plain(&error)))?;
                match tls::connect(config, stream).await {
                    Ok(stream) => exchange(stream, &request).await,
                    Err(error) => Err(error),
                }
            }
            false => exchange(stream, &request).await,
        };
        code.map_err(|error| failed(plain(&error)))
    }

    fn request(&self, get: &HTTPGetAction, agent: &str) -> String {
        let mut headers = vec![
            ("Host".to_owned(), self.place()),
            ("User-Agent".to_owned(), agent.to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
            ("Connection".to_owned(), "close".to_owned()),
        ];
        for header in get.http_headers.iter().flatten() {
            match headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(&header.name)) {
                // One without a value is not sent.
                Some((_, value)) => value.clone_from(&header.value),
                None => headers.push((header.name.clone(), header.value.clone())),
            }
        }
        headers.retain(|(_, value)| !value.is_empty());
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET {} HTTP/1.1\r\n{headers}\r\n", self.path)
    }
}

/// Runs a program in a container to its end: its exit code, and the start of what it wrote. None when its time is over; then it is killed.
pub async fn run(
    engine: &Engine,
    id: &ContainerId,
    args: Vec<String>,
    limit: Option<Duration>,
) -> Result<Option<(i32, String)>, runtime::RuntimeError> {
    let exec_id = crate::random::hex()?;
    let wish = ExecWish { args, ..ExecWish::default() };
    let runtime = engine.runtime();
    runtime.exec_create(&exec_id, id.as_str(), wish)?;
    let Attached { mut output, mut input } = match runtime.exec_start(&exec_id).await {
        Ok(attached) => attached,
        Err(error) => return Ok(Some((126, error.to_string()))),
    };
    // It reads nothing.
    let _ = input.close().await;
    let mut said = Vec::new();
    let end = async {
        while let Ok(Some((_, bytes))) = output.read().await {
            said.extend_from_slice(&bytes[..bytes.len().min(ANSWER_MAX - said.len().min(ANSWER_MAX))]);
        }
        runtime.exec_wait(&exec_id).await
    };
    let ended = match limit {
        Some(limit) => timeout(limit, end).await,
        None => Ok(end.await),
    };
    match ended {
        Ok(code) => Ok(Some((code?, String::from_utf8_lossy(&said).into_owned()))),
        Err(_) => {
            // It may have ended by itself at this moment.
            let _ = input.signal(SIGKILL).await;
            Ok(None)
        }
    }
}

/// Sends a request and reads the answer; its status.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<u16> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut piece = [0; 2048];
    while answer.len() < ANSWER_MAX && !is_whole(&answer) {
        match stream.read(&mut piece).await {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            // A server that closes in the middle has answered all the same.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).filter(|_| text.starts_with("HTTP/"));
    let why = if answer.is_empty() { "EOF" } else { "malformed HTTP response" };
    code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Whether an answer has come to its end, as far as that can be told before the connection ends.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let header = |name: &str| head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let length = header("content-length:").and_then(|length| length.parse::<usize>().ok());
    let chunked = header("transfer-encoding:").is_some_and(|coding| coding.ends_with("chunked"));
    length.is_some_and(|length| body.len() >= length) || (chunked && body.ends_with("0\r\n\r\n"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::HTTPHeader;

    use super::*;

    #[test]
    fn requests() {
        let check = |headers: &[(&str, &str)], expected: &str| {
            let target = Target { host: "fd00::1".to_owned(), port: 80, path: "/x".to_owned(), tls: true };
            let header = |(name, value): &(&str, &str)| HTTPHeader { name: (*name).into(), value: (*value).into() };
            let get = HTTPGetAction { http_headers: Some(headers.iter().map(header).collect()), ..Default::default() };
            assert_eq!(target.spelled(), "https://[fd00::1]:80/x");
            assert_eq!(target.request(&get, "a"), format!("GET /x HTTP/1.1\r\n{expected}\r\n"));
        };
        let rest = "Connection: close\r\n";
        check(&[], &format!("Host: [fd00::1]:80\r\nUser-Agent: a\r\nAccept: */*\r\n{rest}"));
        let own = [("host", "shop"), ("X-A", "1"), ("Accept", "")];
        check(&own, &format!("Host: shop\r\nUser-Agent: a\r\n{rest}X-A: 1\r\n"));
    }

    #[test]
    fn ends_of_answers() {
        for (answer, whole) in [
            ("HTTP/1.1 200 OK\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\nbody", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
        ] {
            assert_eq!(is_whole(answer.as_bytes()), whole, "{answer:?}");
        }
    }
}
