//! Attaching to the first process of a container, also before it is started.

use super::{Attached, Entry, Runtime, RuntimeError, error::io_error};
use crate::shim::protocol::{AttachWish, Request};

impl Runtime {
    /// Connects to the streams of a container's first process. Before its start this waits in the queue: not one
    /// byte of output is lost.
    pub async fn attach(&self, id: &str, wish: AttachWish) -> Result<Attached, RuntimeError> {
        self.meet(id)?;
        let (output, mut input) = self.connect(id)?;
        input.send(&Request::Attach(wish)).await.map_err(io_error(id, "attach to it"))?;
        Ok(Attached { output, input })
    }

    /// Makes sure that there is a socket to which attachers can connect.
    fn meet(&self, id: &str) -> Result<(), RuntimeError> {
        let mut containers = self.containers();
        match containers.get(id) {
            Some(Entry::Waiting(_) | Entry::Starting) => Ok(()),
            Some(Entry::Live(live)) if live.runs() => Ok(()),
            _ => {
                let listener = self.listen(id)?;
                containers.insert(id.to_owned(), Entry::Waiting(listener));
                Ok(())
            }
        }
    }
}
