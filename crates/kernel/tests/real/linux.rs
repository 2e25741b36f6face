//! Linux as the tests have it: whatever is written of nftables, `nft list ruleset` must show, and load again as the same. A rule that nft
//! cannot read takes the list of all rules from everybody on the host.

use std::{
    collections::BTreeSet,
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
};

use kernel::socket::{in_namespace, in_private_namespaces};
use netstate::{Fault, Kernel, Key, NetState, Plan, Report, netns::NetnsName};

use crate::common::run;

/// The kernel, whose rules are listed and loaded again after each plan that has to do with any.
pub struct Linux {
    kernel: kernel::Linux,
    run_dir: PathBuf,
}

impl Linux {
    pub fn open(run_dir: &Path) -> Result<Self, Fault> {
        Ok(Self { kernel: kernel::Linux::open(run_dir)?, run_dir: run_dir.to_owned() })
    }
}

impl Deref for Linux {
    type Target = kernel::Linux;

    fn deref(&self) -> &Self::Target {
        &self.kernel
    }
}

impl DerefMut for Linux {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.kernel
    }
}

impl Kernel for Linux {
    fn expect(&mut self, desired: &NetState) {
        self.kernel.expect(desired);
    }

    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.kernel.observe(settings)
    }

    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.kernel.settings(settings)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        let report = self.kernel.apply(plan);
        let written: BTreeSet<&NetnsName> =
            plan.ops.iter().filter_map(|op| op.key().table()).map(|table| &table.netns).collect();
        for netns in written {
            match netns {
                NetnsName::Host => drop(ruleset(&self.run_dir)),
                NetnsName::Named(name) => inside(&self.run_dir, &self.netns_path(name)),
            }
        }
        report
    }
}

/// What `nft list ruleset` prints here. It must load again.
pub fn ruleset(run_dir: &Path) -> String {
    let text = run("nft", &["list", "ruleset"]);
    reload(run_dir, &text);
    text
}

/// Every ruleset of a world: the host's, and those of all namespaces.
pub fn rulesets(run_dir: &Path) {
    ruleset(run_dir);
    let Ok(files) = fs::read_dir(run_dir.join("netns")) else { return };
    for file in files {
        inside(run_dir, &file.expect("an entry").path());
    }
}

fn inside(run_dir: &Path, netns: &Path) {
    // The plan may have taken it away, or a file may be left that stands for none.
    let _ = in_namespace(netns, || ruleset(run_dir));
}

/// Loads a ruleset into a namespace of its own, where it must list the same again. A text that was loaded before is known to load.
fn reload(run_dir: &Path, text: &str) {
    static LOADED: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);
    let is_new = |text: &str| LOADED.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
    if text.is_empty() || !is_new(text) {
        return;
    }
    let file = run_dir.join("ruleset.nft");
    fs::write(&file, text).expect("to write");
    let again = in_private_namespaces(|| {
        run("nft", &["-f", &file.to_string_lossy()]);
        run("nft", &["list", "ruleset"])
    });
    assert_eq!(timeless(&again.expect("namespaces")), timeless(text), "what is listed does not load as the same");
}

/// Without the time that is left to what packets filled in.
fn timeless(text: &str) -> String {
    let mut parts = text.split(" expires ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()))
}
