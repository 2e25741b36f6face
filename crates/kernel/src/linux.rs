//! The kernel of this machine, as `netstate` wants one: the sockets, the namespaces they are in, and the rules that were asked for.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use netstate::{
    Fault, Kernel, Key, NetState, Plan, Report,
    netns::NetnsName,
    nft::{Set, SetKey},
};

use crate::{
    apply,
    fault::Refusal,
    monitor::Own,
    namespace,
    netlink::{Protocol, Socket},
    nft::KnownRules,
    observe,
    socket::in_namespace_fd,
};

/// Sockets are kept for this many namespaces. An open socket keeps its namespace alive, so they are closed when it is deleted.
const CACHED_NAMESPACES: usize = 64;

/// The protocol number of our routes (`ip route show proto 108`) and of our addresses (`ip -d address`, Linux 5.18 and later): `l` for
/// linkspan. It is not among those of `/etc/iproute2/rt_protos`.
pub const PROTOCOL: u8 = 0x6c;

/// The link group of our links in the host's namespace (`ip link show group 27763`). It is set in the very message that makes a link,
/// which the alias cannot be: a link in the group without an alias was made by a daemon that died before the next message.
pub const LINK_GROUP: u32 = 0x6c73;

/// The group of links that are being deleted together.
pub(crate) const DOOMED_GROUP: u32 = LINK_GROUP + 1;

/// The start of the alias of our links in the host's namespace.
pub const ALIAS_PREFIX: &str = "linkspan:";

/// Linux, seen and changed by netlink.
#[derive(Debug)]
pub struct Linux {
    run_dir: PathBuf,
    host: File,
    host_sockets: Sockets,
    /// The most recently used last.
    named_sockets: VecDeque<(String, Sockets)>,
    pub(crate) rules: KnownRules,
    /// The sets that are there; elements are encoded and read by their set's types.
    pub(crate) sets: HashMap<SetKey, Set>,
    pub(crate) own: Arc<Own>,
}

/// The sockets in one namespace.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub route: Socket,
    pub netfilter: Socket,
}

impl Sockets {
    /// Sockets in the calling thread's namespace.
    pub fn open() -> Result<Self, Refusal> {
        Ok(Self { route: Socket::open(Protocol::Route)?, netfilter: Socket::open(Protocol::Netfilter)? })
    }
}

impl Linux {
    /// The kernel, with the calling thread's network namespace as the host's and our own namespaces in `RUN_DIR/netns`.
    ///
    /// Needs no privilege by itself; changing anything later needs CAP_NET_ADMIN, and CAP_SYS_ADMIN for namespaces.
    pub fn open(run_dir: &Path) -> Result<Self, Fault> {
        let open = || {
            let host = File::open(namespace::OWN)?;
            Ok((host, Sockets::open()?))
        };
        let (host, host_sockets) = open().map_err(|refusal: Refusal| refusal.fault("open netlink sockets"))?;
        let own = Arc::new(Own::default());
        own.know(&host_sockets);
        Ok(Self {
            run_dir: run_dir.to_owned(),
            host,
            host_sockets,
            named_sockets: VecDeque::new(),
            rules: KnownRules::default(),
            sets: HashMap::new(),
            own,
        })
    }

    /// Tells which rules to recognise. The kernel keeps a rule's short hash, not its value: `observe` gives a rule whose hash is among
    /// those of `desired`, or of the plans applied since, as that rule, and any other as a placeholder that equals none. Call it with
    /// the desired state before `observe`, or every chain of an earlier daemon is replaced.
    pub fn know_rules(&mut self, desired: &NetState) {
        self.rules.replace(desired);
    }

    /// The file of a namespace of ours, for `setns`, an OCI bundle or `nsenter --net=`.
    pub fn netns_path(&self, name: &str) -> PathBuf {
        namespace::path(&self.run_dir, name)
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    pub(crate) fn host(&self) -> &File {
        &self.host
    }

    /// Runs `f` inside a namespace: here when it is the calling thread's own, else on a throwaway thread.
    pub(crate) fn inside<T: Send>(&self, netns: &NetnsName, f: impl FnOnce() -> T + Send) -> Result<T, Refusal> {
        match netns {
            NetnsName::Host if namespace::same(&self.host, &File::open(namespace::OWN)?)? => Ok(f()),
            NetnsName::Host => Ok(in_namespace_fd(&self.host, f)?),
            NetnsName::Named(name) => Ok(in_namespace_fd(self.open_named(name)?, f)?),
        }
    }

    /// The sockets in a namespace; ENOENT when it is not there.
    pub(crate) fn sockets(&mut self, netns: &NetnsName) -> Result<&mut Sockets, Refusal> {
        let NetnsName::Named(name) = netns else { return Ok(&mut self.host_sockets) };
        let found = match self.named_sockets.iter().position(|(known, _)| known == name) {
            Some(at) => self.named_sockets.remove(at),
            None => None,
        };
        let entry = match found {
            Some(entry) => entry,
            None => (name.clone(), in_namespace_fd(self.open_named(name)?, Sockets::open)??),
        };
        self.remember(entry);
        // Just pushed.
        self.named_sockets.back_mut().map(|(_, sockets)| sockets).ok_or_else(|| Refusal::new(libc::ENOENT))
    }

    /// Keeps the sockets of a namespace that was just made.
    pub(crate) fn adopt(&mut self, name: &str, sockets: Sockets) {
        self.remember((name.to_owned(), sockets));
    }

    /// Closes the sockets of a namespace, so that it can go.
    pub(crate) fn forget(&mut self, name: &str) {
        self.named_sockets.retain(|(known, _)| known != name);
        self.sets.retain(|key, _| key.table.netns != NetnsName::named(name));
    }

    pub(crate) fn open_named(&self, name: &str) -> Result<File, Refusal> {
        namespace::check_name(name)?;
        Ok(File::open(self.netns_path(name))?)
    }

    fn remember(&mut self, entry: (String, Sockets)) {
        if self.named_sockets.len() >= CACHED_NAMESPACES {
            self.named_sockets.pop_front();
        }
        self.named_sockets.push_back(entry);
    }
}

impl Kernel for Linux {
    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        let state = observe::observe(self, settings).map_err(|refusal| refusal.fault("observe the network"))?;
        self.own.know_links(&state);
        Ok(state)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        let own = self.own.clone();
        let _applying = own.begin(plan);
        apply::apply(self, plan)
    }
}
