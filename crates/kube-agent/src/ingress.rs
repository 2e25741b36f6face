//! Ingresses, and what they name, as the table of the HTTP gateway. Pure: no IO, no clock.
//!
//! Objects come one at a time, in any order. [`Ingresses::settle`] makes again what they concern: a host whose rules, services or
//! certificate changed, and nothing else. An object that is wrong affects what it is for, and is told as a [`Problem`].

mod backend;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proxy::http::{
    certificate::Certificate,
    host::Host,
    table::{Backend, Routes, Table},
};

use rules::{Port, Rules};

/// Who implements the class: `spec.controller` of its IngressClass.
pub const CONTROLLER: &str = "linkspan.dev/gateway";

/// Namespace and name.
pub type Name = (String, String);

/// What an Ingress is made from.
#[derive(Debug, Clone)]
pub enum Object {
    /// What people ask for.
    Ingress(Box<Ingress>),
    /// Who is asked.
    Class(Box<IngressClass>),
    /// Where it leads.
    Service(Box<Service>),
    /// Who answers there.
    Slice(Box<EndpointSlice>),
    /// Certificate and key.
    Secret(Box<Secret>),
}

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Ingress,
    Class,
    Service,
    Slice,
    Secret,
}

/// What is wrong with an Ingress or with what it names, for an Event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The Ingress.
    pub ingress: Name,
    /// In one sentence.
    pub text: String,
}

/// What else is to be made again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Host(Host),
    Certificate(Host),
    Default,
}

/// Everything that was seen, and the table that follows from it.
#[derive(Debug, Clone)]
pub struct Ingresses {
    class: String,
    ingresses: BTreeMap<Name, Ingress>,
    classes: BTreeMap<Name, IngressClass>,
    services: BTreeMap<Name, Service>,
    /// By service, then by their own name.
    slices: BTreeMap<Name, BTreeMap<String, EndpointSlice>>,
    /// To which service a slice belongs.
    slice_of: BTreeMap<Name, Name>,
    secrets: BTreeMap<Name, Result<Arc<Certificate>, String>>,
    /// The ingresses of our class.
    rules: BTreeMap<Name, Rules>,
    /// Which ingresses concern a part, in the order of who comes first.
    concerns: BTreeMap<Part, BTreeSet<(Age, Name)>>,
    by_service: BTreeMap<Name, BTreeSet<Name>>,
    by_secret: BTreeMap<Name, BTreeSet<Name>>,
    backends: BTreeMap<Name, BTreeMap<Port, Result<Arc<Backend>, String>>>,
    changed: BTreeSet<Part>,
    table: Table,
    problems: BTreeMap<Part, Vec<Problem>>,
}

/// Older goes first where two ingresses want the same. RFC 3339 in UTC is ordered as text.
type Age = String;

impl Ingresses {
    /// Of a class, by the name of its IngressClass.
    pub fn new(class: &str) -> Self {
        Self {
            class: class.to_owned(),
            ingresses: BTreeMap::new(),
            classes: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            slice_of: BTreeMap::new(),
            secrets: BTreeMap::new(),
            rules: BTreeMap::new(),
            concerns: BTreeMap::new(),
            by_service: BTreeMap::new(),
            by_secret: BTreeMap::new(),
            backends: BTreeMap::new(),
            changed: BTreeSet::new(),
            table: Table::default(),
            problems: BTreeMap::new(),
        }
    }

    /// An object is there, or is now so.
    pub fn put(&mut self, object: Object) {
        let name = object.name();
        match object {
            Object::Ingress(ingress) => {
                self.forget(&name);
                self.ingresses.insert(name.clone(), *ingress);
                self.read(&name);
            }
            Object::Class(class) => {
                self.classes.insert(name, *class);
                self.read_all();
            }
            Object::Service(service) => {
                self.service_changed(&name);
                self.services.insert(name, *service);
            }
            Object::Slice(slice) => {
                let Some(service) = backend::service_of(&slice) else { return };
                self.remove(Kind::Slice, &name);
                self.service_changed(&service);
                self.slice_of.insert(name.clone(), service.clone());
                self.slices.entry(service).or_default().insert(name.1, *slice);
            }
            Object::Secret(secret) => {
                self.secret_changed(&name);
                self.secrets.insert(name, rules::certificate(&secret).map(Arc::new));
            }
        }
    }

    /// An object is gone.
    pub fn remove(&mut self, kind: Kind, name: &Name) {
        match kind {
            Kind::Ingress => {
                self.forget(name);
                self.ingresses.remove(name);
            }
            Kind::Class => {
                self.classes.remove(name);
                self.read_all();
            }
            Kind::Service => {
                self.service_changed(name);
                self.services.remove(name);
            }
            Kind::Slice => {
                let Some(service) = self.slice_of.remove(name) else { return };
                self.service_changed(&service);
                if let Some(slices) = self.slices.get_mut(&service) {
                    slices.remove(&name.1);
                    if slices.is_empty() {
                        self.slices.remove(&service);
                    }
                }
            }
            Kind::Secret => {
                self.secret_changed(name);
                self.secrets.remove(name);
            }
        }
    }

    /// The names of a kind's objects: after a new list, those that it does not have are gone.
    pub fn names(&self, kind: Kind) -> BTreeSet<Name> {
        match kind {
            Kind::Ingress => self.ingresses.keys().cloned().collect(),
            Kind::Class => self.classes.keys().cloned().collect(),
            Kind::Service => self.services.keys().cloned().collect(),
            Kind::Slice => self.slice_of.keys().cloned().collect(),
            Kind::Secret => self.secrets.keys().cloned().collect(),
        }
    }

    /// Makes what has changed, and returns the table; `None` when it is as it was.
    pub fn settle(&mut self) -> Option<Table> {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return None;
        }
        for part in changed {
            let mut problems = Vec::new();
            match &part {
                Part::Host(host) => {
                    let routes = self.routes(&part, host, &mut problems);
                    self.table.routes.set(host, routes);
                }
                Part::Certificate(host) => {
                    let certificate = self.certificate(&part, host, &mut problems);
                    self.table.certificates.set(host, certificate);
                }
                Part::Default => self.table.default = self.default_backend(&mut problems),
            }
            if problems.is_empty() {
                self.problems.remove(&part);
            } else {
                self.problems.insert(part, problems);
            }
        }
        Some(self.table.clone())
    }

    /// The table as it was settled last.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// All that is wrong now.
    pub fn problems(&self) -> BTreeSet<Problem> {
        let own = self.rules.iter().flat_map(|(name, rules)| {
            rules.problems.iter().map(|text| Problem { ingress: name.clone(), text: text.clone() })
        });
        self.problems.values().flatten().cloned().chain(own).collect()
    }

    /// An Ingress that was put, for who wants to tell about it.
    pub fn ingress(&self, name: &Name) -> Option<&Ingress> {
        self.ingresses.get(name)
    }

    /// Reads an ingress, if it is of our class, and notes what it concerns.
    fn read(&mut self, name: &Name) {
        let Some(ingress) = self.ingresses.get(name) else { return };
        if !rules::is_ours(ingress, &self.class, self.classes.get(&(String::new(), self.class.clone()))) {
            return;
        }
        let rules = rules::read(ingress);
        let place = (rules.age.clone(), name.clone());
        for part in parts(&rules) {
            self.concerns.entry(part.clone()).or_default().insert(place.clone());
            self.changed.insert(part);
        }
        for service in rules.services() {
            self.by_service.entry((name.0.clone(), service.to_owned())).or_default().insert(name.clone());
        }
        for (_, secret) in &rules.certificates {
            self.by_secret.entry((name.0.clone(), secret.clone())).or_default().insert(name.clone());
        }
        self.rules.insert(name.clone(), rules);
    }

    /// Undoes what [`Self::read`] noted.
    fn forget(&mut self, name: &Name) {
        let Some(rules) = self.rules.remove(name) else { return };
        let place = (rules.age.clone(), name.clone());
        for part in parts(&rules) {
            if let Some(places) = self.concerns.get_mut(&part) {
                places.remove(&place);
                if places.is_empty() {
                    self.concerns.remove(&part);
                }
            }
            self.changed.insert(part);
        }
        for service in rules.services() {
            without(&mut self.by_service, &(name.0.clone(), service.to_owned()), name);
        }
        for (_, secret) in &rules.certificates {
            without(&mut self.by_secret, &(name.0.clone(), secret.clone()), name);
        }
    }

    /// The class changed, and with it which ingresses are ours.
    fn read_all(&mut self) {
        for name in self.names(Kind::Ingress) {
            self.forget(&name);
            self.read(&name);
        }
    }

    fn service_changed(&mut self, name: &Name) {
        self.backends.remove(name);
        for ingress in self.by_service.get(name).into_iter().flatten() {
            let rules = self.rules.get(ingress);
            self.changed.extend(rules.into_iter().flat_map(|rules| rules.parts_of(&name.1)));
        }
    }

    fn secret_changed(&mut self, name: &Name) {
        for ingress in self.by_secret.get(name).into_iter().flatten() {
            let certificates = self.rules.get(ingress).into_iter().flat_map(|rules| &rules.certificates);
            let those = certificates.filter(|(_, secret)| *secret == name.1);
            self.changed.extend(those.map(|(host, _)| Part::Certificate(host.clone())));
        }
    }

    fn concerning(&self, part: &Part) -> Vec<Name> {
        self.concerns.get(part).into_iter().flatten().map(|(_, name)| name.clone()).collect()
    }

    fn routes(&mut self, part: &Part, host: &Host, problems: &mut Vec<Problem>) -> Option<Arc<Routes>> {
        let (mut paths, mut default) = (Vec::new(), None);
        let names = self.concerning(part);
        for name in &names {
            let Some(rules) = self.rules.get(name).cloned() else { continue };
            for rule in rules.paths.iter().filter(|rule| rule.host == *host) {
                paths.push((rule.path.clone(), self.backend(name, &rule.service, &rule.port, problems)));
            }
            if let (None, Some((service, port))) = (&default, &rules.default) {
                default = Some(self.backend(name, service, port, problems));
            }
        }
        (!names.is_empty()).then(|| Arc::new(Routes::new(paths, default)))
    }

    fn default_backend(&mut self, problems: &mut Vec<Problem>) -> Option<Arc<Backend>> {
        let name = self.concerning(&Part::Default).into_iter().next()?;
        let (service, port) = self.rules.get(&name)?.default.clone()?;
        Some(self.backend(&name, &service, &port, problems))
    }

    /// The first that can be used.
    fn certificate(&self, part: &Part, host: &Host, problems: &mut Vec<Problem>) -> Option<Arc<Certificate>> {
        let mut found = None;
        for name in self.concerning(part) {
            let rules = self.rules.get(&name)?;
            for (_, secret) in rules.certificates.iter().filter(|(of, _)| of == host) {
                match self.secrets.get(&(name.0.clone(), secret.clone())) {
                    Some(Ok(certificate)) => drop(found.get_or_insert_with(|| certificate.clone())),
                    Some(Err(why)) => {
                        let text = format!("secret {secret}: {why}; {host} is served with a self-made certificate");
                        problems.push(Problem { ingress: name.clone(), text });
                    }
                    None => {
                        let text = format!(
                            "secret {secret} of type kubernetes.io/tls does not exist; {host} is served with a self-made certificate"
                        );
                        problems.push(Problem { ingress: name.clone(), text });
                    }
                }
            }
        }
        found
    }

    /// The backend of a port; one without endpoints when it leads nowhere, so that clients are told so at once.
    fn backend(&mut self, ingress: &Name, service: &str, port: &Port, problems: &mut Vec<Problem>) -> Arc<Backend> {
        let name = (ingress.0.clone(), service.to_owned());
        let made = self.backends.entry(name.clone()).or_default().entry(port.clone()).or_insert_with(|| {
            backend::make(&name, port, self.services.get(&name), self.slices.get(&name)).map(Arc::new)
        });
        match made {
            Ok(backend) => backend.clone(),
            Err(why) => {
                let problem = Problem { ingress: ingress.clone(), text: why.clone() };
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
                let trouble = Some(why.clone());
                Arc::new(Backend { name: format!("{}/{service}:{port}", name.0), trouble, ..Backend::default() })
            }
        }
    }
}

fn without(index: &mut BTreeMap<Name, BTreeSet<Name>>, key: &Name, name: &Name) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}

/// What an ingress concerns.
fn parts(rules: &Rules) -> BTreeSet<Part> {
    let certificates = rules.certificates.iter().map(|(host, _)| Part::Certificate(host.clone()));
    let hosts = rules.hosts.iter().map(|host| Part::Host(host.clone()));
    hosts.chain(certificates).chain(rules.default.as_ref().map(|_| Part::Default)).collect()
}

impl Object {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ingress(_) => Kind::Ingress,
            Self::Class(_) => Kind::Class,
            Self::Service(_) => Kind::Service,
            Self::Slice(_) => Kind::Slice,
            Self::Secret(_) => Kind::Secret,
        }
    }

    /// Its namespace, empty for a class, and name.
    pub fn name(&self) -> Name {
        let ObjectMeta { name, namespace, .. } = match self {
            Self::Ingress(ingress) => &ingress.metadata,
            Self::Class(class) => &class.metadata,
            Self::Service(service) => &service.metadata,
            Self::Slice(slice) => &slice.metadata,
            Self::Secret(secret) => &secret.metadata,
        };
        (namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default())
    }
}
