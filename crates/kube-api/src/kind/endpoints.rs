//! `v1 Endpoints`.

use serde_json::Value;

use super::{Column, Errors, Kind, Path, column, syntax};
use crate::object::Look;

/// The addresses of a Service.
pub static KIND: Kind = Kind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short: &["ep"],
    schema: "Endpoints",
    columns: COLUMNS,
    validate,
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Endpoints", "Those that are ready.", |object, _| {
        column::first_three(&addresses(object), column::NONE).into()
    }),
    column::AGE,
];

fn addresses(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for subset in object.list("subsets") {
        let hosts = || subset.list("addresses").iter().map(|address| address.text("ip"));
        if subset.list("ports").is_empty() {
            all.extend(hosts().map(str::to_owned));
        }
        for port in subset.list("ports") {
            let number = port.int("port").unwrap_or_default();
            all.extend(hosts().map(|host| {
                if host.contains(':') { format!("[{host}]:{number}") } else { format!("{host}:{number}") }
            }));
        }
    }
    all
}

fn validate(object: &Value, errors: &mut Errors) {
    for (at, subset) in object.list("subsets").iter().enumerate() {
        let path = Path::new("subsets").index(at);
        if subset.list("addresses").is_empty() && subset.list("notReadyAddresses").is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for field in ["addresses", "notReadyAddresses"] {
            for (at, address) in subset.list(field).iter().enumerate() {
                self::address(address.text("ip"), &path.field(field).index(at).field("ip"), errors);
            }
        }
        let many = subset.list("ports").len() > 1;
        for (at, port) in subset.list("ports").iter().enumerate() {
            let path = path.field("ports").index(at);
            match port.text("name") {
                "" if many => errors.required(&path.field("name"), ""),
                "" => {}
                _ => syntax::check(port.at("name"), &path.field("name"), syntax::label, errors),
            }
            let number = port.int("port").unwrap_or_default();
            if let Some(wrong) = syntax::port_number(number) {
                errors.invalid(&path.field("port"), number, wrong);
            }
        }
    }
}

/// Checks the address of an endpoint. Loopback is not refused as Kubernetes does: on one machine the API server itself is there.
pub fn address(text: &str, path: &Path, errors: &mut Errors) {
    if let Some(wrong) = syntax::ip(text) {
        errors.invalid(path, text, wrong);
        return;
    }
    let Ok(ip) = text.parse::<std::net::IpAddr>() else { return };
    let link_local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let wrong = if ip.is_unspecified() {
        format!("may not be unspecified ({})", if ip.is_ipv4() { "0.0.0.0" } else { "::" })
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()
    } else if ip.is_multicast() {
        "may not be in the multicast range (224.0.0.0/4, ff00::/8)".to_owned()
    } else {
        return;
    };
    errors.invalid(path, text, wrong);
}
