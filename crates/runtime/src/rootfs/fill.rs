//! An empty volume gets what the image has at the place where it is mounted, owner and permissions of the directory
//! included.

use std::{fs, io, path::Path, thread};

use rustix::{
    fs::{FileType, Gid, Mode, OFlags, Uid, chmod, chown, fstat},
    pipe::{PipeFlags, pipe_with},
};

use super::{Files, FilesError, extract, pack, tree::Root};

impl Files {
    /// Copies the content of the directory `path` into `volume`, a directory of the host, when that is empty. Does nothing when
    /// there is no such directory.
    pub fn fill(&self, path: &Path, volume: &Path) -> Result<(), FilesError> {
        let failed = |source: io::Error| FilesError::Io { action: "fill a volume from", path: path.to_owned(), source };
        if fs::read_dir(volume).map_err(failed)?.next().is_some() {
            return Ok(());
        }
        let source = match self.root.resolve(path, OFlags::PATH) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            other => other.map_err(failed)?,
        };
        let stat = fstat(&source).map_err(|errno| failed(errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(());
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let into = Root::open(volume).map_err(failed)?;
        thread::scope(|scope| {
            let packed = scope.spawn(|| pack::tree(&source, pack::Mounts::LeaveOut, fs::File::from(write)));
            let extracted = extract::extract(&into, Path::new("/"), fs::File::from(read), super::PutWish::default());
            let packed = packed.join().unwrap_or_else(|_| Err(io::Error::other("the packing thread panicked")));
            // When one end fails the other one does too, for the lack of it: the reader's word is the cause.
            extracted.and(packed.map_err(failed))
        })?;
        let owned = chown(volume, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        owned
            .and_then(|()| chmod(volume, Mode::from_raw_mode(stat.st_mode & 0o7777)))
            .map_err(|errno| failed(errno.into()))
    }
}
