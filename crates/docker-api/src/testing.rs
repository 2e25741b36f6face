//! States for tests, made by the real decisions from documents that clients send; and golden files.

use std::{collections::BTreeMap, fs, path::Path};

use model::{
    Command, Document, Facts, NetworkId, State,
    address::Pool,
    container::Run,
    decide,
    host::Settings,
    network::{BridgeWish, DriverWish, FamilyWish, NetworkWish, Origin, SubnetWish},
};
use serde_json::{Value, json};

use crate::{
    ApiError,
    container::create::{self, Body, Cgroups, Context, HostView},
    find,
    version::{self, Version},
};

/// 2023-11-14T22:13:20Z.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// What a daemon has that was just started.
pub(crate) fn opened() -> State {
    let mut settings =
        Settings { pools: vec![Pool { base: "172.18.0.0/15".parse().unwrap(), size: 16 }], ..Settings::default() };
    settings.default_network.ipv4 = FamilyWish::Subnet(SubnetWish {
        gateway: Some("172.17.0.1".parse().unwrap()),
        ..SubnetWish::of("172.17.0.0/16".parse().unwrap())
    });
    after(&State::default(), Command::Open(Box::new(settings)))
}

/// The state after a command that must be granted.
pub(crate) fn after(state: &State, command: Command) -> State {
    let facts = Facts { now_ms: NOW_MS, nonce: state.revision + 1, ..Facts::default() };
    state.with(&decide(state, &facts, command).expect("the command is granted").change)
}

/// The state with one more network, `10.1.0.0/24` and `fd01::/64`.
pub(crate) fn with_network(state: &State, name: &str) -> State {
    let family = |net: &str| FamilyWish::Subnet(SubnetWish::of(net.parse().unwrap()));
    let bridge = BridgeWish { ipv4: family("10.1.0.0/24"), ipv6: family("fd01::/64"), ..BridgeWish::default() };
    let wish = NetworkWish {
        id: NetworkId::from_bytes([0xee; 32]),
        name: name.to_owned(),
        origin: Origin::User,
        driver: DriverWish::Bridge(bridge),
        labels: BTreeMap::new(),
        face: Document::default(),
    };
    after(state, Command::CreateNetwork(Box::new(wish)))
}

/// What the document asks for, in the newest version, of an image that runs `/bin/sh`.
pub(crate) fn wish(
    state: &State,
    name: Option<&str>,
    body: &Value,
) -> Result<(model::command::ContainerWish, Vec<String>), ApiError> {
    wish_in(version::NEWEST, state, name, body)
}

/// The same in a version of the API.
pub(crate) fn wish_in(
    version: Version,
    state: &State,
    name: Option<&str>,
    body: &Value,
) -> Result<(model::command::ContainerWish, Vec<String>), ApiError> {
    let body: Option<Body> = crate::call::parse_json(body.to_string().as_bytes())?;
    wish_of(version, state, name, body.unwrap_or_default())
}

/// The same of a document that has been read.
pub(crate) fn wish_of(
    version: Version,
    state: &State,
    name: Option<&str>,
    body: Body,
) -> Result<(model::command::ContainerWish, Vec<String>), ApiError> {
    let image = json!({ "Cmd": ["/bin/sh"], "Env": ["PATH=/bin", "LANG=C"] });
    // Ids count up from the number of changes, so that they are new in each state.
    let mut drawn = state.revision * 16;
    let context = Context {
        state,
        version,
        name,
        image_id: format!("sha256:{}", "ab".repeat(32)),
        image: serde_json::from_value(image).unwrap(),
        host: HostView { hostname: "host".to_owned(), cpus: 4, memory_nodes: 2, cgroups: Cgroups::V2 },
        now_ms: NOW_MS,
        random: &mut || {
            drawn += 1;
            Ok([u8::try_from(drawn % 256).unwrap(); 32])
        },
    };
    create::wish(body, context)
}

/// The state with one more container, as the document asks.
pub(crate) fn with_container(state: &State, name: &str, body: &Value) -> State {
    let (wish, _) = wish(state, Some(name), body).expect("the document is granted");
    after(state, Command::CreateContainer(Box::new(wish)))
}

/// The same, running.
pub(crate) fn with_running(state: &State, name: &str, body: &Value) -> State {
    let state = with_container(state, name, body);
    let id = find::container(&state, name).unwrap().id.clone();
    let state = after(&state, Command::Start(id.clone()));
    after(&state, Command::Started { container: id, run: Run { pid: 4321, started_ms: NOW_MS } })
}

/// Compares with a file of `golden/`, or writes it if `UPDATE_GOLDEN` is set.
pub(crate) fn check_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} differs (UPDATE_GOLDEN=1 writes it); found:\n{found}", path.display());
}

/// A document as lines of `path = value`, by path.
pub(crate) fn lines(document: &Value) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, lines: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(name, value)| walk(&format!("{path}.{name}"), value, lines));
            }
            Value::Array(items) if !items.is_empty() => {
                items.iter().enumerate().for_each(|(at, value)| walk(&format!("{path}[{at}]"), value, lines));
            }
            value => drop(lines.insert(path.trim_start_matches('.').to_owned(), value.to_string())),
        }
    }
    let mut found = BTreeMap::new();
    walk("", document, &mut found);
    found
}

/// What one document has and the other has not.
pub(crate) fn differences(base: &Value, other: &Value) -> String {
    let (base, other) = (lines(base), lines(other));
    let gone =
        base.iter().filter(|(path, value)| other.get(*path) != Some(value)).map(|(path, value)| (path, '-', value));
    let new =
        other.iter().filter(|(path, value)| base.get(*path) != Some(value)).map(|(path, value)| (path, '+', value));
    let mut all: Vec<_> = gone.chain(new).collect();
    all.sort();
    all.into_iter().map(|(path, sign, value)| format!("{sign} {path} = {value}\n")).collect()
}
