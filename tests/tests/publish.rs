//! Published ports in all their forms, with the real docker command.

use conformance::{From, Host, eventually};

#[test]
fn forms() {
    let Some(host) = Host::start() else { return };
    let check = |publish: &str, expected: &str| {
        host.docker(&format!("run -d --name ports {publish} busybox sleep 1000")).ok();
        let ports = host.sh("docker port ports | sort").ok();
        host.docker("rm -f ports").ok();
        assert_eq!(ports.replace('\n', "; "), expected, "{publish}");
    };
    check("-p 8080:80", "80/tcp -> 0.0.0.0:8080; 80/tcp -> [::]:8080");
    check("-p 127.0.0.1:8080:80/udp", "80/udp -> 127.0.0.1:8080");
    check("-p [::1]:8080:80", "80/tcp -> [::1]:8080");
    check("-p 127.0.0.1:8000-8001:9000-9001", "9000/tcp -> 127.0.0.1:8000; 9001/tcp -> 127.0.0.1:8001");
    check("-p 127.0.0.1:8000-8010:80", "80/tcp -> 127.0.0.1:8000");
    check("-p 127.0.0.1:80:80 -p 192.0.2.1:80:81", "80/tcp -> 127.0.0.1:80; 81/tcp -> 192.0.2.1:80");
}

#[test]
fn refusals_name_the_holder() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name first -p 8080:80 busybox sleep 1000").ok();
    host.docker("run -d --name second -p 8080:80 busybox sleep 1000")
        .fails_with("port is already allocated by container first");
    host.docker("run -d --name third -p 127.0.0.1:8080:80 busybox sleep 1000").fails_with("port is already allocated");
    let _stranger = host.begin("socat TCP-LISTEN:8090,fork,reuseaddr /dev/null");
    eventually("somebody else listens", || (host.sh("ss -ltn | grep -q :8090").code == 0).then_some(()));
    host.docker("run -d --name fourth -p 8090:80 busybox sleep 1000").fails_with("socat");
}

#[test]
fn thousands_of_ports_are_one_element() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name many -p 10000-19999:10000-19999 busybox httpd -f -p 15000 -h /var/www").ok();
    host.reaches(From::Outside, "192.0.2.1:15000");
    let elements = || host.sh("nft list map inet linkspan publish4 | grep -c 10000-19999").ok();
    assert_eq!(elements(), "1");
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(elements(), "1");
    let lengths = "{{len .HostConfig.PortBindings}} {{len .Config.ExposedPorts}} {{len .NetworkSettings.Ports}}";
    assert_eq!(host.docker(&format!("inspect -f '{lengths}' many")).ok(), "10000 10000 10000");
    assert_eq!(host.docker("port many 15000/tcp").ok().lines().next(), Some("0.0.0.0:15000"));
    let shown = host.docker("ps --format '{{.Ports}}'").ok();
    assert!(shown.contains("0.0.0.0:10000-19999->10000-19999/tcp"), "{shown}");
    host.docker("run --rm -p 15000:80 busybox true").fails_with("port is already allocated by container many");
    host.docker("restart -t 0 many").ok();
    host.reaches(From::Outside, "192.0.2.1:15000");
    host.docker("rm -f many").ok();
    host.docker("run --rm -p 15000:80 busybox true").ok();
}
