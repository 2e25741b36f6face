//! What a worker sees of its pod on this node.

use std::{collections::BTreeMap, fs};

use jiff::Timestamp;
use model::{
    Container, ContainerId, State,
    container::{Exit, Phase},
    sandbox::{Stays, Up},
};
use runtime::log::reader::{Reader, Wish};

use super::{Worker, tell::statuses};
use crate::{
    identity::{self, label},
    job,
    pod::{
        Seen,
        seen::{Attempt, Checks, End, Sandboxed, Stage},
        spec,
        status::container_id,
    },
};

/// The most of a container's last words, bytes.
const LAST_WORDS_MAX: usize = 4096;
/// The most that is taken from the log instead: bytes, and lines.
const LAST_LOG_MAX: usize = 2048;
const LAST_LOG_LINES: usize = 80;

impl Worker {
    /// Looks at what there is of the pod.
    pub(super) fn look(&self, now: Timestamp) -> Seen {
        let state = self.shared.engine.state();
        let (_, _, uid) = spec::names(&self.pod);
        let id = identity::sandbox(&uid);
        let sandbox = match state.sandboxes.get(&id) {
            Some(sandbox) if sandbox.up == Up::Up && sandbox.stays == Stays::UntilRemoved => {
                Sandboxed::Up { addresses: job::addresses(&self.shared, &state, &self.pod) }
            }
            Some(_) => Sandboxed::Down,
            None => self.sandbox_failure.clone().map_or(Sandboxed::Missing, Sandboxed::Failed),
        };
        Seen {
            gone: self.gone,
            refused: self.refused.clone(),
            volumes: self.volumes.clone(),
            sandbox,
            attempts: self.attempts(&state, now),
            failures: self.failures.clone(),
            checks: self.checks.clone(),
            host_ips: self.shared.node.addresses.clone(),
        }
    }

    fn attempts(&self, state: &State, now: Timestamp) -> BTreeMap<String, Vec<Attempt>> {
        let (_, _, uid) = spec::names(&self.pod);
        let mut attempts: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for container in state.residents_of(&identity::sandbox(&uid)) {
            let said = |label: &str| container.labels.get(label).map(String::as_str).unwrap_or_default();
            let number = said(label::NUMBER).parse().unwrap_or(0);
            let name = said(label::CONTAINER);
            let stage = match &container.phase {
                // Its job is under way, or is taken up again.
                Phase::Created => continue,
                Phase::Starting | Phase::Restarting { .. } => Stage::Starting,
                Phase::Running(run) | Phase::Paused(run) => {
                    Stage::Running { since: moment(run.started_ms).unwrap_or(now) }
                }
                Phase::Exited(exit) => Stage::Ended(self.end(container, name, number, exit)),
            };
            let attempt = Attempt {
                id: container.id.clone(),
                number,
                pause_s: said(label::PAUSE).parse().unwrap_or(0),
                image: container.image.name.clone(),
                image_id: container.image.id.clone(),
                resources: container.resources.clone(),
                stage,
            };
            attempts.entry(name.to_owned()).or_default().push(attempt);
        }
        attempts.values_mut().for_each(|attempts| attempts.sort_by_key(|attempt| attempt.number));
        attempts
    }

    fn end(&self, container: &Container, name: &str, number: u32, exit: &Exit) -> End {
        End {
            code: exit.code,
            oom: exit.oom_killed,
            started: moment(exit.started_ms).filter(|_| exit.started_ms > 0),
            finished: moment(exit.finished_ms).unwrap_or_default(),
            error: exit.error.clone(),
            message: self.last_words(container, name, number, exit.code),
        }
    }

    /// What a container left as its last words: in its file, or where the pod says so the end of its log.
    fn last_words(&self, container: &Container, name: &str, number: u32, code: i32) -> Option<String> {
        let (_, _, uid) = spec::names(&self.pod);
        let file = job::directories(&self.shared, &uid).last_words(name, number);
        let mut bytes = fs::read(file).unwrap_or_default();
        bytes.truncate(LAST_WORDS_MAX);
        if !bytes.is_empty() {
            return Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        let pod_spec = spec::of(&self.pod);
        let policy = spec::container(&pod_spec, name).and_then(|(_, found)| found.termination_message_policy);
        if code == 0 || policy.as_deref() != Some("FallbackToLogsOnError") {
            return None;
        }
        let wish = Wish { tail: Some(LAST_LOG_LINES), ..Wish::default() };
        let mut reader = Reader::open(&self.shared.places.log(&container.id), wish).ok()?;
        let mut text = String::new();
        while let Ok(Some(entry)) = reader.next_now() {
            text.push_str(&entry.log);
        }
        let mut from = text.len().saturating_sub(LAST_LOG_MAX);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        Some(text[from..].to_owned()).filter(|text| !text.is_empty())
    }

    /// What the API knows of a container that an earlier agent had watched.
    pub(super) fn known_checks(&self, id: &ContainerId) -> Option<Checks> {
        let id = container_id(id);
        let known = statuses(self.pod.status.as_ref()).find(|known| known.container_id.as_deref() == Some(&id))?;
        (known.started == Some(true)).then(|| Checks { started: true, ready: known.ready, ..Checks::default() })
    }
}

fn moment(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}
