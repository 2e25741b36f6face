//! A host with a daemon that serves the Kubernetes API too.

use std::{path::Path, process::Command};

use crate::{Host, Said, eventually, eventually_fits};

/// A host whose daemon serves the Kubernetes API, is its node, and has the image `busybox:1`.
pub struct Cluster {
    /// The host.
    pub host: Host,
}

impl Cluster {
    /// Starts one; none, said loudly, where it cannot be.
    ///
    /// # Panics
    /// When the node does not come up.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with arguments for `linkspan up`.
    ///
    /// # Panics
    /// When the node does not come up.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let host = Host::empty()?.with_all_faces().with_arguments(arguments);
        host.start_daemon();
        Self::on(host)
    }

    /// A cluster on a host whose daemon serves the Kubernetes API; none, said loudly, where there is no kubectl.
    ///
    /// # Panics
    /// When the node does not come up.
    pub fn on(host: Host) -> Option<Self> {
        if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
            eprintln!("SKIPPED: there is no kubectl");
            return None;
        }
        host.load_image();
        host.docker("tag busybox busybox:1").ok();
        let cluster = Self { host };
        eventually("the node and the default account are there", || {
            (cluster.kubectl("get node -o name").code == 0 && cluster.kubectl("get serviceaccount default").code == 0)
                .then_some(())
        });
        Some(cluster)
    }

    /// Runs kubectl on the host; words are split as a shell does.
    pub fn kubectl(&self, words: &str) -> Said {
        self.host.sh(&format!("export KUBECONFIG=/run/linkspan/kubeconfig; timeout 60 kubectl {words}"))
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> Said {
        // What begins with a brace would pass for JSON.
        self.kubectl(&format!("apply -f - <<'END'\n---\n{manifest}\nEND"))
    }

    /// Applies a file of `tests/kube`.
    ///
    /// # Panics
    /// When it is not taken.
    pub fn apply_file(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube").join(name);
        eventually("it is applied", || {
            // The service account of a namespace comes a moment after it.
            let said = self.kubectl(&format!("apply -f {}", file.display()));
            (said.code == 0).then_some(())
        });
    }

    /// What a field of a pod says, by its JSONPath.
    pub fn field(&self, pod: &str, path: &str) -> String {
        self.kubectl(&format!("get pod {pod} -o 'jsonpath={{{path}}}'")).out
    }

    /// Waits until a field of a pod says this.
    ///
    /// # Panics
    /// When it does not come to that.
    #[track_caller]
    pub fn until(&self, pod: &str, path: &str, expected: &str) {
        let what = format!("{pod} has {path} {expected}");
        eventually_fits(&what, || self.field(pod, path), |found| found == expected);
    }

    /// Waits until a pod is ready.
    ///
    /// # Panics
    /// When it does not come to that.
    #[track_caller]
    pub fn until_ready(&self, pod: &str) {
        self.until(pod, ".status.conditions[?(@.type==\"Ready\")].status", "True");
    }

    /// Waits until `kubectl get pod` shows this in its column STATUS.
    ///
    /// # Panics
    /// When it does not come to that.
    #[track_caller]
    pub fn until_shown(&self, pod: &str, expected: &str) {
        let row = || self.kubectl(&format!("get pod {pod} --no-headers")).out;
        let shown = |row: &str| row.split_whitespace().nth(2) == Some(expected);
        eventually_fits(&format!("{pod} is shown as {expected}"), row, shown);
    }

    /// Waits until one of the events of an object has these words: its reason and its message.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn until_told(&self, object: &str, words: &str) {
        let path = "{range .items[*]}{.reason} {.message}{\"\\n\"}{end}";
        let about = format!("get events -A --field-selector involvedObject.name={object} -o 'jsonpath={path}'");
        let told = || self.kubectl(&about).out;
        eventually_fits(&format!("an event of {object} says {words:?}"), told, |told| told.contains(words));
    }
}
