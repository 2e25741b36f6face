//! What kubectl says of a pod in a word: `Init:0/1`, `CrashLoopBackOff`, `Terminating` ...

use serde_json::Value;

use crate::object::Look;

/// A pod in a row.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// `Running`.
    pub word: String,
    /// Containers that are ready; sidecars count.
    pub ready: usize,
    /// Containers that there are; sidecars count.
    pub total: usize,
    /// How often they were started again.
    pub restarts: i64,
    /// When one ended last before it was started again.
    pub last_restart: Option<String>,
}

/// What is told of a pod.
pub fn told(pod: &Value) -> Told {
    let sidecars = pod.list("spec.initContainers").iter().filter(|c| c.text("restartPolicy") == "Always").count();
    let mut told = Told {
        word: first_word(pod),
        ready: 0,
        total: pod.list("spec.containers").len() + sidecars,
        restarts: 0,
        last_restart: None,
    };
    let sidecars = init(pod, &mut told);
    if !sidecars.initializing || has_condition(pod, "Initialized") {
        told.restarts = sidecars.restarts;
        told.last_restart = sidecars.last_restart;
        containers(pod, &mut told);
    }
    let terminal = matches!(pod.text("status.phase"), "Succeeded" | "Failed");
    if pod.at("metadata.deletionTimestamp").is_some() {
        if pod.text("status.reason") == "NodeLost" {
            "Unknown".clone_into(&mut told.word);
        } else if !terminal {
            "Terminating".clone_into(&mut told.word);
        }
    }
    told
}

/// Whether a condition is true.
pub fn has_condition(pod: &Value, name: &str) -> bool {
    pod.list("status.conditions").iter().any(|one| one.text("type") == name && one.text("status") == "True")
}

fn first_word(pod: &Value) -> String {
    let is_gated = |one: &Value| one.text("type") == "PodScheduled" && one.text("reason") == "SchedulingGated";
    if pod.list("status.conditions").iter().any(is_gated) {
        return "SchedulingGated".to_owned();
    }
    match pod.text("status.reason") {
        "" => pod.text("status.phase").to_owned(),
        reason => reason.to_owned(),
    }
}

/// What is to be told of sidecars once the pod is initialized.
#[derive(Default)]
struct Init {
    initializing: bool,
    restarts: i64,
    last_restart: Option<String>,
}

fn init(pod: &Value, told: &mut Told) -> Init {
    let spec = pod.list("spec.initContainers");
    let mut init = Init::default();
    for (at, status) in pod.list("status.initContainerStatuses").iter().enumerate() {
        let is_sidecar =
            spec.iter().any(|c| c.text("name") == status.text("name") && c.text("restartPolicy") == "Always");
        count_restarts(status, &mut told.restarts, &mut told.last_restart);
        if is_sidecar {
            count_restarts(status, &mut init.restarts, &mut init.last_restart);
        }
        let (terminated, waiting) = (status.at("state.terminated"), status.text("state.waiting.reason"));
        if terminated.is_some_and(|t| t.int("exitCode").unwrap_or_default() == 0) {
            continue;
        }
        if is_sidecar && status.is("started") {
            told.ready += usize::from(status.is("ready"));
            continue;
        }
        told.word = match terminated {
            Some(ended) => format!("Init:{}", how_ended(ended)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{at}/{}", spec.len()),
        };
        init.initializing = true;
        break;
    }
    init
}

fn containers(pod: &Value, told: &mut Told) {
    let mut has_running = false;
    for status in pod.list("status.containerStatuses").iter().rev() {
        count_restarts(status, &mut told.restarts, &mut told.last_restart);
        let waiting = status.text("state.waiting.reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut told.word);
        } else if let Some(ended) = status.at("state.terminated") {
            told.word = how_ended(ended);
        } else if status.is("ready") && status.at("state.running").is_some() {
            has_running = true;
            told.ready += 1;
        }
    }
    if told.word == "Completed" && has_running {
        let word = if has_condition(pod, "Ready") { "Running" } else { "NotReady" };
        word.clone_into(&mut told.word);
    }
}

fn how_ended(ended: &Value) -> String {
    let (reason, signal) = (ended.text("reason"), ended.int("signal").unwrap_or_default());
    match (reason, signal) {
        ("", 0) => format!("ExitCode:{}", ended.int("exitCode").unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn count_restarts(status: &Value, restarts: &mut i64, last: &mut Option<String>) {
    *restarts += status.int("restartCount").unwrap_or_default();
    let ended = status.text("lastState.terminated.finishedAt");
    if !ended.is_empty() && last.as_deref().is_none_or(|last| last < ended) {
        *last = Some(ended.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_told_of_in_kubectls_words() {
        let running = json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } });
        let one = json!([{ "name": "a" }]);
        for (pod, word, ready) in [
            (json!({ "spec": { "containers": one }, "status": { "phase": "Pending" } }), "Pending", "0/1"),
            (
                json!({ "spec": { "containers": one }, "status": { "phase": "Running",
                    "containerStatuses": [{ "name": "a", "ready": true, "state": running }] } }),
                "Running",
                "1/1",
            ),
            (
                json!({ "spec": { "containers": one }, "status": { "phase": "Running",
                    "containerStatuses": [{ "name": "a", "state": { "waiting": { "reason": "CrashLoopBackOff" } } }] } }),
                "CrashLoopBackOff",
                "0/1",
            ),
            (
                json!({ "spec": { "containers": one, "initContainers": [{ "name": "i" }] }, "status": { "phase": "Pending",
                    "initContainerStatuses": [{ "name": "i", "state": running }],
                    "containerStatuses": [{ "name": "a", "state": { "waiting": { "reason": "PodInitializing" } } }] } }),
                "Init:0/1",
                "0/1",
            ),
            (
                json!({ "spec": { "containers": one, "initContainers": [{ "name": "i" }] }, "status": { "phase": "Pending",
                    "initContainerStatuses": [{ "name": "i", "state": { "terminated": { "exitCode": 3, "reason": "Error" } } }] } }),
                "Init:Error",
                "0/1",
            ),
            (
                json!({ "spec": { "containers": one, "initContainers": [{ "name": "s", "restartPolicy": "Always" }] },
                    "status": { "phase": "Running",
                    "initContainerStatuses": [{ "name": "s", "started": true, "ready": true, "state": running }],
                    "containerStatuses": [{ "name": "a", "ready": true, "state": running }] } }),
                "Running",
                "2/2",
            ),
            (
                json!({ "spec": { "containers": one }, "status": { "phase": "Succeeded",
                    "containerStatuses": [{ "name": "a", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } }] } }),
                "Completed",
                "0/1",
            ),
            (
                json!({ "spec": { "containers": one }, "status": { "phase": "Failed",
                    "containerStatuses": [{ "name": "a", "state": { "terminated": { "exitCode": 137, "signal": 9 } } }] } }),
                "Signal:9",
                "0/1",
            ),
            (
                json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" }, "spec": { "containers": one },
                    "status": { "phase": "Running", "containerStatuses": [{ "name": "a", "ready": true, "state": running }] } }),
                "Terminating",
                "1/1",
            ),
            (
                json!({ "spec": { "containers": one }, "status": { "phase": "Failed", "reason": "Evicted" } }),
                "Evicted",
                "0/1",
            ),
        ] {
            let told = told(&pod);
            assert_eq!(
                (told.word.as_str(), format!("{}/{}", told.ready, told.total)),
                (word, ready.to_owned()),
                "{pod}"
            );
        }
    }

    #[test]
    fn restarts_are_counted() {
        let status = json!({ "name": "a", "restartCount": 2, "lastState": { "terminated": { "finishedAt": "2026-01-01T00:00:00Z" } } });
        let told = told(
            &json!({ "spec": { "containers": [{}] }, "status": { "phase": "Running", "containerStatuses": [status] } }),
        );
        assert_eq!((told.restarts, told.last_restart.as_deref()), (2, Some("2026-01-01T00:00:00Z")));
    }
}
