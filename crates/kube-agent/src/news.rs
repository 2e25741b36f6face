//! What happens in the engine's state to the sandbox of one pod and to what is in it; what happens to others is nobody's news.

use std::sync::Arc;

use engine::Engine;
use model::{Container, Endpoint, SandboxId, State, sandbox::Sandbox};
use tokio::sync::watch;

/// The news of one sandbox.
pub struct News {
    changes: watch::Receiver<Arc<State>>,
    id: SandboxId,
    /// Held, so that no other value can be where one of these was.
    last: Parts,
}

/// The sandbox, its endpoints and its containers. A value that has changed is another value.
struct Parts {
    sandbox: Option<Arc<Sandbox>>,
    endpoints: Vec<Arc<Endpoint>>,
    containers: Vec<Arc<Container>>,
}

impl News {
    /// From now on.
    pub fn of(engine: &Engine, id: SandboxId) -> Self {
        let mut changes = engine.watch();
        let last = Parts::of(&changes.borrow_and_update(), &id);
        Self { changes, id, last }
    }

    /// Waits for some; fails when the engine has ended. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<(), watch::error::RecvError> {
        loop {
            self.changes.changed().await?;
            let now = Parts::of(&self.changes.borrow_and_update(), &self.id);
            if !now.are(&self.last) {
                self.last = now;
                return Ok(());
            }
        }
    }
}

impl Parts {
    fn of(state: &State, id: &SandboxId) -> Self {
        Self {
            sandbox: state.sandboxes.get(id).cloned(),
            endpoints: state.endpoints_of(id).cloned().collect(),
            containers: state.residents_of(id).cloned().collect(),
        }
    }

    fn are(&self, others: &Self) -> bool {
        fn same<T>(these: &[Arc<T>], those: &[Arc<T>]) -> bool {
            these.len() == those.len() && these.iter().zip(those).all(|(this, that)| Arc::ptr_eq(this, that))
        }
        same(self.sandbox.as_slice(), others.sandbox.as_slice())
            && same(&self.endpoints, &others.endpoints)
            && same(&self.containers, &others.containers)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::sandbox::{DnsWish, Namespace, Stays, Up};

    use super::*;

    #[test]
    fn only_what_is_of_the_sandbox_is_news() {
        let [ours, theirs] = ["ours", "theirs"].map(crate::identity::sandbox);
        let put = |state: &State, id: &SandboxId| {
            let mut next = state.clone();
            next.sandboxes.insert(id.clone(), Arc::new(sandbox(id)));
            next
        };
        let empty = State::default();
        let (with_ours, with_theirs) = (put(&empty, &ours), put(&empty, &theirs));
        let check = |before: &State, after: &State, expected: bool| {
            assert_eq!(!Parts::of(after, &ours).are(&Parts::of(before, &ours)), expected);
        };
        check(&empty, &empty.clone(), false);
        check(&empty, &with_theirs, false);
        check(&empty, &with_ours, true);
        check(&with_ours, &put(&with_ours, &theirs), false);
        check(&with_ours, &put(&with_ours, &ours), true);
        check(&with_ours, &empty, true);
    }

    fn sandbox(id: &SandboxId) -> Sandbox {
        Sandbox {
            id: id.clone(),
            namespace: Namespace::Own,
            names: Vec::new(),
            hostname: String::new(),
            domainname: String::new(),
            dns: DnsWish::default(),
            extra_hosts: Vec::new(),
            sysctls: BTreeMap::new(),
            exposed: Vec::new(),
            ports: Vec::new(),
            published: Vec::new(),
            up: Up::Up,
            stays: Stays::UntilRemoved,
        }
    }
}
