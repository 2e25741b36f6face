//! File systems besides the root: `VolumesFrom`, `Binds`, `Mounts`, `Tmpfs`, and the volumes of the image, in Docker's order.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use model::{
    State, Volume,
    container::{Access, Fill, Missing, Mount, MountSource, ReadOnly},
    volume::Naming,
};

use crate::{
    ApiError, find, random,
    wire::{
        config::Config,
        host_config::HostConfig,
        mount::{Mount as Given, VolumeOptions},
    },
};

/// Options that a tmpfs has unless the opposite is asked for.
const TMPFS: [(&str, &str); 3] = [("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")];

/// What is gathered, by target.
struct Gathered<'a> {
    now_ms: i64,
    random: random::Source<'a>,
    mounts: BTreeMap<String, Mount>,
    volumes: BTreeMap<String, Volume>,
}

/// The mounts, by target, and the volumes that they need.
pub(super) fn mounts(
    state: &State,
    config: &Config,
    host: &HostConfig,
    now_ms: i64,
    random: random::Source<'_>,
) -> Result<(Vec<Mount>, Vec<Volume>), ApiError> {
    let mut gathered = Gathered { now_ms, random, mounts: BTreeMap::new(), volumes: BTreeMap::new() };
    for text in host.volumes_from.iter().flatten() {
        gathered.volumes_from(state, text)?;
    }
    let mut own = Gathered { now_ms, random: gathered.random, mounts: BTreeMap::new(), volumes: BTreeMap::new() };
    for text in host.binds.iter().flatten() {
        own.bind(text)?;
    }
    let foreign = !matches!(host.volume_driver.as_str(), "" | "local");
    if foreign && !(own.volumes.is_empty() && config.volumes.as_ref().is_none_or(BTreeMap::is_empty)) {
        return Err(no_such_driver(&host.volume_driver));
    }
    for given in &host.mounts {
        own.mount(given)?;
    }
    for (target, options) in &host.tmpfs {
        let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
        own.put(tmpfs(target, &options)?)?;
    }
    // What is said outright stands before what comes from another container.
    gathered.mounts.extend(own.mounts);
    own.mounts = gathered.mounts;
    own.volumes.extend(gathered.volumes);
    for target in config.volumes.iter().flat_map(BTreeMap::keys) {
        let target =
            clean(target).ok_or_else(|| ApiError::invalid(format!("invalid volume specification: '{target}'")))?;
        if !own.mounts.contains_key(&target) {
            let name = own.anonymous(BTreeMap::new(), BTreeMap::new())?;
            own.put(volume(target, name, Access::ReadWrite))?;
        }
    }
    Ok((own.mounts.into_values().collect(), own.volumes.into_values().collect()))
}

impl Gathered<'_> {
    fn put(&mut self, mount: Mount) -> Result<(), ApiError> {
        if self.mounts.contains_key(&mount.target) {
            return Err(ApiError::invalid(format!("Duplicate mount point: {}", mount.target)));
        }
        self.mounts.insert(mount.target.clone(), mount);
        Ok(())
    }

    fn volumes_from(&mut self, state: &State, text: &str) -> Result<(), ApiError> {
        let (reference, mode) = text.split_once(':').unwrap_or((text, ""));
        if reference.is_empty() {
            return Err(ApiError::invalid(format!("malformed volumes-from specification: {text}")));
        }
        if !mode.split(',').all(|option| matches!(option, "" | "ro" | "rw" | "z" | "Z" | "nocopy")) {
            return Err(ApiError::invalid(format!("invalid mode: {mode}")));
        }
        let read_only = mode.split(',').any(|option| option == "ro");
        let other = find::container(state, reference).map_err(super::blame_the_request)?;
        for mount in &other.mounts {
            if matches!(mount.source, MountSource::Tmpfs { .. }) {
                continue;
            }
            let access = if read_only { Access::ReadOnly } else { mount.access };
            self.mounts.insert(mount.target.clone(), Mount { access, ..mount.clone() });
        }
        Ok(())
    }

    /// Reads `/host:/target[:options]`, `name:/target[:options]`, `/target`.
    fn bind(&mut self, text: &str) -> Result<(), ApiError> {
        let bad = || ApiError::invalid(format!("invalid volume specification: '{text}'"));
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [target] => ("", *target, ""),
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => return Err(bad()),
        };
        if parts.len() > 1 && source.is_empty() {
            return Err(bad());
        }
        let target = self.target(target, || format!("invalid volume specification: '{text}': "))?;
        let options = bind_options(options).ok_or_else(|| ApiError::invalid(format!("invalid mode: {options}")))?;
        let mount = if source.starts_with('/') {
            let source = MountSource::Bind {
                path: PathBuf::from(clean(source).ok_or_else(bad)?),
                propagation: options.propagation,
                missing: Missing::Create,
                recursive: true,
                read_only: ReadOnly::default(),
            };
            Mount { target, source, access: options.access }
        } else {
            let name = match source {
                "" => self.anonymous(BTreeMap::new(), BTreeMap::new())?,
                name => self.named(name, BTreeMap::new(), BTreeMap::new())?,
            };
            let source = MountSource::Volume { name, subpath: None, fill: options.fill };
            Mount { target, source, access: options.access }
        };
        self.put(mount)
    }

    fn mount(&mut self, given: &Given) -> Result<(), ApiError> {
        let kind = given.kind.as_str();
        let prefix = || format!("invalid mount config for type {kind:?}: ");
        if given.target.is_empty() {
            return Err(ApiError::invalid(format!("{}field Target must not be empty", prefix())));
        }
        let target = self.target(&given.target, prefix)?;
        let access = if given.read_only { Access::ReadOnly } else { Access::ReadWrite };
        let refuse = |words: &str| Err(ApiError::invalid(format!("{}{words}", prefix())));
        match kind {
            "bind" if given.source.is_empty() => refuse("field Source must not be empty"),
            "bind" if !given.source.starts_with('/') => {
                refuse(&format!("invalid mount path: '{}' mount path must be absolute", given.source))
            }
            "bind" => {
                let options = given.bind_options.clone().unwrap_or_default();
                if options.read_only_non_recursive && options.read_only_force_recursive {
                    return refuse("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive");
                }
                let propagation = match options.propagation.as_str() {
                    "" => "rprivate",
                    known if is_propagation(known) => known,
                    _ => return refuse(&format!("invalid propagation mode: {}", options.propagation)),
                };
                let source = MountSource::Bind {
                    path: clean(&given.source).unwrap_or_else(|| given.source.clone()).into(),
                    propagation: propagation.to_owned(),
                    missing: if options.create_mountpoint { Missing::Create } else { Missing::Refuse },
                    recursive: !options.non_recursive,
                    read_only: if options.read_only_non_recursive {
                        ReadOnly::Itself
                    } else {
                        ReadOnly::WithThoseBelow
                    },
                };
                self.put(Mount { target, source, access })
            }
            "volume" => self.volume_mount(given, target, access),
            "tmpfs" if !given.source.is_empty() => refuse("field Source must not be specified"),
            "tmpfs" => {
                let options = given.tmpfs_options.clone().unwrap_or_default();
                let mut words: Vec<String> = options.options.iter().map(|pair| pair.join("=")).collect();
                if options.size_bytes > 0 {
                    words.push(format!("size={}", options.size_bytes));
                }
                if options.mode > 0 {
                    words.push(format!("mode={:o}", options.mode));
                }
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let mount = tmpfs(&target, &words)?;
                self.put(Mount { access, ..mount })
            }
            _ => Err(ApiError::invalid(format!("invalid mount config for type {kind:?}: mount type unknown"))),
        }
    }

    fn volume_mount(&mut self, given: &Given, target: String, access: Access) -> Result<(), ApiError> {
        let VolumeOptions { no_copy, labels, driver_config, subpath } =
            given.volume_options.clone().unwrap_or_default();
        let driver = driver_config.unwrap_or_default();
        if !matches!(driver.name.as_str(), "" | "local") {
            return Err(no_such_driver(&driver.name));
        }
        if Path::new(&subpath).is_absolute()
            || Path::new(&subpath).components().any(|part| part == Component::ParentDir)
        {
            return Err(ApiError::invalid(format!(
                "invalid mount config for type \"volume\": subpath must be a relative path within the volume: {subpath}"
            )));
        }
        let name = match given.source.as_str() {
            "" => self.anonymous(driver.options, labels)?,
            name => self.named(name, driver.options, labels)?,
        };
        let source = MountSource::Volume {
            name,
            subpath: Some(subpath).filter(|path| !path.is_empty()),
            fill: if no_copy { Fill::Empty } else { Fill::FromImage },
        };
        self.put(Mount { target, source, access })
    }

    fn target(&self, text: &str, prefix: impl Fn() -> String) -> Result<String, ApiError> {
        let target = clean(text).ok_or_else(|| {
            ApiError::invalid(format!("{}invalid mount path: '{text}' mount path must be absolute", prefix()))
        })?;
        if target == "/" {
            return Err(ApiError::invalid(format!("{}invalid specification: destination can't be '/'", prefix())));
        }
        Ok(target)
    }

    fn named(
        &mut self,
        name: &str,
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
    ) -> Result<String, ApiError> {
        check_volume_name(name)?;
        let volume = Volume { name: name.to_owned(), created_ms: self.now_ms, naming: Naming::Named, options, labels };
        self.volumes.entry(name.to_owned()).or_insert(volume);
        Ok(name.to_owned())
    }

    fn anonymous(
        &mut self,
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
    ) -> Result<String, ApiError> {
        let name = random::text((self.random)()?);
        let volume = Volume { name: name.clone(), created_ms: self.now_ms, naming: Naming::Anonymous, options, labels };
        self.volumes.insert(name.clone(), volume);
        Ok(name)
    }
}

/// A volume's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
fn check_volume_name(name: &str) -> Result<(), ApiError> {
    let follows = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let mut bytes = name.bytes();
    if name.len() == 1 {
        return Err(ApiError::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    if bytes.next().is_some_and(|b| b.is_ascii_alphanumeric()) && bytes.all(follows) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

fn no_such_driver(name: &str) -> ApiError {
    ApiError::not_found(format!("error looking up volume plugin {name}: plugin \"{name}\" not found"))
}

fn volume(target: String, name: String, access: Access) -> Mount {
    Mount { target, source: MountSource::Volume { name, subpath: None, fill: Fill::FromImage }, access }
}

fn tmpfs(target: &str, options: &[&str]) -> Result<Mount, ApiError> {
    let target = clean(target)
        .filter(|target| target != "/")
        .ok_or_else(|| ApiError::invalid(format!("invalid tmpfs path {target:?}: it must be absolute and not /")))?;
    let usual = TMPFS.iter().filter(|(name, opposite)| !options.contains(name) && !options.contains(opposite));
    let access = if options.contains(&"ro") { Access::ReadOnly } else { Access::ReadWrite };
    let options = usual.map(|(name, _)| *name).chain(options.iter().copied()).map(str::to_owned).collect();
    Ok(Mount { target, source: MountSource::Tmpfs { options }, access })
}

struct BindOptions {
    access: Access,
    propagation: String,
    fill: Fill,
}

fn bind_options(text: &str) -> Option<BindOptions> {
    let mut options =
        BindOptions { access: Access::ReadWrite, propagation: "rprivate".to_owned(), fill: Fill::FromImage };
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => options.access = Access::ReadOnly,
            "rw" => options.access = Access::ReadWrite,
            "nocopy" => options.fill = Fill::Empty,
            // Labels of SELinux and hints for other systems change nothing here.
            "z" | "Z" | "copy" | "consistent" | "cached" | "delegated" => {}
            mode if is_propagation(mode) => options.propagation = mode.to_owned(),
            _ => return None,
        }
    }
    Some(options)
}

fn is_propagation(text: &str) -> bool {
    matches!(text, "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave")
}

/// The path without `.`, `..`, doubled and trailing slashes; none if it is not absolute.
fn clean(text: &str) -> Option<String> {
    if !text.starts_with('/') || text.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}
