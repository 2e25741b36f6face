//! The two columns that name a record.

use model::RecordKey;

/// Kind and id of a record.
pub fn columns(key: &RecordKey) -> (&'static str, &str) {
    match key {
        RecordKey::Settings => ("settings", ""),
        RecordKey::Network(id) => ("network", id.as_str()),
        RecordKey::Sandbox(id) => ("sandbox", id.as_str()),
        RecordKey::Endpoint(id) => ("endpoint", id.as_str()),
        RecordKey::Container(id) => ("container", id.as_str()),
        RecordKey::Document(container) => ("document", container.as_str()),
        RecordKey::Volume(name) => ("volume", name),
        RecordKey::Cluster => ("cluster", ""),
        RecordKey::Service(name) => ("service", name.as_str()),
        RecordKey::EndpointSlice(name) => ("endpoint-slice", name.as_str()),
    }
}
