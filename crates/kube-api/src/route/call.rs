//! A request for objects: what it asks, and by which verb it is answered.

use hyper::{HeaderMap, Method, Request, StatusCode, body::Incoming, header::USER_AGENT};
use serde_json::{Value, json};

use super::permit;
use crate::{
    answer::{self, Answer, Form},
    auth::{User, role::Ask},
    body,
    kind::{self, Kind, Scope, Verbs},
    object::{Look, encoding, meta},
    path::Resource,
    query::{Query, WriteOptions},
    server::Server,
    status::Failure,
    subresource::review,
    table::{Include, Rows},
    text::Read,
    verb::{
        Place, collection, create,
        delete::{self, DeleteOptions, Deleted},
        list::{self, Filter},
        patch::{self, Patch},
        read,
        update::{self, Part, Update},
        watch,
        write::Written,
    },
};

/// A request for a resource.
pub struct Call<'a> {
    /// The server that is asked.
    pub server: &'a Server,
    /// Who asks.
    pub user: User,
    /// What for.
    pub resource: Resource<'a>,
    /// How.
    pub query: Query,
}

impl Call<'_> {
    /// Answers it.
    pub async fn answer(
        &self,
        kind: &'static Kind,
        verb: &'static str,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let to = &self.resource;
        permit(
            &self.user,
            Some(kind),
            &Ask::Resource {
                verb,
                group: kind.group,
                resource: kind.plural,
                subresource: to.subresource.unwrap_or_default(),
                namespace: if kind.kind == "Namespace" {
                    to.name.unwrap_or_default()
                } else {
                    to.namespace.unwrap_or_default()
                },
                name: to.name.unwrap_or_default(),
            },
        )?;
        let everywhere = to.namespace.is_none() && matches!(verb, "list" | "watch" | "create") && to.name.is_none();
        match kind.scope {
            Scope::Namespaced if to.namespace.is_none() && !everywhere => return Err(Failure::no_such_path()),
            Scope::Cluster if to.namespace.is_some() => return Err(Failure::no_such_path()),
            _ => {}
        }
        let place = Place { kind, namespace: to.namespace.unwrap_or_default() };
        if let (Some(part), Some(name)) = (to.subresource, to.name) {
            let part = kind.subresources.iter().find(|one| one.name == part).ok_or_else(Failure::no_such_path)?;
            return self.part(place, name, part, verb, request).await;
        }
        if !kind.verbs.has(verb) {
            return Err(Failure::method_not_allowed());
        }
        match (verb, to.name) {
            ("get", Some(name)) => self.get(place, name, request.headers()).await,
            ("watch", _) => self.watch(place, request.headers()).await,
            ("list", None) => self.list(place, request.headers()).await,
            ("create", None) => self.create(place, request).await,
            ("update", Some(name)) => self.update(place, name, Part::Whole, request).await,
            ("patch", Some(name)) => self.patch(place, name, Part::Whole, request).await,
            ("delete", Some(name)) => self.delete(place, name, request).await,
            ("deletecollection", None) => self.delete_collection(place, request).await,
            _ => Err(Failure::method_not_allowed()),
        }
    }

    /// The kind of what is asked for.
    pub fn kind(&self) -> Result<&'static Kind, Failure> {
        let to = &self.resource;
        let kind = kind::by_plural(to.group, to.plural).filter(|kind| kind.version == to.version);
        kind.ok_or_else(|| Failure::no_such_kind(to.group, to.version, to.plural))
    }

    /// The verb that rules name, of a method.
    pub fn verb(&self, method: &Method) -> Result<&'static str, Failure> {
        let one = self.resource.name.is_some();
        let watches = self.resource.watch || self.query.is("watch");
        Ok(match *method {
            Method::GET | Method::HEAD if self.resource.subresource.is_some() => "get",
            Method::GET | Method::HEAD if watches => "watch",
            Method::GET | Method::HEAD if one => "get",
            Method::GET | Method::HEAD => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if one => "delete",
            Method::DELETE => "deletecollection",
            _ => return Err(Failure::method_not_allowed()),
        })
    }

    fn rows<'k>(&self, kind: &'k Kind, version: &'static str) -> Rows<'k> {
        Rows { kind, version, include: Include::read(self.query.text("includeObject")), now: self.server.now() }
    }

    pub(super) async fn get(&self, place: Place<'_>, name: &str, headers: &HeaderMap) -> Result<Answer, Failure> {
        let form = Form::asked(headers)?;
        let stored = read::stored(self.server, place, name).await?;
        Ok(match form {
            Form::Whole => answer::bytes(StatusCode::OK, place.kind.serve(&stored)),
            form => self.shown(StatusCode::OK, place.kind, form, &place.kind.decode(&stored)),
        })
    }

    /// One object in the form that the client takes.
    fn shown(&self, status: StatusCode, kind: &Kind, form: Form, object: &Value) -> Answer {
        match form {
            Form::Whole => answer::json(status, object),
            Form::Metadata => answer::json(status, &meta::partial(object)),
            Form::Table(version) => {
                let metadata = json!({ "resourceVersion": object.text("metadata.resourceVersion") });
                let table = self.rows(kind, version).table(std::slice::from_ref(object), metadata);
                answer::json(status, &table)
            }
        }
    }

    async fn list(&self, place: Place<'_>, headers: &HeaderMap) -> Result<Answer, Failure> {
        let (kind, form) = (place.kind, Form::asked(headers)?);
        let filter = Filter::read(kind, &self.query)?;
        let page = list::list(self.server, kind, self.resource.namespace, &filter, &self.query).await?;
        let list = match form {
            Form::Whole => {
                let list = format!("{}List", kind.kind);
                let head = json!({ "kind": list, "apiVersion": kind.api_version(), "metadata": page.metadata() });
                encoding::list(&head, "items", &page.items, |text, stored| kind.serve_to(text, stored))
            }
            Form::Metadata => {
                let list = "PartialObjectMetadataList";
                let head = json!({ "kind": list, "apiVersion": "meta.k8s.io/v1", "metadata": page.metadata() });
                encoding::list(&head, "items", &page.items, encoding::partial_to)
            }
            Form::Table(version) => self.rows(kind, version).table_of(&page.items, &page.metadata()),
        };
        Ok(answer::bytes(StatusCode::OK, list))
    }

    async fn watch(&self, place: Place<'_>, headers: &HeaderMap) -> Result<Answer, Failure> {
        let mut filter = Filter::read(place.kind, &self.query)?;
        if let Some(name) = self.resource.name {
            filter.only(name);
        }
        let asked = watch::Asked {
            kind: place.kind,
            namespace: self.resource.namespace.map(str::to_owned),
            filter,
            form: Form::asked(headers)?,
            include: Include::read(self.query.text("includeObject")),
        };
        watch::watch(self.server, asked, &self.query).await
    }

    async fn create(&self, place: Place<'_>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let (head, text) = request.into_parts();
        let form = Form::asked(&head.headers)?;
        let Read { value: object, twice } = body::object(&head.headers, &body::read(text).await?)?;
        if place.kind.verbs == Verbs::CREATE {
            if form != Form::Whole {
                return Err(Failure::not_acceptable());
            }
            let answered = review::answer(self.server, place.kind, &self.user, object)?;
            return Ok(answer::json(StatusCode::CREATED, &answered));
        }
        let options = WriteOptions { twice, ..self.options(&head.headers)? };
        // A namespaced object may be sent to where all are listed, if it says its namespace itself.
        let namespace = if place.namespace.is_empty() && place.kind.scope == Scope::Namespaced {
            return Err(Failure::method_not_allowed());
        } else {
            place.namespace
        };
        let place = Place { namespace, ..place };
        let written = create::create(self.server, place, &self.user, object, &options).await?;
        Ok(self.written(place.kind, form, &written))
    }

    pub(super) async fn update(
        &self,
        place: Place<'_>,
        name: &str,
        part: Part,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let (head, text) = request.into_parts();
        let form = Form::asked(&head.headers)?;
        let Read { value: object, twice } = body::object(&head.headers, &body::read(text).await?)?;
        let options = WriteOptions { twice, ..self.options(&head.headers)? };
        let asked = Update { name, user: &self.user, part, options: &options };
        let written = match update::update(self.server, place, &asked, update::whole(&object)).await {
            // Some are written by whoever comes first.
            Err(failure) if failure.reason == "NotFound" && part == Part::Whole && made_by_update(place.kind) => {
                create::create(self.server, place, &self.user, object, &options).await?
            }
            outcome => outcome?,
        };
        Ok(self.written(place.kind, form, &written))
    }

    pub(super) async fn patch(
        &self,
        place: Place<'_>,
        name: &str,
        part: Part,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let (head, text) = request.into_parts();
        let form = Form::asked(&head.headers)?;
        let (patch, twice) = Patch::read(body::media_type(&head.headers), &body::read(text).await?)?;
        let options = WriteOptions { twice, ..self.options(&head.headers)? };
        let asked = Update { name, user: &self.user, part, options: &options };
        let written = patch::patch(self.server, place, &asked, &patch).await?;
        Ok(self.written(place.kind, form, &written))
    }

    async fn delete(&self, place: Place<'_>, name: &str, request: Request<Incoming>) -> Result<Answer, Failure> {
        let form = Form::asked(request.headers())?;
        let options = self.delete_options(request).await?;
        Ok(match delete::delete(self.server, place, name, &options).await? {
            Deleted::Gone(object) if !matches!(place.kind.kind, "Pod" | "Namespace" | "Service" | "ServiceAccount") => {
                let details = json!({ "name": name, "group": place.kind.group, "kind": place.kind.plural, "uid": object.text("metadata.uid") });
                let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
                answer::json(StatusCode::OK, &status)
            }
            Deleted::Gone(object) | Deleted::Going(object) => self.shown(StatusCode::OK, place.kind, form, &object),
        })
    }

    async fn delete_collection(&self, place: Place<'_>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let options = self.delete_options(request).await?;
        let kind = place.kind;
        let items = collection::delete(self.server, kind, self.resource.namespace, &self.query, &options).await?;
        let revision = self.server.objects.cached().revision.0.to_string();
        let list = json!({
            "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
            "metadata": { "resourceVersion": revision }, "items": items,
        });
        Ok(answer::json(StatusCode::OK, &list))
    }

    async fn delete_options(&self, request: Request<Incoming>) -> Result<DeleteOptions, Failure> {
        let (head, text) = request.into_parts();
        let text = body::read(text).await?;
        let body = if text.is_empty() { Value::Null } else { body::object(&head.headers, &text)?.value };
        DeleteOptions::read(&body, &self.query)
    }

    pub(super) fn options(&self, headers: &HeaderMap) -> Result<WriteOptions, Failure> {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        WriteOptions::read(&self.query, agent)
    }

    pub(super) fn written(&self, kind: &Kind, form: Form, written: &Written) -> Answer {
        let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        let mut answer = self.shown(status, kind, form, &written.object);
        answer::warn(&mut answer, &written.warnings);
        answer
    }
}

/// Kinds whose objects an update makes if they are not there.
fn made_by_update(kind: &Kind) -> bool {
    matches!(kind.kind, "Endpoints" | "Event" | "Lease" | "Service")
}
