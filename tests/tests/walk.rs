//! The walk that a learner of container networking takes, with the real docker command. Each step prints what it shows.

use conformance::{From, Host, eventually};

fn shows(step: &str, text: &str) {
    println!("\n=== {step}\n{text}");
}

#[test]
fn one_who_is_in_the_group_may_and_another_may_not() {
    let Some(host) = Host::start() else { return };
    let socket = host.sh("stat -c '%U:%G %a' /var/run/docker.sock").ok();
    shows("the socket", &socket);
    assert_eq!(socket, "root:docker 660");
    let group = host.sh("getent group docker | cut -d: -f3").ok();
    let as_user = |groups: &str| host.sh(&format!("setpriv --reuid 12345 --regid 12345 {groups} docker ps"));
    shows("a member", &as_user(&format!("--groups {group}")).ok());
    let refused = as_user("--clear-groups").fails();
    shows("a stranger", &refused);
    assert!(refused.contains("permission denied"), "{refused}");
}

#[test]
fn a_container_is_a_process_with_namespaces_of_its_own() {
    let Some(host) = Host::start() else { return };
    assert_eq!(host.docker("run --rm busybox cat /etc/issue").ok(), "linkspan test image");
    host.docker("run -d --name sleeper busybox sleep 1000").ok();
    let pid = host.docker("inspect -f '{{.State.Pid}}' sleeper").ok();
    let tree =
        host.sh(&format!("ps -o pid,ppid,args -p {pid} -p $(ps -o ppid= -p {pid}) -p {}", host.daemon_pid())).ok();
    shows("the process tree", &tree);
    assert!(tree.contains("sleep 1000") && tree.contains(" shim "), "{tree}");
    for namespace in ["mnt", "pid", "net", "ipc", "uts"] {
        let own = host.sh(&format!("readlink /proc/{pid}/ns/{namespace}")).ok();
        let hosts = host.sh(&format!("readlink /proc/self/ns/{namespace}")).ok();
        assert_ne!(own, hosts, "{namespace}");
    }
    let cgroup = host.sh(&format!("cat /proc/{pid}/cgroup")).ok();
    shows("its control group", &cgroup);
    assert!(cgroup.contains("linkspan"), "{cgroup}");
    assert_eq!(host.docker("exec sleeper sh -c 'echo $$; cat /proc/1/comm'").ok().lines().last(), Some("sleep"));
}

/// A container's start does not become longer by those that run, and what keeps their namespaces shows them to whoever asks for it.
#[test]
fn a_shim_does_not_see_the_namespaces_of_others() {
    let Some(host) = Host::start() else { return };
    for name in ["one", "two", "three"] {
        host.docker(&format!("run -d --name {name} busybox sleep 1000")).ok();
    }
    let pid = host.docker("inspect -f '{{.State.Pid}}' three").ok();
    let kept = |of: &str| host.sh(&format!("grep -c ' /run/linkspan/netns/' /proc/{of}/mountinfo || true")).ok();
    assert_eq!(kept(&format!("$(ps -o ppid= -p {pid} | tr -d ' ')")), "0");
    assert_eq!(kept("self"), "3");
    host.docker("exec three ping -c 1 -W 10 172.17.0.2").ok();
    let shown = "run --rm -v /:/host busybox grep -c /host/run/linkspan/netns/ /proc/self/mountinfo";
    assert_eq!(host.docker(shown).ok(), "4");
    host.docker("rm -f one two three").ok();
    assert_eq!(kept("self"), "0");
}

#[test]
fn the_default_network() {
    let Some(host) = Host::start() else { return };
    let networks = host.docker("network ls --format '{{.Name}} {{.Driver}}'").ok();
    shows("networks", &networks);
    assert_eq!(networks, "bridge bridge\nhost host\nnone null");
    assert!(host.sh("ip -4 -o addr show docker0").ok().contains("172.17.0.1/16"));
    host.docker("run -d --name one busybox sleep 1000").ok();
    host.docker("run -d --name two busybox sleep 1000").ok();
    let links = host.sh("bridge link").ok();
    shows("bridge link", &links);
    assert_eq!(links.matches("master docker0").count(), 2, "{links}");
    let inside = host.docker("exec one ip -4 -o addr show eth0").ok();
    shows("eth0 inside", &inside);
    assert!(inside.contains("172.17.0.2/16"), "{inside}");
    let listed =
        host.docker("network inspect -f '{{range .Containers}}{{.Name}}={{.IPv4Address}} {{end}}' bridge").ok();
    let mut listed: Vec<_> = listed.split_whitespace().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["one=172.17.0.2/16", "two=172.17.0.3/16"]);
    host.docker("exec one ping -c 1 -W 10 172.17.0.3").ok();
    host.docker("exec one ping -c 1 -W 2 two").fails();
    host.docker("run --rm --link two:other busybox ping -c 1 -W 10 other").ok();
}

#[test]
fn names_on_a_network_of_ones_own() {
    let Some(host) = Host::start() else { return };
    host.docker("network create back").ok();
    host.docker("network create front").ok();
    host.docker("run -d --name db --network back --network-alias store busybox sleep 1000").ok();
    host.docker("run -d --name web --network front busybox sleep 1000").ok();
    let id = host.docker("inspect -f '{{slice .Id 0 12}}' db").ok();
    for name in ["db", "store", id.as_str(), "db.back"] {
        host.docker(&format!("run --rm --network back busybox ping -c 1 -W 10 {name}")).ok();
    }
    shows("resolv.conf", &host.docker("exec db cat /etc/resolv.conf").ok());
    let address = host.docker("inspect -f '{{.NetworkSettings.Networks.back.IPAddress}}' db").ok();
    shows("another network", &host.docker(&format!("exec web ping -c 1 -W 1 {address}")).fails());
    host.docker("exec web ping -c 1 -W 1 db").fails();
    host.docker("network connect back web").ok();
    host.docker("exec web ping -c 1 -W 10 db").ok();
    host.docker("network disconnect back web").ok();
    host.docker("exec web ping -c 1 -W 1 db").fails();
}

#[test]
fn the_outside_sees_the_host_and_reaches_published_ports() {
    let Some(host) = Host::start() else { return };
    host.docker("network create other").ok();
    let serve = "busybox httpd -f -p 80 -h /var/www";
    host.docker(&format!("run -d --name web -p 8080:80 -p 127.0.0.1:8081:80 {serve}")).ok();
    let get = |url: &str| format!("curl -s -m 10 {url}");
    host.reaches(From::Host, "192.0.2.1:8080");
    for url in ["http://192.0.2.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8081", "http://[::1]:8080"] {
        assert_eq!(host.sh(&get(url)).ok(), "hello", "from the host: {url}");
    }
    assert_eq!(host.outside(&get("http://192.0.2.1:8080")).ok(), "hello");
    assert_eq!(host.outside(&get("http://[2001:db8::1]:8080")).ok(), "hello");
    host.outside(&get("http://192.0.2.1:8081")).fails();
    let inside = "get 192.0.2.1:8080";
    assert_eq!(host.docker(&format!("exec web {inside}")).ok(), "hello", "from itself");
    assert_eq!(host.docker(&format!("run --rm busybox {inside}")).ok(), "hello", "from a neighbour");
    assert_eq!(
        host.docker(&format!("run --rm --network other busybox {inside}")).ok(),
        "hello",
        "from another network"
    );
    let address = host.docker("inspect -f '{{.NetworkSettings.IPAddress}}' web").ok();
    host.outside(&format!("ip route add 172.17.0.0/16 via 192.0.2.1; {}", get(&format!("http://{address}")))).fails();
}

#[test]
fn the_outside_sees_the_hosts_address() {
    let Some(host) = Host::start() else { return };
    host.outside("socat -T 5 TCP-LISTEN:9000,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' >/dev/null 2>&1 &").ok();
    eventually("the server outside", || {
        (host.outside("ss -Hlnt '( sport = 9000 )' | grep -q .").code == 0).then_some(())
    });
    let seen = host.docker("run --rm busybox nc -w 10 192.0.2.2 9000");
    assert_eq!(seen.ok(), "192.0.2.1");
}

#[test]
fn udp_is_published_too() {
    let Some(host) = Host::start() else { return };
    host.serve_udp("echo", 5000, "-p 5000:5000/udp");
    for target in ["127.0.0.1:5000", "[::1]:5000", "192.0.2.1:5000"] {
        host.reaches_udp(From::Host, target);
    }
    host.reaches_udp(From::Outside, "192.0.2.1:5000");
}
