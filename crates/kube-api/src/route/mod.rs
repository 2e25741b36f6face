//! From a request to its verb: who asks, what for, may they, and which file answers.

mod call;
mod document;
mod health;
mod part;
mod user;

use std::time::Instant;

use hyper::{Method, Request, body::Incoming};

use self::call::Call;
pub use self::user::identify;
use crate::{
    answer::Answer,
    auth::{
        User,
        role::{self, Ask},
    },
    kind::Kind,
    metrics::Asked,
    path::{self, Path, Resource},
    query::Query,
    server::Server,
    status::Failure,
};

/// Answers a request of this user.
pub async fn dispatch(server: &Server, user: User, request: Request<Incoming>) -> Result<Answer, Failure> {
    let begun = Instant::now();
    let target = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query());
    let mut asked = Asked { verb: "", group: "", resource: "", code: 0 };
    let outcome = match path::parse(&target) {
        Path::Resource(resource) if *request.method() == Method::GET && is_custom_kinds(&resource) => {
            let (group, resource) = (resource.group, resource.plural);
            let ask = Ask::Resource { verb: "list", group, resource, subresource: "", namespace: "", name: "" };
            permit(&user, None, &ask).map(|()| document::custom_kinds(server))
        }
        Path::Resource(resource) => {
            let call = Call { server, user, resource, query };
            let known = call.kind().and_then(|kind| Ok((kind, call.verb(request.method())?)));
            match known {
                Ok((kind, verb)) => {
                    asked = Asked { verb, group: kind.group, resource: kind.plural, ..asked };
                    call.answer(kind, verb, request).await
                }
                Err(unknown) => Err(unknown),
            }
        }
        path => {
            let verb = request.method().as_str().to_lowercase();
            permit(&user, None, &Ask::Path { verb: &verb, path: &target })?;
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return Err(Failure::method_not_allowed());
            }
            document::document(server, &path, &target, (&query, request.headers())).await
        }
    };
    asked.code = outcome.as_ref().map_or_else(|failure| failure.code, |answer| answer.status().as_u16());
    server.metrics.count(asked, begun.elapsed());
    outcome
}

fn is_custom_kinds(resource: &Resource<'_>) -> bool {
    let Resource { group, version, plural, name, .. } = *resource;
    (group, version, plural, name) == ("apiextensions.k8s.io", "v1", "customresourcedefinitions", None)
}

fn permit(user: &User, kind: Option<&Kind>, ask: &Ask<'_>) -> Result<(), Failure> {
    if role::may(user, ask) {
        return Ok(());
    }
    let name = if let Ask::Resource { name, .. } = ask { name } else { "" };
    Err(Failure::forbidden(kind, name, role::refusal(user, ask)))
}
