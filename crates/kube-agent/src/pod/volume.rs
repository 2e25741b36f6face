//! The volumes of a pod: where each is on the node, and which files are in those that the cluster fills.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{
        ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume,
        VolumeProjection,
    },
};

use super::{
    env::{self, ConfigError, Objects, Place},
    files::{File, Files},
    spec,
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
    /// In memory.
    Memory,
}

/// What a volume is.
pub fn backing(pod: &Pod, volume: &Volume, objects: &Objects, place: &Place) -> Result<Backing, ConfigError> {
    let filler = Filler { pod, objects, place };
    let mut files = Files::new();
    let unset = |mode: Option<i32>| mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(MODE);
    if let Some(empty) = &volume.empty_dir {
        let memory = empty.medium.as_deref() == Some("Memory");
        return Ok(Backing::Empty(if memory { Medium::Memory } else { Medium::Disk }));
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
            Backing::Empty(Medium::Memory) | Backing::Files(_) => self.memory.join("volumes").join(volume),
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
                None => return Err(ConfigError::Invalid(format!("references non-existent {kind} key: {}", item.key))),
            }
        }
        Ok(())
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile], mode: u32, files: &mut Files) -> Result<(), ConfigError> {
        for item in items {
            let nobody = Container::default();
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(selector), _) => env::field(self.pod, selector, self.place)?,
                (None, Some(selector)) => env::resource(self.pod, &nobody, selector, self.place)?,
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
