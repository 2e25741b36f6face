//! Which wish made an object, and which objects a wish made.

use std::{collections::BTreeSet, fmt::Write};

use model::State;
use netstate::{Key, text};
use plan::{Desired, Wish};

use super::labels;

/// Explains what is called so: a container, a network, or anything in the kernel.
pub fn explain(state: &State, what: &str) -> Result<String, String> {
    let desired = plan::desired(state);
    let wishes = wishes(state, what);
    if !wishes.is_empty() {
        return Ok(wishes.iter().map(|wish| made(state, &desired, wish)).collect());
    }
    let keys: Vec<_> = desired.owner.keys().filter(|key| mentions(&desired, key, what)).collect();
    if keys.is_empty() {
        return Err(format!("nothing that linkspan has on this host is called {what}: see `linkspan map`"));
    }
    let mut text = String::new();
    for key in keys {
        let wish = &desired.owner[key];
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\n    wished by {}", object(&desired, key).trim_end(), told(state, wish));
    }
    Ok(text)
}

/// What a container's or a network's name, id or start of an id stands for, or a service's name.
fn wishes(state: &State, what: &str) -> BTreeSet<Wish> {
    let called = |id: &str, name: &str| name == what || (what.len() >= 4 && id.starts_with(what));
    let mut wishes = BTreeSet::new();
    for container in state.containers.values().filter(|c| called(c.id.as_str(), &c.name)) {
        wishes.insert(Wish::Sandbox(container.sandbox.clone()));
        let endpoints = state.endpoints.values().filter(|endpoint| endpoint.sandbox == container.sandbox);
        wishes.extend(endpoints.map(|endpoint| Wish::Endpoint(endpoint.id.clone())));
    }
    let networks = state.networks.values().filter(|network| called(network.id.as_str(), &network.name));
    wishes.extend(networks.map(|network| Wish::Network(network.id.clone())));
    // By its name, or with its namespace.
    let services = state.services.keys().filter(|name| name.as_str() == what || name.parts().1 == what);
    wishes.extend(services.cloned().map(Wish::Service));
    wishes
}

/// All that a wish made.
fn made(state: &State, desired: &Desired, wish: &Wish) -> String {
    let mut text = format!("{}\n", told(state, wish));
    for (key, _) in desired.owner.iter().filter(|(_, owner)| *owner == wish) {
        for line in object(desired, key).lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn told(state: &State, wish: &Wish) -> String {
    let kind = match wish {
        Wish::Base => return "the daemon itself".to_owned(),
        Wish::Network(_) => "network",
        Wish::Sandbox(_) => "the sandbox of container",
        Wish::Cluster => return "the cluster's services".to_owned(),
        Wish::Spread(_) => return "services whose clients are spread alike".to_owned(),
        Wish::Service(_) => "service",
        Wish::Endpoint(id) => {
            let network = state.endpoints.get(id).and_then(|e| state.networks.get(&e.network)).map_or("?", |n| &n.name);
            let container = labels::name(state, wish).unwrap_or_else(|| id.short().to_owned());
            return format!("the endpoint of container {container} on network {network}");
        }
    };
    format!("{kind} {}", labels::name(state, wish).unwrap_or_else(|| wish.to_string()))
}

fn object(desired: &Desired, key: &Key) -> String {
    desired.net.objects.get(key).map(|object| text::object(key, object)).unwrap_or_default()
}

/// Whether one of the words of an object is what was asked for.
fn mentions(desired: &Desired, key: &Key, what: &str) -> bool {
    let text = object(desired, key);
    let word = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | ':' | '/' | '_' | '-'));
    text.split(word)
        .any(|part| part == what || part.split('/').next() == Some(what) || part.rsplit(':').next() == Some(what))
}
