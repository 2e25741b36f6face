//! What this machine can do and what stands in the way, for `linkspan doctor`. Features are tried out in namespaces that nothing else
//! is in, so the answer is the kernel's own and nothing is changed.

mod address;
mod feature;
mod firewall;
mod setting;

use std::collections::BTreeSet;

use netstate::Fault;

use crate::linux::Linux;

pub use firewall::ForeignChain;

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What, in a few words.
    pub what: String,
    /// How it stands.
    pub verdict: Verdict,
}

/// How a thing stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be; what was found, in words.
    Good(String),
    /// Something works less well, or differently than one might expect.
    Warning {
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// linkspan cannot do its work.
    Bad {
        /// What was found.
        found: String,
        /// What to do.
        remedy: String,
    },
}

impl Linux {
    /// Looks at everything: features of the kernel, settings, foreign firewall rules that packets must pass too, other ways to our addresses.
    pub fn probe(&self) -> Result<Vec<Check>, Fault> {
        let mut checks = feature::checks();
        let host = self.inside(&netstate::netns::NetnsName::Host, || {
            let mut checks = setting::checks();
            firewall::checks().map(|more| checks.extend(more))?;
            Ok(checks)
        });
        let host = host
            .and_then(|checks| checks)
            .map_err(|refusal: crate::fault::Refusal| refusal.fault("look at the host's firewall"))?;
        checks.extend(host);
        checks.extend(address::checks(&self.facts()?.routes(&BTreeSet::new())?));
        Ok(checks)
    }
}

/// The foreign nftables chains (those of iptables-nft among them) that packets pass in the calling thread's namespace, whatever the hook.
pub fn foreign_chains() -> Result<Vec<ForeignChain>, Fault> {
    firewall::chains().map_err(|refusal| refusal.fault("list the host's nftables chains"))
}

fn good(what: &str, found: impl Into<String>) -> Check {
    Check { what: what.into(), verdict: Verdict::Good(found.into()) }
}

fn warning(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { what: what.into(), verdict: Verdict::Warning { found: found.into(), remedy: remedy.into() } }
}

fn bad(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { what: what.into(), verdict: Verdict::Bad { found: found.into(), remedy: remedy.into() } }
}
