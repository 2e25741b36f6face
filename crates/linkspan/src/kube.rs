//! The Kubernetes face put together: objects, API server, its kubeconfig, and the node. Nothing is decided here.

mod gateway;

use std::{
    collections::BTreeMap,
    fs, io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use engine::{Engine, Places};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube_agent::{Agent, ClusterNames, Kubelet, NodeSettings};
use kube_api::{
    ApiServer, OpenError, Opening,
    auth::{
        MASTERS, NODES,
        authority::{AuthorityError, ServerNames},
    },
    settings::{KUBERNETES, Settings},
};
use runtime::image::{self, RegistrySettings};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use store::objects::{Etcd, Objects, ObjectsError, Options};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::config;

/// Ports of services on every node.
const NODE_PORTS: (u16, u16) = (30000, 32767);
/// The port at which those arrive who ask the Service `kubernetes`, at its address, which this host has on the pods' network. It is not the
/// Service's own: there is often a server that listens at 443 of all addresses.
const API_PORT: u16 = 6443;
/// The port of the node's own API.
const KUBELET_PORT: u16 = 10250;
/// The longest that is waited for an etcd, and until the node that has its engine has its services.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after an etcd could not be reached it is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// The domain of the cluster's names.
const DOMAIN: &str = "cluster.local";

/// What the Kubernetes face is told.
pub struct Setup {
    /// What it is to be.
    pub face: config::Face,
    /// Where its keys are, and its objects unless they are in an etcd.
    pub data_root: PathBuf,
    /// Where its kubeconfig goes.
    pub run_dir: PathBuf,
    /// Where the gateway's image goes.
    pub images: image::Store,
    /// Where images come from.
    pub registries: RegistrySettings,
    /// Containers and networks, once they are there: the API does not wait for them.
    pub engine: oneshot::Receiver<Engine>,
}

/// Why it does not start.
#[derive(Debug, Error)]
pub enum KubeError {
    /// Its address is not to be had.
    #[error("the Kubernetes API cannot listen on {0}: {1}; give another --kube-listen")]
    Listen(SocketAddr, #[source] io::Error),
    /// Nor is the node's own.
    #[error("the node's own API cannot listen on {0}: {1}")]
    Kubelet(SocketAddr, #[source] io::Error),
    /// The gateway's manifest is damaged.
    #[error("the gateway's objects cannot be read: {0}")]
    Gateway(#[from] Box<serde_saphyr::Error>),
    /// The file system refused.
    #[error("cannot write {0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The objects cannot be read.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The server cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The node's client cannot be made.
    #[error("the node cannot speak to the Kubernetes API: {0}")]
    Client(String),
    /// No certificate can be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The Kubernetes face while it serves.
pub struct Kube {
    objects: Objects,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
    node: JoinHandle<()>,
    kubeconfig: Kept,
}

/// A file that is there for as long as this is.
struct Kept(PathBuf);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Kube {
    /// Opens the objects and serves the API, from which the node learns what to do once it has its engine.
    pub async fn open(mut setup: Setup) -> Result<Self, KubeError> {
        let (listener, local) = match setup.face.listen {
            config::Listen::Asked(at) => bind(at).await.map_err(|e| KubeError::Listen(at, e))?,
            config::Listen::Usual(at) => bind_near(at).await.map_err(|e| KubeError::Listen(at, e))?,
        };
        let (inside, api_port) = inside(setup.face.ranges.api, local)?;
        let listeners = [listener].into_iter().chain(inside).collect();
        let objects = match &setup.face.store {
            Some(url) => in_etcd(Etcd::parse(url, None)?).await?,
            None => Objects::open_sqlite(&setup.data_root.join("kube.db"), Options::default()).await?,
        };
        let server = ApiServer::open(Opening {
            objects: objects.clone(),
            pki: setup.data_root.join("pki"),
            settings: settings(&setup.face.ranges, api_port),
            names: Default::default(),
            gateway: gateway::objects(setup.face.ingress_ports).map_err(Box::new)?,
        })
        .await?;
        let kubeconfig = setup.run_dir.join("kubeconfig");
        let admin = server.kubeconfig(reachable(local), "kubernetes-admin", MASTERS)?;
        private(&kubeconfig, &format!("{admin:#}\n")).map_err(|e| KubeError::File(kubeconfig.clone(), e))?;
        let kubeconfig = Kept(kubeconfig);
        let (tell, told) = oneshot::channel();
        let images = setup.images.clone();
        let (hand, handed) = oneshot::channel();
        let engine = mem::replace(&mut setup.engine, handed);
        let agent = agent(setup, &server, reachable(local), tell).await?;
        let (end, ended) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            // Traffic goes first. A node that has its engine and does not come to it holds up nothing else.
            let control = async {
                if let Ok(engine) = engine.await
                    && hand.send(engine).is_ok()
                {
                    let _ = timeout(PATIENCE, told).await;
                }
                tokio::spawn(gateway_image(images));
            };
            let until = async { drop(ended.await) };
            server.serve(listeners, control, until).await;
        });
        let node = tokio::spawn(async move {
            if let Err(error) = kube_agent::run(agent).await {
                tracing::error!(%error, "this node runs no pods");
            }
        });
        Ok(Self { objects, end, served, node, kubeconfig })
    }

    /// Where its kubeconfig is.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig.0
    }

    /// Ends serving; what was acknowledged is kept.
    pub async fn close(self) {
        self.node.abort();
        drop(self.end);
        drop(self.served.await);
        self.objects.close().await;
        // Nobody answers there any more.
        drop(self.kubeconfig);
    }
}

/// The objects in an etcd. One that is started at the same time is waited for.
async fn in_etcd(etcd: Etcd) -> Result<Objects, ObjectsError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Objects::open_etcd(etcd.clone(), Options::default()).await {
            Err(ObjectsError::Unreachable { .. }) if Instant::now() < until => sleep(AGAIN).await,
            outcome => return outcome,
        }
    }
}

/// Makes the image that the gateway's pods are of, beside everything else: nobody waits for it but they.
async fn gateway_image(images: image::Store) {
    if let Err(error) = images.assemble_gateway(Path::new("/proc/self/exe"), env!("CARGO_PKG_VERSION")).await {
        tracing::error!(%error, "the image of the gateway cannot be made");
    }
}

/// What runs this machine's pods. It knows the server by its URL, as on any cluster.
async fn agent(
    setup: Setup,
    server: &ApiServer,
    api: SocketAddr,
    served: oneshot::Sender<()>,
) -> Result<Agent, KubeError> {
    let name = node_name();
    let ranges = &setup.face.ranges;
    let own = own_addresses(ranges.pods.len() > 1);
    let config = server.kubeconfig(api, &format!("system:node:{name}"), NODES)?;
    let client = client(&config.to_string()).await.map_err(|e| KubeError::Client(e.to_string()))?;
    // There is always one.
    let at = SocketAddr::new(own[0], KUBELET_PORT);
    let (listener, at) = bind_near(at).await.map_err(|e| KubeError::Kubelet(at, e))?;
    let names = ServerNames { names: vec![name.clone()], addresses: own.clone() };
    let tls = server.kubelet_tls(&names)?;
    let (major, minor) = KUBERNETES;
    Ok(Agent {
        client,
        engine: setup.engine,
        places: Places { data_root: setup.data_root, run_dir: setup.run_dir },
        registries: setup.registries,
        node: NodeSettings {
            name,
            addresses: own,
            labels: BTreeMap::new(),
            pod_cidrs: ranges.pods_of_node(),
            pod_ranges: ranges.pods.clone(),
            service_ranges: ranges.services.clone(),
            balancer_ranges: ranges.balancers.clone(),
            api: Some(ranges.api),
            names: ClusterNames { server: ranges.dns, domain: DOMAIN.to_owned() },
            kubelet_port: at.port(),
            kubernetes_version: format!("v{major}.{minor}.0"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        kubelet: Some(Kubelet { listener, tls }),
        served,
    })
}

async fn client(kubeconfig: &str) -> Result<kube::Client, Box<dyn std::error::Error + Send + Sync>> {
    let config = Kubeconfig::from_yaml(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(kube_agent::client::client(config, kube_agent::client::NODE)?)
}

/// The host's name, as names of nodes are written.
fn node_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let name: String = name.chars().map(|c| if good(c) { c } else { '-' }).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { "node".to_owned() } else { name }
}

/// The addresses by which this host is known to others, that of IPv4 first; without a way to others, the loopback address.
fn own_addresses(both: bool) -> Vec<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): only the routes to them are looked at.
    let of4 = own_address(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let of6 = || own_address(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into());
    let first = of4.unwrap_or(Ipv4Addr::LOCALHOST.into());
    [first].into_iter().chain(both.then(of6).flatten()).collect()
}

/// That of the route to there, if there is one. Nothing is sent.
fn own_address(any: IpAddr, there: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((there, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn settings(ranges: &config::Ranges, api_port: u16) -> Settings {
    Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        advertised: (ranges.api.into(), api_port),
        dns: Some(ranges.dns.into()),
        service_ranges: ranges.services.clone(),
        node_ports: NODE_PORTS,
        load_balancer_pools: ranges.balancers.clone(),
        pod_ranges: ranges.pods.clone(),
        domain: DOMAIN.to_owned(),
    }
}

async fn bind(at: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

/// Listens at this port or, where somebody else does, at another one: whoever needs to know is told which.
async fn bind_near(at: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    match bind(at).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let (listener, found) = bind(SocketAddr::new(at.ip(), 0)).await?;
            tracing::warn!(%at, "somebody else listens there, so it is {found}");
            Ok((listener, found))
        }
        outcome => outcome,
    }
}

/// Where those arrive who ask the Service `kubernetes`: a listener, unless there is one at all addresses, and its port. Which port that is
/// matters to nobody: the Service leads there.
fn inside(api: Ipv4Addr, local: SocketAddr) -> Result<(Option<TcpListener>, u16), KubeError> {
    if local.ip().is_unspecified() {
        return Ok((None, local.port()));
    }
    let at = |port| SocketAddr::new(api.into(), port);
    let listener = bind_ahead(at(API_PORT)).or_else(|_| bind_ahead(at(0)));
    let failed = |error| KubeError::Listen(at(API_PORT), error);
    let listener = listener.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((Some(listener), port))
}

/// Listens at an address that the host is going to have.
fn bind_ahead(at: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ip_freebind(&socket, true)?;
    net::bind(&socket, &at)?;
    net::listen(&socket, 1024)?;
    TcpListener::from_std(socket.into())
}

/// An address by which one on this host reaches a listener.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let loopback = if listen.is_ipv4() { [127, 0, 0, 1].into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(loopback, listen.port())
}

/// Writes a file that only root may read, whole or not at all.
fn private(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    fs::rename(&fresh, path)
}
