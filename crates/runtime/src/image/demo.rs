//! The built-in images: this very binary, so that the first steps, and the cluster's own pods, need no registry.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::assemble::{Assembly, AssemblyFile};
use super::config::{Config, Present};
use super::digest::ImageId;
use super::error::{ImageError, io_error};
use super::reference::Reference;
use super::store::{Store, blocking};

/// The name of the image of the demonstration.
pub const NAME: &str = "linkspan/demo";
/// Its tags that say which they are, by the variable VERSION.
const VERSIONS: [&str; 2] = ["v1", "v2"];
/// The name of the image of the cluster's gateway, without a tag.
const GATEWAY: &str = "linkspan/gateway";
/// Where the demonstration's server listens.
const PORT: &str = "80/tcp";
/// Program header of the dynamic loader's path (elf(5)).
const PT_INTERP: u32 = 3;

impl Store {
    /// Makes the image of the demonstration of a linkspan binary, and two versions of it for who wants to see one replaced by the other.
    pub async fn assemble_demo(&self, binary: &Path) -> Result<ImageId, ImageError> {
        let config = |env| Config {
            entrypoint: Some(vec!["/linkspan".to_owned(), "demo".to_owned()]),
            exposed_ports: [(PORT.to_owned(), Present {})].into(),
            env,
            ..Config::default()
        };
        for version in VERSIONS {
            let env = vec![format!("VERSION={version}")];
            self.assemble_own(binary, &format!("{NAME}:{version}"), config(env)).await?;
        }
        self.assemble_own(binary, NAME, config(Vec::new())).await
    }

    /// Makes the image of the cluster's gateway of a linkspan binary; its tag is the binary's version.
    pub async fn assemble_gateway(&self, binary: &Path, version: &str) -> Result<ImageId, ImageError> {
        let config = Config { entrypoint: Some(vec!["/linkspan".to_owned()]), ..Config::default() };
        self.assemble_own(binary, &format!("{GATEWAY}:{version}"), config).await
    }

    /// Makes an image of a linkspan binary; a dynamic one brings its shared libraries. Making it again of a binary that
    /// nobody touched since changes nothing, and a static one is not even read then.
    async fn assemble_own(&self, binary: &Path, name: &str, mut config: Config) -> Result<ImageId, ImageError> {
        let binary = binary.to_owned();
        let libraries = {
            let binary = binary.clone();
            blocking(move || shared_libraries(&binary)).await?
        };
        config.env.insert(0, "PATH=/".to_owned());
        let changed = last_change(&binary).map_err(io_error("look at", &binary))?;
        let comment = format!("assembled from the running binary, {changed}");
        if libraries.is_empty()
            && let Ok(known) = self.resolve(name)
            && known.config.config == config
            && matches!(&known.config.history[..], [step] if step.comment == comment)
        {
            return Ok(known.id);
        }
        let mut files = vec![AssemblyFile::program("linkspan", binary)];
        files.extend(libraries.into_iter().map(|path| AssemblyFile::program(&path.to_string_lossy(), &path)));
        files.push(AssemblyFile::directory("tmp", 0o1777));
        files.push(AssemblyFile::text(
            "etc/passwd",
            "root:x:0:0:root:/:/linkspan\nnobody:x:65534:65534:nobody:/:/linkspan\n",
        ));
        files.push(AssemblyFile::text("etc/group", "root:x:0:\nnogroup:x:65534:\n"));
        let reference = Some(Reference::parse(name)?);
        self.assemble(Assembly { reference, config, files, comment, created: None }).await
    }
}

/// What is another once a file was written or replaced. Nobody can set the time of a change, as they can that of the content.
fn last_change(file: &Path) -> std::io::Result<String> {
    let found = std::fs::metadata(file)?;
    Ok(format!("{} bytes since {}.{:09}", found.size(), found.ctime(), found.ctime_nsec()))
}

/// The dynamic loader and every library it would load; empty for a static binary.
fn shared_libraries(binary: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let file = File::open(binary).map_err(io_error("open", binary))?;
    let Some(loader) = interpreter(&file).map_err(io_error("read the ELF header of", binary))? else {
        return Ok(Vec::new());
    };
    let output = Command::new(&loader).arg("--list").arg(binary).output().map_err(io_error("run", &loader))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(ImageError::format(
            format!("the shared libraries of {} cannot be found", binary.display()),
            reason,
        ));
    }
    let mut libraries: Vec<PathBuf> = text.lines().filter_map(listed_path).collect();
    libraries.push(loader);
    libraries.sort();
    libraries.dedup();
    Ok(libraries)
}

/// The path in `\tlibc.so.6 => /lib/libc.so.6 (0x7f...)` or `\t/lib64/ld.so (0x7f...)`.
fn listed_path(line: &str) -> Option<PathBuf> {
    let path = line.rsplit("=>").next()?.trim().split(" (").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The dynamic loader a 64-bit little-endian ELF file asks for.
fn interpreter(file: &File) -> std::io::Result<Option<PathBuf>> {
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Ok(None);
    }
    let table = u64_at(&header, 32);
    let (entry_len, count) = (u16_at(&header, 54), u16_at(&header, 56));
    for number in 0..u64::from(count) {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table.saturating_add(number * u64::from(entry_len)))?;
        if u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) == PT_INTERP {
            let mut path = vec![0; usize::try_from(u64_at(&entry, 32)).unwrap_or(0).min(4096)];
            file.read_exact_at(&mut path, u64_at(&entry, 8))?;
            let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
            return Ok(Some(PathBuf::from(String::from_utf8_lossy(&path[..end]).into_owned())));
        }
    }
    Ok(None)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
