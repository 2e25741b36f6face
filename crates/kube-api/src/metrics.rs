//! Counts of what is asked, under kube-apiserver's names, as Prometheus reads them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use store::objects::Snapshot;

use crate::kind;

/// Counts of what is asked. Labels are words of the server alone, so there are few of them, whatever clients ask.
#[derive(Default)]
pub struct Metrics(Mutex<BTreeMap<Asked, Answered>>);

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// `get`, `list` ...; empty for documents.
    pub verb: &'static str,
    /// API group.
    pub group: &'static str,
    /// Plural name; empty for documents.
    pub resource: &'static str,
    /// HTTP status code.
    pub code: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    count: u64,
    time: Duration,
}

impl Metrics {
    /// Counts an answer, and how long its client waited.
    pub fn count(&self, asked: Asked, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = all.entry(asked).or_default();
        one.count += 1;
        one.time += took;
    }

    /// All counts, and how many objects there are.
    pub fn text(&self, objects: &Snapshot) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut text = String::new();
        let labels = |Asked { verb, group, resource, code }: &Asked| {
            let verb = verb.to_uppercase();
            format!("code=\"{code}\",group=\"{group}\",resource=\"{resource}\",verb=\"{verb}\"")
        };
        head(&mut text, "apiserver_request_total", "counter", "Requests that were answered.");
        for (asked, answered) in &all {
            let _ = writeln!(text, "apiserver_request_total{{{}}} {}", labels(asked), answered.count);
        }
        head(&mut text, "apiserver_request_duration_seconds", "summary", "Time until they were answered.");
        for (asked, answered) in &all {
            let (labels, seconds) = (labels(asked), answered.time.as_secs_f64());
            let _ = writeln!(text, "apiserver_request_duration_seconds_sum{{{labels}}} {seconds}");
            let _ = writeln!(text, "apiserver_request_duration_seconds_count{{{labels}}} {}", answered.count);
        }
        head(&mut text, "apiserver_storage_objects", "gauge", "Objects that are kept.");
        for kind in kind::ALL.iter().filter(|kind| kind.twin.is_none() && kind.verbs.has("get")) {
            let count = objects.range(&crate::server::prefix(kind, None), None).count();
            let resource = crate::status::resource(kind);
            let _ = writeln!(text, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Text takes everything.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_counted() {
        let metrics = Metrics::default();
        let asked = Asked { verb: "get", group: "apps", resource: "deployments", code: 404 };
        metrics.count(asked, Duration::from_millis(250));
        metrics.count(asked, Duration::from_millis(250));
        let text = metrics.text(&Snapshot::default());
        let labels = "code=\"404\",group=\"apps\",resource=\"deployments\",verb=\"GET\"";
        for line in [
            format!("apiserver_request_total{{{labels}}} 2"),
            format!("apiserver_request_duration_seconds_sum{{{labels}}} 0.5"),
            "apiserver_storage_objects{resource=\"deployments.apps\"} 0".to_owned(),
        ] {
            assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
        }
    }
}
