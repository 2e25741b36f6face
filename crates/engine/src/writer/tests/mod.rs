//! The writer on a fake kernel: killed after every step, refused at every step, and with a tenth of all steps failing.

mod machine;
#[path = "../../../../../tests/steps/random.rs"]
mod random;
#[path = "../../../../../tests/steps/mod.rs"]
mod steps;

use std::{collections::BTreeSet, sync::Arc};

use model::{Command, ContainerId, State, container::Phase, decide::Task, sandbox::Up};
use netstate::diff;
use proptest::prelude::*;
use sim::{Effect, Faulty, When};

use crate::{
    EngineError,
    commit::{Mode, mode},
    work::Work,
    writer::Committed,
};
use machine::{Daemon, Death, Disk, Fate, Machine, Shelf};
use steps::Stage;

/// The walk of somebody who tries everything once.
const WALK: &str = "
    network a subnet=10.1.0.0/24
    network b subnet=10.2.0.0/24 subnet6=fd00:2::/64 icc=off
    container web net=a publish=8080:80 publish=127.0.0.1:53:53/udp
    run web
    container db net=a net=b restart=always volume=v:/v
    run db
    connect web b
    disconnect db a
    connect db a
    container side net=container:web
    run side
    pause web
    unpause web
    exit side
    exit db 3
    due db
    started db
    start side
    fail side no such file
    container again net=bridge restart=always publish=80
    start again
    fail again no such file
    remove again force
    container once net=bridge rm publish=9000-9010:9000-9010
    run once
    exit once
    stop web
    exit web
    remove-network a
    start web
    started web
    remove db force
    remove web force
    remove side
    remove-network a
    remove-network b
    remove-volume v
";

#[test]
fn killed_after_every_step_of_a_walk() {
    within_tokio(|| {
        let mut kills = 0;
        play(WALK.lines(), |machine, command| kills += kill_everywhere(machine, command));
        assert!(kills > 100, "only {kills} kills");
    });
}

#[test]
fn refused_at_every_step_of_a_walk() {
    within_tokio(|| {
        let mut refusals = 0;
        play(WALK.lines(), |machine, command| refusals += refuse_everywhere(machine, command, Effect::Refused));
        assert!(refusals > 60, "only {refusals} refusals");
    });
}

#[test]
fn unsure_at_every_step_of_a_walk() {
    within_tokio(|| {
        let mut failures = 0;
        play(WALK.lines(), |machine, command| failures += refuse_everywhere(machine, command, Effect::CrashAfter));
        assert!(failures > 60, "only {failures} failures");
    });
}

#[test]
fn the_disk_is_full_at_every_change_of_a_walk() {
    within_tokio(|| {
        let (mut refused, mut taken_back) = (0, 0);
        play(WALK.lines(), |machine, command| {
            refused += usize::from(without_room(machine, command));
            taken_back += take_back_everywhere(machine, command);
        });
        assert!(refused > 25 && taken_back > 40, "only {refused} refused and {taken_back} taken back");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn killed_anywhere(lines in random::lines(), steps in 0..12_usize) {
        within_tokio(|| play(lines.iter().map(String::as_str), |machine, command| {
            kill(machine, command, steps, Fate::Live);
        }));
    }

    #[test]
    fn a_tenth_of_all_steps_fails(lines in random::lines(), seed: u64) {
        for effect in [Effect::Refused, Effect::CrashAfter] {
            within_tokio(|| often_refused(lines.iter().map(String::as_str), seed, effect));
        }
    }
}

fn within_tokio(test: impl FnOnce()) {
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = tokio.enter();
    test();
}

/// Plays lines on a machine with a fresh daemon for each command; before that, the machine and the command are tried out.
fn play<'l>(lines: impl Iterator<Item = &'l str>, mut try_out: impl FnMut(&Machine, &Command)) {
    let (mut machine, mut stage) = fresh();
    for line in lines {
        stage.state = machine.journalled();
        for command in stage.read(line) {
            if let Command::Open(settings) = command {
                machine.settings = *settings;
                continue;
            }
            try_out(&machine, &command);
            let mut daemon = machine.open(Fate::Live);
            // A refusal is as good: it changes nothing.
            let _ = daemon.writer.commit(command);
            settled(&machine, &daemon);
            machine.facts.nonce += 100;
        }
    }
    let mut daemon = machine.open(Fate::Live);
    daemon.writer.leave().unwrap();
    assert!(machine.observe(&Default::default()).objects.is_empty(), "something stays");
}

fn fresh() -> (Machine, Stage) {
    let mut stage = Stage::default();
    stage.play("open pool=10.0.0.0/22,24");
    let settings = stage.state.settings.as_deref().unwrap().clone();
    let machine = Machine::new(settings, stage.facts.clone());
    drop(machine.open(Fate::Live));
    (machine, stage)
}

fn kill_everywhere(machine: &Machine, command: &Command) -> usize {
    for steps in 0.. {
        let fate = [Fate::Live, Fate::Ended, Fate::Rebooted][steps % 3];
        if kill(machine, command, steps, fate) == Death::After {
            return steps + 1;
        }
    }
    unreachable!("steps come to an end")
}

/// Kills the daemon after some steps of a command, and starts another.
fn kill(machine: &Machine, command: &Command, steps: usize, fate: Fate) -> Death {
    let copy = machine.copy();
    let death = copy.crash(command, steps);
    let after = copy.journalled();
    let mut daemon = copy.open(fate);
    settled(&copy, &daemon);
    processes(&mut daemon, fate);
    if fate == Fate::Live && death == Death::During {
        nothing_lost(&after, &daemon.writer.state);
    }
    death
}

/// The kernel has what the state says, and the journal too.
fn settled(machine: &Machine, daemon: &Daemon) {
    let desired = plan::desired(&daemon.writer.state).net;
    let observed = machine.observe(&desired);
    assert!(observed == desired, "left to do:\n{}left of\n{observed}", diff(&desired, &observed));
    assert!(!daemon.writer.unsettled && daemon.writer.owed.is_none());
}

/// Nothing is said to run that does not, and for whatever is to start there is somebody who starts it.
fn processes(daemon: &mut Daemon, fate: Fate) {
    let (mut launched, mut due, mut reaped) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    while let Ok(work) = daemon.todo.try_recv() {
        match work {
            Work::Task(Task::Launch(id)) => drop(launched.insert(id)),
            Work::Task(Task::RestartAfter { container, .. }) => drop(due.insert(container)),
            Work::Task(Task::Reap(id)) => drop(reaped.insert(id)),
            _ => {}
        }
    }
    let state = &daemon.writer.state;
    for container in state.containers.values() {
        let id = &container.id;
        match &container.phase {
            Phase::Starting => assert!(launched.contains(id), "nobody starts {}", container.name),
            Phase::Restarting { .. } => assert!(due.contains(id), "nobody starts {} again", container.name),
            Phase::Running(_) | Phase::Paused(_) => assert_eq!(fate, Fate::Live, "{} does not run", container.name),
            Phase::Created | Phase::Exited(_) => {}
        }
    }
    let gone = |id: &ContainerId| !state.containers.contains_key(id);
    let homeless: Vec<_> = reaped.into_iter().filter(|id| !gone(id)).collect();
    assert!(homeless.is_empty(), "{homeless:?} are reaped, and still there");
}

/// What had been journalled when the daemon died is there for the next one, which may start more.
fn nothing_lost(journalled: &State, found: &State) {
    assert!(journalled.networks.keys().eq(found.networks.keys()));
    assert!(journalled.containers.keys().eq(found.containers.keys()));
    let leased = journalled.endpoints.iter().filter(|(_, endpoint)| endpoint.lease.is_some());
    leased.for_each(|(id, endpoint)| assert_eq!(found.endpoints.get(id), Some(endpoint), "leases are kept"));
    let up = journalled.sandboxes.iter().filter(|(_, sandbox)| sandbox.up == Up::Up);
    up.for_each(|(id, sandbox)| assert_eq!(found.sandboxes.get(id), Some(sandbox), "ports are kept"));
    assert!(journalled.volumes == found.volumes);
}

fn refuse_everywhere(machine: &Machine, command: &Command, effect: Effect) -> usize {
    for step in 0.. {
        if !refuse(machine, command, step, effect) {
            return step as usize;
        }
    }
    unreachable!("steps come to an end")
}

/// Refuses one step of a command; says whether there was such a step.
fn refuse(machine: &Machine, command: &Command, step: u64, effect: Effect) -> bool {
    let copy = machine.copy();
    let faulty = Shelf::new(Faulty::new(copy.kernel.clone(), When::Nth(step), effect));
    let mut daemon = copy.open_with(Fate::Live, Box::new(faulty));
    let before = Arc::clone(&daemon.writer.state);
    let host = copy.observe(&plan::desired(&before).net);
    match (daemon.writer.commit(command.clone()), mode(command)) {
        (Err(EngineError::Kernel(fault)), Mode::AllOrNothing) => {
            assert_eq!(fault.cause, "a fault was injected");
            let now = &daemon.writer.state;
            assert!(State { revision: before.revision, ..(**now).clone() } == *before, "the state is as it was");
            let after = copy.observe(&plan::desired(&before).net);
            assert!(after == host, "{command:?} refused at {fault} leaves to do:\n{}", diff(&host, &after));
            assert!(daemon.todo.try_recv().is_err(), "something is done about what was refused");
            drop(daemon.writer);
            let journalled = copy.journalled();
            assert!(State { revision: before.revision, ..journalled } == *before, "the journal is as it was");
            true
        }
        (Err(EngineError::Refused(_)), _) => false,
        (Err(other), _) => panic!("{command:?}: {other}"),
        (Ok(_), Mode::AllOrNothing) => false,
        (Ok(Committed { state: after, .. }), Mode::Eventually) => {
            let held = daemon.writer.unsettled;
            daemon.writer.repair("a test");
            assert!(daemon.writer.state == after);
            settled(&copy, &daemon);
            held
        }
    }
}

/// There is no room for a command: nothing of it happens. Says whether it needed any.
fn without_room(machine: &Machine, command: &Command) -> bool {
    let (copy, disk) = (machine.copy(), Disk::default());
    let mut daemon = copy.open_on(Fate::Live, Box::new(copy.kernel.clone()), disk.clone());
    let before = Arc::clone(&daemon.writer.state);
    disk.hold(0);
    let outcome = daemon.writer.commit(command.clone());
    assert!(daemon.writer.state == before && *daemon.writer.shared.state.borrow() == before);
    settled(&copy, &daemon);
    matches!(outcome, Err(EngineError::Store(_)))
}

/// The kernel refuses one step of a command after another, and there is no room to take it back.
fn take_back_everywhere(machine: &Machine, command: &Command) -> usize {
    if mode(command) == Mode::Eventually {
        return 0;
    }
    (0..).take_while(|step| take_back(machine, command, *step)).count()
}

/// What is refused is not seen by anybody, the journal is told of it before anything else, and a crash until then leaves what can go on.
/// Says whether there was such a step.
fn take_back(machine: &Machine, command: &Command, step: u64) -> bool {
    let (copy, disk) = (machine.copy(), Disk::default());
    let faulty = Shelf::new(Faulty::new(copy.kernel.clone(), When::Nth(step), Effect::Refused));
    let mut daemon = copy.open_on(Fate::Live, Box::new(faulty), disk.clone());
    let before = Arc::clone(&daemon.writer.state);
    disk.hold(1);
    let Err(EngineError::Kernel(_)) = daemon.writer.commit(command.clone()) else { return false };
    let as_before = |state: &State| State { revision: before.revision, ..state.clone() } == *before;
    assert!(as_before(&daemon.writer.state) && as_before(&daemon.writer.shared.state.borrow()));
    let again = daemon.writer.commit(command.clone());
    assert!(matches!(again, Err(EngineError::Store(_))), "something was written before what is owed");
    if step.is_multiple_of(2) {
        disk.free();
        daemon.writer.settle();
        settled(&copy, &daemon);
        drop(daemon.writer);
        assert!(as_before(&copy.journalled()), "the journal is as it was");
    } else {
        drop(daemon);
        let mut daemon = copy.open(Fate::Live);
        settled(&copy, &daemon);
        processes(&mut daemon, Fate::Live);
    }
    true
}

/// One daemon on a kernel that often fails.
fn often_refused<'l>(lines: impl Iterator<Item = &'l str>, seed: u64, effect: Effect) {
    let (machine, mut stage) = fresh();
    let faulty = Faulty::new(machine.kernel.clone(), When::Random { seed, per_mille: 100 }, effect);
    let mut daemon = machine.open_with(Fate::Live, Box::new(faulty));
    for line in lines {
        stage.state = (*daemon.writer.state).clone();
        for command in stage.read(line) {
            let before = Arc::clone(&daemon.writer.state);
            match daemon.writer.commit(command) {
                Ok(_) => {}
                Err(EngineError::Kernel(_) | EngineError::Refused(_)) => {
                    let now = &daemon.writer.state;
                    assert!(State { revision: before.revision, ..(**now).clone() } == *before);
                }
                Err(other) => panic!("{line}: {other}"),
            }
        }
    }
    for _ in 0..200 {
        if !daemon.writer.unsettled {
            break;
        }
        daemon.writer.repair("a test");
    }
    settled(&machine, &daemon);
}
