//! A request for what an object has besides itself.

use hyper::{Request, StatusCode, body::Incoming};
use serde_json::{Value, json};

use super::call::Call;
use crate::{
    answer::{self, Answer, Form},
    body,
    kind::Subresource,
    object::meta,
    status::Failure,
    subresource::{binding, eviction, finalize, node, scale, token},
    verb::{
        Place,
        patch::Patch,
        read,
        update::{self, Part, Update},
    },
};

impl Call<'_> {
    /// What an object has besides itself.
    pub(super) async fn part(
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
        let object = body::object(&head.headers, &body::read(text).await?)?.value;
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
            let wish = body::object(&head.headers, &text)?.value;
            update::update(self.server, place, &asked, |object| scale::change(object, &wish)).await?
        } else {
            let (patch, _) = Patch::read(body::media_type(&head.headers), &text)?;
            let change = |object: &Value| scale::change(object, &patch.apply_plain(&scale::of(object))?);
            update::update(self.server, place, &asked, change).await?
        };
        Ok(answer::json(StatusCode::OK, &scale::of(&written.object)))
    }
}
