//! Every choice that is ever made: addresses, ports, names, links, restarts. One file per noun.
//!
//! A decision looks at the state, the facts and the command, and nothing else; the change it returns is journalled before anything
//! is done about it.

mod address;
mod container;
mod draft;
mod endpoint;
mod network;
mod open;
mod pool;
mod port;
mod sandbox;
mod service;
mod volume;

use self::{
    container::{health, life, restart},
    draft::Draft,
};
use crate::{
    change::Change,
    command::Command,
    container::Want,
    event::Event,
    host::Facts,
    id::{ContainerId, SandboxId},
    refusal::Refusal,
    state::State,
};

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is written.
    pub change: Change,
    /// What is told to those who watch.
    pub events: Vec<Event>,
    /// What is to be done about processes once the network is as the new state says.
    pub tasks: Vec<Task>,
}

/// Something to be done about a process or a directory. Tasks are derived again from the state when the daemon starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Start the process; report `Started` or `Exited`.
    Launch(ContainerId),
    /// End the process now; its exit is reported as usual.
    Kill(ContainerId),
    /// Freeze.
    Freeze(ContainerId),
    /// Thaw.
    Thaw(ContainerId),
    /// Report `RestartDue` after a pause; a duration, so that a host's clock that jumps does not change it.
    RestartAfter {
        /// The container.
        container: ContainerId,
        /// Milliseconds.
        pause_ms: u32,
    },
    /// Write new limits.
    Limit(ContainerId),
    /// The container is gone from the state: remove what is left of it (control group, writable layer, logs).
    Reap(ContainerId),
    /// The container is new in the state: give its empty volumes what its image has at their places.
    Fill(ContainerId),
    /// The sandbox is gone from the state: let go of the namespaces that its containers shared.
    Release(SandboxId),
    /// The volume is new in the state: make its directory.
    MakeVolume(String),
    /// The volume is gone from the state: remove its directory.
    DropVolume(String),
}

/// Decides a command.
pub fn decide(state: &State, facts: &Facts, command: Command) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(state, facts);
    let d = &mut draft;
    match command {
        Command::Open(settings) => open::open(d, *settings)?,
        Command::CreateNetwork(wish) => network::create(d, *wish)?,
        Command::RemoveNetwork(id) => network::remove(d, &id)?,
        Command::Connect(connect) => endpoint::connect(d, *connect)?,
        Command::Disconnect { container, network } => endpoint::disconnect(d, &container, &network)?,
        Command::RemoveLink { container, alias } => endpoint::unlink(d, &container, &alias)?,
        Command::CreateSandbox(new) => sandbox::create_up(d, *new)?,
        Command::RemoveSandbox(id) => sandbox::remove(d, &id)?,
        Command::CreateContainer(wish) => container::create(d, *wish)?,
        Command::Start(id) => life::start(d, &id)?,
        Command::Started { container, run } => life::started(d, &container, run)?,
        Command::Exited { container, exit } => life::exited(d, &container, exit)?,
        Command::Stop { container, signal } => life::stop(d, &container, signal, Want::Stopped)?,
        Command::Restart { container, signal } => life::stop(d, &container, signal, Want::Restarted)?,
        Command::Kill { container, signal } => life::kill(d, &container, signal)?,
        Command::Pause(id) => life::pause(d, &id)?,
        Command::Unpause(id) => life::unpause(d, &id)?,
        Command::RestartDue(id) => restart::due(d, &id)?,
        Command::Recover { container, exit } => restart::recover(d, &container, exit)?,
        Command::Health { container, result } => health::checked(d, &container, result)?,
        Command::Rename { container, name } => container::rename(d, &container, name)?,
        Command::Update { container, resources, restart, face } => {
            container::update(d, &container, container::Update { resources: *resources, restart, face })?;
        }
        Command::RemoveContainer { container, force, volumes } => container::remove(d, &container, force, volumes)?,
        Command::CreateVolume(volume) => volume::create(d, volume)?,
        Command::RemoveVolume { name } => volume::remove(d, &name)?,
        Command::SetCluster(cluster) => service::set_cluster(d, *cluster),
        Command::LeaveCluster => service::leave_cluster(d),
        Command::ReportServices(report) => service::report(d, *report),
    }
    service::take_freed_ports(d);
    Ok(draft.finish())
}
