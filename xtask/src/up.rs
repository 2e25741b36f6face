//! `cargo xtask up`: the main job, on real input.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{
    dist, packages,
    run::{Result, command, output, succeeds},
};

/// The longest the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the daemon's run directory is.
const RUN_DIR: &str = "/run/linkspan";

/// Builds, starts, shows.
pub fn run() -> Result<()> {
    if !succeeds(&mut command("docker", ["--version"])) {
        packages::install("the docker command", &["docker.io"])?;
    }
    let binary = dist::run()?;
    let socket = start(&binary)?;
    show(&socket)?;
    println!("\n{}", output(&mut command(&binary.to_string_lossy(), ["map"]))?);
    println!("To go on:\n");
    println!("  export DOCKER_HOST=unix://{socket}");
    println!("  docker ps");
    println!("  docker run --rm --network demo linkspan/demo ask two");
    println!("  {} trace host 127.0.0.1:8080", binary.display());
    println!("  {} --help", binary.display());
    println!("\nTo end it, so that nothing stays: {} down", binary.display());
    Ok(())
}

fn start(binary: &Path) -> Result<String> {
    let binary = binary.to_string_lossy();
    if let Some(socket) = answering() {
        println!("linkspan is running already.");
        return Ok(socket);
    }
    fs::create_dir_all("/var/log").map_err(|e| e.to_string())?;
    let log = File::create("/var/log/linkspan.log").map_err(|e| format!("cannot write the daemon's log: {e}"))?;
    let errors = log.try_clone().map_err(|e| e.to_string())?;
    println!("Starting the daemon (its log: /var/log/linkspan.log)");
    command("setsid", [&*binary, "up", "--demo"])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|e| format!("cannot start the daemon: {e}"))?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(socket) = answering() {
            return Ok(socket);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err("the daemon does not answer: read /var/log/linkspan.log".to_owned())
}

/// The socket on which linkspan, and not some other engine, answers.
fn answering() -> Option<String> {
    ["/var/run/docker.sock".to_owned(), format!("{RUN_DIR}/docker.sock")].into_iter().find(|socket| {
        let ask = &mut docker(socket, &["version", "--format", "{{.Server.Platform.Name}}"]);
        output(ask).is_ok_and(|name| name.contains("linkspan"))
    })
}

fn show(socket: &str) -> Result<()> {
    for name in ["one", "two"] {
        // Left from an earlier run, if at all.
        succeeds(&mut docker(socket, &["rm", "-f", name]));
    }
    succeeds(&mut docker(socket, &["network", "rm", "demo"]));
    let say = |args: &[&str]| -> Result<String> {
        println!("\n$ docker {}", args.join(" "));
        let text = output(&mut docker(socket, args))?;
        print!("{text}");
        Ok(text)
    };
    say(&["network", "create", "demo"])?;
    say(&["run", "-d", "--name", "one", "--hostname", "one", "--network", "demo", "-p", "8080:80", "linkspan/demo"])?;
    say(&["run", "-d", "--name", "two", "--hostname", "two", "--network", "demo", "linkspan/demo"])?;
    let by_name = say(&["run", "--rm", "--network", "demo", "linkspan/demo", "ask", "two"])?;
    println!("\n$ linkspan demo ask 127.0.0.1:8080");
    let by_port = output(&mut command("target/dist/linkspan", ["demo", "ask", "127.0.0.1:8080"]))?;
    print!("{by_port}");
    if by_name.starts_with("I am two") && by_port.starts_with("I am one") {
        Ok(())
    } else {
        Err("the answers are not from the containers that were asked".to_owned())
    }
}

fn docker(socket: &str, args: &[&str]) -> std::process::Command {
    let mut docker = command("docker", ["--host", &format!("unix://{socket}")]);
    docker.args(args);
    docker
}
