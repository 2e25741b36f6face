//! Starting a container: its run directory, its socket, its shim.

use std::{fs, os::unix::net::UnixListener, process::Stdio, time::Instant};

use super::{Entry, Live, Runtime, RuntimeError, error::io_error, exit, stream::StreamError};
use crate::{
    shim::{
        self,
        launch::{Launch, file},
        protocol::{Report, Request, Started},
    },
    socket,
};

impl Runtime {
    /// Starts a container and returns when its process runs. On an error nothing of it is left but its attachers,
    /// who see the end of their stream.
    pub async fn start(&self, launch: &Launch) -> Result<Started, RuntimeError> {
        let id = launch.id.as_str();
        let listener = self.claim(id)?;
        let outcome = self.launch(launch, listener).await;
        let mut containers = self.containers();
        match outcome {
            Ok(live) => {
                let started = live.started;
                containers.insert(id.to_owned(), Entry::Live(live));
                Ok(started)
            }
            Err(error) => {
                containers.remove(id);
                drop(containers);
                self.forget(id);
                Err(error)
            }
        }
    }

    /// The socket of a container that is about to start, with those who wait in its queue.
    fn claim(&self, id: &str) -> Result<UnixListener, RuntimeError> {
        let mut containers = self.containers();
        match containers.remove(id) {
            Some(Entry::Live(live)) if live.runs() => {
                containers.insert(id.to_owned(), Entry::Live(live));
                return Err(RuntimeError::Running(id.to_owned()));
            }
            Some(Entry::Starting) => {
                containers.insert(id.to_owned(), Entry::Starting);
                return Err(RuntimeError::Running(id.to_owned()));
            }
            Some(Entry::Waiting(listener)) => {
                containers.insert(id.to_owned(), Entry::Starting);
                return Ok(listener);
            }
            Some(Entry::Live(_)) | None => {}
        }
        let listener = self.listen(id)?;
        containers.insert(id.to_owned(), Entry::Starting);
        Ok(listener)
    }

    pub(super) fn listen(&self, id: &str) -> Result<UnixListener, RuntimeError> {
        let dir = self.dir(id);
        let path = dir.join(file::SOCKET);
        // What an earlier run has left means nothing to this one.
        self.forget(id);
        fs::create_dir_all(&dir).map_err(io_error(id, "make its run directory"))?;
        socket::bind(&path).map_err(io_error(id, "listen for its attachers"))
    }

    async fn launch(&self, launch: &Launch, listener: UnixListener) -> Result<Live, RuntimeError> {
        let id = launch.id.as_str();
        let dir = self.dir(id);
        launch.write(&dir).map_err(io_error(id, "write its launch file"))?;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join(file::SHIM_LOG))
            .map_err(io_error(id, "make its shim's log"))?;
        let (mut output, mut input) = self.connect(id)?;
        input.send(&Request::Start).await.map_err(io_error(id, "talk to its shim"))?;
        let child = tokio::process::Command::new(&self.inner.settings.exe)
            .arg(shim::VERB)
            .arg(&dir)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(io_error(id, "start its shim"))?;
        let started = match output.next().await {
            Ok(Some(Report::Started(started))) => started,
            Ok(Some(Report::Failed(failure))) => {
                exit::end(child).await;
                return Err(RuntimeError::Start(failure));
            }
            other => {
                exit::end(child).await;
                return Err(self.silence(id, other.err()));
            }
        };
        Ok(self.supervise(id, (started, Instant::now()), (output, input), Some(child)))
    }

    /// The error for a shim that ended the conversation.
    pub(super) fn silence(&self, id: &str, error: Option<StreamError>) -> RuntimeError {
        match error {
            Some(StreamError::Protocol(source)) => RuntimeError::Protocol { id: id.to_owned(), source },
            _ => {
                let log = fs::read_to_string(self.dir(id).join(file::SHIM_LOG)).unwrap_or_default();
                RuntimeError::Shim { id: id.to_owned(), log: log.trim().to_owned() }
            }
        }
    }
}
