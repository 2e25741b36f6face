//! Noticing that somebody else changed what is ours.

use std::{collections::BTreeSet, sync::Mutex};

use netstate::Plan;

use crate::linux::Sockets;

/// What tells our own changes from others'.
#[derive(Debug, Default)]
pub(crate) struct Own {
    portids: Mutex<BTreeSet<u32>>,
    applying: Mutex<()>,
}

impl Own {
    /// These sockets are ours.
    pub fn know(&self, sockets: &Sockets) {
        if let Ok(mut portids) = self.portids.lock() {
            portids.extend([sockets.route.portid(), sockets.netfilter.portid()]);
        }
    }

    /// A plan is being carried out until the guard is dropped.
    pub fn begin(&self, _plan: &Plan) -> Option<std::sync::MutexGuard<'_, ()>> {
        self.applying.lock().ok()
    }
}
