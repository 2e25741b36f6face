//! Namespaces.

/// The ConfigMap with the certificate authority of the server, in each namespace.
pub const ROOT_CA: &str = "kube-root-ca.crt";
