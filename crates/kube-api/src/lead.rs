//! Who runs the controllers where several servers share their objects: one of them, by a lease as kube-controller-manager has one. When the
//! lease ends is counted from when it was last seen to change, by a clock that nobody sets.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use store::objects::Revision;
use tokio::time::Instant;

use crate::{
    auth::User,
    kind::lease,
    object::{Look, encoding, meta},
    query::WriteOptions,
    server::Server,
    verb::{
        Place, create,
        update::{self, Part, Update},
    },
};

const PLACE: Place<'static> = Place { kind: &lease::KIND, namespace: "kube-system" };
const NAME: &str = "kube-controller-manager";
/// How long it lasts after it was renewed.
const LASTS: Duration = Duration::from_secs(15);
/// How long one may lead without having renewed it: less than it lasts.
const LEADS: Duration = Duration::from_secs(10);
/// How often it is renewed, and how often it is looked at by who does not have it.
pub const EVERY: Duration = Duration::from_secs(3);

/// One who leads, or would.
pub struct Lead {
    me: String,
    /// The lease as it was last seen, and since when.
    seen: Option<(Revision, Instant)>,
    renewed: Option<Instant>,
}

/// What is to be done about the lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It was renewed a moment ago.
    Lead,
    /// Make it.
    Make,
    /// Renew it, or take it over: what was seen is replaced.
    Write,
    /// Somebody else has it.
    Follow,
}

impl Lead {
    /// Of a server that has its keys in a folder: on one machine no other has the same.
    pub fn new(pki: &Path) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let folder = std::fs::canonicalize(pki).unwrap_or_else(|_| pki.to_owned());
        Self { me: format!("{}_{}", host.trim(), folder.display()), seen: None, renewed: None }
    }

    /// Whether this server runs the controllers now.
    pub async fn leads(&mut self, server: &Server) -> bool {
        if !server.objects.is_shared() {
            return true;
        }
        let stored = server.objects.cached().get(&PLACE.key(NAME)).cloned();
        let lease = stored.as_ref().map(encoding::decode);
        let known = stored.as_ref().zip(lease.as_ref());
        let known = known.map(|(stored, lease)| (stored.modified, lease.text("spec.holderIdentity")));
        let now = Instant::now();
        let written = match self.next(known, now) {
            Step::Lead => return true,
            Step::Follow => false,
            Step::Make => self.write(server, None).await,
            Step::Write => self.write(server, lease.as_ref()).await,
        };
        if written {
            self.renewed = Some(now);
        }
        self.renewed.is_some_and(|renewed| now.duration_since(renewed) < LEADS)
    }

    /// What to do about the lease: its revision and its holder.
    fn next(&mut self, lease: Option<(Revision, &str)>, now: Instant) -> Step {
        if self.renewed.is_some_and(|renewed| now.duration_since(renewed) < EVERY) {
            return Step::Lead;
        }
        let Some((revision, holder)) = lease else { return Step::Make };
        let since = match self.seen {
            Some((seen, since)) if seen == revision => since,
            _ => self.seen.insert((revision, now)).1,
        };
        if holder == self.me {
            return Step::Write;
        }
        // Somebody was faster, whatever this one believes.
        self.renewed = None;
        if now.duration_since(since) >= LASTS { Step::Write } else { Step::Follow }
    }

    async fn write(&self, server: &Server, lease: Option<&Value>) -> bool {
        let user = User::internal("system:kube-controller-manager");
        let options = WriteOptions::internal("kube-controller-manager");
        let now = meta::micro_time(server.now());
        let mut new = lease.cloned().unwrap_or_else(|| {
            json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": NAME, "namespace": PLACE.namespace } })
        });
        if new.text("spec.holderIdentity") != self.me {
            new.put(
                "spec.leaseTransitions",
                lease.map_or(0, |lease| lease.int("spec.leaseTransitions").unwrap_or_default() + 1),
            );
            new.put("spec.acquireTime", now.clone());
            new.put("spec.holderIdentity", self.me.clone());
        }
        new.put("spec.leaseDurationSeconds", LASTS.as_secs());
        new.put("spec.renewTime", now);
        let outcome = match lease {
            None => create::create(server, PLACE, &user, new, &options).await,
            // It says its version, so it replaces what was seen and nothing else.
            Some(_) => {
                let asked = Update { name: NAME, user: &user, part: Part::Whole, options: &options };
                update::update(server, PLACE, &asked, update::whole(&new)).await
            }
        };
        outcome.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads() {
        let start = Instant::now();
        let mut lead = Lead { me: "me".to_owned(), seen: None, renewed: None };
        let mut check = |now_s: u64, lease: Option<(u64, &str)>, renewed_s: Option<u64>, expected| {
            let at = |s| start + Duration::from_secs(s);
            lead.renewed = renewed_s.map(at).or(lead.renewed);
            let lease = lease.map(|(revision, holder)| (Revision(revision), holder));
            assert_eq!(lead.next(lease, at(now_s)), expected, "after {now_s} s");
        };
        check(0, None, None, Step::Make);
        check(1, Some((7, "other")), None, Step::Follow);
        check(15, Some((7, "other")), None, Step::Follow);
        check(15, Some((8, "other")), None, Step::Follow);
        check(29, Some((8, "other")), None, Step::Follow);
        check(30, Some((8, "other")), None, Step::Write);
        check(31, Some((9, "me")), Some(30), Step::Lead);
        check(33, Some((9, "me")), None, Step::Write);
        check(40, Some((10, "other")), None, Step::Follow);
        // One that comes back with its name has not to wait.
        check(50, Some((11, "me")), None, Step::Write);
    }
}
