//! Debian packages: what is missing is said first, then installed.

use crate::run::{Result, command, output, step};

/// Installs those that are missing. Needs root for that, and says what to do without.
pub fn install(why: &str, names: &[&str]) -> Result<()> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing {why}: {}", missing.join(" "));
    if output(&mut command("id", ["-u"]))?.trim() != "0" {
        return Err(format!("run as root, or install them yourself: apt-get install {}", missing.join(" ")));
    }
    step(command("apt-get", ["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let mut install = command("apt-get", ["install", "-y", "-qq", "--no-install-recommends"]);
    // Services that packages bring are for the tests to start, on addresses of their own.
    install.args(&missing).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    step(&mut install)
}

fn installed(name: &str) -> bool {
    output(&mut command("dpkg-query", ["-W", "-f=${Status}", name]))
        .is_ok_and(|status| status == "install ok installed")
}
