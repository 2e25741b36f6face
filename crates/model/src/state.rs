//! All that was asked for and decided. A persistent value: a clone costs nothing, so a previous state can be kept for a rollback.

use std::{cmp::Reverse, net::IpAddr, sync::Arc};

use imbl::OrdMap;

use crate::{
    address::Family,
    change::{Change, Record, RecordKey},
    container::Container,
    document::Document,
    endpoint::{Endpoint, Link, LinkTarget},
    host::Settings,
    id::{ContainerId, EndpointId, NetworkId, SandboxId},
    network::{self, Bridge, Names, Network, Reach},
    port::Protocol,
    sandbox::Sandbox,
    service::{Cluster, EndpointSlice, FrontendKey, NamespacedName, Service, Spread},
    volume::Volume,
};

/// All that was asked for and decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Counts the changes since the store was made.
    pub revision: u64,
    /// What the daemon was last started with; none before its first start.
    pub settings: Option<Arc<Settings>>,
    /// Networks.
    pub networks: OrdMap<NetworkId, Arc<Network>>,
    /// Sandboxes.
    pub sandboxes: OrdMap<SandboxId, Arc<Sandbox>>,
    /// Endpoints.
    pub endpoints: OrdMap<EndpointId, Arc<Endpoint>>,
    /// Containers.
    pub containers: OrdMap<ContainerId, Arc<Container>>,
    /// What the faces keep of the containers.
    pub documents: OrdMap<ContainerId, Document>,
    /// Volumes by name.
    pub volumes: OrdMap<String, Arc<Volume>>,
    /// Network ids by name.
    pub network_names: OrdMap<String, NetworkId>,
    /// Container ids by name.
    pub container_names: OrdMap<String, ContainerId>,
    /// Which endpoints each network has.
    pub on_network: OrdMap<(NetworkId, EndpointId), ()>,
    /// Which endpoints each sandbox has.
    pub in_sandbox: OrdMap<(SandboxId, EndpointId), ()>,
    /// Which containers each sandbox has.
    pub residents: OrdMap<(SandboxId, ContainerId), ()>,
    /// The cluster that the host is a node of; none without services.
    pub cluster: Option<Arc<Cluster>>,
    /// Services.
    pub services: OrdMap<NamespacedName, Arc<Service>>,
    /// Endpoints of services.
    pub slices: OrdMap<NamespacedName, Arc<EndpointSlice>>,
    /// Which slices each service has.
    pub of_service: OrdMap<(NamespacedName, NamespacedName), ()>,
    /// Which service is asked where.
    pub frontends: OrdMap<FrontendKey, NamespacedName>,
    /// Which service is asked where from outside the cluster, by port.
    pub outside: OrdMap<(Protocol, u16, IpAddr), NamespacedName>,
    /// Which services would be asked where another is, or where somebody has published the port.
    pub contested: OrdMap<(FrontendKey, NamespacedName), ()>,
    /// How often each way to spread those who ask is in use.
    pub spreads: OrdMap<Spread, usize>,
}

impl State {
    /// The state after the change.
    #[must_use]
    pub fn with(&self, change: &Change) -> Self {
        let mut next = self.clone();
        next.revision += 1;
        for key in &change.deletes {
            next.delete(key);
        }
        for record in &change.puts {
            next.put(record.clone());
        }
        next
    }

    /// The container that a link leads to now.
    pub fn linked(&self, link: &Link) -> Option<&Arc<Container>> {
        let id = match &link.to {
            LinkTarget::Container(id) => id,
            LinkTarget::Name(name) => self.container_names.get(name)?,
        };
        self.containers.get(id)
    }

    /// Whether a network has no DNS: those on it know each other by links, which stand in their hosts files.
    pub fn is_linked_by_hosts_file(&self, network: &NetworkId) -> bool {
        self.networks.get(network).and_then(|n| n.bridge()).is_some_and(|bridge| bridge.names == Names::HostsFile)
    }

    /// The endpoints on a network, in order of id.
    pub fn endpoints_on<'s>(&'s self, network: &'s NetworkId) -> impl Iterator<Item = &'s Arc<Endpoint>> + 's {
        let first = (network.clone(), EndpointId::from_bytes([0; 32]));
        let of_it = self.on_network.range(first..).take_while(move |((on, _), ())| on == network);
        of_it.filter_map(|((_, id), ())| self.endpoints.get(id))
    }

    /// The endpoints of a sandbox, in order of id.
    pub fn endpoints_of<'s>(&'s self, sandbox: &'s SandboxId) -> impl Iterator<Item = &'s Arc<Endpoint>> + 's {
        let first = (sandbox.clone(), EndpointId::from_bytes([0; 32]));
        let of_it = self.in_sandbox.range(first..).take_while(move |((within, _), ())| within == sandbox);
        of_it.filter_map(|((_, id), ())| self.endpoints.get(id))
    }

    /// The containers of a sandbox, in order of id.
    pub fn residents_of<'s>(&'s self, sandbox: &'s SandboxId) -> impl Iterator<Item = &'s Arc<Container>> + 's {
        let first = (sandbox.clone(), ContainerId::from_bytes([0; 32]));
        let of_it = self.residents.range(first..).take_while(move |((within, _), ())| within == sandbox);
        of_it.filter_map(|((_, id), ())| self.containers.get(id))
    }

    /// The slices of a service, in order of name.
    pub fn slices_of<'s>(&'s self, service: &'s NamespacedName) -> impl Iterator<Item = &'s Arc<EndpointSlice>> + 's {
        let first = (service.clone(), NamespacedName::from(""));
        let of_it = self.of_service.range(first..).take_while(move |((of, _), ())| of == service);
        of_it.filter_map(|((_, name), ())| self.slices.get(name))
    }

    /// The endpoint by which a sandbox meets the outside in one family, with its network: of those that have an address and reach the
    /// outside, the one with the highest gateway priority; between equals the network's name decides. Its default route and its
    /// published ports are there.
    pub fn gateway<'s>(
        &'s self,
        sandbox: &'s SandboxId,
        family: Family,
    ) -> Option<(&'s Endpoint, &'s Network, &'s Bridge)> {
        let outside = self.endpoints_of(sandbox).filter_map(|endpoint| {
            let network = self.networks.get(&endpoint.network)?;
            let bridge = network.bridge()?;
            endpoint.lease.as_ref()?.address(family)?;
            (bridge.reach == Reach::Outside).then_some((&**endpoint, &**network, bridge))
        });
        outside.min_by_key(|(endpoint, network, _)| (Reverse(endpoint.wish.gateway_priority), &network.name))
    }

    /// The record of that key.
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        match key {
            RecordKey::Settings => self.settings.clone().map(Record::Settings),
            RecordKey::Network(id) => self.networks.get(id).cloned().map(Record::Network),
            RecordKey::Sandbox(id) => self.sandboxes.get(id).cloned().map(Record::Sandbox),
            RecordKey::Endpoint(id) => self.endpoints.get(id).cloned().map(Record::Endpoint),
            RecordKey::Container(id) => self.containers.get(id).cloned().map(Record::Container),
            RecordKey::Document(id) => {
                let document = self.documents.get(id).cloned();
                document.map(|document| Record::Document { container: id.clone(), document })
            }
            RecordKey::Volume(name) => self.volumes.get(name).cloned().map(Record::Volume),
            RecordKey::Cluster => self.cluster.clone().map(Record::Cluster),
            RecordKey::Service(name) => self.services.get(name).cloned().map(Record::Service),
            RecordKey::EndpointSlice(name) => self.slices.get(name).cloned().map(Record::EndpointSlice),
        }
    }

    /// The network that containers are on when they do not say; there is one once the daemon has started.
    pub fn default_network(&self) -> Option<&Network> {
        self.networks.get(self.network_names.get(network::DEFAULT)?).map(|network| &**network)
    }

    pub(crate) fn put(&mut self, record: Record) {
        self.delete_indexes(&record.key());
        match record {
            Record::Settings(settings) => self.settings = Some(settings),
            Record::Network(network) => {
                self.network_names.insert(network.name.clone(), network.id.clone());
                self.networks.insert(network.id.clone(), network);
            }
            Record::Sandbox(sandbox) => {
                self.sandboxes.insert(sandbox.id.clone(), sandbox);
            }
            Record::Endpoint(endpoint) => {
                self.on_network.insert((endpoint.network.clone(), endpoint.id.clone()), ());
                self.in_sandbox.insert((endpoint.sandbox.clone(), endpoint.id.clone()), ());
                self.endpoints.insert(endpoint.id.clone(), endpoint);
            }
            Record::Container(container) => {
                self.container_names.insert(container.name.clone(), container.id.clone());
                self.residents.insert((container.sandbox.clone(), container.id.clone()), ());
                self.containers.insert(container.id.clone(), container);
            }
            Record::Document { container, document } => {
                self.documents.insert(container, document);
            }
            Record::Volume(volume) => {
                self.volumes.insert(volume.name.clone(), volume);
            }
            Record::Cluster(cluster) => self.cluster = Some(cluster),
            Record::Service(service) => self.put_service(service),
            Record::EndpointSlice(slice) => {
                self.of_service.insert((slice.service.clone(), slice.name.clone()), ());
                self.slices.insert(slice.name.clone(), slice);
            }
        }
    }

    pub(crate) fn delete(&mut self, key: &RecordKey) {
        self.delete_indexes(key);
        match key {
            RecordKey::Settings => self.settings = None,
            RecordKey::Network(id) => drop(self.networks.remove(id)),
            RecordKey::Sandbox(id) => drop(self.sandboxes.remove(id)),
            RecordKey::Endpoint(id) => drop(self.endpoints.remove(id)),
            RecordKey::Container(id) => drop(self.containers.remove(id)),
            RecordKey::Document(id) => drop(self.documents.remove(id)),
            RecordKey::Volume(name) => drop(self.volumes.remove(name)),
            RecordKey::Cluster => self.cluster = None,
            RecordKey::Service(name) => drop(self.services.remove(name)),
            RecordKey::EndpointSlice(name) => drop(self.slices.remove(name)),
        }
    }

    fn put_service(&mut self, service: Arc<Service>) {
        let name = &service.wish.name;
        for key in service.frontends.iter().filter_map(|frontend| service.key(frontend)) {
            self.frontends.insert(key, name.clone());
        }
        for (address, protocol, port) in service.outside() {
            self.outside.insert((protocol, port, address), name.clone());
        }
        for key in service.contested.iter().filter_map(|frontend| service.key(frontend)) {
            self.contested.insert((key, name.clone()), ());
        }
        for spread in service.spreads() {
            *self.spreads.entry(spread).or_default() += 1;
        }
        self.services.insert(name.clone(), service);
    }

    fn delete_indexes_of(&mut self, service: &Service) {
        let name = &service.wish.name;
        for key in service.frontends.iter().filter_map(|frontend| service.key(frontend)) {
            if self.frontends.get(&key) == Some(name) {
                self.frontends.remove(&key);
            }
        }
        for (address, protocol, port) in service.outside() {
            let key = (protocol, port, address);
            if self.outside.get(&key) == Some(name) {
                self.outside.remove(&key);
            }
        }
        for key in service.contested.iter().filter_map(|frontend| service.key(frontend)) {
            self.contested.remove(&(key, name.clone()));
        }
        for spread in service.spreads() {
            match self.spreads.get_mut(&spread) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.spreads.remove(&spread)),
            }
        }
    }

    fn delete_indexes(&mut self, key: &RecordKey) {
        match key {
            RecordKey::Network(id) => {
                if let Some(old) = self.networks.get(id) {
                    self.network_names.remove(&old.name);
                }
            }
            RecordKey::Endpoint(id) => {
                if let Some(old) = self.endpoints.get(id) {
                    self.on_network.remove(&(old.network.clone(), id.clone()));
                    self.in_sandbox.remove(&(old.sandbox.clone(), id.clone()));
                }
            }
            RecordKey::Container(id) => {
                if let Some(old) = self.containers.get(id) {
                    self.container_names.remove(&old.name);
                    self.residents.remove(&(old.sandbox.clone(), id.clone()));
                }
            }
            RecordKey::Service(name) => {
                if let Some(old) = self.services.get(name).cloned() {
                    self.delete_indexes_of(&old);
                }
            }
            RecordKey::EndpointSlice(name) => {
                if let Some(old) = self.slices.get(name) {
                    self.of_service.remove(&(old.service.clone(), name.clone()));
                }
            }
            RecordKey::Settings
            | RecordKey::Sandbox(_)
            | RecordKey::Document(_)
            | RecordKey::Volume(_)
            | RecordKey::Cluster => {}
        }
    }
}
