//! The server put together and opened: objects, authority, certificates, the first objects, and the tasks that serve and control.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use ring::rand::SystemRandom;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use serde_json::{Value, json};
use store::objects::{Compacted, Objects, ObjectsError};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    auth::{
        MASTERS, User,
        authority::{Authority, AuthorityError, Pair, ServerNames},
        certificate::Certificates,
        role::SYSTEM_NAMESPACE,
    },
    controller::{self, Gateway, ObjectRef, Pool, Ranges, Started},
    crowd::Crowd,
    expire,
    kind::{self, Kind},
    lead::Lead,
    object::{Look, meta},
    query::WriteOptions,
    run,
    serve::{self, Door},
    server::{Parts, Server},
    settings::Settings,
    status::Failure,
    verb::{
        Place, create,
        delete::{self, DeleteOptions},
        patch::{self, Patch},
        update::{Part, Update},
    },
    view::View,
};

/// Why the server cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The objects cannot be read.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The objects changed faster than they could be read.
    #[error(transparent)]
    Compacted(#[from] Compacted),
    /// There is no authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Keys and certificates do not go together.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// What every cluster has cannot be made.
    #[error("cannot make {0}: {1}")]
    First(String, String),
}

/// What is needed to open a server.
pub struct Opening {
    /// The objects.
    pub objects: Objects,
    /// Where the authority's keys are.
    pub pki: PathBuf,
    /// What it is told.
    pub settings: Settings,
    /// Names and addresses that it answers to besides the usual.
    pub names: ServerNames,
    /// The objects of the gateway of Ingresses, one of them the Service behind which it is, and who starts it. Those that belong to the cluster
    /// are there from the beginning.
    pub gateway: (Vec<Value>, Started),
}

/// An open server.
pub struct ApiServer {
    server: Server,
    authority: Authority,
    door: Door,
    pki: PathBuf,
}

impl ApiServer {
    /// Opens a server: it reads the objects, makes what every cluster has, and serves nobody yet.
    pub async fn open(opening: Opening) -> Result<Self, OpenError> {
        let now = Timestamp::now();
        let authority = Authority::open(&opening.pki, now)?;
        let settings = opening.settings;
        let own = authority.server(&names(&settings, opening.names), now)?;
        let certificates = Certificates::new(roots(&authority)?).map_err(|e| OpenError::Tls(e.to_string()))?;
        let certificates = Arc::new(certificates);
        let tls = server_config(&own, Arc::<Certificates>::clone(&certificates))?;
        let kubelet_client = authority.client("kube-apiserver-kubelet-client", MASTERS, now)?;
        let nodes = client_config(&authority, &kubelet_client)?;
        let (of_cluster, objects) =
            opening.gateway.0.into_iter().partition(|object| meta::namespace(object).is_empty());
        let started = opening.gateway.1;
        let told = controller::cluster::Settings {
            root_ca: authority.certificate_pem().to_owned(),
            service: Ranges {
                networks: settings.service_ranges.clone(),
                node_ports: settings.node_ports.0..=settings.node_ports.1,
            },
            load_balancer: match settings.load_balancer_pools.as_slice() {
                [] => Pool::Nodes,
                pools => Pool::Addresses(pools.to_vec()),
            },
            gateway: gateway(objects, started),
            ingress_controller: "linkspan.dev/gateway".to_owned(),
        };
        let view = View::open(&opening.objects, told)?;
        let server = Server::new(Parts {
            objects: opening.objects,
            view,
            settings,
            signer: authority.signer()?,
            nodes: Arc::new(nodes),
            addresses: tokio::sync::Mutex::new(()),
            metrics: crate::metrics::Metrics::default(),
            random: SystemRandom::new(),
        });
        leave_other_addresses(&server).await?;
        first(&server, of_cluster).await?;
        let door = Door { tls: Arc::new(tls), certificates, crowd: Crowd::default() };
        Ok(Self { server, authority, door, pki: opening.pki })
    }

    /// Serves at these, and runs the controllers once `control` has ended, until `shutdown` ends. Connections that are open then are cut when
    /// the runtime ends.
    pub async fn serve(
        &self,
        listeners: Vec<TcpListener>,
        control: impl Future<Output = ()> + Send + 'static,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let mut tasks = JoinSet::new();
        let controllers = run::run(self.server.clone(), Lead::new(&self.pki));
        tasks.spawn(async move {
            control.await;
            controllers.await;
        });
        tasks.spawn(keep(self.server.clone()));
        tasks.spawn(expire::run(self.server.objects.clone()));
        for listener in listeners {
            tasks.spawn(serve::serve(self.server.clone(), listener, self.door.clone()));
        }
        // The tasks end with the set.
        shutdown.await;
    }

    /// What its verbs see.
    #[cfg(test)]
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The authority of the cluster.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// TLS of a node's own API: it answers only to who shows a certificate of the authority.
    pub fn kubelet_tls(&self, names: &ServerNames) -> Result<Arc<ServerConfig>, OpenError> {
        let own = self.authority.server(names, Timestamp::now())?;
        let roots = Arc::new(roots(&self.authority)?);
        let certified = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider())).build();
        let mut tls = server_config(&own, certified.map_err(|e| OpenError::Tls(e.to_string()))?)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(tls))
    }

    /// A kubeconfig for a client with a certificate of its own.
    pub fn kubeconfig(&self, server: SocketAddr, user: &str, group: &str) -> Result<Value, AuthorityError> {
        let client = self.authority.client(user, group, Timestamp::now())?;
        Ok(self.authority.kubeconfig(&format!("https://{server}"), user, &client))
    }
}

/// Names and addresses that a server answers to.
fn names(settings: &Settings, more: ServerNames) -> ServerNames {
    let domain = &settings.domain;
    let mut all = more;
    let usual = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    all.names.extend(usual.map(str::to_owned));
    all.names.push(format!("kubernetes.default.svc.{domain}"));
    all.addresses.extend([settings.advertised.0, [127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]);
    all.addresses.extend(settings.service_ranges.iter().filter_map(|range| range.hosts().next()));
    all.addresses.sort_unstable();
    all.addresses.dedup();
    all.names.sort_unstable();
    all.names.dedup();
    all
}

fn roots(authority: &Authority) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.certificate_pem().as_bytes()) {
        let certificate = certificate.map_err(|e| OpenError::Tls(e.to_string()))?;
        roots.add(certificate).map_err(|e| OpenError::Tls(e.to_string()))?;
    }
    Ok(roots)
}

fn pair(pair: &Pair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), OpenError> {
    let wrong = |e: rustls::pki_types::pem::Error| OpenError::Tls(e.to_string());
    let certificates = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(wrong)?;
    Ok((certificates.map_err(wrong)?, key))
}

/// TLS of a server of the cluster, whose clients are let in by this verifier.
fn server_config(own: &Pair, clients: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, OpenError> {
    let wrong = |e: rustls::Error| OpenError::Tls(e.to_string());
    let (certificates, key) = pair(own)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
    let mut config = builder.with_client_cert_verifier(clients).with_single_cert(certificates, key).map_err(wrong)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn client_config(authority: &Authority, own: &Pair) -> Result<ClientConfig, OpenError> {
    let wrong = |e: rustls::Error| OpenError::Tls(e.to_string());
    let (certificates, key) = pair(own)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
    builder.with_root_certificates(roots(authority)?).with_client_auth_cert(certificates, key).map_err(wrong)
}

/// How often it is seen to that what every cluster has is there.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Namespaces that every cluster has.
const NAMESPACES: [&str; 5] = ["default", "kube-system", "kube-public", "kube-node-lease", SYSTEM_NAMESPACE];

/// Makes again what every cluster has, when somebody has deleted it.
async fn keep(server: Server) {
    loop {
        tokio::time::sleep(KEEP_EVERY).await;
        if let Err(error) = first(&server, Vec::new()).await {
            tracing::warn!(%error, "what every cluster has is not there");
        }
    }
}

/// Makes what every cluster has, where it is not there.
async fn first(server: &Server, more: Vec<Value>) -> Result<(), OpenError> {
    for name in NAMESPACES {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let is_applied = name == SYSTEM_NAMESPACE;
        make(server, if is_applied { controller::applied(&namespace) } else { namespace }).await?;
    }
    for object in more {
        make(server, controller::applied(&object)).await?;
    }
    let (address, port) = server.settings.advertised;
    let [(api, first), (names, dns)] = own_addresses(&server.settings);
    if let Some(first) = first {
        let labels = json!({ "component": "apiserver", "provider": "kubernetes" });
        let https = json!({ "name": "https", "port": 443, "protocol": "TCP", "targetPort": port });
        own_service(server, api, labels, (first, address), &[https]).await?;
    }
    if let Some(dns) = dns {
        let labels =
            json!({ "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS" });
        let port = |name, protocol| json!({ "name": name, "port": 53, "protocol": protocol, "targetPort": 53 });
        let ports = [port("dns", "UDP"), port("dns-tcp", "TCP")];
        // Somebody may have taken its address before there was this service.
        if let Err(error) = own_service(server, names, labels, (dns, dns), &ports).await {
            tracing::warn!(%error, "the name service has no service of its own");
        }
    }
    Ok(())
}

/// Makes the Service of what the cluster itself serves, and says where that is.
async fn own_service(
    server: &Server,
    (namespace, name): (&str, &str),
    labels: Value,
    (address, end): (IpAddr, IpAddr),
    ports: &[Value],
) -> Result<(), OpenError> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": { "clusterIP": address.to_string(), "ports": ports },
    });
    renew(server, service).await?;
    let at_end =
        |port: &Value| json!({ "name": port["name"], "port": port["targetPort"], "protocol": port["protocol"] });
    let ports: Vec<Value> = ports.iter().map(at_end).collect();
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": name, "namespace": namespace, "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
        "subsets": [{ "addresses": [{ "ip": end.to_string() }], "ports": ports }],
    });
    renew(server, endpoints).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": if end.is_ipv4() { "IPv4" } else { "IPv6" },
        "metadata": { "name": name, "namespace": namespace, "labels": { "kubernetes.io/service-name": name } },
        "endpoints": [{ "addresses": [end.to_string()], "conditions": { "ready": true } }], "ports": ports,
    });
    renew(server, slice).await
}

/// The Services of what the cluster itself serves, by namespace and name: the API, then the name service. Where each is.
fn own_addresses(settings: &Settings) -> [((&'static str, &'static str), Option<IpAddr>); 2] {
    let first = settings.service_ranges.first().and_then(|range| range.hosts().next());
    [(("default", "kubernetes"), first), (("kube-system", "kube-dns"), settings.dns)]
}

/// Lets those of them go that have another address: a Service keeps its address for life, and the range of services may have become another
/// one. Only who opens does so: servers with different ranges would delete each other's for ever.
async fn leave_other_addresses(server: &Server) -> Result<(), OpenError> {
    let [(api, first), (names, dns)] = own_addresses(&server.settings);
    leave(server, api, first).await?;
    // Without it there are still pods.
    if let Err(error) = leave(server, names, dns).await {
        tracing::warn!(%error, "the name service stays where it was");
    }
    Ok(())
}

/// Deletes a Service that is not at this address, if it can be made anew there.
async fn leave(server: &Server, (namespace, name): (&str, &str), to: Option<IpAddr>) -> Result<(), OpenError> {
    let place = Place { kind: &kind::service::KIND, namespace };
    let snapshot = server.objects.snapshot().await?;
    let stored = snapshot.get(&place.key(name)).map(|stored| place.kind.decode(stored));
    let (Some(stored), Some(to)) = (stored, to) else { return Ok(()) };
    let had = stored.text("spec.clusterIP");
    if had == to.to_string() {
        return Ok(());
    }
    let failed = |why: String| OpenError::First(format!("Service {name} at {to} instead of {had}"), why);
    let before = "start once more with the --service-cluster-ip-range of before";
    let cluster = server.view.cluster();
    if let Some(holder) = cluster.services_at(to).next() {
        let holder = format!("{}/{}", holder.namespace(), holder.name());
        return Err(failed(format!("Service {holder} has that address: {before}, and delete it there")));
    }
    let uid = Some(stored.text("metadata.uid").to_owned());
    if stored.at("metadata.finalizers").is_some() {
        return Err(failed(format!("its finalizers keep it: {before}, and remove them there")));
    }
    match delete::delete(server, place, name, &DeleteOptions { uid, ..DeleteOptions::default() }).await {
        Err(Failure { reason, message, .. }) if reason != "NotFound" => Err(failed(message)),
        _ => Ok(()),
    }
}

/// Makes an object, or brings one that is there to what is said here.
async fn renew(server: &Server, object: Value) -> Result<(), OpenError> {
    make(server, object.clone()).await?;
    let (Some(kind), name) = (kind_of(&object), meta::name(&object).to_owned()) else { return Ok(()) };
    let what = format!("{} {name}", kind.kind);
    let place = Place { kind, namespace: meta::namespace(&object) };
    let (user, options) = (User::internal("system:apiserver"), WriteOptions::internal("kube-apiserver"));
    let asked = Update { name: &name, user: &user, part: Part::Whole, options: &options };
    match patch::patch(server, place, &asked, &Patch::Merge(object.clone())).await {
        Ok(_) => Ok(()),
        Err(Failure { message, .. }) => Err(OpenError::First(what, message)),
    }
}

async fn make(server: &Server, object: Value) -> Result<(), OpenError> {
    let what = format!("{} {}", object.text("kind"), meta::name(&object));
    let Some(kind) = kind_of(&object) else { return Ok(()) };
    let user = User::internal("system:apiserver");
    let options = WriteOptions::internal("kube-apiserver");
    let namespace = meta::namespace(&object).to_owned();
    let place = Place { kind, namespace: &namespace };
    let key = place.key(meta::name(&object));
    if server.objects.snapshot().await?.get(&key).is_some() {
        return Ok(());
    }
    match create::create(server, place, &user, object, &options).await {
        // Unless another server has made it meanwhile.
        Err(Failure { message, .. }) if server.objects.snapshot().await?.get(&key).is_none() => {
            Err(OpenError::First(what, message))
        }
        _ => Ok(()),
    }
}

fn kind_of(object: &Value) -> Option<&'static Kind> {
    let group = object.text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    kind::by_kind(group, object.text("kind"))
}

/// The gateway as its controller knows it; none without a Service.
fn gateway(objects: Vec<Value>, started: Started) -> Option<Gateway> {
    let known = |object: Value| {
        let place = Place { kind: kind_of(&object)?, namespace: meta::namespace(&object) };
        let reference = ObjectRef::parse(&place.key(meta::name(&object)))?;
        Some((reference, object))
    };
    let objects: Vec<_> = objects.into_iter().filter_map(known).collect();
    let (service, _) = objects.iter().find(|(reference, _)| reference.is::<Service>())?;
    Some(Gateway { service: service.clone(), objects, started })
}
