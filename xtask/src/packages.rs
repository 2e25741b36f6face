//! Debian packages: what is missing is said first, then installed.

use crate::run::{Result, command, output, step, succeeds};

/// Installs those that are missing. Needs root for that, and says what to do without.
pub fn install(why: &str, names: &[&str]) -> Result<()> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing {why}: {}", missing.join(" "));
    if !is_root()? {
        return Err(format!("run as root, or install them yourself: apt-get install {}", missing.join(" ")));
    }
    step(command("apt-get", ["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let mut install = command("apt-get", ["install", "-y", "-qq", "--no-install-recommends"]);
    install.args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    // Services that packages bring are not to start: the tests start them, on addresses of their own, and linkspan is in Docker's place.
    install.env("RUNLEVEL", "1").env("SYSTEMD_OFFLINE", "1");
    step(&mut install)
}

/// The package with the docker command: by itself where the release has it so, else beside Docker's daemon.
pub fn docker() -> &'static str {
    let alone = "docker-cli";
    if succeeds(&mut command("apt-cache", ["show", alone])) { alone } else { "docker.io" }
}

/// Whether this is root.
pub fn is_root() -> Result<bool> {
    Ok(output(&mut command("id", ["-u"]))?.trim() == "0")
}

fn installed(name: &str) -> bool {
    output(&mut command("dpkg-query", ["-W", "-f=${Status}", name]))
        .is_ok_and(|status| status == "install ok installed")
}
