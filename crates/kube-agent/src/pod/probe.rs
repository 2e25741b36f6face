//! Probes and hooks of a container: asking it, and what the answers come to.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use engine::Engine;
use k8s_openapi::{
    api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use model::ContainerId;
use runtime::{Attached, ExecWish};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    seen::Checks,
    spec::{self, Role},
};
use crate::event::{Kind, Recorder};

/// So much of what a probe is answered is told, bytes.
const ANSWER_MAX: usize = 10 << 10;
/// Kubernetes' numbers where a probe says nothing.
const PERIOD_S: i32 = 10;
const TIMEOUT_S: i32 = 1;
const FAILURES: i32 = 3;

/// A running container that is asked.
pub struct Asked {
    /// Where it runs.
    pub engine: Engine,
    /// Where failures are told.
    pub recorder: Recorder,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container of the pod, and what it is for.
    pub container: Container,
    /// What it is for.
    pub role: Role,
    /// The container.
    pub id: ContainerId,
    /// The pod's address.
    pub address: Option<IpAddr>,
}

/// What the answers of one probe come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: i32,
    failed: i32,
}

impl Tally {
    /// Notes an answer. The verdict once enough in a row say the same.
    pub fn note(&mut self, probe: &Probe, passed: bool) -> Option<bool> {
        let (successes, failures) = (probe.success_threshold.unwrap_or(1), probe.failure_threshold.unwrap_or(FAILURES));
        *self = match passed {
            true => Self { passed: self.passed + 1, failed: 0 },
            false => Self { passed: 0, failed: self.failed + 1 },
        };
        match passed {
            true => (self.passed >= successes.max(1)).then_some(true),
            false => (self.failed >= failures.max(1)).then_some(false),
        }
    }
}

impl Asked {
    /// Asks for as long as the container runs, and says what that comes to whenever it changes. One that an earlier agent had seen
    /// started goes on from `known`.
    pub async fn watch(self, known: Option<Checks>, mut say: impl FnMut(Checks)) {
        let mut checks = known.unwrap_or_default();
        if !checks.started {
            if let Err(why) = self.start().await {
                return say(Checks { doomed: Some(why.0), grace_s: why.1, ..checks });
            }
            checks = Checks { started: true, ready: self.container.readiness_probe.is_none(), ..checks };
        }
        say(checks.clone());
        let (mut liveness, mut readiness) = (Tally::default(), Tally::default());
        let (live, ready) = (self.container.liveness_probe.as_ref(), self.container.readiness_probe.as_ref());
        let (mut next_live, mut next_ready) = (first(live), first(ready));
        loop {
            tokio::select! {
                () = due(next_live), if live.is_some() => {
                    let Some(probe) = live else { continue };
                    let passed = self.probe("Liveness", probe).await;
                    next_live = next(probe);
                    if liveness.note(probe, passed) == Some(false) {
                        let why = format!("Container {} failed liveness probe, will be restarted", self.container.name);
                        return say(Checks { doomed: Some(why), grace_s: probe.termination_grace_period_seconds, ..checks });
                    }
                }
                () = due(next_ready), if ready.is_some() => {
                    let Some(probe) = ready else { continue };
                    let passed = self.probe("Readiness", probe).await;
                    next_ready = next(probe);
                    if let Some(verdict) = readiness.note(probe, passed).filter(|verdict| *verdict != checks.ready) {
                        checks.ready = verdict;
                        say(checks.clone());
                    }
                }
                () = std::future::pending(), if live.is_none() && ready.is_none() => {}
            }
        }
    }

    /// The postStart hook, then the startup probe.
    async fn start(&self) -> Result<(), (String, Option<i64>)> {
        if let Some(hook) = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref())
            && let Err(error) = self.hook(hook).await
        {
            let field = Some(spec::field_path(self.role, &self.container.name));
            self.recorder.tell(
                &self.pod,
                field,
                Kind::Warning,
                "FailedPostStartHook",
                format!("PostStartHook failed: {error}"),
            );
            return Err(("FailedPostStartHook".to_owned(), None));
        }
        let Some(probe) = &self.container.startup_probe else { return Ok(()) };
        let mut tally = Tally::default();
        let mut at = first(Some(probe));
        loop {
            due(at).await;
            let passed = self.probe("Startup", probe).await;
            at = next(probe);
            match tally.note(probe, passed) {
                Some(true) => return Ok(()),
                Some(false) => {
                    let why = format!("Container {} failed startup probe, will be restarted", self.container.name);
                    return Err((why, probe.termination_grace_period_seconds));
                }
                None => {}
            }
        }
    }

    async fn probe(&self, kind: &str, probe: &Probe) -> bool {
        let seconds = probe.timeout_seconds.unwrap_or(TIMEOUT_S).max(1).unsigned_abs();
        let answer = tokio::time::timeout(Duration::from_secs(seconds.into()), self.ask(probe)).await;
        let failure = match answer {
            Ok(Ok(())) => return true,
            Ok(Err(words)) => words,
            Err(_) => format!("command timed out: context deadline exceeded after {seconds}s"),
        };
        let field = Some(spec::field_path(self.role, &self.container.name));
        self.recorder.tell(&self.pod, field, Kind::Warning, "Unhealthy", format!("{kind} probe failed: {failure}"));
        false
    }

    async fn ask(&self, probe: &Probe) -> Result<(), String> {
        if let Some(exec) = &probe.exec {
            return self.exec(exec).await;
        }
        if let Some(get) = &probe.http_get {
            return self.http(get).await;
        }
        if let Some(tcp) = &probe.tcp_socket {
            let (host, port) = self.target(tcp.host.as_deref(), &tcp.port)?;
            return TcpStream::connect((host.as_str(), port))
                .await
                .map(drop)
                .map_err(|e| format!("dial tcp {host}:{port}: {e}"));
        }
        if let Some(grpc) = &probe.grpc {
            let port = IntOrString::Int(grpc.port);
            let (host, port) = self.target(None, &port)?;
            return crate::grpc::check(&host, port, grpc.service.as_deref().unwrap_or_default()).await;
        }
        Ok(())
    }

    /// Runs a hook to its end.
    pub async fn hook(&self, hook: &LifecycleHandler) -> Result<(), String> {
        if let Some(exec) = &hook.exec {
            return self.exec(exec).await;
        }
        if let Some(get) = &hook.http_get {
            return self.http(get).await;
        }
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
        }
        Ok(())
    }

    async fn exec(&self, exec: &ExecAction) -> Result<(), String> {
        let args = exec.command.clone().unwrap_or_default();
        let (code, output) = run(&self.engine, &self.id, args).await.map_err(|error| error.to_string())?;
        if code == 0 { Ok(()) } else { Err(output) }
    }

    async fn http(&self, get: &HTTPGetAction) -> Result<(), String> {
        let (host, port) = self.target(get.host.as_deref(), &get.port)?;
        let scheme = get.scheme.as_deref().unwrap_or("HTTP");
        let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let mut headers = vec![
            ("Host".to_owned(), format!("{host}:{port}")),
            ("User-Agent".to_owned(), "kube-probe/1.36".to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
            ("Connection".to_owned(), "close".to_owned()),
        ];
        for header in get.http_headers.iter().flatten() {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&header.name));
            headers.push((header.name.clone(), header.value.clone()));
        }
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
        let failed = |error: io::Error| format!("Get \"{}://{host}:{port}{path}\": {error}", scheme.to_lowercase());
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
        let (code, _) = match scheme {
            "HTTPS" => exchange(crate::tls::connect_unverified(stream).await.map_err(failed)?, &request).await,
            _ => exchange(stream, &request).await,
        }
        .map_err(failed)?;
        match code {
            200..=399 => Ok(()),
            _ => Err(format!("HTTP probe failed with statuscode: {code}")),
        }
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

/// Runs a program in a container to its end; its exit code, and the start of what it wrote.
pub async fn run(engine: &Engine, id: &ContainerId, args: Vec<String>) -> Result<(i32, String), runtime::RuntimeError> {
    let exec_id = crate::random::hex()?;
    let wish = ExecWish { args, ..ExecWish::default() };
    let runtime = engine.runtime();
    runtime.exec_create(&exec_id, id.as_str(), wish)?;
    let Attached { mut output, mut input } = match runtime.exec_start(&exec_id).await {
        Ok(attached) => attached,
        Err(error) => return Ok((126, error.to_string())),
    };
    // It reads nothing.
    let _ = input.close().await;
    let mut said = Vec::new();
    while let Ok(Some((_, bytes))) = output.read().await {
        said.extend_from_slice(&bytes[..bytes.len().min(ANSWER_MAX - said.len().min(ANSWER_MAX))]);
    }
    let code = runtime.exec_wait(&exec_id).await?;
    Ok((code, String::from_utf8_lossy(&said).into_owned()))
}

/// Sends a request and reads the answer: its status, and the start of its body.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<(u16, String)> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut limited = (&mut stream).take(ANSWER_MAX as u64);
    // A server that closes in the middle has answered all the same.
    let _ = limited.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    let code = code.filter(|_| text.starts_with("HTTP/"));
    Ok((code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed HTTP response"))?, body))
}

fn first(probe: Option<&Probe>) -> tokio::time::Instant {
    let delay_s = probe.and_then(|probe| probe.initial_delay_seconds).unwrap_or(0).max(0).unsigned_abs();
    tokio::time::Instant::now() + Duration::from_secs(delay_s.into())
}

fn next(probe: &Probe) -> tokio::time::Instant {
    let period_s = probe.period_seconds.unwrap_or(PERIOD_S).max(1).unsigned_abs();
    tokio::time::Instant::now() + Duration::from_secs(period_s.into())
}

async fn due(at: tokio::time::Instant) {
    tokio::time::sleep_until(at).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut tally = Tally::default();
        let verdicts = "..x.xxx..".chars().map(|answer| tally.note(&probe, answer == '.')).collect::<Vec<_>>();
        let expected = [None, Some(true), None, None, None, None, Some(false), None, Some(true)];
        assert_eq!(verdicts, expected);
    }
}
