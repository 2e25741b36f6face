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

/// Where the docker command looks.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Where the daemon's run directory is.
const RUN_DIR: &str = "/run/linkspan";

/// Made of the daemon's own binary.
const IMAGE: &str = "linkspan/demo";

/// The log of a daemon that was started here.
const LOG: &str = "/var/log/linkspan.log";

/// Builds, starts, shows.
pub fn run() -> Result<()> {
    if !packages::is_root()? {
        let again = r#"sudo env HOME="$HOME" PATH="$PATH" cargo xtask up"#;
        return Err(format!("the daemon makes namespaces, links and rules, which only root may; as yourself: {again}"));
    }
    if !succeeds(&mut command("docker", ["--version"])) {
        packages::install("the docker command", &[packages::docker()])?;
    }
    if answering().is_none() {
        in_dockers_place()?;
    }
    let binary = dist::run()?;
    let socket = start(&binary)?;
    let port = show(&socket, &binary)?;
    let binary = binary.display();
    println!("\n$ {binary} map\n{}", output(&mut command(&binary.to_string(), ["map"]))?);
    println!("To go on:\n");
    if socket != DOCKER_SOCKET {
        println!("  export DOCKER_HOST=unix://{socket}");
    }
    println!("  docker ps");
    println!("  docker run --rm --network demo linkspan/demo ask two");
    println!("  {binary} trace host 127.0.0.1:{port}");
    println!("  {binary} --help");
    kubernetes();
    println!("\nTo end it, so that nothing stays:\n");
    println!("  {binary} down");
    println!("  rm -rf /var/lib/linkspan {LOG}");
    Ok(())
}

/// How to go on with Kubernetes, which is there too.
fn kubernetes() {
    println!("\nAnd with kubectl, on the same machine:\n");
    println!("  export KUBECONFIG={RUN_DIR}/kubeconfig");
    println!("  kubectl get nodes -o wide");
    println!("  kubectl apply -f examples/shop.yaml && kubectl config set-context --current --namespace shop");
    println!("  kubectl rollout status deploy/web && kubectl get po,rs,deploy,svc,ing,ep -o wide");
    println!("  kubectl wait --for=jsonpath='{{.status.loadBalancer.ingress[0].ip}}' ingress/shop");
    println!(
        r#"  echo "$(kubectl get ing shop -o jsonpath='{{.status.loadBalancer.ingress[0].ip}}') shop.local" >>/etc/hosts"#
    );
    println!("  curl http://shop.local:8080/ ; curl http://shop.local:8080/catalog ; curl http://127.0.0.1:30007/");
    println!("  kubectl set image deploy/web web=linkspan/demo:v2 && kubectl rollout status deploy/web");
    println!("  kubectl rollout history deploy/web && kubectl rollout undo deploy/web");
}

/// Refuses where Docker runs, or has run: its bridge has the name of ours, and its firewall lets nobody else's packets pass.
fn in_dockers_place() -> Result<()> {
    let bridge = output(&mut command("ip", ["-o", "link", "show", "docker0"]));
    let left = bridge.is_ok_and(|shown| !shown.contains("alias linkspan:"));
    if !left && !succeeds(&mut docker(DOCKER_SOCKET, &["version"])) {
        return Ok(());
    }
    Err("linkspan takes Docker's place, and Docker is in it. To stop it, with what it leaves behind, until it is started again:\n\n  \
         systemctl stop docker.socket docker.service containerd.service\n  \
         ip link delete docker0\n  \
         iptables -P FORWARD ACCEPT\n\nThen: cargo xtask up"
        .to_owned())
}

fn start(binary: &Path) -> Result<String> {
    let binary = binary.to_string_lossy();
    if let Some(socket) = answering() {
        println!("linkspan is running already.");
        return Ok(socket);
    }
    let log = File::create(LOG).map_err(|e| format!("cannot write the daemon's log {LOG}: {e}"))?;
    let errors = log.try_clone().map_err(|e| e.to_string())?;
    println!("Starting the daemon: {binary} up --demo (its log: {LOG})");
    let mut daemon = command("setsid", [&*binary, "up", "--demo"])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|e| format!("cannot start the daemon: {e}"))?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && matches!(daemon.try_wait(), Ok(None)) {
        if let Some(socket) = answering() {
            return Ok(socket);
        }
        thread::sleep(Duration::from_millis(50));
    }
    let said = fs::read_to_string(LOG).unwrap_or_default();
    Err(format!("the daemon does not answer; its log {LOG} ends with: {}", said.lines().last().unwrap_or_default()))
}

/// The socket on which linkspan, and not some other engine, answers.
fn answering() -> Option<String> {
    [DOCKER_SOCKET.to_owned(), format!("{RUN_DIR}/docker.sock")].into_iter().find(|socket| {
        let ask = &mut docker(socket, &["version", "--format", "{{.Server.Platform.Name}}"]);
        output(ask).is_ok_and(|name| name.contains("linkspan"))
    })
}

/// Two containers that talk. Returns the host's port of the first.
fn show(socket: &str, binary: &Path) -> Result<u16> {
    if !succeeds(&mut docker(socket, &["image", "inspect", IMAGE])) {
        let down = format!("{} down", binary.display());
        return Err(format!("the linkspan that runs has no image {IMAGE}: end it ({down}) or start it by up --demo"));
    }
    let earlier = ["ps", "-aq", "--filter", "network=demo", "--filter", "ancestor=linkspan/demo"];
    for container in output(&mut docker(socket, &earlier))?.lines() {
        output(&mut docker(socket, &["rm", "-f", container]))?;
    }
    succeeds(&mut docker(socket, &["network", "rm", "demo"]));
    let say = |args: &[&str]| -> Result<String> {
        println!("\n$ docker {}", args.join(" "));
        let text = output(&mut docker(socket, args))?;
        print!("{text}");
        Ok(text)
    };
    let serve = |name, publish: &[&str]| {
        let run = ["run", "-d", "--name", name, "--hostname", name, "--network", "demo"];
        say(&[&run, publish, &[IMAGE]].concat())
    };
    say(&["network", "create", "demo"])?;
    if let Err(refusal) = serve("one", &["-p", "8000:80"]) {
        println!("{refusal}\nSo a port that is free:");
        output(&mut docker(socket, &["rm", "-f", "one"]))?;
        serve("one", &["-p", "80"])?;
    }
    serve("two", &[])?;
    let by_name = say(&["run", "--rm", "--network", "demo", IMAGE, "ask", "two"])
        .map_err(|error| format!("{error}\nWhat may be in the way: {} doctor", binary.display()))?;
    let published = say(&["port", "one", "80"])?;
    let port = published.lines().find_map(|line| line.rsplit(':').next()?.parse().ok());
    let port: u16 = port.ok_or("the port is not published")?;
    let address = format!("127.0.0.1:{port}");
    println!("\n$ {} demo ask {address}", binary.display());
    let by_port = output(&mut command(&binary.to_string_lossy(), ["demo", "ask", &address]))?;
    print!("{by_port}");
    if by_name.starts_with("I am two") && by_port.starts_with("I am one") {
        Ok(port)
    } else {
        Err("the answers are not from the containers that were asked".to_owned())
    }
}

fn docker(socket: &str, args: &[&str]) -> std::process::Command {
    let mut docker = command("docker", ["--host", &format!("unix://{socket}")]);
    docker.args(args);
    docker
}
