//! Listeners for published ports that the kernel cannot lead to their container by itself.
//!
//! One listener serves any number of ports: nftables redirects them all to it, and it asks conntrack where a client meant to go.
//! Where that leads is looked up in a [`ListenerTable`](plan::listener::ListenerTable) that is swapped whole.

pub mod tcp;
pub mod udp;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A listener at work. Dropping it ends it together with all connections or flows; [`Listening::stop`] is the gentle way.
#[derive(Debug)]
#[must_use = "dropping it ends the listener"]
pub struct Listening {
    stop: Option<oneshot::Sender<()>>,
    task: JoinSet<()>,
}

impl Listening {
    /// Runs the task that `serve` makes of the stop signal. Must be called on a runtime.
    fn start<F>(serve: impl FnOnce(oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(serve(stopped));
        Self { stop: Some(stop), task }
    }

    /// Takes no more clients, and returns when the last of those it has is gone. A TCP port is free at once; UDP flows, having no
    /// end that could be waited for, are cut.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        while self.task.join_next().await.is_some() {}
    }
}
