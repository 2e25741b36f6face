//! The conditions of a pod that its node tells of.

use k8s_openapi::{
    api::core::v1::{ContainerStatus, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::View;
use crate::pod::{
    seen::{Refused, Sandboxed},
    spec::{self, Role},
};

/// The conditions of a pod that its node tells of.
pub const OWN: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
/// The condition of a pod that is made to end for others' sake.
const DISRUPTION: &str = "DisruptionTarget";

impl View<'_> {
    pub(super) fn conditions(
        &self,
        phase: &str,
        inits: &[ContainerStatus],
        mains: &[ContainerStatus],
    ) -> Vec<PodCondition> {
        let completed = phase == "Succeeded";
        let up = matches!(self.seen.sandbox, Sandboxed::Up { .. });
        let initialized = match self.initialized() {
            Ok(()) => Verdict::yes(),
            Err(names) => Verdict::no(
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{}]", names.join(" ")),
            ),
        };
        let sidecars = inits
            .iter()
            .filter(|status| spec::container(self.spec, &status.name).is_some_and(|(role, _)| role == Role::Sidecar));
        let unready: Vec<_> =
            sidecars.chain(mains).filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
        let containers = match (completed, unready.is_empty()) {
            (true, _) => Verdict { reason: Some("PodCompleted".to_owned()), ..Verdict::no("", String::new()) },
            (false, true) => Verdict::yes(),
            (false, false) if phase == "Failed" => {
                Verdict { reason: Some("PodFailed".to_owned()), ..Verdict::no("", String::new()) }
            }
            (false, false) => {
                Verdict::no("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
            }
        };
        let ready = match self.closed_gates() {
            Some(message) if containers.holds => Verdict::no("ReadinessGatesNotReady", message),
            _ => containers.clone(),
        };
        let sandboxed = Verdict { holds: up, reason: None, message: None };
        let mut conditions: Vec<_> = [
            ("PodReadyToStartContainers", sandboxed),
            (
                "Initialized",
                if completed {
                    Verdict { reason: Some("PodCompleted".to_owned()), ..Verdict::yes() }
                } else {
                    initialized
                },
            ),
            ("Ready", ready),
            ("ContainersReady", containers),
            ("PodScheduled", Verdict::yes()),
        ]
        .into_iter()
        .map(|(kind, verdict)| self.condition(kind, verdict))
        .collect();
        // What others say of the pod stays.
        let others = self.before.conditions.iter().flatten().filter(|known| !OWN.contains(&known.type_.as_str()));
        conditions.extend(others.cloned());
        if let Some(Refused::Evicted { message }) = &self.seen.refused {
            conditions.retain(|known| known.type_ != DISRUPTION);
            let verdict = Verdict {
                holds: true,
                reason: Some("TerminationByKubelet".to_owned()),
                message: Some(message.clone()),
            };
            conditions.push(self.condition(DISRUPTION, verdict));
        }
        conditions
    }

    /// What the readiness gates say that are not open.
    fn closed_gates(&self) -> Option<String> {
        let is_true =
            |kind: &str| self.before.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True");
        let gates = self.spec.readiness_gates.iter().flatten();
        let closed = gates.filter(|gate| !is_true(&gate.condition_type));
        let words: Vec<_> = closed
            .map(|gate| {
                format!("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.condition_type)
            })
            .collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    fn condition(&self, kind: &str, verdict: Verdict) -> PodCondition {
        let status = if verdict.holds { "True" } else { "False" };
        let before = self.before.conditions.iter().flatten().find(|known| known.type_ == kind);
        let unchanged =
            before.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason,
            message: verdict.message,
            last_transition_time: unchanged.or(Some(Time(self.now))),
            observed_generation: self.pod.metadata.generation,
            ..PodCondition::default()
        }
    }
}

#[derive(Clone)]
struct Verdict {
    holds: bool,
    reason: Option<String>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { holds: true, reason: None, message: None }
    }

    fn no(reason: &str, message: String) -> Self {
        Self { holds: false, reason: Some(reason.to_owned()), message: Some(message).filter(|words| !words.is_empty()) }
    }
}
