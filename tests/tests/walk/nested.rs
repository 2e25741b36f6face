//! Step 4: docker in docker, both ways.

use std::path::Path;

use conformance::{
    From::{Container, Host, Outside},
    Terminal,
};

use crate::tour::Tour;

pub fn step(tour: &Tour) {
    tour.step("4. Docker in docker");
    tour.says("The host's socket in a container: it sees the host's containers and starts more beside itself.");
    tour.docker("run -d --name sibling busybox sleep 1000");
    let inside = format!("run --rm --name asker -v /var/run/docker.sock:/var/run/docker.sock {} busybox", programs());
    // All of them: it may ask before the daemon has heard that it runs.
    assert_eq!(tour.docker(&format!("{inside} docker ps -a --format '{{{{.Names}}}}'")), "asker\nsibling");
    tour.docker(&format!("{inside} docker run -d --name child busybox sleep 1000"));
    assert_eq!(tour.docker("inspect -f '{{.State.Status}}' child"), "running");
    tour.removes("sibling child", "");

    let image = tour.host.path().join("busybox.tar");
    let run = format!("run -d --privileged {} -v {}:/image.tar:ro", programs(), image.display());
    tour.says("A whole linkspan in a container, without a volume: overlays cannot be stacked on an overlay.");
    tour.docker(&format!("{run} --name bare busybox linkspan up"));
    assert_eq!(tour.docker("wait bare"), "1");
    tour.docker("logs bare");
    let said = tour.host.docker("logs bare").err;
    assert!(said.contains("overlayfs") && said.contains("-v linkspan:/var/lib/linkspan"), "{said}");
    tour.removes("bare", "");

    tour.says("The same with its data on a volume.");
    let outer = format!("{run} --name outer -p 9000:8080 -v data:/var/lib/linkspan busybox linkspan up");
    tour.docker(&outer);
    let ready = "docker version --format {{.Server.Os}}";
    tour.waits(Container("outer"), ready, "linux");
    let inner = |words: &str| tour.sees(Container("outer"), &format!("docker {words}"));
    // Its default network steps over the outer one's.
    let subnet = "network inspect -f '{{(index .IPAM.Config 0).Subnet}}' bridge";
    assert_eq!((tour.docker(subnet).as_str(), inner(subnet).as_str()), ("172.17.0.0/16", "172.18.0.0/16"));
    inner("import -c 'CMD [\\\"sh\\\"]' -c 'ENV PATH=/bin' /image.tar busybox");
    assert_eq!(inner("run --rm busybox echo nested"), "nested");
    inner("run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /var/www");
    tour.waits(Container("outer"), "get 127.0.0.1:8080", "hello");
    let address = tour.host.ipv4("outer", "bridge");
    tour.waits(Host, &format!("curl -s -m 5 {address}:8080"), "hello");
    tour.waits(Outside, "curl -s -m 5 192.0.2.1:9000", "hello");
    let mut at = Terminal::docker(&tour.host, "exec -it outer docker run --rm -it busybox sh -c 'stty size; exit 9'");
    at.shows("30 90");
    assert_eq!(at.ends().0, Some(9));
    inner("rm -f web");
    tour.docker("stop -t 5 outer");
    tour.docker("rm outer");
    tour.says("Another one goes on with that data.");
    tour.docker(&outer);
    tour.waits(Container("outer"), ready, "linux");
    assert_eq!(inner("run --rm busybox echo again"), "again");
    tour.removes("outer", "");
}

/// Mounts the docker command, which needs no libraries, and our binary into a container.
fn programs() -> String {
    let here = std::env::current_exe().unwrap();
    let ours = here.parent().and_then(Path::parent).unwrap().join("linkspan");
    format!("-v {}:/bin/linkspan:ro -v $(readlink -f $(command -v docker)):/bin/docker:ro", ours.display())
}
