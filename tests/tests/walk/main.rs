//! The walk that a learner of container networking takes, with the real docker command, in seven steps on one host. Each step prints
//! what is typed and what that shows, and takes away what it made:
//!
//! ```text
//! cargo nextest run -p conformance --no-capture -E 'test(the_walk)'
//! ```

mod differences;
mod names;
mod nested;
mod networks;
mod ports;
mod processes;
mod terminal;
mod tour;
mod users;

use conformance::From::Host;
use tour::Tour;

#[test]
fn the_walk() {
    let Some(tour) = Tour::begin() else { return };
    tour.step("0. A host without linkspan");
    let before = network(&tour);
    tour.host.start_daemon();
    tour.host.load_image();

    users::step(&tour);
    terminal::step(&tour);
    processes::step(&tour);
    nested::step(&tour);
    networks::step(&tour);
    names::step(&tour);
    ports::step(&tour);

    tour.step("The end: nothing stays");
    tour.linkspan("down");
    assert_eq!(network(&tour), before);
}

/// What a network stack has: links, routes, rules, and whether it forwards.
fn network(tour: &Tour) -> [String; 4] {
    ["ip -br link", "ip route", "nft list ruleset", "sysctl net.ipv4.ip_forward"].map(|what| tour.sees(Host, what))
}
