//! `ExposedPorts` and `PortBindings`. Clients take ranges apart: `-p 8000-8999:8000-8999` is sent as a thousand members of an object.
//! They are put together while they are read, so that what is looked at is as short as what was typed, and taken apart again when
//! they are shown. What cannot be put together, or makes no sense, is kept as it was sent.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use model::port::{PortRange, Protocol};
use runtime::image::Present;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::null_default;

/// `ExposedPorts`: what programs are said to listen at.
pub(crate) type ExposedPorts = Ports<Present>;

/// `PortBindings`: the places of each port on the host.
pub(crate) type PortBindings = Ports<Bindings>;

/// An object whose names are ports of the container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ports<T> {
    rows: Vec<Row<T>>,
    others: BTreeMap<String, T>,
}

/// Ports of the container in a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row<T> {
    pub(crate) protocol: Protocol,
    pub(crate) inside: PortRange,
    /// What is said of the first of them.
    pub(crate) first: T,
}

/// What is said of a port.
pub(crate) trait Said: Sized + PartialEq {
    /// What is said of the port so many after it, when both stand in one row; of itself (0) nothing if it can stand in none.
    fn nth(&self, n: u16) -> Option<Self>;
}

/// The places of one port on the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Bindings {
    /// One, with a number.
    One([Place; 1]),
    /// None, several, or one without a number.
    Others(Option<Vec<PortBinding>>),
}

/// An address and a port of the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Place {
    pub(crate) host_ip: String,
    #[serde(serialize_with = "as_text")]
    pub(crate) host_port: u16,
}

/// The same as it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PortBinding {
    #[serde(deserialize_with = "null_default")]
    pub(crate) host_ip: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) host_port: String,
}

impl<T: Said> Ports<T> {
    /// Whether nothing is said of any port.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others.is_empty()
    }

    /// The ports that stand in rows, in order.
    pub(crate) fn rows(&self) -> &[Row<T>] {
        &self.rows
    }

    /// All others, by what they are called.
    pub(crate) fn others(&self) -> &BTreeMap<String, T> {
        &self.others
    }

    /// Whether something is said of the port of this name.
    pub(crate) fn contains(&self, name: &Name<'_>) -> bool {
        let in_others = || self.others.contains_key(&name.to_string());
        let Name::Port(protocol, port) = *name else { return in_others() };
        let after = self.rows.partition_point(|row| (row.protocol, row.inside.first) <= (protocol, port));
        let row = after.checked_sub(1).and_then(|index| self.rows.get(index));
        row.is_some_and(|row| row.protocol == protocol && row.inside.contains(port)) || in_others()
    }

    /// Every port by itself, as it was sent.
    pub(crate) fn singly(&self) -> impl Iterator<Item = (Name<'_>, T)>
    where
        T: Clone,
    {
        let rows = self.rows.iter().flat_map(|row| {
            let ports = (row.inside.first..=row.inside.last).zip(0..);
            ports.filter_map(|(port, n)| Some((Name::Port(row.protocol, port), row.first.nth(n)?)))
        });
        rows.chain(self.others.iter().map(|(name, said)| (Name::Other(name.into()), said.clone())))
    }
}

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), others: BTreeMap::new() }
    }
}

/// Of a port that comes twice the last holds.
impl<'n, T: Said> FromIterator<(Name<'n>, T)> for Ports<T> {
    fn from_iter<I: IntoIterator<Item = (Name<'n>, T)>>(said: I) -> Self {
        let mut reading = Reading::default();
        said.into_iter().for_each(|(name, said)| reading.add(&name, said));
        reading.end()
    }
}

/// Ports as they come.
struct Reading<T> {
    single: BTreeMap<(Protocol, u16), T>,
    others: BTreeMap<String, T>,
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self { single: BTreeMap::new(), others: BTreeMap::new() }
    }
}

impl<T: Said> Reading<T> {
    fn add(&mut self, name: &Name<'_>, said: T) {
        match name {
            Name::Port(protocol, port) => drop(self.single.insert((*protocol, *port), said)),
            Name::Other(name) => drop(self.others.insert(name.to_string(), said)),
        }
    }

    fn end(mut self) -> Ports<T> {
        let mut rows: Vec<Row<T>> = Vec::new();
        for ((protocol, port), said) in self.single {
            match rows.last_mut() {
                _ if said.nth(0).is_none() => drop(self.others.insert(Name::Port(protocol, port).to_string(), said)),
                Some(row) if row.protocol == protocol && row.goes_on(port, &said) => row.inside.last = port,
                _ => rows.push(Row { protocol, inside: PortRange::single(port), first: said }),
            }
        }
        Ports { rows, others: self.others }
    }
}

impl<T: Said> Row<T> {
    fn goes_on(&self, port: u16, said: &T) -> bool {
        self.inside.last.checked_add(1) == Some(port) && self.first.nth(port - self.inside.first).as_ref() == Some(said)
    }
}

/// What a port is called.
#[derive(Clone, Debug)]
pub(crate) enum Name<'n> {
    /// As it is shown: `80/tcp`.
    Port(Protocol, u16),
    /// Anything else.
    Other(Cow<'n, str>),
}

impl<'n> Name<'n> {
    /// The one that is written so.
    pub(crate) fn of(text: &'n str) -> Self {
        Self::port(text).unwrap_or(Self::Other(text.into()))
    }

    fn port(text: &str) -> Option<Self> {
        let (port, protocol) = text.split_once('/')?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return None,
        };
        Some(Self::Port(protocol, number(port)?))
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{protocol}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name<'static> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name::port(text).unwrap_or_else(|| Name::Other(text.to_owned().into())))
            }
        }

        from.deserialize_str(Text)
    }
}

/// The port that is shown as this number, and no other.
fn number(text: &str) -> Option<u16> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl Said for Present {
    fn nth(&self, _: u16) -> Option<Self> {
        Some(Self {})
    }
}

impl Said for Bindings {
    fn nth(&self, n: u16) -> Option<Self> {
        let Self::One([Place { host_ip, host_port }]) = self else { return None };
        let host_port = host_port.checked_add(n)?;
        Some(Self::One([Place { host_ip: host_ip.clone(), host_port }]))
    }
}

impl From<PortBinding> for Bindings {
    fn from(PortBinding { host_ip, host_port }: PortBinding) -> Self {
        match number(&host_port) {
            Some(host_port) => Self::One([Place { host_ip, host_port }]),
            None => Self::Others(Some(vec![PortBinding { host_ip, host_port }])),
        }
    }
}

impl Bindings {
    /// All of them, as they were sent.
    pub(crate) fn list(&self) -> Vec<PortBinding> {
        match self {
            Self::One([Place { host_ip, host_port }]) => {
                vec![PortBinding { host_ip: host_ip.clone(), host_port: host_port.to_string() }]
            }
            Self::Others(list) => list.clone().unwrap_or_default(),
        }
    }
}

impl<'de> Deserialize<'de> for Bindings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Bindings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Bindings::Others(None))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                self.visit_none()
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
                from.deserialize_seq(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let Some(first) = list.next_element::<PortBinding>()? else {
                    return Ok(Bindings::Others(Some(Vec::new())));
                };
                let Some(second) = list.next_element()? else { return Ok(first.into()) };
                let mut all = vec![first, second];
                while let Some(more) = list.next_element()? {
                    all.push(more);
                }
                Ok(Bindings::Others(Some(all)))
            }
        }

        from.deserialize_option(List)
    }
}

fn as_text<S: Serializer>(port: &u16, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(port)
}

impl<T: Said + Clone + Serialize> Serialize for Ports<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.singly())
    }
}

impl<'de, T: Said + Deserialize<'de>> Deserialize<'de> for Ports<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Said + Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Ports<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut reading = Reading::default();
                while let Some(name) = map.next_key::<Name<'_>>()? {
                    reading.add(&name, map.next_value()?);
                }
                Ok(reading.end())
            }
        }

        from.deserialize_map(Object(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is shown is what was sent, however it was kept.
    #[test]
    fn rows() {
        let check = |sent: Value, rows: &[&str]| {
            let ports: PortBindings = serde_json::from_str(&sent.to_string()).unwrap();
            let found: Vec<_> = ports.rows().iter().map(|row| format!("{}/{}", row.inside, row.protocol)).collect();
            assert_eq!(found, rows, "{sent}");
            assert_eq!(serde_json::to_value(&ports).unwrap(), sent);
            assert!(sent.as_object().unwrap().keys().all(|name| ports.contains(&Name::of(name))), "{sent}");
            assert!(!ports.contains(&Name::of("7/tcp")) && !ports.contains(&Name::of("7000/tcp")), "{sent}");
        };
        let at = |port: &str| json!([{ "HostIp": "", "HostPort": port }]);
        let on = |ip: &str, port: &str| json!([{ "HostIp": ip, "HostPort": port }]);
        check(json!({}), &[]);
        check(json!({ "9/tcp": at("9"), "10/tcp": at("10"), "11/tcp": at("11") }), &["9-11/tcp"]);
        check(json!({ "9/tcp": at("80"), "10/tcp": at("81"), "10/udp": at("82") }), &["9-10/tcp", "10/udp"]);
        check(json!({ "9/tcp": at("80"), "10/tcp": at("82"), "12/tcp": at("83") }), &["9/tcp", "10/tcp", "12/tcp"]);
        check(
            json!({ "9/tcp": on("::1", "9"), "10/tcp": on("::1", "10"), "11/tcp": on("", "11") }),
            &["9-10/tcp", "11/tcp"],
        );
        check(json!({ "65535/tcp": at("1"), "65534/tcp": at("65535") }), &["65534/tcp", "65535/tcp"]);
        // These are kept as they came.
        for port in ["", "0", "080", "+80", "80-81", "65536", "http"] {
            check(json!({ "9/tcp": at(port) }), &[]);
        }
        for name in ["09/tcp", "9", "9/TCP", "9/icmp", "9-10/tcp", "65536/tcp", "0/tcp", "/tcp", ""] {
            check(json!({ name: at("9") }), &[]);
        }
        for places in
            [json!(null), json!([]), json!([{ "HostIp": "", "HostPort": "1" }, { "HostIp": "::1", "HostPort": "1" }])]
        {
            check(json!({ "9/tcp": places, "10/tcp": at("10") }), &["10/tcp"]);
        }
    }

    /// Of a name that comes twice the last holds, also where one of them stands in no row.
    #[test]
    fn twice() {
        for (sent, expected) in [
            (
                r#"{"9/tcp":[{"HostPort":"1"}],"9/tcp":[{"HostPort":"2"}]}"#,
                json!({"9/tcp": [{"HostIp": "", "HostPort": "2"}]}),
            ),
            (r#"{"9/tcp":[{"HostPort":"1"}],"9\/tcp":null}"#, json!({"9/tcp": null})),
            (r#"{"9/tcp":null,"9/tcp":[{"HostPort":"1"}]}"#, json!({"9/tcp": [{"HostIp": "", "HostPort": "1"}]})),
        ] {
            let ports: PortBindings = serde_json::from_str(sent).unwrap();
            assert_eq!((ports.singly().count(), serde_json::to_value(&ports).unwrap()), (1, expected), "{sent}");
        }
    }

    #[test]
    fn refused() {
        for (sent, expected) in [
            ("[]", "invalid type: sequence, expected a map at line 1 column 0"),
            (r#"{"9/tcp":{}}"#, "invalid type: map, expected a sequence at line 1 column 9"),
            (r#"{"9/tcp":[1]}"#, "invalid type: integer `1`, expected struct PortBinding at line 1 column 11"),
        ] {
            let found = serde_json::from_str::<PortBindings>(sent).map(drop).map_err(|e| e.to_string());
            assert_eq!(found, Err(expected.to_owned()), "{sent}");
        }
    }
}
