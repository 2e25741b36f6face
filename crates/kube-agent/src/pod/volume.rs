//! The volumes of a pod: where each is on the node, and which files are in those that the cluster fills.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{
        ConfigMap, Container, DownwardAPIVolumeFile, EmptyDirVolumeSource, KeyToPath, Pod, Secret,
        ServiceAccountTokenProjection, Volume, VolumeProjection,
    },
};

use super::{
    downward,
    env::{ConfigError, Objects, Place},
    files::{File, Files},
    resources, spec,
};

/// The mode of a file where nothing else is said.
const MODE: u32 = 0o644;

/// What a volume is on the node.
#[derive(Clone, Debug, PartialEq)]
pub enum Backing {
    /// An empty directory, in memory or on disk.
    Empty(Medium),
    /// A path of the node, and what must be there (`Directory`, `FileOrCreate`, ...; empty for anything).
    Host {
        /// Absolute.
        path: PathBuf,
        /// What must be there.
        kind: String,
    },
    /// These files, kept up to date.
    Files(Files),
}

/// Where an empty directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// On disk.
    Disk,
    /// In memory: a file system of its own.
    Memory {
        /// The most that fits, bytes; none for half of the machine's.
        size: Option<u64>,
    },
}

/// How much an empty directory on disk may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The volume.
    pub volume: String,
    /// Bytes.
    pub bytes: u64,
    /// As the pod says it.
    pub spelled: String,
}

/// What a volume is.
pub fn backing(pod: &Pod, volume: &Volume, objects: &Objects, place: &Place) -> Result<Backing, ConfigError> {
    let filler = Filler { pod, objects, place };
    let mut files = Files::new();
    let unset = |mode: Option<i32>| mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(MODE);
    if let Some(empty) = &volume.empty_dir {
        let medium = match empty.medium.as_deref() {
            Some("Memory") => Medium::Memory { size: memory_size(pod, empty) },
            _ => Medium::Disk,
        };
        return Ok(Backing::Empty(medium));
    }
    if let Some(host) = &volume.host_path {
        return Ok(Backing::Host { path: PathBuf::from(&host.path), kind: host.type_.clone().unwrap_or_default() });
    }
    if let Some(source) = &volume.config_map {
        let wanted = Wanted { name: &source.name, optional: source.optional, items: source.items.as_deref() };
        filler.config_map(wanted, unset(source.default_mode), &mut files)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let wanted = Wanted { name, optional: source.optional, items: source.items.as_deref() };
        filler.secret(wanted, unset(source.default_mode), &mut files)?;
    } else if let Some(source) = &volume.downward_api {
        filler.downward(source.items.as_deref().unwrap_or_default(), unset(source.default_mode), &mut files)?;
    } else if let Some(source) = &volume.projected {
        for projection in source.sources.iter().flatten() {
            filler.projection(&volume.name, projection, unset(source.default_mode), &mut files)?;
        }
    } else {
        let words = format!("volume {} is of a kind that this node does not have", volume.name);
        return Err(ConfigError::Invalid(words));
    }
    Ok(Backing::Files(files))
}

/// How much fits into a volume in memory: what it says, and no more than the containers may have, where that is limited for all.
fn memory_size(pod: &Pod, empty: &EmptyDirVolumeSource) -> Option<u64> {
    let spec = spec::of(pod);
    let limits =
        spec::containers(&spec).map(|(_, container)| resources::limit(container, "memory").map(resources::whole));
    let of_pod: Option<i64> = limits.sum();
    let own = empty.size_limit.as_ref().map(resources::whole);
    let size = [own, of_pod].into_iter().flatten().filter(|bytes| *bytes > 0).min();
    size.map(i64::unsigned_abs)
}

/// How much a pod's empty directories on disk may hold.
pub fn limits(pod: &Pod) -> Vec<Limit> {
    let limit = |volume: &Volume| {
        let empty = volume.empty_dir.as_ref().filter(|empty| empty.medium.as_deref() != Some("Memory"))?;
        let quantity = empty.size_limit.as_ref()?;
        let bytes = u64::try_from(resources::whole(quantity)).ok().filter(|bytes| *bytes > 0)?;
        Some(Limit { volume: volume.name.clone(), bytes, spelled: quantity.0.clone() })
    };
    spec::of(pod).volumes.iter().flatten().filter_map(limit).collect()
}

/// Whether a volume is filled from what the API has; nobody else writes there.
pub fn is_filled(pod: &Pod, name: &str) -> bool {
    let spec = spec::of(pod);
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == name);
    volume.is_some_and(|volume| {
        volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.downward_api.is_some()
            || volume.projected.is_some()
    })
}

/// Whether a pod's volumes say what its labels and annotations are.
pub fn tells_of_pod(pod: &Pod) -> bool {
    let spec = spec::of(pod);
    let mut volumes = spec.volumes.iter().flatten();
    volumes.any(|volume| {
        let mut sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        volume.downward_api.is_some() || sources.any(|source| source.downward_api.is_some())
    })
}

/// The names of the ConfigMaps and Secrets that a pod's volumes name.
pub fn references(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for volume in spec::of(pod).volumes.iter().flatten() {
        maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
        for projection in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            maps.extend(projection.config_map.iter().map(|source| source.name.clone()));
            secrets.extend(projection.secret.iter().map(|source| source.name.clone()));
        }
    }
    (maps, secrets)
}

/// The tokens that a pod's volumes ask for, by what they are kept under among the [`Objects`].
pub fn tokens(pod: &Pod) -> Vec<(String, ServiceAccountTokenProjection)> {
    let mut tokens = Vec::new();
    for volume in spec::of(pod).volumes.iter().flatten() {
        for projection in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            tokens.extend(
                projection.service_account_token.iter().map(|token| (token_key(&volume.name, token), token.clone())),
            );
        }
    }
    tokens
}

/// Where a pod's own directories are: those that are lost with a reboot, and those that stay.
#[derive(Clone, Debug)]
pub struct Directories {
    /// On disk.
    pub disk: PathBuf,
    /// In memory.
    pub memory: PathBuf,
}

impl Directories {
    /// Those of a pod.
    pub fn of(data_root: &Path, run_dir: &Path, uid: &str) -> Self {
        Self { disk: data_root.join("pods").join(uid), memory: run_dir.join("pods").join(uid) }
    }

    /// The directory, or file, that a volume is.
    pub fn volume(&self, volume: &str, backing: &Backing) -> PathBuf {
        match backing {
            Backing::Host { path, .. } => path.clone(),
            Backing::Empty(Medium::Disk) => self.disk.join("volumes").join(volume),
            // Secrets must not be written to disk.
            Backing::Empty(Medium::Memory { .. }) | Backing::Files(_) => self.memory.join("volumes").join(volume),
        }
    }

    /// Where a container leaves its last words.
    pub fn last_words(&self, container: &str, number: u32) -> PathBuf {
        self.disk.join("containers").join(container).join(number.to_string())
    }

    /// What all containers of the pod read as `/etc/hosts`.
    pub fn hosts(&self) -> PathBuf {
        self.disk.join("etc-hosts")
    }

    /// What all containers of the pod read as `/etc/resolv.conf`.
    pub fn resolv_conf(&self) -> PathBuf {
        self.disk.join("resolv.conf")
    }
}

struct Filler<'a> {
    pod: &'a Pod,
    objects: &'a Objects,
    place: &'a Place,
}

/// An object whose keys are files.
struct Wanted<'a> {
    name: &'a str,
    optional: Option<bool>,
    items: Option<&'a [KeyToPath]>,
}

impl Filler<'_> {
    fn projection(
        &self,
        volume: &str,
        projection: &VolumeProjection,
        mode: u32,
        files: &mut Files,
    ) -> Result<(), ConfigError> {
        if let Some(source) = &projection.config_map {
            let wanted = Wanted { name: &source.name, optional: source.optional, items: source.items.as_deref() };
            self.config_map(wanted, mode, files)?;
        }
        if let Some(source) = &projection.secret {
            let wanted = Wanted { name: &source.name, optional: source.optional, items: source.items.as_deref() };
            self.secret(wanted, mode, files)?;
        }
        if let Some(source) = &projection.downward_api {
            self.downward(source.items.as_deref().unwrap_or_default(), mode, files)?;
        }
        if let Some(source) = &projection.service_account_token {
            let token = self.objects.tokens.get(&token_key(volume, source));
            let missing = || ConfigError::Invalid("failed to fetch token".to_owned());
            let bytes = token.ok_or_else(missing)?.clone().into_bytes();
            files.insert(source.path.clone(), File { bytes, mode });
        }
        Ok(())
    }

    fn config_map(&self, wanted: Wanted<'_>, mode: u32, files: &mut Files) -> Result<(), ConfigError> {
        let content = |map: &ConfigMap| {
            let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
            let binary = map.binary_data.iter().flatten().map(|(key, ByteString(value))| (key.clone(), value.clone()));
            text.chain(binary).collect()
        };
        let found = self.objects.config_maps.get(wanted.name).map(content);
        self.keys("configmap", wanted, found, mode, files)
    }

    fn secret(&self, wanted: Wanted<'_>, mode: u32, files: &mut Files) -> Result<(), ConfigError> {
        let content = |secret: &Secret| {
            secret.data.iter().flatten().map(|(key, ByteString(value))| (key.clone(), value.clone())).collect()
        };
        let found = self.objects.secrets.get(wanted.name).map(content);
        self.keys("secret", wanted, found, mode, files)
    }

    fn keys(
        &self,
        kind: &'static str,
        wanted: Wanted<'_>,
        found: Option<Vec<(String, Vec<u8>)>>,
        mode: u32,
        files: &mut Files,
    ) -> Result<(), ConfigError> {
        let optional = wanted.optional == Some(true);
        let Some(content) = found else {
            return if optional { Ok(()) } else { Err(ConfigError::Missing { kind, name: wanted.name.to_owned() }) };
        };
        let Some(items) = wanted.items.filter(|items| !items.is_empty()) else {
            files.extend(content.into_iter().map(|(key, bytes)| (key, File { bytes, mode })));
            return Ok(());
        };
        for item in items {
            let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
            match content.iter().find(|(key, _)| *key == item.key) {
                Some((_, bytes)) => drop(files.insert(item.path.clone(), File { bytes: bytes.clone(), mode })),
                None if optional => {}
                None => {
                    let kind = if kind == "configmap" { "config" } else { kind };
                    return Err(ConfigError::Invalid(format!("references non-existent {kind} key: {}", item.key)));
                }
            }
        }
        Ok(())
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile], mode: u32, files: &mut Files) -> Result<(), ConfigError> {
        for item in items {
            let nobody = Container::default();
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(selector), _) => downward::field(self.pod, selector, self.place)?,
                (None, Some(selector)) => downward::resource(self.pod, &nobody, selector, self.place)?,
                (None, None) => String::new(),
            };
            let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
            files.insert(item.path.clone(), File { bytes: text.into_bytes(), mode });
        }
        Ok(())
    }
}

fn token_key(volume: &str, token: &ServiceAccountTokenProjection) -> String {
    format!("{volume}/{}", token.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |limits: &str, empty: &str, memory: Option<Option<u64>>, disk: Option<u64>| {
            let spec = format!(
                "{{containers: [{{name: a, resources: {{limits: {limits}}}}}], volumes: [{{name: v, emptyDir: {empty}}}]}}"
            );
            let pod: Pod = serde_saphyr::from_str(&format!("spec: {spec}")).unwrap();
            let volume = spec::of(&pod).volumes.unwrap_or_default().remove(0);
            let backing = backing(&pod, &volume, &Objects::default(), &Place::default()).unwrap();
            let expected = memory.map_or(Medium::Disk, |size| Medium::Memory { size });
            assert_eq!(backing, Backing::Empty(expected), "{spec}");
            let limit = super::limits(&pod).pop();
            assert_eq!(limit.map(|limit| limit.bytes), disk, "{spec}");
        };
        check("{}", "{}", None, None);
        check("{memory: 1Mi}", "{sizeLimit: 2Ki}", None, Some(2048));
        check("{}", "{medium: Memory}", Some(None), None);
        check("{}", "{medium: Memory, sizeLimit: 2Ki}", Some(Some(2048)), None);
        check("{memory: 1Ki}", "{medium: Memory, sizeLimit: 2Ki}", Some(Some(1024)), None);
        check("{memory: 4Ki}", "{medium: Memory, sizeLimit: 2Ki}", Some(Some(2048)), None);
        check("{memory: 4Ki}", "{medium: Memory}", Some(Some(4096)), None);
    }
}
