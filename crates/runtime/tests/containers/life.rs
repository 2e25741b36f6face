//! From start to exit: exit codes, refusals, signals, pause, limits, logs, crowds.

use model::container::{Init, Log, Share};
use runtime::{ExecWish, RuntimeError, log::reader};

use crate::house::{House, LIMIT, until, with_house};

#[test]
fn it_runs_and_ends() {
    with_house(|house| async move {
        let container = house.container(&["echo", "hello"]);
        let (output, exit) = house.run(&container).await;
        assert_eq!(output, "hello\n");
        assert_eq!((exit.code, exit.error), (0, None));
        let log = std::fs::read_to_string(house.log(&container)).unwrap();
        assert!(log.starts_with(r#"{"log":"hello\n","stream":"stdout","time":"2"#), "{log}");
    });
}

#[test]
fn exit_codes_are_those_of_a_shell() {
    with_house(|house| async move {
        for (script, expected) in [("exit 7", 7), ("kill -9 $$", 0), ("exit 255", 255)] {
            // A process 1 cannot kill itself, so the second one goes on.
            let (_, exit) = house.run(&house.container(&["sh", "-c", script])).await;
            assert_eq!(exit.code, expected, "{script}");
        }
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        house.runtime.signal(container.id.as_str(), 9).await.unwrap();
        assert_eq!(house.wait(&container).await.code, 137);
        let refused = house.runtime.signal(container.id.as_str(), 9).await;
        assert!(matches!(refused, Err(RuntimeError::NotRunning(_))));
    });
}

#[test]
fn refusals_say_why() {
    with_house(|house| async move {
        for (args, code, message) in [
            (vec!["nosuch"], 127, r#"exec: "nosuch": executable file not found in $PATH: unknown"#),
            (vec!["/bin/nosuch"], 127, r#"exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory: unknown"#),
            (vec!["/etc/passwd"], 126, r#"exec: "/etc/passwd": permission denied: unknown"#),
            (vec!["/etc"], 126, r#"exec: "/etc": is a directory: unknown"#),
        ] {
            let container = house.container(&args);
            let Err(RuntimeError::Start(failure)) = house.start(&container).await else { panic!("{args:?} started") };
            let expected = format!("OCI runtime create failed: unable to start container process: {message}");
            assert_eq!((failure.code, failure.message), (code, expected));
            assert!(!house.path("run/containers").join(container.id.as_str()).exists());
        }
        let mut container = house.container(&["true"]);
        container.process.user = "nobody".to_owned();
        let error = house.start(&container).await.unwrap_err().to_string();
        assert_eq!(error, "unable to find user nobody: no matching entries in passwd file");
    });
}

#[test]
fn it_can_be_started_again() {
    with_house(|house| async move {
        let container = house.container(&["sh", "-c", "echo x >> /count; cat /count"]);
        assert_eq!(house.run(&container).await.0, "x\n");
        assert_eq!(house.run(&container).await.0, "x\nx\n");
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        assert!(matches!(house.start(&container).await, Err(RuntimeError::Running(_))));
    });
}

#[test]
fn many_start_at_once() {
    with_house(|house| async move {
        let containers: Vec<_> = (0..12).map(|n| house.container(&["sh", "-c", &format!("echo {n}")])).collect();
        let runs = futures_util::future::join_all(containers.iter().map(|container| house.run(container))).await;
        for (n, (output, exit)) in runs.into_iter().enumerate() {
            assert_eq!((output, exit.code), (format!("{n}\n"), 0));
        }
    });
}

#[test]
fn a_paused_container_stands_still() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "while :; do echo x; done"]);
        container.log = model::container::Log::None;
        let id = container.id.as_str();
        house.start(&container).await.unwrap();
        house.runtime.pause(id).await.unwrap();
        let used = house.runtime.stats(id).await.unwrap().cpu.total_ns;
        assert_eq!(house.runtime.stats(id).await.unwrap().cpu.total_ns, used);
        house.runtime.resume(id).await.unwrap();
        let deadline = tokio::time::Instant::now() + LIMIT;
        while house.runtime.stats(id).await.unwrap().cpu.total_ns == used {
            assert!(tokio::time::Instant::now() < deadline, "it does not go on");
        }
        // A paused one can be removed too.
        house.runtime.pause(id).await.unwrap();
        house.runtime.reap(id).await.unwrap();
    });
}

#[test]
fn limits_are_set_and_changed() {
    with_house(|house| async move {
        let mut container = house.container(&["sleep", "1000"]);
        container.resources.memory = Some(64 << 20);
        container.resources.pids = Some(50);
        let id = container.id.as_str();
        let started = house.start(&container).await.unwrap();
        let stats = house.runtime.stats(id).await.unwrap();
        assert_eq!((stats.memory.limit_bytes, stats.pids.limit, stats.pids.current), (Some(64 << 20), Some(50), 1));
        assert_eq!(house.runtime.top(id).await.unwrap(), [started.pid]);
        let resources = model::container::Resources {
            memory: Some(32 << 20),
            pids: Some(-1),
            cpu_shares: Some(512),
            ..Default::default()
        };
        house.runtime.update(id, &resources).await.unwrap();
        let stats = house.runtime.stats(id).await.unwrap();
        assert_eq!((stats.memory.limit_bytes, stats.pids.limit), (Some(32 << 20), None));
    });
}

#[test]
fn running_out_of_memory_is_told() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "x=a; while :; do x=$x$x; done"]);
        container.resources.memory = Some(16 << 20);
        let (_, exit) = house.run(&container).await;
        assert!(exit.oom_killed, "{exit:?}");
        assert_eq!(exit.code, 137);
    });
}

#[test]
fn running_out_of_memory_is_told_after_others_have_joined() {
    with_house(|house| async move {
        let mut container =
            house.container(&["sh", "-c", "until [ -e /go ]; do sleep 0.01; done; x=a; while :; do x=$x$x; done"]);
        container.resources.memory = Some(16 << 20);
        house.start(&container).await.unwrap();
        let touch = ExecWish { args: ["touch", "/go"].map(str::to_owned).into(), ..ExecWish::default() };
        house.runtime.exec_create("go", container.id.as_str(), touch).unwrap();
        drop(house.runtime.exec_start("go").await.unwrap());
        let exit = house.wait(&container).await;
        assert!(exit.oom_killed, "{exit:?}");
        assert_eq!(exit.code, 137);
    });
}

#[test]
fn logs_rotate_and_read_back() {
    with_house(|house| async move {
        let mut container =
            house.container(&["sh", "-c", "i=0; while [ $i -lt 100 ]; do echo line$i; i=$((i+1)); done"]);
        container.log = Log::JsonFile { max_size: Some(2000), max_file: 3, attributes: Default::default() };
        house.run(&container).await;
        let last = reader::read(&house.log(&container), reader::Wish { tail: Some(30), ..Default::default() }).unwrap();
        let lines: Vec<String> = last.into_iter().map(|entry| entry.log).collect();
        assert_eq!(lines, (70..100).map(|n| format!("line{n}\n")).collect::<Vec<_>>());
        assert!(house.log(&container).with_extension("log.2").exists());
        assert!(!house.log(&container).with_extension("log.3").exists());
    });
}

#[test]
fn a_log_that_rotates_under_load_keeps_its_last_lines_whole() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "yes | head -n 50000 | awk '{print NR}'"]);
        container.log = Log::JsonFile { max_size: Some(64 << 10), max_file: 4, attributes: Default::default() };
        house.run(&container).await;
        let lines: Vec<u32> = reader::read(&house.log(&container), reader::Wish::default())
            .unwrap()
            .into_iter()
            .map(|entry| entry.log.trim().parse().unwrap())
            .collect();
        assert_eq!(lines.last(), Some(&50_000));
        assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a line is missing or twice");
        let size =
            |name: &str| std::fs::metadata(house.log(&container).with_extension(name)).map_or(0, |file| file.len());
        assert!((1..=3).all(|age| size(&format!("log.{age}")) > 60 << 10), "rotated files are full");
        assert_eq!(size("log.4"), 0);
    });
}

#[test]
fn groups_above_go_with_the_last_container_in_them() {
    with_house(|house| async move {
        let containers = [house.container(&["sleep", "1000"]), house.container(&["sleep", "1000"])];
        let exists = || {
            let parent = containers[0].resources.cgroup_parent.clone().unwrap();
            let trees = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|tree| tree.path());
            let all = trees.chain(["/sys/fs/cgroup".into()]);
            all.map(|tree| tree.join(parent.trim_start_matches('/'))).any(|dir| dir.exists())
        };
        for container in &containers {
            house.start(container).await.unwrap();
        }
        house.runtime.reap(containers[0].id.as_str()).await.unwrap();
        assert!(exists());
        house.runtime.reap(containers[1].id.as_str()).await.unwrap();
        assert!(!exists());
    });
}

#[test]
fn an_exit_does_not_wait_for_those_who_hold_the_pipe() {
    with_house(|house| async move {
        let mut container = house.container(&["sh", "-c", "sleep 1000 & echo out"]);
        // Only in a shared pid namespace does the child outlive process 1.
        container.namespaces.pid = Share::Host;
        let (output, exit) = house.run(&container).await;
        assert_eq!((output.as_str(), exit.code), ("out\n", 0));
    });
}

#[test]
fn an_init_reaps_and_passes_signals_on() {
    with_house(|house| async move {
        let script = "trap 'exit 5' TERM; (sleep 0 &); echo up; while :; do sleep 0.01; done";
        let mut container = house.container(&["sh", "-c", script]);
        container.process.init = Init::Init;
        let mut attached = house.runtime.attach(container.id.as_str(), crate::house::EVERYTHING).await.unwrap();
        if let Err(error) = house.start(&container).await {
            panic!("{error}");
        }
        crate::house::read_until(&mut attached, "up").await;
        let tree = house.runtime.top(container.id.as_str()).await.unwrap();
        assert!(tree.len() >= 2, "{tree:?}");
        house.runtime.signal(container.id.as_str(), 15).await.unwrap();
        assert_eq!(house.wait(&container).await.code, 5);
    });
}

#[test]
fn an_external_runtime_gives_the_same() {
    with_house(|house| async move {
        let runc = std::path::PathBuf::from("/usr/sbin/runc");
        if !runc.exists() {
            eprintln!("SKIPPED: Debian's runc is not installed");
            return;
        }
        for (args, expected) in [
            (vec!["sh", "-c", "echo $$; exit 3"], ("1\n", 3)),
            (vec!["grep", "^CapBnd\\|^Seccomp:", "/proc/self/status"], ("CapBnd:\t00000000a80425fb\nSeccomp:\t2\n", 0)),
        ] {
            let mut container = house.container(&args);
            container.external_runtime = Some(runc.clone());
            let (output, exit) = house.run(&container).await;
            assert_eq!((output.as_str(), exit.code), expected);
        }
        let mut container = house.container(&["nosuch"]);
        container.external_runtime = Some(runc.clone());
        let Err(RuntimeError::Start(failure)) = house.start(&container).await else { panic!("started") };
        assert_eq!(failure.code, 127, "{}", failure.message);
    });
}

#[test]
fn nothing_is_left_of_a_reaped_container() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        let id = container.id.as_str();
        let started = house.start(&container).await.unwrap();
        house.runtime.reap(id).await.unwrap();
        until("the process is gone", || !std::path::Path::new(&format!("/proc/{}", started.pid)).exists()).await;
        assert!(!house.path("run/containers").join(id).exists());
        house.runtime.reap(id).await.unwrap();
        never_leaks(&house);
    });
}

fn never_leaks(house: &House) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*house.path("").to_string_lossy()), "{mounts}");
}
