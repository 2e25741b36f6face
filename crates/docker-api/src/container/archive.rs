//! Files in and out of containers: `/archive` (docker cp), `/export`, `/changes`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::Places;
use hyper::{StatusCode, header::HeaderValue};
use model::{
    Container,
    container::{Access, MountSource},
};
use runtime::{
    rootfs::{ChangeKind, FileStat, Files, FilesError, PutWish, changes as changed},
    shim::launch::Rootfs,
};
use serde_json::json;

use super::{face::Face, files};
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    blocking::{Writer, reader},
    call::Call,
    error, find,
    query::Query,
};

const STAT_HEADER: &str = "x-docker-container-path-stat";
const TAR: &str = "application/x-tar";

pub(super) async fn stat(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let (container, path) = (container(api, name)?, path(query)?);
    let place = open(api, &container, &path).await?;
    let stat = on_thread(&container, move || place.stat(&path)).await?;
    let mut answer = answer::empty(StatusCode::OK);
    answer.headers_mut().insert(STAT_HEADER, stat_header(&stat)?);
    Ok(answer)
}

pub(super) async fn get(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let (container, path) = (container(api, name)?, path(query)?);
    let place = open(api, &container, &path).await?;
    if place.is_mount_point() {
        return Err(ApiError::conflict(format!(
            "{} is a mount point of container {}: start the container to copy all of it, or copy what is in it",
            path.display(),
            container.name
        )));
    }
    let (stat, place) = on_thread(&container, move || Ok((place.stat(&path)?, place))).await?;
    let mut answer = stream(move |out| place.files.get(&place.inside, out));
    answer.headers_mut().insert(STAT_HEADER, stat_header(&stat)?);
    super::tell(api, &container, "archive-path", []);
    Ok(answer)
}

pub(super) async fn put(api: &Arc<Api>, name: &str, call: Call) -> Result<Answer, ApiError> {
    let (container, path) = (container(api, name)?, path(&call.query)?);
    if container.security.root == Access::ReadOnly && !on_volume(&container, &path) {
        return Err(ApiError::forbidden("container rootfs is marked read-only"));
    }
    let owner = if call.query.flag("copyUIDGID") {
        owner(&Face::of(&api.engine.state(), &container).config.user)
    } else {
        None
    };
    let wish = PutWish { keep_types: call.query.flag("noOverwriteDirNonDir"), owner };
    let place = open(api, &container, &path).await?;
    let archive = reader(call.into_pieces());
    on_thread(&container, move || place.files.put(&place.inside, archive, wish)).await?;
    super::tell(api, &container, "extract-to-dir", []);
    Ok(answer::empty(StatusCode::OK))
}

pub(super) async fn export(api: &Arc<Api>, name: &str) -> Result<Answer, ApiError> {
    let container = container(api, name)?;
    let place = open(api, &container, Path::new("/")).await?;
    super::tell(api, &container, "export", []);
    Ok(stream(move |out| place.files.export(out)))
}

pub(super) async fn changes(api: &Arc<Api>, name: &str) -> Result<Answer, ApiError> {
    let container = container(api, name)?;
    let Some(layers) = api.engine.images().snapshot(container.id.as_str())? else {
        return answer::ok(&json!([]));
    };
    let found = tokio::task::spawn_blocking(move || changed(&layers.lower, &layers.upper)).await;
    let found = found.map_err(|error| ApiError::internal(error.to_string()))?;
    let found = found.map_err(|error| ApiError::internal(format!("cannot look for changes: {error}")))?;
    let kind = |kind| match kind {
        ChangeKind::Changed => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    let list: Vec<_> = found.iter().map(|change| json!({ "Path": change.path, "Kind": kind(change.kind) })).collect();
    answer::ok(&list)
}

fn container(api: &Api, name: &str) -> Result<Arc<Container>, ApiError> {
    Ok(Arc::clone(find::container(&api.engine.state(), name)?))
}

fn path(query: &Query) -> Result<PathBuf, ApiError> {
    let path = query.get("path").ok_or_else(|| ApiError::invalid("missing or empty value for parameter \"path\""))?;
    Ok(Path::new("/").join(path))
}

/// Some files, and where in them a path is.
struct Place {
    files: Files,
    inside: PathBuf,
}

impl Place {
    /// What is known of the file, under the name that was asked for.
    fn stat(&self, asked: &Path) -> Result<FileStat, FilesError> {
        let stat = self.files.stat(&self.inside)?;
        let name = asked.file_name().filter(|_| self.is_mount_point());
        Ok(FileStat { name: name.map_or(stat.name.clone(), ToOwned::to_owned), ..stat })
    }

    /// Whether it is the whole of something mounted, whose name is not known there.
    fn is_mount_point(&self) -> bool {
        self.inside == Path::new(WHOLE)
    }
}

const WHOLE: &str = "/.";

/// Where a path of a container is: in what its process sees; while it has none, in what will be mounted there or in its layers.
async fn open(api: &Api, container: &Arc<Container>, path: &Path) -> Result<Place, ApiError> {
    if let Some(run) = container.run() {
        let (pid, inside) = (run.pid, path.to_owned());
        return on_thread(container, move || Ok(Place { files: Files::of_process(pid)?, inside })).await;
    }
    if let Some((directory, inside)) = mounted(&api.places, container, path) {
        return on_thread(container, move || {
            Ok(Place { files: Files::of_layers(&Rootfs::Directory(directory))?, inside })
        })
        .await;
    }
    let layers = files::snapshot(api, container).await?;
    let rootfs = Rootfs::Overlay { lower: layers.lower, upper: layers.upper, work: layers.work };
    let inside = path.to_owned();
    on_thread(container, move || Ok(Place { files: Files::of_layers(&rootfs)?, inside })).await
}

/// The directory of the host that is mounted where the path leads, if there is one, and the rest of the path.
fn mounted(places: &Places, container: &Container, path: &Path) -> Option<(PathBuf, PathBuf)> {
    let above = container.mounts.iter().filter(|mount| path.starts_with(&mount.target));
    let mount = above.max_by_key(|mount| mount.target.len())?;
    let directory = match &mount.source {
        MountSource::Bind { path, .. } => path.clone(),
        MountSource::Volume { name, subpath, .. } => {
            let data = places.volume(name).join("_data");
            // A volume that nobody has used yet has no directory. That it cannot be made shows in the next step.
            let _ = std::fs::create_dir_all(&data);
            data.join(subpath.as_deref().unwrap_or_default())
        }
        MountSource::Tmpfs { .. } => return None,
    };
    let rest = path.strip_prefix(&mount.target).ok()?;
    let inside = if rest.as_os_str().is_empty() { PathBuf::from(WHOLE) } else { Path::new("/").join(rest) };
    directory.is_dir().then_some((directory, inside))
}

/// Lets something blocking have a thread.
async fn on_thread<T: Send + 'static>(
    container: &Container,
    job: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, ApiError> {
    let outcome = tokio::task::spawn_blocking(job).await;
    outcome.map_err(|error| ApiError::internal(error.to_string()))?.map_err(|error| refusal(&error, container))
}

fn refusal(error: &FilesError, container: &Container) -> ApiError {
    let words = error::chain(error);
    match error {
        FilesError::NotFound(_) => ApiError::not_found(format!("{words} {}", container.name)),
        FilesError::NotDirectory(_)
        | FilesError::Overwrite { .. }
        | FilesError::Breakout(_)
        | FilesError::Compression(_) => ApiError::invalid(words),
        FilesError::Overlay(_) | FilesError::Io { .. } => ApiError::internal(words),
    }
}

/// A tar archive that is made while it is sent. One that cannot be finished cuts the connection.
fn stream(pack: impl FnOnce(&mut dyn Write) -> Result<(), FilesError> + Send + 'static) -> Answer {
    let (sender, answer) = answer::pipe(TAR);
    tokio::task::spawn_blocking(move || {
        let mut out = Writer::new(sender.clone());
        let outcome = pack(&mut out);
        drop(out);
        if let Err(error) = outcome {
            tracing::warn!(error = error::chain(&error), "an archive could not be finished");
            // A client that has left needs no error.
            let _ = sender.blocking_send(Err(std::io::Error::other(error)));
        }
    });
    answer
}

fn on_volume(container: &Container, path: &Path) -> bool {
    container.mounts.iter().any(|mount| mount.access == Access::ReadWrite && path.starts_with(&mount.target))
}

/// Reads `1000:1000` and `1000`. Names mean something only inside: then files keep the owners of the archive.
fn owner(user: &str) -> Option<(u32, u32)> {
    let (user, group) = user.split_once(':').unwrap_or((user, user));
    Some((user.parse().ok()?, group.parse().ok()?))
}

fn stat_header(stat: &FileStat) -> Result<HeaderValue, ApiError> {
    let (seconds, nanoseconds) = stat.modified;
    let modified = jiff::Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0)).unwrap_or_default();
    let document = json!({
        "name": stat.name.to_string_lossy(),
        "size": stat.size_bytes,
        "mode": go_mode(stat.mode),
        "mtime": modified.to_string(),
        "linkTarget": stat.link_target.as_deref().map(Path::to_string_lossy).unwrap_or_default(),
    });
    let text = BASE64_STANDARD.encode(document.to_string());
    HeaderValue::from_str(&text).map_err(|error| ApiError::internal(error.to_string()))
}

/// Type and permissions as Go's `os.FileMode` has them (pkg.go.dev/io/fs#FileMode).
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => 1 << 26 | 1 << 21,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let bits = [(0o4_000, 1 << 23), (0o2_000, 1 << 22), (0o1_000, 1 << 20)];
    let special: u32 = bits.into_iter().filter(|(unix, _)| mode & unix != 0).map(|(_, go)| go).sum();
    kind | special | mode & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (unix, go) in [
            (0o100_644, 0o644),
            (0o040_755, 0x8000_01ed),
            (0o120_777, 0x0800_01ff),
            (0o041_777, 0x8010_01ff),
            (0o104_755, 0x0080_01ed),
            (0o020_620, 0x0420_0190),
        ] {
            assert_eq!(go_mode(unix), go, "{unix:o}");
        }
    }

    #[test]
    fn owners() {
        assert_eq!(owner("1000:100"), Some((1000, 100)));
        assert_eq!(owner("7"), Some((7, 7)));
        assert_eq!(owner("www"), None);
        assert_eq!(owner(""), None);
    }
}
