//! From a request to its verb: who asks, what for, may they, and which file answers.

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use serde_json::{Value, json};

use crate::{
    answer::{self, Answer, Form},
    auth::{
        AUTHENTICATED, MASTERS, User,
        role::{self, Ask},
        token::ISSUER,
    },
    body, discovery,
    kind::{self, Kind, Scope, Subresource, Verbs},
    object::{Look, encoding, meta},
    path::{self, Path, Resource},
    query::{Query, WriteOptions},
    schema::openapi,
    server::Server,
    settings,
    status::Failure,
    subresource::{binding, eviction, finalize, node, review, scale, token},
    table::{Include, Rows},
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

/// Answers a request of somebody who came with this certificate, if any.
pub async fn dispatch(
    server: &Server,
    certificate: Option<User>,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let user = identify(server, certificate, request.headers())?;
    let target = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query());
    match path::parse(&target) {
        Path::Resource(resource) => Call { server, user, resource, query }.answer(request).await,
        path => {
            let verb = request.method().as_str().to_lowercase();
            permit(&user, None, &Ask::Path { verb: &verb, path: &target })?;
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return Err(Failure::method_not_allowed());
            }
            document(server, &path, &target, request.headers())
        }
    }
}

/// Who asks. Who shows something that does not hold is refused, not taken for nobody.
fn identify(server: &Server, certificate: Option<User>, headers: &HeaderMap) -> Result<User, Failure> {
    let user = match (certificate, headers.get(AUTHORIZATION)) {
        (Some(user), _) => user,
        (None, None) => User::anonymous(),
        (None, Some(shown)) => {
            let token = shown.to_str().ok().and_then(|shown| shown.strip_prefix("Bearer ")).unwrap_or_default();
            token::holder(server, token.trim(), &[ISSUER]).ok_or_else(Failure::unauthorized)?
        }
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(name) = text("impersonate-user") else { return Ok(user) };
    if !user.is_in(MASTERS) {
        let message = format!(
            "users {name:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            user.name
        );
        return Err(Failure::forbidden(None, name, message));
    }
    let groups = headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok());
    let mut groups: Vec<String> = groups.map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    Ok(User {
        name: name.to_owned(),
        uid: text("impersonate-uid").unwrap_or_default().to_owned(),
        groups,
        ..User::default()
    })
}

fn permit(user: &User, kind: Option<&Kind>, ask: &Ask<'_>) -> Result<(), Failure> {
    if role::may(user, ask) {
        return Ok(());
    }
    let name = if let Ask::Resource { name, .. } = ask { name } else { "" };
    Err(Failure::forbidden(kind, name, role::refusal(user, ask)))
}

/// A document of the server.
fn document(server: &Server, path: &Path<'_>, target: &str, headers: &HeaderMap) -> Result<Answer, Failure> {
    let form = discovery::Form::asked(headers);
    let found = |document: Option<Value>| {
        document.map(|document| answer::json(StatusCode::OK, &document)).ok_or_else(Failure::no_such_path)
    };
    match (path, form) {
        (Path::Core | Path::Groups, discovery::Form::Aggregated(version)) => {
            let mut answer = answer::json(StatusCode::OK, &discovery::aggregated(version, *path == Path::Core));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
            Ok(answer)
        }
        (Path::Core, _) => {
            let (address, port) = server.settings.advertised;
            found(Some(discovery::versions(&std::net::SocketAddr::new(address, port).to_string())))
        }
        (Path::Groups, _) => found(Some(discovery::group_list())),
        (Path::Group(group), _) => found(discovery::group(group)),
        (Path::Version(group, version), _) => found(discovery::resource_list(group, version)),
        _ => other(server, target),
    }
}

fn other(server: &Server, target: &str) -> Result<Answer, Failure> {
    let json = |document: Option<Bytes>| {
        document.map(|document| answer::bytes(StatusCode::OK, document)).ok_or_else(Failure::no_such_path)
    };
    match target {
        "/version" | "/version/" => Ok(answer::json(StatusCode::OK, &version(server))),
        "/healthz" | "/livez" | "/readyz" | "/healthz/ping" | "/livez/ping" | "/readyz/ping" => {
            Ok(answer::text(StatusCode::OK, "ok"))
        }
        "/" => {
            let paths =
                ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
            Ok(answer::json(StatusCode::OK, &json!({ "paths": paths })))
        }
        "/openapi/v2" => json(Some(openapi::v2())),
        "/openapi/v3" => json(Some(openapi::v3_index())),
        _ => match target.strip_prefix("/openapi/v3/") {
            Some(group_version) => json(openapi::v3(group_version)),
            None => Err(Failure::no_such_path()),
        },
    }
}

fn version(server: &Server) -> Value {
    let (major, minor) = settings::KUBERNETES;
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0+linkspan-{}", server.settings.version),
        "emulationMajor": major, "emulationMinor": minor, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

/// A request for a resource.
struct Call<'a> {
    server: &'a Server,
    user: User,
    resource: Resource<'a>,
    query: Query,
}

impl Call<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Failure> {
        let to = &self.resource;
        let kind = kind::by_plural(to.group, to.plural).filter(|kind| kind.version == to.version);
        let kind = kind.ok_or_else(Failure::no_such_path)?;
        let verb = self.verb(request.method())?;
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

    /// The verb that rules name, of a method.
    fn verb(&self, method: &Method) -> Result<&'static str, Failure> {
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

    async fn get(&self, place: Place<'_>, name: &str, headers: &HeaderMap) -> Result<Answer, Failure> {
        let form = Form::asked(headers)?;
        let stored = read::stored(self.server, place, name).await?;
        Ok(match form {
            Form::Whole => answer::bytes(StatusCode::OK, encoding::serve(&stored)),
            form => self.shown(StatusCode::OK, place.kind, form, &encoding::decode(&stored)),
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
        let decoded = || page.items.iter().map(encoding::decode);
        let list = match form {
            Form::Whole => return Ok(answer::bytes(StatusCode::OK, whole_list(kind, &page))),
            Form::Metadata => {
                let items: Vec<Value> = decoded().map(|object| meta::partial(&object)).collect();
                json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": page.metadata(), "items": items })
            }
            Form::Table(version) => self.rows(kind, version).table(&decoded().collect::<Vec<_>>(), page.metadata()),
        };
        Ok(answer::json(StatusCode::OK, &list))
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
        let object = body::object(&head.headers, &body::read(text).await?)?;
        if place.kind.verbs == Verbs::CREATE {
            let answered = review::answer(self.server, place.kind, &self.user, object)?;
            return Ok(answer::json(StatusCode::CREATED, &answered));
        }
        let options = self.options(&head.headers)?;
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

    async fn update(
        &self,
        place: Place<'_>,
        name: &str,
        part: Part,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let (head, text) = request.into_parts();
        let form = Form::asked(&head.headers)?;
        let object = body::object(&head.headers, &body::read(text).await?)?;
        let options = self.options(&head.headers)?;
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

    async fn patch(
        &self,
        place: Place<'_>,
        name: &str,
        part: Part,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let (head, text) = request.into_parts();
        let form = Form::asked(&head.headers)?;
        let patch = Patch::read(body::media_type(&head.headers), &body::read(text).await?)?;
        let options = self.options(&head.headers)?;
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
        let body = if text.is_empty() { Value::Null } else { body::object(&head.headers, &text)? };
        DeleteOptions::read(&body, &self.query)
    }

    fn options(&self, headers: &HeaderMap) -> Result<WriteOptions, Failure> {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        WriteOptions::read(&self.query, agent)
    }

    fn written(&self, kind: &Kind, form: Form, written: &Written) -> Answer {
        let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        let mut answer = self.shown(status, kind, form, &written.object);
        answer::warn(&mut answer, &written.warnings);
        answer
    }

    /// What an object has besides itself.
    async fn part(
        &self,
        place: Place<'_>,
        name: &str,
        part: &'static Subresource,
        verb: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        if part.name == "proxy" || (node::is_one(part.name) && matches!(verb, "get" | "create")) {
            return node::answer(self.server, place, name, part.name, &self.query, &self.resource, request).await;
        }
        if !part.verbs.has(verb) {
            return Err(Failure::method_not_allowed());
        }
        match (part.name, verb) {
            ("status", "get") => self.get(place, name, request.headers()).await,
            ("status", "update") => self.update(place, name, Part::Status, request).await,
            ("status", "patch") => self.patch(place, name, Part::Status, request).await,
            ("scale", _) => self.scale(place, name, verb, request).await,
            ("ephemeralcontainers" | "resize", "get") => self.get(place, name, request.headers()).await,
            ("ephemeralcontainers" | "resize", "update") => {
                self.update(place, name, Part::Other(part.name), request).await
            }
            ("ephemeralcontainers" | "resize", "patch") => {
                self.patch(place, name, Part::Other(part.name), request).await
            }
            _ => self.ask_part(place, name, part, verb, request).await,
        }
    }

    async fn ask_part(
        &self,
        place: Place<'_>,
        name: &str,
        part: &'static Subresource,
        verb: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let (head, text) = request.into_parts();
        let object = body::object(&head.headers, &body::read(text).await?)?;
        let options = self.options(&head.headers)?;
        let asked = Update { name, user: &self.user, part: Part::Other(part.name), options: &options };
        let (server, now) = (self.server, meta::time(self.server.now()));
        match (part.name, verb) {
            ("binding", "create") => {
                update::update(server, place, &asked, |pod| binding::change(place.kind, pod, &object, &now)).await?;
                let status =
                    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
                Ok(answer::json(StatusCode::CREATED, &status))
            }
            ("eviction", "create") => Ok(answer::json(
                StatusCode::CREATED,
                &eviction::create(server, place, name, &object, &self.query).await?,
            )),
            ("token", "create") => Ok(answer::json(StatusCode::CREATED, &token::create(server, place, name, object)?)),
            ("finalize", "update") => {
                let written =
                    update::update(server, place, &asked, |namespace| finalize::change(namespace, &object)).await?;
                Ok(self.written(place.kind, Form::Whole, &written))
            }
            _ => Err(Failure::no_such_path()),
        }
    }

    async fn scale(
        &self,
        place: Place<'_>,
        name: &str,
        verb: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let (head, text) = request.into_parts();
        if verb == "get" {
            let object = read::object(self.server, place, name).await?;
            return Ok(answer::json(StatusCode::OK, &scale::of(&object)));
        }
        let text = body::read(text).await?;
        let options = self.options(&head.headers)?;
        let asked = Update { name, user: &self.user, part: Part::Other("scale"), options: &options };
        let written = if verb == "update" {
            let wish = body::object(&head.headers, &text)?;
            update::update(self.server, place, &asked, |object| scale::change(object, &wish)).await?
        } else {
            let patch = Patch::read(body::media_type(&head.headers), &text)?;
            let change = |object: &Value| scale::change(object, &patch.apply_plain(&scale::of(object))?);
            update::update(self.server, place, &asked, change).await?
        };
        Ok(answer::json(StatusCode::OK, &scale::of(&written.object)))
    }
}

/// Kinds whose objects an update makes if they are not there.
fn made_by_update(kind: &Kind) -> bool {
    matches!(kind.kind, "Endpoints" | "Event" | "Lease" | "Service")
}

/// A list whose items are copied as they are kept.
fn whole_list(kind: &Kind, page: &list::Page) -> Bytes {
    let items: Vec<Bytes> = page.items.iter().map(encoding::serve).collect();
    let mut text = Vec::with_capacity(items.iter().map(|item| item.len() + 1).sum::<usize>() + 256);
    let head =
        json!({ "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": page.metadata() });
    let head = head.to_string();
    text.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    text.extend_from_slice(b",\"items\":[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(item);
    }
    text.extend_from_slice(b"]}");
    text.into()
}
