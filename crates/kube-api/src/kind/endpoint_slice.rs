//! `discovery.k8s.io/v1 EndpointSlice`.

use super::Kind;

/// Where a service leads.
pub static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    schema: "EndpointSlice",
    ..Kind::BASE
};
