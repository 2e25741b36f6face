//! The scenarios of `tests/scenarios` on the real kernel: after each step the host is as the plan wishes, and at the end as it was.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Instant,
};

use model::{
    Facts,
    host::{BetweenOthers, Forwarding, Listener},
    port::Protocol,
};
use netstate::{
    NetState,
    netns::{Netns, NetnsName},
};

use crate::{
    common::*,
    folders::folders,
    matrix::{OUTSIDE, UPLINK, UPLINK_ADDRESSES},
    steps::Stage,
    wire::PATIENCE,
};

/// Whether the host forwards, of each family.
const FORWARDING: [&str; 2] = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// Where a scenario plays: a host that is as the scenario's facts say, with a neighbour on its uplink.
pub struct Scene<'w> {
    pub name: String,
    pub stage: Stage,
    pub linux: Linux,
    /// The neighbour's namespace.
    pub outside: PathBuf,
    steps: Vec<String>,
    run_dir: &'w Path,
    /// The sockets of others.
    _held: Vec<OwnedFd>,
}

/// Plays something on a host of its own for each scenario.
pub fn each(test: impl Fn(&mut Scene) + Sync) {
    for folder in folders() {
        let steps = fs::read_to_string(folder.join("steps")).expect("steps");
        let name = folder.file_name().expect("a name").to_string_lossy();
        stage(&name, steps.lines().map(str::to_owned).collect(), &test);
    }
}

/// Plays something on a host of its own, which is afterwards as it was.
pub fn stage(name: &str, steps: Vec<String>, test: impl Fn(&mut Scene) + Sync) {
    world(|run_dir| {
        eprintln!("scenario {name}");
        let mut scene = Scene::set(name, steps, run_dir);
        let before = (scene.seen(), forwarding());
        test(&mut scene);
        scene.leave(&before.0);
        // Asked to be a router for others too, the host remains one.
        let settings = scene.stage.state.settings.as_ref();
        if settings.is_none_or(|settings| settings.between_others == BetweenOthers::Dropped) {
            assert_eq!(forwarding(), before.1, "{name}: what the host forwards");
        }
    });
}

impl<'w> Scene<'w> {
    fn set(name: &str, steps: Vec<String>, run_dir: &'w Path) -> Self {
        let mut told = Stage::default();
        steps.iter().filter(|line| line.starts_with("facts ")).for_each(|line| drop(told.play(line)));
        let outside = neighbour(run_dir);
        others(run_dir, &told.facts);
        Self {
            name: name.to_owned(),
            stage: Stage::default(),
            linux: Linux::open(run_dir).expect("to open"),
            outside,
            steps,
            run_dir,
            _held: told.facts.listeners.iter().map(hold).collect(),
        }
    }

    /// Plays all steps, with something done after each.
    pub fn play(&mut self, mut after: impl FnMut(&mut Self, &str)) {
        for line in std::mem::take(&mut self.steps) {
            self.stage.play(&line);
            after(self, &line);
        }
    }

    /// Has the kernel be as the state is.
    pub fn reach(&mut self, what: &str) {
        let wanted = plan::desired(&self.stage.state).net;
        converge(&mut self.linux, &wanted, &format!("{}: {what}", self.name));
    }

    /// Takes everything off again.
    fn leave(&mut self, before: &str) {
        let what = format!("{}: leaving", self.name);
        converge(&mut self.linux, &plan::left(&self.stage.state), &what);
        // The kernel takes apart what was in a namespace in its own time.
        let deadline = Instant::now() + PATIENCE;
        while self.seen() != before {
            assert!(Instant::now() < deadline, "{what}: there was\n{before}\nand now\n{}", self.seen());
            std::thread::yield_now();
        }
    }

    /// All that can be seen of the host's network.
    fn seen(&self) -> String {
        let namespaces = fs::read_dir(self.run_dir.join("netns")).map_or(0, Iterator::count);
        // The kernel looks for others with a new IPv6 address in its own time.
        let listed = ["-o link", "-o address", "route show table all"].map(ip).concat().replace(" tentative", "");
        format!("{listed}{}{namespaces} namespaces\n", ruleset(self.run_dir))
    }
}

#[test]
fn every_step_of_every_scenario_comes_true() {
    each(|scene| scene.play(|scene, line| scene.reach(&format!("after {line}"))));
}

/// A namespace that is not linkspan's, with a way to the host and through it.
fn neighbour(run_dir: &Path) -> PathBuf {
    let mut elsewhere = Linux::open(&run_dir.join("elsewhere")).expect("to open");
    let mut state = NetState::default();
    state.put(NetnsName::named("outside"), Netns {});
    apply(&mut elsewhere, &creation(&state));
    let outside = elsewhere.netns_path("outside");
    let mut host = vec![format!("link add {UPLINK} type veth peer name eth0 netns {}", outside.display()), up(UPLINK)];
    host.extend(UPLINK_ADDRESSES.iter().chain(&["fe80::1/64"]).map(|address| given(address, UPLINK)));
    batch(run_dir, None, &host);
    let inside = [
        // Without loopback its packets to 127.0.0.1 leave by the wire, as those of somebody with bad intentions.
        "link set lo down".to_owned(),
        up("eth0"),
        given(&format!("{}/24", OUTSIDE[0]), "eth0"),
        given(&format!("{}/64", OUTSIDE[1]), "eth0"),
        given("fe80::99/64", "eth0"),
        "route add 0.0.0.0/0 via 192.0.2.1".to_owned(),
        "route add ::/0 via 2001:db8::1".to_owned(),
    ];
    batch(run_dir, Some(&outside), &inside);
    let deadline = Instant::now() + PATIENCE;
    while ip("link show up").contains("NO-CARRIER") {
        assert!(Instant::now() < deadline, "{}", ip("link show up"));
        std::thread::yield_now();
    }
    outside
}

/// What the facts say of others: their routes, and whether the host forwards.
fn others(run_dir: &Path, facts: &Facts) {
    let links: Vec<String> = facts
        .routes
        .iter()
        .flat_map(|route| {
            let (link, net) = (&route.link, route.net);
            [format!("link add {link} type bridge"), up(link), format!("route add {net} dev {link}")]
        })
        .collect();
    batch(run_dir, None, &links);
    for (path, by) in FORWARDING.into_iter().zip([facts.forwarding_ipv4, facts.forwarding_ipv6]) {
        fs::write(path, if by == Forwarding::ByUs { "0" } else { "1" }).expect("a setting");
    }
}

/// A socket of somebody else's.
fn hold(Listener { protocol, address, port, .. }: &Listener) -> OwnedFd {
    match protocol {
        Protocol::Udp => UdpSocket::bind((*address, *port)).expect("to bind").into(),
        _ => TcpListener::bind((*address, *port)).expect("to bind").into(),
    }
}

/// Without the link-local address that it would give itself, in its own time.
fn up(link: &str) -> String {
    format!("link set {link} up addrgenmode none")
}

fn given(address: &str, link: &str) -> String {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    format!("address add {address} dev {link}{nodad}")
}

fn forwarding() -> [String; 2] {
    FORWARDING.map(|path| fs::read_to_string(path).expect("a setting"))
}

/// `ip`, once for many lines.
fn batch(run_dir: &Path, netns: Option<&Path>, lines: &[String]) {
    let file = run_dir.join("batch");
    fs::write(&file, lines.join("\n")).expect("to write");
    let ip = || run("ip", &["-batch", &file.to_string_lossy()]);
    match netns {
        Some(netns) => kernel::socket::in_namespace(netns, ip).expect("inside"),
        None => ip(),
    };
}
