//! What a URL path names: a document of the server or a resource of a group (the API concepts page, "Resource URIs").

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path<'p> {
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(&'p str),
    /// `/api/v1` or `/apis/GROUP/VERSION`
    Version(&'p str, &'p str),
    /// A resource.
    Resource(Resource<'p>),
    /// Anything else: `/version`, `/healthz`, `/openapi/v2`.
    Other,
}

/// A resource, one of its objects, or part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource<'p> {
    /// Its group; empty for the core.
    pub group: &'p str,
    /// Its version.
    pub version: &'p str,
    /// In which namespace; none where the path names none.
    pub namespace: Option<&'p str>,
    /// Its plural name.
    pub plural: &'p str,
    /// Which object.
    pub name: Option<&'p str>,
    /// Which part of the object.
    pub subresource: Option<&'p str>,
    /// What follows the subresource `proxy`, without a leading slash.
    pub rest: &'p str,
    /// Whether the path is of the old form that watches (`/api/v1/watch/pods`).
    pub watch: bool,
}

/// Reads a path.
pub fn parse(path: &str) -> Path<'_> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let parts = match parts.as_slice() {
        [rest @ .., ""] if !path.contains("/proxy/") => rest,
        all => all,
    };
    match parts {
        ["api"] => Path::Core,
        ["apis"] => Path::Groups,
        ["apis", group] => Path::Group(group),
        ["api", version] => Path::Version("", version),
        ["apis", group, version] => Path::Version(group, version),
        ["api", version, rest @ ..] => resource("", version, rest, path),
        ["apis", group, version, rest @ ..] => resource(group, version, rest, path),
        _ => Path::Other,
    }
}

fn resource<'p>(group: &'p str, version: &'p str, parts: &[&'p str], path: &'p str) -> Path<'p> {
    let (watch, parts) = match parts {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, parts),
    };
    // `namespaces/NAME/status` is a part of the namespace itself.
    let (namespace, parts) = match parts {
        ["namespaces", _, "status" | "finalize"] => (None, parts),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        _ => (None, parts),
    };
    let (plural, name, subresource) = match parts {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
        [plural, name, "proxy", ..] => (*plural, Some(*name), Some("proxy")),
        _ => return Path::Other,
    };
    if plural.is_empty() || name == Some("") {
        return Path::Other;
    }
    let rest = match subresource {
        Some("proxy") => path.split_once("/proxy/").map_or("", |(_, rest)| rest),
        _ => "",
    };
    Path::Resource(Resource { group, version, namespace, plural, name, subresource, rest, watch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |path, expected: Path<'_>| assert_eq!(parse(path), expected, "{path}");
        let v1 = || Resource { version: "v1", ..Resource::default() };
        check("/api", Path::Core);
        check("/apis/", Path::Groups);
        check("/apis/apps", Path::Group("apps"));
        check("/apis/apps/v1", Path::Version("apps", "v1"));
        check("/api/v1/", Path::Version("", "v1"));
        check("/version", Path::Other);
        check("/openapi/v3/api/v1", Path::Other);
        check("/api/v1/pods", Path::Resource(Resource { plural: "pods", ..v1() }));
        check("/api/v1/namespaces", Path::Resource(Resource { plural: "namespaces", ..v1() }));
        let namespace = Resource { plural: "namespaces", name: Some("shop"), ..v1() };
        check("/api/v1/namespaces/shop", Path::Resource(namespace.clone()));
        check(
            "/api/v1/namespaces/shop/finalize",
            Path::Resource(Resource { subresource: Some("finalize"), ..namespace }),
        );
        let deployment = Resource {
            group: "apps",
            plural: "deployments",
            namespace: Some("shop"),
            name: Some("web"),
            subresource: Some("scale"),
            ..v1()
        };
        check("/apis/apps/v1/namespaces/shop/deployments/web/scale", Path::Resource(deployment));
        let watched = Resource { namespace: Some("shop"), plural: "pods", watch: true, ..v1() };
        check("/api/v1/watch/namespaces/shop/pods", Path::Resource(watched));
        let proxied = Resource {
            namespace: Some("shop"),
            plural: "services",
            name: Some("http:web:80"),
            subresource: Some("proxy"),
            rest: "a/b/",
            ..v1()
        };
        check("/api/v1/namespaces/shop/services/http:web:80/proxy/a/b/", Path::Resource(proxied));
        check("/api/v1/pods/a/b/c/d", Path::Other);
        check("/api/v1/pods//log", Path::Other);
    }
}
