//! Step 1: who may use docker.

use conformance::From::Host;

use crate::tour::Tour;

/// Two users of this host alone: one is in the group, the other is not.
const USERS: &str = "
    set -e
    (cat /etc/passwd; echo alice:x:20001:20001::/:/bin/sh; echo bob:x:20002:20002::/:/bin/sh) > /run/passwd
    (sed -E 's/^(docker:.*:)(.*)$/\\1alice,\\2/; s/,$//' /etc/group; echo alice:x:20001:; echo bob:x:20002:) > /run/group.users
    mount --bind /run/passwd /etc/passwd
    mount --bind /run/group.users /etc/group
";

pub fn step(tour: &Tour) {
    tour.step("1. A user in the group docker, not root, runs docker; another is refused");
    assert_eq!(tour.sees(Host, "stat -c '%U:%G %a' /var/run/docker.sock"), "root:docker 660");
    tour.host.sh(USERS).ok();
    let becomes = |who: &str| format!("setpriv --reuid {who} --regid {who} --init-groups --reset-env");
    let (alice, bob) = (becomes("alice"), becomes("bob"));
    assert_eq!(tour.sees(Host, &format!("{alice} id -Gn")), "alice docker");
    assert_eq!(tour.sees(Host, &format!("{alice} docker run --rm busybox echo hello")), "hello");
    assert_eq!(tour.sees(Host, &format!("{bob} id -Gn")), "bob");
    tour.fails(Host, &format!("{bob} docker run --rm busybox echo hello"), "permission denied");
}
