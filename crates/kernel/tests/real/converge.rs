//! The diff's plans on the real kernel: each leads from what is seen to what is wished.

use netstate::{
    Key, NetState, Object,
    netns::NetnsName,
    nft::{Datatype, Element, Set, SetKey, Value},
};

use crate::{common::*, sample::everything};

fn all() -> NetState {
    let mut state = everything();
    bridge(&mut state);
    for number in 1..=3 {
        endpoint(&mut state, number);
    }
    state
}

/// A state with one thing done to it.
fn with(mut state: NetState, edit: impl Fn(&mut NetState)) -> NetState {
    edit(&mut state);
    state
}

#[test]
fn any_state_is_reached_from_any_other() {
    world(|run_dir| {
        let table = || netstate::nft::TableKey { netns: NetnsName::Host, family: netstate::nft::Family::Inet };
        let set = |name: &str| SetKey { table: table(), name: name.into() };
        let without = |keep: fn(&Key) -> bool| with(all(), |state| state.objects.retain(|key, _| keep(key)));
        let steps: Vec<(&str, NetState)> = vec![
            ("all", all()),
            ("without elements", without(|key| !matches!(key, Key::Element(_)))),
            // With them go the elements that lead to them.
            (
                "without chains",
                without(|key| {
                    !matches!(key, Key::Chain(_)) && !matches!(key, Key::Element(e) if e.set.name == "spread")
                }),
            ),
            (
                "a set of another type",
                with(all(), |state| {
                    state.objects.retain(|key, _| !matches!(key, Key::Element(e) if e.set.name == "t_port"));
                    state.put(
                        set("t_port"),
                        Set {
                            key: vec![Datatype::InetService],
                            data: netstate::nft::SetData::None,
                            interval: true,
                            filled: Default::default(),
                        },
                    );
                }),
            ),
            (
                "elements of other data",
                with(all(), |state| {
                    for (key, object) in &mut state.objects {
                        if let (Key::Element(key), Object::Element(Element { data })) = (key, object)
                            && ["hosts", "portmap", "published"].contains(&key.set.name.as_str())
                        {
                            *data = netstate::nft::ElementData::Values([Value::Ipv4([10, 99, 0, 1].into())].into());
                        }
                    }
                }),
            ),
            (
                "chains without rules",
                with(all(), |state| {
                    for object in state.objects.values_mut() {
                        if let Object::Chain(chain) = object {
                            chain.rules.clear();
                        }
                    }
                }),
            ),
            (
                "other hooks",
                with(all(), |state| {
                    for object in state.objects.values_mut() {
                        if let Object::Chain(chain) = object
                            && let Some(base) = &mut chain.base
                        {
                            base.priority += 1;
                        }
                    }
                }),
            ),
            (
                "one endpoint less",
                without(|key| {
                    *key.netns() != NetnsName::named("c2") && !matches!(key, Key::Link(l) if l.name.as_str() == "v2")
                }),
            ),
            ("links alone", without(|key| key.table().is_none())),
            ("rules alone", without(|key| key.table().is_some())),
            ("nothing", NetState::default()),
        ];
        let mut linux = Linux::open(run_dir).expect("to open");
        for (from_what, from) in &steps {
            for (what, to) in &steps {
                converge(&mut linux, from, &format!("to {from_what}"));
                converge(&mut linux, to, &format!("{from_what} to {what}"));
            }
        }
    });
}

#[test]
fn what_was_torn_down_by_hand_is_put_back() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        for harm in [
            "nft flush ruleset",
            "nft flush chain inet linkspan forward",
            "nft delete element inet linkspan portmap { 80 : 10.0.0.3 }",
            "nft add element inet linkspan t_a4 { 10.200.0.1 }",
            "nft insert rule inet linkspan forward accept",
            "nft add set inet linkspan foreign { type ether_addr; }",
            "nft add chain inet linkspan foreign",
            "ip link delete br0",
            "ip link delete v1",
            "ip link set br0 down",
            "ip link set v2 nomaster",
            "ip link set v2 mtu 1280",
            "ip address flush dev br0",
        ] {
            converge(&mut linux, &all(), harm);
            let words: Vec<&str> = harm.splitn(2, ' ').collect();
            if words[0] == "nft" {
                run("nft", &[words[1]])
            } else {
                ip(words[1])
            };
            converge(&mut linux, &all(), harm);
        }
        let inside = format!("--net={}", linux.netns_path("c1").display());
        for harm in [
            "ip link set eth0 down",
            "ip address flush dev eth0",
            "ip route flush default",
            "ip link set eth0 name eth9",
        ] {
            let words: Vec<&str> = harm.split(' ').collect();
            run("nsenter", &[&[inside.as_str()], &words[..]].concat());
            converge(&mut linux, &all(), harm);
        }
    });
}
