//! What the server tells of itself: discovery, version, OpenAPI; its health is told by `health`.

use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::health;
use crate::{
    answer::{self, Answer},
    auth::token,
    discovery,
    path::Path,
    query::Query,
    schema::openapi,
    server::Server,
    settings,
    status::Failure,
};

/// As what kubectl asks for the OpenAPI document of version 2, and as what it is sent: the former is no media type (RFC 9110, 8.3.1).
const OPENAPI_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const OPENAPI_SENT: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// Where others find the key that signs tokens.
const KEY_SET: &str = "/openid/v1/jwks";
/// Where there is something to read.
const PATHS: [&str; 12] = [
    "/.well-known/openid-configuration",
    "/api",
    "/api/v1",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    KEY_SET,
    "/readyz",
    "/version",
];

/// A document of the server.
pub async fn document(
    server: &Server,
    path: &Path<'_>,
    target: &str,
    (query, headers): (&Query, &HeaderMap),
) -> Result<Answer, Failure> {
    let form = discovery::Form::asked(headers);
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
        _ => other(server, target, query, headers).await,
    }
}

fn found(document: Option<impl Serialize>) -> Result<Answer, Failure> {
    let document = document.ok_or_else(Failure::no_such_path)?;
    let text = serde_json::to_vec(&document).map_err(Failure::internal)?;
    Ok(answer::bytes(StatusCode::OK, text.into()))
}

async fn other(server: &Server, target: &str, query: &Query, headers: &HeaderMap) -> Result<Answer, Failure> {
    let json = |document: Option<Bytes>| {
        document.map(|document| answer::bytes(StatusCode::OK, document)).ok_or_else(Failure::no_such_path)
    };
    let target = if target.len() > 1 { target.trim_end_matches('/') } else { target };
    match target {
        "/version" => Ok(answer::json(StatusCode::OK, &version(server))),
        "/metrics" => Ok(answer::text(StatusCode::OK, server.metrics.text(&server.objects.cached()))),
        "/" => Ok(answer::json(StatusCode::OK, &json!({ "paths": PATHS }))),
        "/openapi/v2" if wants_protobuf(headers) => {
            Ok(answer::of_type(StatusCode::OK, OPENAPI_SENT, openapi::v2_protobuf()))
        }
        "/openapi/v2" => json(Some(openapi::v2())),
        "/.well-known/openid-configuration" => {
            let (address, port) = server.settings.advertised;
            let address = std::net::SocketAddr::new(address, port);
            found(Some(token::configuration(&format!("https://{address}{KEY_SET}"))))
        }
        KEY_SET => {
            Ok(answer::of_type(StatusCode::OK, "application/jwk-set+json", server.signer.key_set().to_string().into()))
        }
        "/openapi/v3" => json(Some(openapi::v3_index())),
        _ => match target.strip_prefix("/openapi/v3/") {
            Some(group_version) => json(openapi::v3(group_version)),
            None => health::answer(server, target, query).await,
        },
    }
}

/// The list of custom kinds, of which there are none. kubectl asks for it when it does not know the kind of an object, and tells the
/// user of that only if it is answered.
pub fn custom_kinds(server: &Server) -> Answer {
    let revision = server.objects.cached().revision.0.to_string();
    let list = json!({
        "kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": { "resourceVersion": revision }, "items": [],
    });
    answer::json(StatusCode::OK, &list)
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').next().is_some_and(|first| [OPENAPI_ASKED, OPENAPI_SENT].contains(&first.trim()))
}

fn version(server: &Server) -> Value {
    let (major, minor) = settings::KUBERNETES;
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0+linkspan-{}", server.settings.version),
        "emulationMajor": major, "emulationMinor": minor, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}
