//! What `linkspan trace` says of a packet is what becomes of a real one; and what `map`, `diff` and `explain` say of it all.

use conformance::{From, Host};

#[test]
fn traces_agree_with_packets() {
    let Some(host) = Host::start() else { return };
    host.outside("ip route add 10.0.0.0/8 via 192.0.2.1").ok();
    host.docker("network create --subnet 10.1.0.0/24 one").ok();
    host.docker("network create --subnet 10.2.0.0/24 -o com.docker.network.bridge.gateway_mode_ipv4=routed two").ok();
    host.docker("network create --subnet 10.3.0.0/24 --internal three").ok();
    host.serve("aa", "--network one -p 8080:80");
    host.serve("bb", "--network two -p 8081:80");
    host.serve("cc", "--network three");
    host.serve("dd", "--network one -p 127.0.0.1:8082:80");
    let names = ["aa", "bb", "cc", "dd"];
    for (name, address) in [("aa", "10.1.0.2"), ("bb", "10.2.0.2"), ("cc", "10.3.0.2"), ("dd", "10.1.0.3")] {
        host.reaches(From::Host, &format!("{address}:80"));
        host.reaches(From::Container(name), "127.0.0.1:80");
    }
    let targets = [
        "10.1.0.2:80",
        "10.1.0.3:80",
        "10.2.0.2:80",
        "10.3.0.2:80",
        "192.0.2.1:8080",
        "192.0.2.1:8081",
        "192.0.2.1:8082",
    ];
    let sources = [("host", From::Host), ("192.0.2.2", From::Outside)]
        .into_iter()
        .chain(names.map(|name| (name, From::Container(name))));
    let mut wrong = Vec::new();
    for (source, from) in sources {
        for target in targets {
            let traced = host.linkspan(&format!("trace {source} {target}")).ok();
            // At the host itself nobody listens: a packet that stays there was led to no container.
            let stays = target.starts_with("192.0.2.1:")
                && traced.lines().find(|l| l.contains("delivered")).is_some_and(|l| l.contains("at host:"));
            let says =
                traced.contains("delivered") && !traced.contains("dropped") && !traced.contains("refused") && !stays;
            // One that should arrive is given time: the machine may have other work.
            let tries = if says { 5 } else { 1 };
            let does = (0..tries).any(|_| host.tcp(from, target).is_some());
            if says != does {
                wrong.push(format!("{source} -> {target}: packets {does}\n{traced}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let dropped = host.linkspan("trace 192.0.2.2 10.1.0.2:80").ok();
    assert!(dropped.contains("unpublished"), "{dropped}");
}

#[test]
fn the_hosts_own_firewall_is_obeyed_and_named() {
    let Some(host) = Host::empty() else { return };
    let chain = "'{ type filter hook forward priority 0; policy accept; }'";
    host.sh(&format!("nft add table inet fw; nft add chain inet fw early {chain}; nft add rule inet fw early ip saddr 192.0.2.2 tcp dport 80 drop")).ok();
    host.start_daemon();
    host.load_image();
    host.serve("web", "-p 8080:80");
    host.reaches(From::Host, "192.0.2.1:8080");
    host.misses(From::Outside, "192.0.2.1:8080");
    let named = |chain: &str| {
        let traced = host.linkspan("trace 192.0.2.2 192.0.2.1:8080").ok();
        assert!(traced.contains(&format!("passes chain {chain} too, which is not linkspan's")), "{traced}");
        let doctor = host.linkspan("doctor").out;
        assert!(doctor.contains("foreign firewall rules: "), "{doctor}");
        doctor
    };
    assert!(
        named("inet fw early")
            .contains("table inet fw, which sees forwarded packets, has rules that drop or reject (1)")
    );
    host.sh("nft delete table inet fw").ok();
    host.reaches(From::Outside, "192.0.2.1:8080");
    // One that comes later, as an administrator writes it: of no use to accept here what he drops.
    host.sh("iptables -I FORWARD -p tcp --dport 80 -j REJECT").ok();
    host.misses(From::Outside, "192.0.2.1:8080");
    named("ip filter FORWARD");
    host.sh("iptables -F FORWARD; iptables -P FORWARD DROP").ok();
    host.misses(From::Outside, "192.0.2.1:8080");
    assert!(named("ip filter FORWARD").contains("chain ip filter FORWARD drops forwarded packets by policy"));
    host.sh("iptables -I FORWARD -p tcp --dport 80 -j ACCEPT; iptables -I FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT").ok();
    host.reaches(From::Outside, "192.0.2.1:8080");
}

#[test]
fn the_doctor_names_who_is_in_the_way() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 net").ok();
    let doctor = host.linkspan("doctor").out;
    assert!(doctor.contains("good     address overlaps: "), "{doctor}");
    host.sh("ip route add 10.1.0.128/25 via 192.0.2.2").ok();
    let doctor = host.linkspan("doctor");
    assert_eq!(doctor.code, 1);
    assert!(doctor.out.contains("BAD      address overlaps: 10.1.0.128/25 by "), "{}", doctor.out);
}

#[test]
fn what_was_built_is_told() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 net").ok();
    host.serve("web", "--network net -p 8080:80");
    let map = host.linkspan("map").ok();
    for word in ["docker0", "10.1.0.1", "10.1.0.2", "web", "8080"] {
        assert!(map.contains(word), "{word} is not in\n{map}");
    }
    serde_json::from_str::<serde_json::Value>(&host.linkspan("map -o json").ok()).unwrap();
    assert!(
        host.linkspan("map -o dot").ok().starts_with("digraph")
            || host.linkspan("map -o dot").ok().starts_with("graph")
    );
    assert!(host.linkspan("map -o svg").ok().contains("<svg"));
    assert!(host.linkspan("map -o mermaid").ok().contains("web"));
    let web = host.linkspan("explain web").ok();
    for word in ["10.1.0.2", "publish4_to", "8080", "veth"] {
        assert!(web.contains(word), "{word} is not in\n{web}");
    }
    for object in ["10.1.0.2", "8080", "docker0", "net", "forward"] {
        assert!(!host.linkspan(&format!("explain {object}")).ok().is_empty());
    }
    assert!(host.linkspan("explain 8080").ok().contains("web"));
    host.linkspan("explain nothing").fails_with("nothing that linkspan has");
    host.linkspan("trace web nowhere:80").fails_with("neither a container nor an address");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}
