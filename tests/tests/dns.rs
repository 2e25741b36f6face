//! Names in containers: the embedded server, what it forwards and where, and what is written into the files.

use conformance::{Host, UPSTREAM, eventually};

/// Waits until a lookup finds what servers outside answer: they may need longer than the daemon has patience.
fn finds(host: &Host, container: &str, lookup: &str) {
    eventually(&format!("{container}: {lookup}"), || {
        host.exec(container, lookup).out.contains("203.0.113.7").then_some(())
    });
}

#[test]
fn names_of_all_kinds() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 net").ok();
    host.idle("asker", "--network net");
    host.idle("one", "--network net --network-alias shared -h boxy");
    host.idle("two", "--network net --network-alias shared");
    let lookup = |name: &str| host.exec("asker", &format!("nslookup {name} 127.0.0.11"));
    let id = host.docker("inspect -f '{{slice .Id 0 12}}' one").ok();
    for name in ["one", "ONE", "one.net", id.as_str(), "boxy"] {
        assert!(lookup(name).ok().contains("10.1.0.3"), "{name}");
    }
    assert!(lookup("10.1.0.3").ok().contains("one.net"));
    let both = lookup("shared").ok();
    assert!(both.contains("10.1.0.3") && both.contains("10.1.0.4"), "{both}");
    // Round robin: the first answer is not always the same.
    let firsts = host.exec("asker", "for i in \\$(seq 16); do nslookup -type=a shared 127.0.0.11 | grep Address: | tail -n +2 | head -n 1; done | sort -u | wc -l");
    assert_eq!(firsts.ok(), "2");
    host.docker("network disconnect net two").ok();
    assert!(!lookup("shared").ok().contains("10.1.0.4"));
    host.docker("network connect --alias shared --alias late net two").ok();
    assert!(lookup("late").ok().contains("10.1.0.4"));
    host.docker("stop -t 0 one").ok();
    assert!(!lookup("shared").ok().contains("10.1.0.3"));
    lookup("one").fails();
    host.docker("rename two renamed").ok();
    assert!(lookup("renamed").ok().contains("10.1.0.4"));
    lookup("two").fails();
}

#[test]
fn what_is_forwarded_and_where() {
    let Some(host) = Host::start() else { return };
    host.outside("ip addr add 192.0.2.53/24 dev eth0").ok();
    host.serve_names("192.0.2.53");
    host.docker("network create net").ok();
    host.docker("network create --internal inner").ok();
    // The first server is dead.
    host.idle("cc", "--network net --dns 192.0.2.99 --dns 192.0.2.53 --dns-search example.org --dns-opt ndots:2");
    let file = host.exec("cc", "cat /etc/resolv.conf").ok();
    for line in ["nameserver 127.0.0.11", "search example.org"] {
        assert!(file.lines().any(|l| l == line), "{file}");
    }
    assert!(file.contains("ndots:2"), "{file}");
    finds(&host, "cc", "nslookup open.example 127.0.0.11");
    host.idle("in", "--network inner --dns 192.0.2.53");
    host.exec("in", "nslookup closed.example 127.0.0.11").fails();
    assert!(host.was_asked("192.0.2.53", "open"), "the label is found where it was asked for");
    assert!(!host.was_asked("192.0.2.53", "closed"), "an internal network's names went outside");
    // The default network has no server of ours.
    host.idle("dd", "--dns 192.0.2.53 --dns-search . ");
    assert_eq!(
        host.exec("dd", "cat /etc/resolv.conf")
            .ok()
            .lines()
            .filter(|l| l.starts_with("nameserver"))
            .collect::<Vec<_>>(),
        ["nameserver 192.0.2.53"]
    );
    finds(&host, "dd", "nslookup example.com");
    host.docker("run --rm --dns nonsense busybox true").fails_with("IP address is not correctly formatted");
}

#[test]
fn a_host_with_systemd_resolved() {
    let Some(host) = Host::start() else { return };
    host.sh("mkdir -p /run/systemd/resolve; echo nameserver 127.0.0.53 > /run/resolv.conf
         mount --bind /run/resolv.conf /etc/resolv.conf
         echo nameserver 192.0.2.53 > /run/systemd/resolve/resolv.conf")
        .ok();
    host.docker("network create net").ok();
    for (options, server) in [("", "192.0.2.53"), ("--network net", "127.0.0.11"), ("--network host", "127.0.0.53")] {
        let servers = host.docker(&format!("run --rm {options} busybox grep ^nameserver /etc/resolv.conf")).ok();
        assert_eq!(servers, format!("nameserver {server}"), "{options}");
    }
}

/// A container that answers every question with 203.0.113.7, and keeps whom it was asked by.
fn resolver(host: &Host, name: &str, options: &str) {
    let script = host.path().join(format!("dns-{name}"));
    std::fs::write(&script, format!("echo $SOCAT_PEERADDR >> /peers\n{}", UPSTREAM.replace("ASKED", "/asked")))
        .unwrap();
    let listen = "socat UDP-RECVFROM:53,fork EXEC:'bash /resolver'";
    host.docker(&format!("run -d --name {name} -v {}:/resolver {options} busybox {listen}", script.display())).ok();
    eventually("it listens", || (host.exec(name, "netstat -lun | grep -q :53").code == 0).then_some(()));
}

#[test]
fn servers_that_only_the_container_reaches() {
    let Some(host) = Host::start() else { return };
    let finds = |name: &str| finds(&host, name, "nslookup -type=a example.com 127.0.0.11");
    // The host has no address on such a network, and no way there.
    let isolated = "--internal -o com.docker.network.bridge.gateway_mode_ipv4=isolated";
    host.docker(&format!("network create {isolated} --subnet 10.9.0.0/24 alone")).ok();
    resolver(&host, "resolver", "--network alone --ip 10.9.0.53");
    host.idle("asker", "--network alone --ip 10.9.0.7 --dns 10.9.0.53");
    finds("asker");
    assert_eq!(host.exec("resolver", "sort -u /peers").ok(), "10.9.0.7", "asked by the container itself");
    // So is one on a network with a way out.
    host.docker("network create --subnet 10.8.0.0/24 open").ok();
    resolver(&host, "other", "--network open --ip 10.8.0.53");
    host.idle("open-asker", "--network open --ip 10.8.0.7 --dns 10.8.0.53");
    finds("open-asker");
    assert_eq!(host.exec("other", "sort -u /peers").ok(), "10.8.0.7");
    // Its own loopback is the container's.
    resolver(&host, "self", "--network open --dns 127.0.0.1");
    finds("self");
    assert_eq!(host.exec("self", "sort -u /peers").ok(), "127.0.0.1");
    // The daemon that comes next finds the way again.
    host.kill_daemon();
    host.start_daemon();
    finds("asker");
}

#[test]
fn hosts_files() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 net").ok();
    host.idle(
        "aa",
        "-h boxy --network net --add-host extra:203.0.113.9 --add-host 'six:[2001:db8::9]' --add-host gw:host-gateway",
    );
    let file = host.exec("aa", "cat /etc/hosts").ok().replace('\t', " ");
    for line in ["127.0.0.1 localhost", "203.0.113.9 extra", "2001:db8::9 six", "172.17.0.1 gw", "10.1.0.2 boxy"] {
        assert!(file.lines().any(|l| l == line), "{line} is not in\n{file}");
    }
    host.docker("network create --subnet 10.2.0.0/24 more").ok();
    host.docker("network connect more aa").ok();
    assert!(host.exec("aa", "cat /etc/hosts").ok().replace('\t', " ").contains("10.2.0.2 boxy"));
    // Links on the default network.
    host.serve("db", "-e SECRET=1 --expose 80");
    host.idle("web", "--link db:store");
    let file = host.exec("web", "cat /etc/hosts").ok().replace('\t', " ");
    let id = host.docker("inspect -f '{{slice .Id 0 12}}' db").ok();
    assert!(file.contains(&format!("172.17.0.2 store {id} db")), "{file}");
    // And in its environment, on that network alone.
    let environment = host.exec("web", "env | grep ^STORE_ | sort").ok();
    let expected = "STORE_ENV_SECRET=1\nSTORE_NAME=/web/store\nSTORE_PORT=tcp://172.17.0.2:80\n\
                    STORE_PORT_80_TCP=tcp://172.17.0.2:80\nSTORE_PORT_80_TCP_ADDR=172.17.0.2\nSTORE_PORT_80_TCP_PORT=80\n\
                    STORE_PORT_80_TCP_PROTO=tcp";
    assert_eq!(environment, expected);
    assert_eq!(host.docker("inspect -f '{{json .HostConfig.Links}}' web").ok(), "[\"/db:/web/store\"]");
    assert_eq!(host.docker("ps --no-trunc --filter name=db --format '{{.Names}}'").ok(), "db,web/store");
    assert_eq!(host.docker("ps --filter name=db --format '{{.Names}}'").ok(), "db");
    let ranges = "run --rm --link db:my-db -e MY_DB_NAME=mine busybox sh -c 'env | grep ^MY_DB_NAME'";
    assert_eq!(host.docker(ranges).ok(), "MY_DB_NAME=mine");
    host.docker("rm --link web").fails_with("cannot remove the default link name");
    host.docker("rm --link web/nosuch").fails_with("No such link: /web/nosuch");
    host.docker("rm --link /web/store").ok();
    assert_eq!(host.docker("inspect -f '{{json .HostConfig.Links}}' web").ok(), "null");
    assert!(!host.exec("web", "cat /etc/hosts").ok().contains("store"));
    host.docker("run --rm --link nobody:x busybox true").fails_with("could not get container for nobody");
}
