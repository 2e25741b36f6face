//! The objects of the gateway of Ingresses that is started by itself: those of the manifest that others start it by, at other ports.

use kube_api::controller::Started;
use serde_json::Value;

use crate::config::IngressPorts;

/// The manifest.
const MANIFEST: &str = include_str!("../../../../deploy/kubernetes/gateway.yaml");

/// The objects, and who starts the gateway.
pub fn objects(ports: Option<IngressPorts>) -> Result<(Vec<Value>, Started), serde_saphyr::Error> {
    let documents = MANIFEST.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    let mut objects = documents.collect::<Result<Vec<_>, _>>()?;
    let Some(ports) = ports else { return Ok((objects, Started::ByOthers)) };
    let services = objects.iter_mut().filter(|object| object["kind"] == "Service");
    for port in services.filter_map(|service| service["spec"]["ports"].as_array_mut()).flatten() {
        port["port"] = if port["name"] == "https" { ports.https } else { ports.http }.into();
    }
    Ok((objects, Started::ByNeed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_of_this_version_and_its_ports_are_set() {
        let (objects, started) = objects(Some(IngressPorts { http: 8080, https: 8443 })).unwrap();
        assert_eq!(started, Started::ByNeed);
        let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
        let image = &of_kind("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(*image, format!("linkspan/gateway:{}", env!("CARGO_PKG_VERSION")));
        let ports = of_kind("Service")["spec"]["ports"].as_array().unwrap();
        let ports: Vec<_> = ports.iter().map(|port| (port["port"].as_u64(), port["targetPort"].as_str())).collect();
        assert_eq!(ports, [(Some(8080), Some("http")), (Some(8443), Some("https"))]);
    }
}
