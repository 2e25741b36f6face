//! A Debian kernel: its package, fetched from the mirror that this system uses and unpacked beside the build.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Version;
use crate::run::{Result, command, output};

/// The package that depends on a release's newest kernel for virtual machines.
const META: &str = "linux-image-cloud-amd64";

/// An unpacked kernel.
pub struct Kernel {
    /// As `uname -r` says.
    pub release: String,
    /// What is booted.
    pub image: PathBuf,
    /// Where `kernel/`, `modules.dep` and the like are.
    pub modules: PathBuf,
    /// Where more about this kernel may be kept.
    pub dir: PathBuf,
}

/// Fetches a kernel, once; none where the mirror lacks it.
pub fn fetch(version: Version) -> Result<Option<Kernel>> {
    let dir = PathBuf::from("target/vm").join(version.to_string());
    if let Some(kernel) = unpacked(&dir).filter(|_| dir.join(WHOLE).exists()) {
        return Ok(Some(kernel));
    }
    let Some(mirror) = mirror()? else { return Ok(None) };
    let apt = Apt::new(&dir, &mirror, suite(version))?;
    let Some(package) = apt.depends(META)? else { return Ok(None) };
    println!("Fetching {package}");
    let archive = apt.download(&package)?;
    let root = dir.join("package");
    run("dpkg", &["-x", text(&archive)?, text(&root)?])?;
    fs::remove_file(&archive).map_err(|e| format!("cannot remove {}: {e}", archive.display()))?;
    let kernel = unpacked(&dir).ok_or("the kernel package holds no kernel")?;
    run("sh", &["-c", r#"find "$1" -name '*.ko.xz' -exec xz -d {} +"#, "sh", text(&kernel.modules)?])?;
    run("depmod", &["-b", text(&root)?, &kernel.release])?;
    // Only now is it whole.
    fs::write(dir.join(WHOLE), &kernel.release).map_err(|e| e.to_string())?;
    Ok(Some(kernel))
}

/// The mark of a kernel that was unpacked to the end.
const WHOLE: &str = "release";

fn unpacked(dir: &Path) -> Option<Kernel> {
    let root = dir.join("package");
    // The newer packages keep to the merged /usr.
    let modules =
        ["usr/lib/modules", "lib/modules"].map(|path| root.join(path)).into_iter().find(|path| path.is_dir())?;
    let release = fs::read_dir(&modules).ok()?.next()?.ok()?.file_name().into_string().ok()?;
    Some(Kernel {
        image: root.join(format!("boot/vmlinuz-{release}")),
        modules: modules.join(&release),
        dir: dir.to_owned(),
        release,
    })
}

fn suite(version: Version) -> &'static str {
    match version {
        Version::V6_1 => "bookworm",
        Version::V6_12 => "bookworm-backports",
    }
}

/// The address from which this system takes Debian's main archive; none on another distribution.
fn mirror() -> Result<Option<String>> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value =
        |key: &str| release.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_matches('"'));
    let (Some("debian"), Some(codename)) = (value("ID="), value("VERSION_CODENAME=")) else { return Ok(None) };
    let targets =
        output(&mut command("apt-get", ["indextargets", "--format", "$(RELEASE) $(SITE)", "Created-By: Packages"]))?;
    Ok(targets
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(suite, _)| *suite == codename)
        .map(|(_, site)| site.to_owned()))
}

/// apt with lists of its own, so that the system's stay as they are.
struct Apt {
    dir: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(dir: &Path, mirror: &str, suite: &str) -> Result<Self> {
        let dir = dir.join("apt");
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        }
        let dir = dir.canonicalize().map_err(|e| e.to_string())?;
        let sources = dir.join("sources.list");
        fs::write(&sources, format!("deb {mirror} {suite} main\n")).map_err(|e| e.to_string())?;
        let option = |name: &str, value: &str| ["-o".to_owned(), format!("{name}={value}")];
        let options = [
            option("Dir::State", text(&dir.join("state"))?),
            option("Dir::Cache", text(&dir.join("cache"))?),
            option("Dir::Etc::SourceList", text(&sources)?),
            option("Dir::Etc::SourceParts", "-"),
            // Its usual user may not write below the build.
            option("APT::Sandbox::User", "root"),
        ];
        let apt = Self { dir, options: options.concat() };
        apt.output("apt-get", &["update", "-qq"])?;
        Ok(apt)
    }

    /// The first package that this one depends on; none when it is not there.
    fn depends(&self, package: &str) -> Result<Option<String>> {
        let found =
            self.output("apt-cache", &["depends", "--no-recommends", "--no-suggests", package]).unwrap_or_default();
        Ok(found.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).map(ToOwned::to_owned))
    }

    fn download(&self, package: &str) -> Result<PathBuf> {
        self.output("apt-get", &["download", package])?;
        let entries = fs::read_dir(&self.dir).map_err(|e| e.to_string())?;
        let mut archives = entries.filter_map(|entry| Some(entry.ok()?.path()));
        archives
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .ok_or(format!("{package} was not downloaded"))
    }

    fn output(&self, program: &str, words: &[&str]) -> Result<String> {
        let words = self.options.iter().map(String::as_str).chain(words.iter().copied());
        output(command(program, words).current_dir(&self.dir))
    }
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    output(&mut command(program, words)).map(drop)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
