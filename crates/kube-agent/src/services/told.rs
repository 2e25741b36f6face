//! Services and EndpointSlices as the API tells of them, read as far as they mean something to a node. The record of who wrote which field is
//! left out: reading it takes as long as reading all the rest.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde::{Deserialize, Deserializer};

/// A Service.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub spec: Option<core::ServiceSpec>,
    pub status: Option<core::ServiceStatus>,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub address_type: String,
    pub ports: Option<Vec<discovery::EndpointPort>>,
    pub endpoints: Option<Vec<discovery::Endpoint>>,
}

/// What is read of the metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: Option<String>,
    name: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

fn metadata<'de, D: Deserializer<'de>>(reader: D) -> Result<ObjectMeta, D::Error> {
    let Metadata { namespace, name, resource_version, labels, annotations } = Metadata::deserialize(reader)?;
    Ok(ObjectMeta { namespace, name, resource_version, labels, annotations, ..ObjectMeta::default() })
}

/// It is asked for where the whole one is.
macro_rules! resource {
    ($read:ty, $whole:ty) => {
        impl Resource for $read {
            type DynamicType = ();
            type Scope = <$whole as Resource>::Scope;

            fn kind((): &()) -> Cow<'_, str> {
                <$whole as Resource>::kind(&())
            }

            fn group((): &()) -> Cow<'_, str> {
                <$whole as Resource>::group(&())
            }

            fn version((): &()) -> Cow<'_, str> {
                <$whole as Resource>::version(&())
            }

            fn plural((): &()) -> Cow<'_, str> {
                <$whole as Resource>::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(Service, core::Service);
resource!(EndpointSlice, discovery::EndpointSlice);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_record_of_writers_is_left_out() {
        let record = json!([{ "manager": "kubectl", "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": {} } }]);
        let metadata = json!({
            "namespace": "shop", "name": "web", "resourceVersion": "7", "labels": { "a": "b" }, "annotations": { "c": "d" },
            "managedFields": record, "uid": "u",
        });
        let object = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "clusterIP": "10.96.0.7" } });
        let service: Service = serde_json::from_value(object.clone()).expect("a service");
        let whole: core::Service = serde_json::from_value(object).expect("a service");
        assert_eq!(service.spec, whole.spec);
        let expected = ObjectMeta { managed_fields: None, uid: None, ..whole.metadata };
        assert_eq!(*service.meta(), expected);
        assert_eq!(Service::url_path(&(), None), core::Service::url_path(&(), None));
        assert_eq!(EndpointSlice::url_path(&(), Some("shop")), discovery::EndpointSlice::url_path(&(), Some("shop")));
    }
}
