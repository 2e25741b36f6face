//! Step 3: what a container is.

use conformance::From::{Container, Host};

use crate::tour::Tour;

pub fn step(tour: &Tour) {
    tour.step("3. The process tree: the daemon, one shim per container, process 1 of the container");
    let containers = ["one", "two"];
    for name in containers {
        tour.docker(&format!("run -d --name {name} busybox sleep 1000"));
    }
    let tree = tour.sees(Host, "ps -eo pid,ppid,args --forest");
    let field = |pid: &str, name: &str| tour.host.sh(&format!("ps -o {name}= -p {pid}")).ok();
    let ours = tour.host.daemon_pid();
    assert!(field(&ours, "args").contains("linkspan up"), "{tree}");
    assert_eq!(tree.matches(" shim ").count(), containers.len(), "{tree}");
    let mut shims = Vec::new();
    for name in containers {
        let pid = tour.docker(&format!("inspect -f '{{{{.State.Pid}}}}' {name}"));
        assert_eq!(field(&pid, "args"), "sleep 1000");
        let shim = field(&pid, "ppid");
        assert!(field(&shim, "args").contains(" shim "), "{tree}");
        shims.push(shim);
        assert_eq!(tour.sees(Container(name), "cat /proc/1/comm"), "sleep", "it is process 1 of its own namespace");

        let namespaces = tour.sees(Host, &format!("readlink /proc/{pid}/ns/mnt /proc/{pid}/ns/pid /proc/{pid}/ns/net /proc/{pid}/ns/ipc /proc/{pid}/ns/uts"));
        let hosts = tour.host.sh("readlink /proc/self/ns/*").ok();
        assert_eq!(namespaces.lines().count(), 5);
        assert!(namespaces.lines().all(|own| !hosts.contains(own)), "{namespaces}\nthe host's: {hosts}");
        let id = tour.host.docker(&format!("inspect -f '{{{{.Id}}}}' {name}")).ok();
        let group = tour.sees(Host, &format!("grep -e memory -e ^0: /proc/{pid}/cgroup"));
        assert!(group.contains(&format!("linkspan/{id}")), "{group}");
    }
    assert_ne!(shims[0], shims[1]);
    tour.removes("one two", "");
}
