//! Probes of a container: when it is asked, and what the answers come to.

use std::{net::IpAddr, sync::Arc, time::Duration};

use engine::Engine;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use model::ContainerId;
use tokio::sync::watch;

use super::{
    seen::Checks,
    spec::{self, Role},
};
use crate::event::{Kind, Recorder};

/// Kubernetes' numbers where a probe says nothing.
const PERIOD_S: i32 = 10;
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
    /// Whether the pod goes: then nobody asks any more whether it has started or lives.
    pub ending: watch::Receiver<bool>,
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
                () = due(next_live), if live.is_some() && !self.is_ending() => {
                    let Some(probe) = live.filter(|_| !self.is_ending()) else { continue };
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
                () = std::future::pending() => {}
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
            if self.is_ending() {
                std::future::pending::<()>().await;
            }
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

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    async fn probe(&self, kind: &str, probe: &Probe) -> bool {
        let Err(failure) = self.ask(probe).await else { return true };
        let field = Some(spec::field_path(self.role, &self.container.name));
        self.recorder.tell(&self.pod, field, Kind::Warning, "Unhealthy", format!("{kind} probe failed: {failure}"));
        false
    }
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
