//! Networks from requests to what is shown. Each golden file has a request, what its wish has that the smallest has not, and the
//! network as it is then shown.

use model::{Command, State, network::NetworkWish};
use serde_json::{Value, json};

use super::*;
use crate::{
    filter::Filters,
    testing::{after, check_golden, differences, opened, with_container, with_network, with_running},
    version::NEWEST,
};

fn wish(request: &Value, version: Version) -> Result<NetworkWish, ApiError> {
    let request = crate::call::parse_json(request.to_string().as_bytes())?;
    create::wish(request.unwrap_or_default(), NetworkId::from_bytes([0xaa; 32]), version)
}

fn made(state: &State, request: &Value) -> State {
    let wish = wish(request, NEWEST).unwrap();
    after(state, Command::CreateNetwork(Box::new(wish)))
}

fn shown(state: &State, name: &str) -> Value {
    serde_json::to_value(show(state, find::network(state, name).unwrap(), Containers::Listed)).unwrap()
}

fn check_in(version: Version, name: &str, request: Value) {
    let smallest = serde_json::to_value(wish(&json!({ "Name": "front" }), NEWEST).unwrap()).unwrap();
    let found = wish(&request, version).unwrap();
    let state = after(&opened(), Command::CreateNetwork(Box::new(found.clone())));
    let more = differences(&smallest, &serde_json::to_value(found).unwrap());
    check_golden(&format!("network/{name}.txt"), &format!("{request:#}\n\n{more}\n{:#}\n", shown(&state, "front")));
}

fn check(name: &str, request: Value) {
    check_in(NEWEST, name, request);
}

#[test]
fn smallest() {
    check("smallest", json!({ "Name": "front" }));
    let nulls = json!({
        "Name": "front", "Driver": null, "Options": null, "IPAM": null, "Labels": null, "CheckDuplicate": null, "Internal": null,
        "ConfigFrom": null, "Scope": null, "Unknown": [1],
    });
    check("nulls", nulls);
}

#[test]
fn subnets() {
    let ipv4 = json!({
        "Subnet": "172.28.0.0/16", "IPRange": "172.28.5.0/24", "Gateway": "172.28.5.254",
        "AuxiliaryAddresses": { "a": "172.28.1.5", "b": "172.28.1.6" },
    });
    let ipv6 = json!({ "Subnet": "2001:db8::/64", "Gateway": "2001:db8::ffff" });
    check("subnet", json!({ "Name": "front", "IPAM": { "Driver": "default", "Config": [ipv4] } }));
    check(
        "dual_stack",
        json!({ "Name": "front", "EnableIPv6": true, "IPAM": { "Config": [ipv6, ipv4], "Options": { "x": "y" } } }),
    );
    check("ipv6_from_pool", json!({ "Name": "front", "EnableIPv6": true }));
    check("ipv6_only", json!({ "Name": "front", "EnableIPv4": false, "EnableIPv6": true }));
    check_in(Version::new(1, 47), "ipv4_cannot_be_off_before_1.48", json!({ "Name": "front", "EnableIPv4": false }));
    // What is asked for a family that is off is shown and means nothing, host bits and all.
    check(
        "ipv6_subnet_without_ipv6",
        json!({ "Name": "front", "IPAM": { "Config": [{ "Subnet": "2001:db8::1/64" }] } }),
    );
}

#[test]
fn options() {
    let options = json!({
        "com.docker.network.bridge.name": "front0",
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
        "com.docker.network.bridge.gateway_mode_ipv6": "routed",
        "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
        "com.docker.network.bridge.inhibit_ipv4": "1",
        "com.docker.network.bridge.trusted_host_interfaces": "eth1:wg0",
        "com.docker.network.container_iface_prefix": "lan",
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.enable_ipv6": "true",
        "com.docker.network.host_ipv4": "192.0.2.1",
        "com.docker.network.host_ipv6": "2001:db8:1::1",
        "com.example.unknown": "kept",
    });
    check("options", json!({ "Name": "front", "Driver": "bridge", "Options": options, "Labels": { "tier": "front" } }));
    let off = json!({
        "com.docker.network.bridge.enable_ip_masquerade": "false", "com.docker.network.host_ipv4": "192.0.2.1",
        "com.docker.network.driver.mtu": "0",
    });
    check("no_masquerade", json!({ "Name": "front", "Options": off }));
    let isolated = json!({ "com.docker.network.bridge.gateway_mode_ipv4": "isolated" });
    check("isolated", json!({ "Name": "front", "Internal": true, "Attachable": true, "Options": isolated }));
}

#[test]
fn nonsense_is_refused() {
    let check = |request: Value, status: u16, words: &str| {
        let error = wish(&request, NEWEST).unwrap_err();
        assert_eq!((error.status.as_u16(), error.message.as_str()), (status, words), "{request}");
    };
    let with = |name: &str, value: Value| {
        let mut request = json!({ "Name": "front" });
        request[name] = value;
        request
    };
    check(json!({}), 400, "invalid name: name is empty");
    check(json!({ "Name": " " }), 400, "invalid name: name is empty");
    check(with("Driver", json!("host")), 403, "only one instance of \"host\" network is allowed");
    check(with("Driver", json!("null")), 403, "only one instance of \"null\" network is allowed");
    check(
        with("Driver", json!("overlay")),
        503,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    );
    check(with("Driver", json!("weave")), 404, "could not find plugin weave in v1 plugin registry: plugin not found");
    check(
        with("Driver", json!("macvlan")),
        501,
        "linkspan has no network driver \"macvlan\": use the driver \"bridge\"",
    );
    check(
        with("ConfigOnly", json!(true)),
        501,
        "linkspan has no config-only networks: give each network its own options",
    );
    check(with("ConfigFrom", json!({ "Network": "x" })), 404, "configuration network \"x\" does not exist");
    check(with("Ingress", json!(true)), 403, "Ingress network can only be global scope network");
    check(with("Scope", json!("swarm")), 403, "cannot create a swarm scoped network when swarm is not active");
    check(
        with("IPAM", json!({ "Driver": "dhcp" })),
        404,
        "could not find plugin dhcp in v1 plugin registry: plugin not found",
    );
    let option = |name: &str, value: &str| with("Options", json!({ name: value }));
    check(
        option("com.docker.network.bridge.enable_icc", "maybe"),
        400,
        "failed to parse com.docker.network.bridge.enable_icc value: maybe (write true or false)",
    );
    check(
        option("com.docker.network.bridge.gateway_mode_ipv4", "fast"),
        400,
        "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: fast (unknown gateway mode fast)",
    );
    check(
        option("com.docker.network.driver.mtu", "-1"),
        400,
        "failed to parse com.docker.network.driver.mtu value: -1 (invalid MTU number: -1)",
    );
    check(
        option("com.docker.network.host_ipv4", "::1"),
        400,
        "failed to parse com.docker.network.host_ipv4 value: ::1 (not an address of this family)",
    );
    check(
        option("com.docker.network.advertise_addr_nmsgs", "4"),
        400,
        "failed to parse com.docker.network.advertise_addr_nmsgs value: 4 (it must be in the range 0 to 3)",
    );
    check(
        option("com.docker.network.advertise_addr_ms", "soon"),
        400,
        "failed to parse com.docker.network.advertise_addr_ms value: soon (it must be in the range 100 to 2000)",
    );
    check(
        option("com.docker.network.bridge.default_bridge", "true"),
        400,
        "failed to parse com.docker.network.bridge.default_bridge value: true (only the predefined network is the default bridge)",
    );
    check(
        option("com.docker.network.enable_ipv6", "perhaps"),
        400,
        "driver-opt \"com.docker.network.enable_ipv6\" is not a valid bool",
    );
}

#[test]
fn subnets_that_contradict_themselves_are_refused() {
    let check = |config: Value, status: u16, words: &str| {
        let request = json!({ "Name": "front", "EnableIPv6": true, "IPAM": { "Config": config } });
        let error = wish(&request, NEWEST).unwrap_err();
        assert_eq!((error.status.as_u16(), error.message.as_str()), (status, words), "{request}");
    };
    let one = |words: &str| format!("invalid network config:\n{words}");
    check(json!([{}]), 400, &one("invalid subnet : invalid CIDR block notation"));
    check(json!([{ "Subnet": "10.0.0.1/24" }]), 400, &one("invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"));
    check(
        json!([{ "Subnet": "2001:db8::1/64" }]),
        400,
        &one("invalid subnet 2001:db8::1/64: it should be 2001:db8::/64"),
    );
    let two = json!([{ "Subnet": "10.0.0.0/24" }, { "Subnet": "10.0.1.0/24" }]);
    check(two, 403, "bridge driver doesn't support multiple subnets");
    let range = |range: &str| json!([{ "Subnet": "10.0.0.0/24", "IPRange": range }]);
    check(range("x"), 400, &one("invalid ip-range x: invalid CIDR block notation"));
    check(range("::/64"), 400, &one("invalid ip-range ::/64: parent subnet is an IPv4 block"));
    check(
        range("10.0.0.0/8"),
        400,
        &one("invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.0.0.0/24"),
    );
    check(range("10.0.0.129/25"), 400, &one("invalid ip-range 10.0.0.129/25: it should be 10.0.0.128/25"));
    check(
        range("10.1.0.0/25"),
        400,
        &one("invalid ip-range 10.1.0.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range"),
    );
    let several = json!([{
        "Subnet": "10.0.0.0/24", "Gateway": "10.0.1.1",
        "AuxiliaryAddresses": { "a": "::1", "b": "x", "DefaultGatewayIPv4": "10.0.0.7" },
    }]);
    check(
        several,
        400,
        "invalid network config:\n\
         * invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address\n\
         * invalid auxiliary address a: parent subnet is an IPv4 block\n\
         * invalid auxiliary address b: invalid address",
    );
}

/// Networks `net` and `front`; on `net` a container that runs, and one that does not.
fn inhabited() -> State {
    let state = with_network(&opened(), "net");
    let state = made(&state, &json!({ "Name": "front", "Labels": { "tier": "front" } }));
    let on_net = json!({ "Image": "box", "HostConfig": { "NetworkMode": "net" } });
    let state = with_running(&state, "web", &on_net);
    let state = with_container(&state, "idle", &on_net);
    with_running(&state, "plain", &json!({ "Image": "box" }))
}

#[test]
fn networks_show_who_is_on_them() {
    let state = inhabited();
    let text = ["net", "bridge", "host", "none"].map(|name| format!("{:#}\n", shown(&state, name)));
    check_golden("network/inhabited.txt", &text.concat());
}

#[test]
fn lists_are_filtered() {
    let state = inhabited();
    let net = find::network(&state, "net").unwrap().id.clone();
    let check = |filter: &str, expected: Result<&[&str], &str>| {
        let filters = Filters::parse(filter, &list::KEYS);
        let found = filters.and_then(|filters| list::list(&state, &filters, Containers::LeftOut));
        let found = found.map(|networks| networks.into_iter().map(|network| network.name).collect::<Vec<_>>());
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(found.map_err(|error| error.message), expected.map_err(str::to_owned), "{filter}");
    };
    check("", Ok(&["bridge", "front", "host", "net", "none"]));
    check(r#"{"driver":["bridge"]}"#, Ok(&["bridge", "front", "net"]));
    check(r#"{"driver":{"null":true}}"#, Ok(&["none"]));
    check(r#"{"name":["n"]}"#, Ok(&["front", "net", "none"]));
    check(r#"{"name":["^net$"]}"#, Ok(&["net"]));
    check(&format!(r#"{{"id":["{}"]}}"#, &net.as_str()[..8]), Ok(&["net"]));
    check(r#"{"label":["tier=front"]}"#, Ok(&["front"]));
    check(r#"{"type":["custom"]}"#, Ok(&["front", "net"]));
    check(r#"{"type":["builtin"]}"#, Ok(&["bridge", "host", "none"]));
    check(r#"{"type":["builtin","custom"]}"#, Ok(&["bridge", "front", "host", "net", "none"]));
    check(r#"{"scope":["global"]}"#, Ok(&[]));
    check(r#"{"dangling":["true"]}"#, Ok(&["front"]));
    check(r#"{"dangling":["0"]}"#, Ok(&["bridge", "host", "net", "none"]));
    check(r#"{"type":["odd"]}"#, Err("invalid filter: 'type'='odd'"));
    check(r#"{"dangling":["0","1"]}"#, Err("got more than one value for filter key \"dangling\""));
    check(
        r#"{"dangling":["x"]}"#,
        Err("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")"),
    );
    check(r#"{"until":["1h"]}"#, Err("invalid filter 'until'"));
}

#[test]
fn containers_are_connected() {
    let state = inhabited();
    let request = |body: Value| serde_json::from_value::<ConnectRequest>(body).unwrap();
    let connect = |network: &str, body: Value| {
        connect_command(&state, network, &request(body), EndpointId::from_bytes([0xcc; 32]))
            .map_err(|error| error.message)
    };
    let settings =
        json!({ "Aliases": ["www"], "MacAddress": "02:42:ac:11:00:02", "Links": ["web:upstream"], "GwPriority": 3 });
    let Ok(Command::Connect(found)) = connect("front", json!({ "Container": "plain", "EndpointConfig": settings }))
    else {
        panic!("it is granted");
    };
    check_golden("network/connect.json", &format!("{:#}\n", serde_json::to_value(found).unwrap()));
    assert!(connect("front", json!({ "Container": "idle", "EndpointConfig": null })).is_ok());
    assert_eq!(connect("front", json!({ "Container": "nobody" })), Err("No such container: nobody".to_owned()));
    assert_eq!(connect("nowhere", json!({ "Container": "web" })), Err("network nowhere not found".to_owned()));
}

#[test]
fn an_address_of_a_subnet_without_ipv6_means_nothing() {
    let subnet = json!({ "Subnet": "2001:db8::1/64" });
    let state = made(&opened(), &json!({ "Name": "front", "IPAM": { "Config": [subnet] } }));
    let state = with_container(&state, "web", &json!({ "Image": "box" }));
    let ipv6 = |address: &str| {
        let settings = json!({ "IPAMConfig": { "IPv6Address": address } });
        let body = json!({ "Container": "web", "EndpointConfig": settings });
        let request = serde_json::from_value(body).unwrap();
        match connect_command(&state, "front", &request, EndpointId::from_bytes([0xcc; 32])) {
            Ok(Command::Connect(connect)) => connect.wish.ipv6,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ipv6("2001:db8::f00d"), None);
    assert_eq!(ipv6("2001:db9::f00d"), Some("2001:db9::f00d".parse().unwrap()));
}
