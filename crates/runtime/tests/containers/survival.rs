//! Daemons and shims that die.

use model::container::Stdin;
use runtime::Adopted;

use rustix::process::Signal;

use crate::house::{EVERYTHING, LIMIT, kill, parent_of, read_all, read_until, until, with_house};

#[test]
fn another_daemon_takes_over() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "echo up; read x; echo $x; exit 3"]);
        container.process.stdin = Stdin::Open;
        let id = container.id.as_str();
        let mut attached = house.runtime.attach(id, EVERYTHING).await.unwrap();
        let started = house.start(&container).await.unwrap();
        read_until(&mut attached, "up\n").await;
        drop(attached);
        let second = house.second_runtime();
        assert_eq!(second.adopt().await.unwrap(), [Adopted::Running { id: id.to_owned(), started }]);
        let mut attached = second.attach(id, EVERYTHING).await.unwrap();
        attached.input.write(b"again\n").await.unwrap();
        assert_eq!(read_all(attached).await.0, "again\n");
        assert_eq!(second.wait(id).await.unwrap().code, 3);
    });
}

#[test]
fn a_start_outlives_the_daemon_that_asked_for_it() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        let (id, dir) = (container.id.to_string(), house.path("run/containers").join(container.id.as_str()));
        let starting = tokio::spawn({
            let house = house.clone();
            async move { house.start(&container).await }
        });
        until("there is a shim", || dir.join("state.json").exists()).await;
        starting.abort();
        let second = house.second_runtime();
        let adopted = second.adopt().await.unwrap();
        assert!(matches!(&adopted[..], [Adopted::Running { .. }]), "{adopted:?}");
        second.signal(&id, 9).await.unwrap();
        assert_eq!(second.wait(&id).await.unwrap().code, 137);
    });
}

#[test]
fn a_shim_that_is_stopped_holds_nobody_up() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "read x; echo $x; exit 3"]);
        container.process.stdin = Stdin::Open;
        let id = container.id.as_str();
        let started = house.start(&container).await.unwrap();
        let shim = parent_of(started.pid);
        kill(shim, Signal::STOP);
        let second = house.second_runtime();
        let adopted = second.adopt().await.unwrap();
        assert_eq!(adopted, [Adopted::Running { id: id.to_owned(), started }]);
        assert!(second.age(id).unwrap() < LIMIT * 12, "{:?}", second.age(id));
        kill(shim, Signal::CONT);
        let mut attached = second.attach(id, EVERYTHING).await.unwrap();
        attached.input.write(b"again\n").await.unwrap();
        assert_eq!(read_all(attached).await.0, "again\n");
        assert_eq!(second.wait(id).await.unwrap().code, 3);
    });
}

#[test]
fn a_shim_that_hangs_is_killed_with_its_container() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        let started = house.start(&container).await.unwrap();
        let shim = parent_of(started.pid);
        kill(shim, Signal::STOP);
        house.runtime.reap(container.id.as_str()).await.unwrap();
        let lives = |pid: u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        until("both are gone", || !lives(started.pid) && !lives(shim)).await;
    });
}

#[test]
fn what_ended_without_a_daemon_is_told() {
    with_house(|house| async move {
        let container = house.container(&["sh", "-c", "exit 5"]);
        house.start(&container).await.unwrap();
        let exit = house.wait(&container).await;
        let adopted = house.second_runtime().adopt().await.unwrap();
        assert!(
            matches!(&adopted[..], [Adopted::Ended { exit: told, started_ms: Some(_), .. }] if *told == exit),
            "{adopted:?}"
        );
    });
}

#[test]
fn a_killed_shim_takes_its_container_along() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        let started = house.start(&container).await.unwrap();
        let shim = parent_of(started.pid);
        kill(shim, Signal::KILL);
        let exit = tokio::time::timeout(LIMIT, house.wait(&container)).await.unwrap();
        assert_eq!((exit.code, exit.error.as_deref()), (137, Some("its shim was killed")));
        until("the process is gone", || !std::path::Path::new(&format!("/proc/{}", started.pid)).exists()).await;
    });
}

#[test]
fn a_stale_run_directory_is_no_container() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        let started = house.start(&container).await.unwrap();
        // As after a reboot: the file speaks of processes that are not those of today.
        let file = house.path("run/containers").join(container.id.as_str()).join("state.json");
        let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        state["shim"]["start_ticks"] = 1.into();
        std::fs::write(&file, serde_json::to_vec(&state).unwrap()).unwrap();
        let adopted = house.second_runtime().adopt().await.unwrap();
        assert!(matches!(&adopted[..], [Adopted::Ended { exit, .. }] if exit.code == 137), "{adopted:?}");
        until("the process is gone", || !std::path::Path::new(&format!("/proc/{}", started.pid)).exists()).await;
    });
}

#[test]
fn a_half_made_container_is_removed() {
    with_house(|house| async move {
        let container = house.container(&["true"]);
        let attached = house.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        let dir = house.path("run/containers").join(container.id.as_str());
        assert!(dir.exists());
        assert_eq!(house.second_runtime().adopt().await.unwrap(), []);
        assert!(!dir.exists());
        drop(attached);
    });
}
