//! The kernel of this machine: the sockets, the namespaces they are in, and the rules that were asked for.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use netstate::{
    Fault,
    netns::NetnsName,
    nft::{Set, SetKey},
};

use crate::{
    fault::Refusal,
    namespace,
    netlink::{Protocol, Socket},
    nft::KnownRules,
    own::Own,
    reaper::Reaper,
    socket::in_namespace_fd,
};

/// Sockets are kept for this many namespaces. An open socket keeps its namespace alive, so they are closed when it is deleted.
const CACHED_NAMESPACES: usize = 64;

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
    pub(crate) sets: HashMap<Arc<SetKey>, Arc<Set>>,
    pub(crate) own: Arc<Own>,
    /// Deletes links of the host.
    pub(crate) reaper: Reaper,
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
            Ok((host, Sockets::open()?, Reaper::open()?))
        };
        let (host, host_sockets, reaper) = open().map_err(|refusal: Refusal| refusal.fault("open netlink sockets"))?;
        let own = Arc::new(Own::default());
        own.know([host_sockets.route.portid(), host_sockets.netfilter.portid(), reaper.portid()]);
        Ok(Self {
            run_dir: run_dir.to_owned(),
            host,
            host_sockets,
            named_sockets: VecDeque::new(),
            rules: KnownRules::default(),
            sets: HashMap::new(),
            own,
            reaper,
        })
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
