//! Further processes in a running container.

use runtime::{ExecWish, RuntimeError, oci::process::TerminalWish, shim::protocol::WindowSize};

use crate::house::{House, anonymous_kb, children_of, files_of, parent_of, read_all, read_until, until, with_house};

fn wish(args: &[&str]) -> ExecWish {
    ExecWish { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..ExecWish::default() }
}

async fn run(house: &House, container: &model::Container, name: &str, wish: ExecWish) -> (String, i32) {
    house.runtime.exec_create(name, container.id.as_str(), wish).unwrap();
    let (output, error) = read_all(house.runtime.exec_start(name).await.unwrap()).await;
    until("the exec has ended", || !house.runtime.exec_inspect(name).unwrap().running).await;
    (output + &error, house.runtime.exec_inspect(name).unwrap().exit_code.unwrap())
}

#[test]
fn it_joins_the_container() {
    with_house(|house| async move {
        let mut container = house.container(&["sleep", "1000"]);
        container.process.user = "web".to_owned();
        container.process.env.push("A=1".to_owned());
        house.start(&container).await.unwrap();
        let script = |text: &str| wish(&["sh", "-c", text]);
        for (name, wish, expected, code) in [
            (
                "env",
                ExecWish { env: vec!["B=2".to_owned()], ..script("echo $A$B $HOME; id -u; id -G") },
                "12 /home/web\n33\n34 44\n",
                0,
            ),
            ("code", script("exit 42"), "", 42),
            (
                "user",
                ExecWish { user: Some("0:44".to_owned()), cwd: Some("/etc".to_owned()), ..script("id -u; id -g; pwd") },
                "0\n44\n/etc\n",
                0,
            ),
            (
                "root",
                ExecWish {
                    user: Some("root".to_owned()),
                    privileged: true,
                    ..script("grep -c Seccomp:.0 /proc/self/status")
                },
                "1\n",
                0,
            ),
            (
                "confined",
                ExecWish {
                    user: Some("root".to_owned()),
                    ..wish(&["grep", "^CapEff\\|^Seccomp:", "/proc/self/status"])
                },
                "CapEff:\t00000000a80425fb\nSeccomp:\t2\n",
                0,
            ),
            (
                "groups",
                script(
                    r#"[ "$(cat /proc/self/cgroup)" = "$(cat /proc/1/cgroup)" ] && echo those of the first process"#,
                ),
                "those of the first process\n",
                0,
            ),
            ("errors", script("echo bad >&2; exit 1"), "bad\n", 1),
        ] {
            assert_eq!(run(&house, &container, name, wish).await, (expected.to_owned(), code), "{name}");
        }
        assert_eq!(house.runtime.top(container.id.as_str()).await.unwrap().len(), 1);
    });
}

#[test]
fn refusals_have_shell_codes() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        for (program, code) in [("nosuch", 127), ("/etc/passwd", 126)] {
            house.runtime.exec_create(program, container.id.as_str(), wish(&[program])).unwrap();
            let Err(RuntimeError::Start(failure)) = house.runtime.exec_start(program).await else { panic!("started") };
            assert_eq!(failure.code, code, "{}", failure.message);
            assert!(failure.message.starts_with("OCI runtime exec failed: exec failed: "), "{}", failure.message);
            assert_eq!(house.runtime.exec_inspect(program).unwrap().exit_code, Some(code));
            assert!(matches!(house.runtime.exec_start(program).await, Err(RuntimeError::ExecStarted(_))));
        }
        assert!(matches!(house.runtime.exec_start("none").await, Err(RuntimeError::NoExec(_))));
    });
}

#[test]
fn each_failure_has_its_own_cause() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        let at = |cwd: &str| ExecWish { cwd: Some(cwd.to_owned()), ..wish(&["true"]) };
        for (name, wish, code, reason) in [
            (
                "cwd",
                at("/nosuch"),
                127,
                r#"chdir to cwd ("/nosuch") set in config.json failed: no such file or directory"#,
            ),
            (
                "file",
                at("/etc/passwd"),
                127,
                r#"chdir to cwd ("/etc/passwd") set in config.json failed: not a directory"#,
            ),
            ("name", wish(&["nosuch"]), 127, r#"exec: "nosuch": executable file not found in $PATH"#),
            (
                "again",
                at("/missing"),
                127,
                r#"chdir to cwd ("/missing") set in config.json failed: no such file or directory"#,
            ),
        ] {
            house.runtime.exec_create(name, container.id.as_str(), wish).unwrap();
            let Err(RuntimeError::Start(failure)) = house.runtime.exec_start(name).await else { panic!("started") };
            let message =
                format!("OCI runtime exec failed: exec failed: unable to start container process: {reason}: unknown");
            assert_eq!((failure.code, failure.message), (code, message));
        }
        assert_eq!(run(&house, &container, "well", wish(&["echo", "well"])).await, ("well\n".to_owned(), 0));
    });
}

#[test]
fn none_starts_when_the_container_has_ended() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        house.runtime.exec_create("late", container.id.as_str(), wish(&["true"])).unwrap();
        house.runtime.signal(container.id.as_str(), 9).await.unwrap();
        house.wait(&container).await;
        assert!(matches!(house.runtime.exec_start("late").await, Err(RuntimeError::NotRunning(_))));
        let refused = house.runtime.exec_create("later", container.id.as_str(), wish(&["true"]));
        assert!(matches!(refused, Err(RuntimeError::NotRunning(_))));
    });
}

#[test]
fn a_thousand_leave_nothing_in_the_shim() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        let started = house.start(&container).await.unwrap();
        let shim = parent_of(started.pid);
        let many = async |name: &str, count: u32| {
            for n in 0..count {
                let (output, code) = run(&house, &container, &format!("{name}{n}"), wish(&["echo", "x"])).await;
                assert_eq!((output.as_str(), code), ("x\n", 0));
            }
        };
        let held = || {
            (
                files_of(shim),
                children_of(shim),
                std::fs::read_dir(house.path("run/containers").join(container.id.as_str())).unwrap().count(),
            )
        };
        // What is allocated once is allocated now.
        many("first", 50).await;
        until("the last one is waited for", || children_of(shim) == 1).await;
        let (before, memory_kb) = (held(), anonymous_kb(shim));
        many("exec", 1000).await;
        // The first of the two looks may still have seen a file of one that was just ending.
        until("the last one is waited for", || {
            let now = held();
            now.0 <= before.0 && now.1 == 1 && now.2 <= before.2
        })
        .await;
        // Half a kB that each leaves would be seen; what the allocator holds back for a while is not asked for.
        until("the shim holds as much memory as before", || anonymous_kb(shim) < memory_kb + 512).await;
    });
}

#[test]
fn it_has_a_terminal_of_its_own() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        let terminal = Some(TerminalWish { rows: 11, columns: 22 });
        let wish = ExecWish {
            terminal,
            stdin: true,
            ..wish(&["sh", "-c", "stty size; read x; stty size; echo $TERM; exit 4"])
        };
        house.runtime.exec_create("tty", container.id.as_str(), wish).unwrap();
        let mut attached = house.runtime.exec_start("tty").await.unwrap();
        read_until(&mut attached, "11 22\r\n").await;
        house.runtime.exec_resize("tty", WindowSize { rows: 5, columns: 6 }).await.unwrap();
        attached.input.write(b"\n").await.unwrap();
        assert_eq!(read_all(attached).await.0, "\r\n5 6\r\nxterm\r\n");
        until("the exec has ended", || !house.runtime.exec_inspect("tty").unwrap().running).await;
        assert_eq!(house.runtime.exec_inspect("tty").unwrap().exit_code, Some(4));
    });
}

#[test]
fn input_flows_and_ends() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        house
            .runtime
            .exec_create("cat", container.id.as_str(), ExecWish { stdin: true, ..wish(&["wc", "-c"]) })
            .unwrap();
        let mut attached = house.runtime.exec_start("cat").await.unwrap();
        for _ in 0..32 {
            attached.input.write(&[b'x'; 32 * 1024]).await.unwrap();
        }
        attached.input.close().await.unwrap();
        assert_eq!(read_all(attached).await.0.trim(), (1 << 20).to_string());
    });
}

#[test]
fn it_goes_on_without_its_client_and_ends_with_its_container() {
    with_house(|house| async move {
        let container = house.container(&["sleep", "1000"]);
        house.start(&container).await.unwrap();
        house.runtime.exec_create("detached", container.id.as_str(), wish(&["sh", "-c", "echo a; exit 6"])).unwrap();
        drop(house.runtime.exec_start("detached").await.unwrap());
        until("the exec has ended", || house.runtime.exec_inspect("detached").unwrap().exit_code == Some(6)).await;
        house.runtime.exec_create("long", container.id.as_str(), wish(&["sleep", "1000"])).unwrap();
        let long = house.runtime.exec_start("long").await.unwrap();
        house.runtime.signal(container.id.as_str(), 9).await.unwrap();
        read_all(long).await;
        until("the exec has ended", || house.runtime.exec_inspect("long").unwrap().exit_code == Some(137)).await;
    });
}
