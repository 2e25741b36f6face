//! The tables of the userspace data plane: who answers names in which sandbox, and what listeners lead where. They follow the state;
//! a change costs what it changes.

use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;
use model::{
    Change, ContainerId, Endpoint, EndpointId, NamespacedName, NetworkId, Record, RecordKey, SandboxId, State,
    network::Names, sandbox::Up,
};
use plan::{
    dns::{NetworkNames, cluster_names, dns_view, endpoint_names, host_servers, network_names},
    listener::{ListenerTable, forwardings, node_ports},
};
use proxy::dns::Server;
use tracing::warn;

use crate::World;

/// The tables of the userspace data plane.
pub struct Userspace {
    names: Server,
    listeners: Arc<ArcSwap<ListenerTable>>,
}

impl Userspace {
    /// Nothing is served yet.
    pub fn new(names: Server, listeners: Arc<ArcSwap<ListenerTable>>) -> Self {
        Self { names, listeners }
    }

    /// Serves all that the state has: after a start.
    pub fn open(&mut self, state: &State, world: &mut dyn World) {
        for network in state.networks.keys() {
            if let Some(names) = network_names(state, network) {
                self.names.set_names(network, Arc::new(names));
            }
        }
        for sandbox in state.sandboxes.keys() {
            self.serve(state, sandbox, world);
        }
        self.names.set_cluster_names(Arc::new(cluster_names(state).unwrap_or_default()));
        self.serve_cluster(state, world);
        let of_sandboxes = state.sandboxes.keys().flat_map(|sandbox| forwardings(state, sandbox));
        let of_services = state.services.keys().flat_map(|service| node_ports(state, service));
        self.listeners.store(Arc::new(of_sandboxes.chain(of_services).collect()));
    }

    /// Follows a change.
    pub fn follow(&mut self, before: &State, after: &State, change: &Change, world: &mut dyn World) {
        let touched = Touched::by(before, after, change);
        self.follow_names(before, after, &touched);
        for network in &touched.networks {
            if !after.networks.contains_key(network) {
                self.names.forget_names(network);
            }
        }
        for sandbox in &touched.sandboxes {
            self.serve(after, sandbox, world);
        }
        self.follow_listeners(before, after, &touched);
        self.follow_cluster(before, after, &touched, world);
    }

    /// Serves nothing any more.
    pub fn close(&mut self) {
        let all: Vec<_> = self.names.sandboxes().cloned().collect();
        all.iter().for_each(|sandbox| self.names.stop(sandbox));
        let addresses: Vec<_> = self.names.cluster_addresses().copied().collect();
        addresses.iter().for_each(|address| self.names.stop_cluster(address));
        self.listeners.store(Arc::default());
    }

    fn follow_names(&mut self, before: &State, after: &State, touched: &Touched) {
        for network in &touched.named_networks(before, after) {
            let Some(name) = after.networks.get(network).map(|n| &n.name) else { continue };
            let mut names = self.names.names(network).map_or_else(|| NetworkNames::new(name), |names| (*names).clone());
            let on_network = |state: &State, id: &EndpointId| {
                state.endpoints.get(id).filter(|e| e.network == *network).map(|e| endpoint_names(state, e))
            };
            let gone: Vec<_> = touched.endpoints.iter().filter_map(|id| on_network(before, id)).collect();
            let here: Vec<_> = touched.endpoints.iter().filter_map(|id| on_network(after, id)).collect();
            if gone == here {
                continue;
            }
            gone.iter().for_each(|endpoint| names.remove(endpoint));
            here.iter().for_each(|endpoint| names.insert(endpoint));
            self.names.set_names(network, Arc::new(names));
        }
    }

    fn serve(&mut self, state: &State, sandbox: &SandboxId, world: &mut dyn World) {
        let up = state.sandboxes.get(sandbox).is_some_and(|s| s.up == Up::Up);
        let view = up.then(|| dns_view(state, sandbox, &world.resolv_conf())).flatten();
        let Some(view) = view else { return self.names.stop(sandbox) };
        if self.names.sandboxes().any(|served| served == sandbox) {
            return self.names.update(sandbox, Arc::new(view));
        }
        let served = world.name_sockets(sandbox).map_err(|e| e.to_string()).and_then(|(udp, tcp)| {
            self.names.serve(sandbox.clone(), udp, tcp, Arc::new(view)).map_err(|e| e.to_string())
        });
        if let Err(error) = served {
            warn!(%sandbox, error, "names cannot be resolved in this sandbox");
        }
    }

    fn follow_cluster(&mut self, before: &State, after: &State, touched: &Touched, world: &mut dyn World) {
        if before.cluster != after.cluster {
            self.names.set_cluster_names(Arc::new(cluster_names(after).unwrap_or_default()));
            return self.serve_cluster(after, world);
        }
        let named = after.cluster.as_ref().is_some_and(|cluster| cluster.dns.is_some());
        if named && !touched.services.is_empty() {
            let mut names = (*self.names.cluster_names()).clone();
            touched.services.iter().for_each(|service| names.update(after, service));
            self.names.set_cluster_names(Arc::new(names));
        }
    }

    /// Answers at the addresses of the cluster's name service, and nowhere else.
    fn serve_cluster(&mut self, state: &State, world: &mut dyn World) {
        let dns = state.cluster.as_ref().and_then(|cluster| cluster.dns.as_ref());
        let wanted = dns.map_or(&[][..], |dns| &dns.addresses);
        let served: Vec<_> = self.names.cluster_addresses().copied().collect();
        for address in served.iter().filter(|address| !wanted.contains(address)) {
            self.names.stop_cluster(address);
        }
        for address in wanted.iter().filter(|address| !served.contains(address)) {
            let host = world.resolv_conf();
            let outside = host_servers(&host).filter(|server| !wanted.contains(&server.address.ip())).collect();
            let sockets = world.cluster_name_sockets(*address);
            let served = sockets.and_then(|sockets| self.names.serve_cluster(*address, sockets, outside));
            if let Err(error) = served {
                warn!(%address, %error, "the names of the cluster cannot be resolved here");
            }
        }
    }

    fn follow_listeners(&mut self, before: &State, after: &State, touched: &Touched) {
        let of = |state: &State| -> Vec<_> {
            let of_sandboxes = touched.sandboxes.iter().flat_map(|sandbox| forwardings(state, sandbox));
            let of_services = touched.services.iter().flat_map(|service| node_ports(state, service));
            of_sandboxes.chain(of_services).collect()
        };
        let (gone, here) = (of(before), of(after));
        if gone == here {
            return;
        }
        let mut table = (**self.listeners.load()).clone();
        gone.iter().for_each(|forwarding| table.remove(forwarding));
        here.into_iter().for_each(|forwarding| table.insert(forwarding));
        self.listeners.store(Arc::new(table));
    }
}

/// The containers that live and whose hosts file a change may alter: those of the sandboxes it touches, and those that are linked
/// to them on a network without DNS.
pub fn readers(before: &State, after: &State, change: &Change) -> BTreeSet<ContainerId> {
    let touched = Touched::by(before, after, change);
    let mut sandboxes = touched.sandboxes.clone();
    for network in touched.named_networks(before, after) {
        let bridge = after.networks.get(&network).and_then(|n| n.bridge());
        if bridge.is_some_and(|bridge| bridge.names == Names::HostsFile) {
            let linking = after.endpoints_on(&network).filter(|endpoint| !endpoint.wish.links.is_empty());
            sandboxes.extend(linking.map(|endpoint| endpoint.sandbox.clone()));
        }
    }
    let residents = sandboxes.iter().flat_map(|sandbox| after.residents_of(sandbox));
    residents.filter(|container| container.run().is_some()).map(|container| container.id.clone()).collect()
}

/// What a change touches.
#[derive(Default)]
struct Touched {
    networks: BTreeSet<NetworkId>,
    sandboxes: BTreeSet<SandboxId>,
    endpoints: BTreeSet<EndpointId>,
    services: BTreeSet<NamespacedName>,
}

impl Touched {
    fn by(before: &State, after: &State, change: &Change) -> Self {
        let mut touched = Self::default();
        let puts = change.puts.iter().map(Record::key);
        for key in puts.chain(change.deletes.iter().cloned()) {
            match key {
                RecordKey::Network(id) => drop(touched.networks.insert(id)),
                RecordKey::Sandbox(id) => drop(touched.sandboxes.insert(id)),
                RecordKey::Endpoint(id) => {
                    let sandbox = |state: &State| state.endpoints.get(&id).map(|e| e.sandbox.clone());
                    touched.sandboxes.extend(sandbox(before).into_iter().chain(sandbox(after)));
                    touched.endpoints.insert(id);
                }
                RecordKey::Settings
                | RecordKey::Container(_)
                | RecordKey::Document(_)
                | RecordKey::Volume(_)
                | RecordKey::Cluster => {}
                RecordKey::Service(name) => drop(touched.services.insert(name)),
                RecordKey::EndpointSlice(name) => {
                    let of = |state: &State| state.slices.get(&name).map(|slice| slice.service.clone());
                    touched.services.extend([of(before), of(after)].into_iter().flatten());
                }
            }
        }
        for sandbox in &touched.sandboxes {
            let both = before.endpoints_of(sandbox).chain(after.endpoints_of(sandbox));
            touched.endpoints.extend(both.map(|endpoint| endpoint.id.clone()));
        }
        touched
    }

    fn named_networks(&self, before: &State, after: &State) -> BTreeSet<NetworkId> {
        let network = |endpoint: Option<&Arc<Endpoint>>| endpoint.map(|e| e.network.clone());
        let of = |id| network(before.endpoints.get(id)).into_iter().chain(network(after.endpoints.get(id)));
        self.networks.iter().cloned().chain(self.endpoints.iter().flat_map(of)).collect()
    }
}
