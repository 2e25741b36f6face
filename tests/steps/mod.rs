//! Scenarios as text: one command a line, so that a case reads like what a person would type. What a line is about is named; ids are
//! made from names, so that the outcome is the same each time. Shared by the tests of `model`, `plan`, `kernel` and `engine`.
//!
//! ```text
//! network app subnet=10.1.0.0/24
//! container web net=app,ip=10.1.0.5 publish=8080:80
//! run web
//! ```

mod services;
mod wishes;

use std::collections::BTreeMap;

use model::{
    Command, ContainerId, Decision, Document, Facts, NetworkId, Refusal, SandboxId, State,
    command::{AnonymousVolumes, Force},
    container::{Exit, HealthResult, Resources, Run},
    decide,
    host::{Forwarding, HostRoute, Listener},
    port::Protocol,
};

/// A scenario while it is played.
pub struct Stage {
    /// The state so far.
    pub state: State,
    /// What is true of the host.
    pub facts: Facts,
    /// What ids were made of.
    pub names: BTreeMap<String, String>,
    /// By how much the host's clock was set, milliseconds in all.
    jumped_ms: i64,
    /// The same when each container was started.
    started_after: BTreeMap<ContainerId, i64>,
}

/// What became of one command.
pub type Outcome = Result<Decision, Refusal>;

impl Default for Stage {
    fn default() -> Self {
        let facts = Facts { now_ms: 1_000_000, nonce: 7, default_mtu: Some(1500), ..Facts::default() };
        Self { state: State::default(), facts, names: BTreeMap::new(), jumped_ms: 0, started_after: BTreeMap::new() }
    }
}

impl Stage {
    /// Plays one line. Facts and comments decide nothing.
    pub fn play(&mut self, line: &str) -> Vec<Outcome> {
        let commands = self.read(line);
        commands.into_iter().map(|command| self.submit(command)).collect()
    }

    /// The commands of one line, for a host where things are as in `state`.
    pub fn read(&mut self, line: &str) -> Vec<Command> {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((verb, rest)) = words.split_first() else { return Vec::new() };
        self.commands(verb, rest)
    }

    /// Decides a command, and takes it as having happened.
    pub fn submit(&mut self, command: Command) -> Outcome {
        self.facts.nonce += 1;
        self.facts.now_ms += 1;
        let decision = decide(&self.state, &self.facts, command)?;
        self.state = self.state.with(&decision.change);
        Ok(decision)
    }

    fn commands(&mut self, verb: &str, rest: &[&str]) -> Vec<Command> {
        if let Some(command) = services::command(self, verb, rest) {
            return vec![command];
        }
        match verb {
            "facts" => self.learn(rest),
            // Somebody sets the host's clock: no time passes.
            "clock" => {
                let by_ms = rest[0].parse::<i64>().unwrap();
                self.facts.now_ms += by_ms;
                self.jumped_ms += by_ms;
            }
            "after" => self.facts.now_ms += rest[0].parse::<i64>().unwrap(),
            "open" => return vec![Command::Open(Box::new(wishes::settings(rest)))],
            "network" => return vec![Command::CreateNetwork(Box::new(wishes::network(self, rest)))],
            "container" => return vec![Command::CreateContainer(Box::new(wishes::container(self, rest)))],
            "sandbox" => return vec![Command::CreateSandbox(Box::new(wishes::pod(self, rest)))],
            "remove-sandbox" => return vec![Command::RemoveSandbox(self.sandbox(rest[0]))],
            "connect" => return vec![Command::Connect(Box::new(wishes::connect(self, rest)))],
            "volume" => return vec![Command::CreateVolume(wishes::volume(rest[0], &rest[1..]))],
            "remove-volume" => return vec![Command::RemoveVolume { name: rest[0].to_owned() }],
            "remove-network" => return vec![Command::RemoveNetwork(self.network(rest[0]))],
            "run" => return [self.life("start", rest), self.life("started", rest)].into(),
            "disconnect" | "rename" | "update" | "remove" => return vec![self.edit(verb, rest)],
            _ => return vec![self.life(verb, rest)],
        }
        Vec::new()
    }

    /// Something done to a container.
    fn edit(&mut self, verb: &str, rest: &[&str]) -> Command {
        let container = self.container(rest[0]);
        match verb {
            "disconnect" => Command::Disconnect { container, network: self.network(rest[1]) },
            "rename" => Command::Rename { container, name: rest[1].to_owned() },
            "update" => {
                let restart = rest.get(1).map(|word| wishes::restart(word));
                let resources = Box::new(Resources { memory: Some(1 << 20), ..Resources::default() });
                let face = rest.get(2).map_or_else(Document::default, |text| Document::of(text).unwrap());
                Command::Update { container, resources, restart, face }
            }
            _ => {
                let force = if rest.contains(&"force") { Force::Kill } else { Force::No };
                let keep = !rest.contains(&"volumes");
                let volumes = if keep { AnonymousVolumes::Keep } else { AnonymousVolumes::Remove };
                Command::RemoveContainer { container, force, volumes }
            }
        }
    }

    /// A turn of a container's life.
    fn life(&mut self, verb: &str, rest: &[&str]) -> Command {
        let container = self.container(rest[0]);
        let number = |or: i32| rest.get(1).map_or(or, |word| word.parse().unwrap());
        let exit = |code| self.exit(&container, code);
        let now_ms = self.facts.now_ms;
        match verb {
            "start" => Command::Start(container),
            "started" => {
                self.started_after.insert(container.clone(), self.jumped_ms);
                Command::Started { container, run: Run { pid: 100, started_ms: now_ms } }
            }
            "exit" => Command::Exited { exit: exit(number(0)), container },
            "fail" => {
                let failed = Exit { error: Some(rest[1..].join(" ")), started_ms: 0, ..exit(127) };
                Command::Exited { exit: failed, container }
            }
            "oom" => Command::Exited { exit: Exit { oom_killed: true, ..exit(137) }, container },
            "stop" => Command::Stop { container, signal: 15 },
            "restart" => Command::Restart { container, signal: 15 },
            "kill" => Command::Kill { container, signal: number(9) },
            "pause" => Command::Pause(container),
            "unpause" => Command::Unpause(container),
            "due" => Command::RestartDue(container),
            "recover" => Command::Recover { exit: exit(number(255)), container },
            "check" => {
                let (started_ms, finished_ms) = (now_ms, now_ms);
                let (age_ms, output) = (self.age_ms(&container), String::new());
                let result = HealthResult { started_ms, finished_ms, age_ms, code: number(0), output };
                Command::Health { container, result }
            }
            other => panic!("no such step: {other}"),
        }
    }

    fn learn(&mut self, words: &[&str]) {
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            match name {
                "route" => {
                    let (net, link) = value.split_once('@').unwrap();
                    self.facts.routes.push(HostRoute { net: net.parse().unwrap(), link: link.to_owned() });
                }
                "listener" => {
                    let (socket, holder) = value.split_once('@').unwrap();
                    let (protocol, socket) = socket.split_once('/').unwrap();
                    let socket: std::net::SocketAddr = socket.parse().unwrap();
                    let protocol = if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp };
                    let (address, port, holder) = (socket.ip(), socket.port(), Some(holder.to_owned()));
                    self.facts.listeners.push(Listener { protocol, address, port, holder });
                }
                "ephemeral" => self.facts.ephemeral = Some(wishes::range(value)),
                "forwarding" => {
                    assert_eq!(value, "off");
                    (self.facts.forwarding_ipv4, self.facts.forwarding_ipv6) = (Forwarding::ByUs, Forwarding::ByUs);
                }
                "mtu" => self.facts.default_mtu = Some(value.parse().unwrap()),
                other => panic!("no such fact: {other}"),
            }
        }
    }

    /// How the container ends now.
    fn exit(&self, container: &ContainerId, code: i32) -> Exit {
        let run = self.state.containers.get(container).and_then(|c| c.run().cloned());
        let ran_ms = self.age_ms(container);
        let started_ms = run.map_or(0, |run| run.started_ms);
        let finished_ms = self.facts.now_ms;
        Exit { code, started_ms, finished_ms, ran_ms, ..Exit::default() }
    }

    /// How long it has run, whatever was done to the clock meanwhile.
    fn age_ms(&self, container: &ContainerId) -> u64 {
        let run = self.state.containers.get(container).and_then(|c| c.run().cloned());
        let jumped_ms = self.jumped_ms - self.started_after.get(container).copied().unwrap_or_default();
        run.map_or(0, |run| u64::try_from(self.facts.now_ms - run.started_ms - jumped_ms).unwrap_or(0))
    }

    /// The id of the container that has this name now, or once had.
    fn container(&mut self, name: &str) -> ContainerId {
        let known = self.state.container_names.get(name).cloned();
        known.unwrap_or_else(|| ContainerId::from_bytes(self.id("container", name)))
    }

    /// The id of the sandbox that was made under this name.
    fn sandbox(&mut self, name: &str) -> SandboxId {
        SandboxId::from_bytes(self.id("sandbox", name))
    }

    fn network(&mut self, name: &str) -> NetworkId {
        let known = self.state.network_names.get(name).cloned();
        known.unwrap_or_else(|| NetworkId::from_bytes(self.id("network", name)))
    }

    /// Bytes for an id, made of a name (FNV-1a), and the name kept for the text.
    fn id(&mut self, kind: &str, name: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for (at, byte) in format!("{kind} {name}").bytes().cycle().take(256).enumerate() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            bytes[at / 8] = (hash >> 32) as u8;
        }
        self.names.insert(ContainerId::from_bytes(bytes).to_string(), format!("{kind}:{name}"));
        bytes
    }
}
