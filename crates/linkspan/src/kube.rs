//! The Kubernetes face put together: objects, API server, its kubeconfig, and the node. Nothing is decided here.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use kube_api::{ApiServer, OpenError, Opening, auth::MASTERS, auth::authority::AuthorityError, settings::Settings};
use store::objects::{Objects, ObjectsError, Options};
use thiserror::Error;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// Addresses of services.
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// Addresses of pods.
const POD_RANGE: &str = "10.244.0.0/16";
/// Ports of services on every node.
const NODE_PORTS: (u16, u16) = (30000, 32767);
/// The domain of the cluster's names.
const DOMAIN: &str = "cluster.local";

/// What the Kubernetes face is told.
pub struct Setup {
    /// Where its API is.
    pub listen: SocketAddr,
    /// Where its objects and keys are.
    pub data_root: PathBuf,
    /// Where its kubeconfig goes.
    pub run_dir: PathBuf,
}

/// Why it does not start.
#[derive(Debug, Error)]
pub enum KubeError {
    /// Its address is not to be had.
    #[error("the Kubernetes API cannot listen on {0}: {1}; give another --kube-listen, or leave it away")]
    Listen(SocketAddr, #[source] io::Error),
    /// The file system refused.
    #[error("cannot write {0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The objects cannot be read.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The server cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No certificate can be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The Kubernetes face while it serves.
pub struct Kube {
    objects: Objects,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
    kubeconfig: PathBuf,
}

impl Kube {
    /// Opens the objects and serves the API.
    pub async fn open(setup: &Setup) -> Result<Self, KubeError> {
        let listen = setup.listen;
        let listener = TcpListener::bind(listen).await.map_err(|e| KubeError::Listen(listen, e))?;
        let local = listener.local_addr().map_err(|e| KubeError::Listen(listen, e))?;
        let objects = Objects::open_sqlite(&setup.data_root.join("kube.db"), Options::default()).await?;
        let server = ApiServer::open(Opening {
            objects: objects.clone(),
            pki: setup.data_root.join("pki"),
            settings: settings(local),
            names: Default::default(),
            gateway: None,
        })
        .await?;
        let kubeconfig = setup.run_dir.join("kubeconfig");
        let admin = server.kubeconfig(reachable(local), "kubernetes-admin", MASTERS)?;
        private(&kubeconfig, &format!("{admin:#}\n")).map_err(|e| KubeError::File(kubeconfig.clone(), e))?;
        let (end, ended) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            // A dropped sender is the end too.
            let until = async { drop(ended.await) };
            server.serve(listener, until).await;
        });
        Ok(Self { objects, end, served, kubeconfig })
    }

    /// Where its kubeconfig is.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Ends serving; what was acknowledged is kept.
    pub async fn close(self) {
        drop(self.end);
        drop(self.served.await);
        self.objects.close().await;
        // Nobody answers there any more.
        let _ = fs::remove_file(&self.kubeconfig);
    }
}

fn settings(listen: SocketAddr) -> Settings {
    let range = |text: &str| text.parse().ok().into_iter().collect();
    Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        advertised: (listen.ip(), listen.port()),
        service_ranges: range(SERVICE_RANGE),
        node_ports: NODE_PORTS,
        load_balancer_pools: Vec::new(),
        pod_ranges: range(POD_RANGE),
        domain: DOMAIN.to_owned(),
    }
}

/// An address by which one on this host reaches a listener.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let loopback = if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
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
