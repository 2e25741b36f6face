//! The three fixed roles: cluster administrators may everything; nodes may read everything and write what is theirs; service accounts
//! may read their namespace. Everybody known may ask what there is and who they are.

use super::{AUTHENTICATED, MASTERS, NODES, SERVICE_ACCOUNTS, User};

/// The namespace whose service accounts belong to the cluster's own parts, and may what a node may.
pub const SYSTEM_NAMESPACE: &str = "linkspan-system";

/// What is asked for, as rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Something of a resource.
    Resource {
        /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
        verb: &'a str,
        /// API group.
        group: &'a str,
        /// Plural name.
        resource: &'a str,
        /// Part of the object; empty for all of it.
        subresource: &'a str,
        /// Namespace; empty for all or none.
        namespace: &'a str,
        /// Object; empty for all.
        name: &'a str,
    },
    /// A document of the server.
    Path {
        /// Method in lower case.
        verb: &'a str,
        /// Path.
        path: &'a str,
    },
}

/// Paths that everybody may read, known or not.
const OPEN: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
/// Paths that everybody known may read.
const KNOWN: &[&str] =
    &["/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/version", "/.well-known", "/openid"];
/// What everybody known may make: questions about themselves.
const QUESTIONS: &[&str] = &["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"];

const READ: &[&str] = &["get", "list", "watch"];

/// What a node may write, as `resource` or `resource/subresource`, and how.
const NODE_WRITES: &[(&str, &str, &[&str])] = &[
    ("", "nodes", &["create", "update", "patch"]),
    ("", "nodes/status", &["update", "patch"]),
    ("", "pods", &["create", "delete", "update", "patch"]),
    ("", "pods/status", &["update", "patch"]),
    ("", "pods/eviction", &["create"]),
    ("", "events", &["create", "update", "patch"]),
    ("events.k8s.io", "events", &["create", "update", "patch"]),
    ("", "serviceaccounts/token", &["create"]),
    ("", "services/status", &["update", "patch"]),
    ("networking.k8s.io", "ingresses/status", &["update", "patch"]),
    ("coordination.k8s.io", "leases", &["create", "update", "patch", "delete"]),
    ("authentication.k8s.io", "tokenreviews", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
];

/// Whether a user may have what is asked for.
pub fn may(user: &User, ask: &Ask<'_>) -> bool {
    if user.is_in(MASTERS) {
        return true;
    }
    match *ask {
        Ask::Path { verb, path } => {
            let below = |allowed: &[&str]| {
                allowed
                    .iter()
                    .any(|open| path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            };
            matches!(verb, "get" | "head") && (below(OPEN) || (user.is_in(AUTHENTICATED) && below(KNOWN)))
        }
        Ask::Resource { verb, group, resource, subresource, namespace, .. } => {
            if !user.is_in(AUTHENTICATED) {
                return false;
            }
            if verb == "create" && QUESTIONS.contains(&resource) {
                return true;
            }
            let of_system = user.service_account().is_some_and(|(namespace, _)| namespace == SYSTEM_NAMESPACE);
            if user.is_in(NODES) || of_system {
                return READ.contains(&verb) || node_may_write(verb, group, resource, subresource);
            }
            let own = user.service_account().map(|(namespace, _)| namespace);
            user.is_in(SERVICE_ACCOUNTS)
                && READ.contains(&verb)
                && own == Some(namespace)
                && resource != "secrets"
                && !matches!(subresource, "exec" | "attach" | "portforward" | "proxy")
        }
    }
}

fn node_may_write(verb: &str, group: &str, resource: &str, subresource: &str) -> bool {
    let asked = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
    NODE_WRITES.iter().any(|(g, what, verbs)| *g == group && *what == asked && verbs.contains(&verb))
}

/// Why not, in Kubernetes' words.
pub fn refusal(user: &User, ask: &Ask<'_>) -> String {
    match *ask {
        Ask::Path { verb, path } => format!("forbidden: User {:?} cannot {verb} path {path:?}", user.name),
        Ask::Resource { verb, group, resource, subresource, namespace, name } => {
            let mut what = resource.to_owned();
            if !group.is_empty() {
                what = format!("{what}.{group}");
            }
            if !name.is_empty() {
                what = format!("{what} {name:?}");
            }
            let part = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            format!(
                "{what} is forbidden: User {:?} cannot {verb} resource \"{resource}{part}\" in API group {group:?} {place}",
                user.name
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().map(|g| (*g).to_owned()).collect();
        User { name: name.to_owned(), groups, ..User::default() }
    }

    #[test]
    fn who_may_what() {
        let admin = user("admin", &[MASTERS, AUTHENTICATED]);
        let node = user("system:node:a", &[NODES, AUTHENTICATED]);
        let account = user("system:serviceaccount:shop:web", &[SERVICE_ACCOUNTS, AUTHENTICATED]);
        let nobody = User::anonymous();
        let check = |user: &User, verb, what: &str, namespace, expected| {
            let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
            let ask = Ask::Resource { verb, group: "", resource, subresource, namespace, name: "" };
            assert_eq!(may(user, &ask), expected, "{}", refusal(user, &ask));
        };
        check(&admin, "delete", "nodes", "", true);
        check(&node, "list", "pods", "", true);
        check(&node, "update", "pods/status", "shop", true);
        check(&node, "delete", "services", "shop", false);
        check(&account, "list", "pods", "shop", true);
        check(&account, "list", "pods", "", false);
        check(&account, "get", "secrets", "shop", false);
        check(&account, "get", "pods/exec", "shop", false);
        check(&account, "create", "pods", "shop", false);
        check(&account, "create", "selfsubjectaccessreviews", "", true);
        check(&nobody, "list", "pods", "shop", false);
        check(&nobody, "create", "selfsubjectaccessreviews", "", false);
        let path =
            |user: &User, path, expected| assert_eq!(may(user, &Ask::Path { verb: "get", path }), expected, "{path}");
        path(&nobody, "/version", true);
        path(&nobody, "/api", false);
        path(&account, "/apis/apps/v1", true);
        path(&account, "/metrics", false);
        path(&account, "/apisx", false);
    }

    #[test]
    fn refusals() {
        let ask = Ask::Resource {
            verb: "get",
            group: "apps",
            resource: "deployments",
            subresource: "scale",
            namespace: "shop",
            name: "web",
        };
        let expected = "deployments.apps \"web\" is forbidden: User \"system:anonymous\" cannot get resource \"deployments/scale\" \
                        in API group \"apps\" in the namespace \"shop\"";
        assert_eq!(refusal(&User::anonymous(), &ask), expected);
    }
}
