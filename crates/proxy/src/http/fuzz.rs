//! What clients of the gateway send before it knows where to, for the fuzzer. Built for tests, which replay the corpus of `fuzz/`, and by
//! `cargo fuzz`; never into the product.

use std::{convert::Infallible, sync::LazyLock};

use hyper::{Response, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
};

use super::{Limits, connection, path, request};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime on this thread")
});

/// Octets of HTTP/1: what is taken for a request goes to one host, and its path does not walk.
pub fn heads(octets: &[u8]) {
    let limits = Limits::default();
    RUNTIME.block_on(async {
        let (mut client, server) = tokio::io::duplex(octets.len().max(1) + 1);
        let service = service_fn(|request| {
            if let Ok(target) = request::target(&request, &limits) {
                assert!(!target.authority.as_bytes().contains(&b'@'), "{target:?}");
                assert!(!target.host.contains(['/', ' ', '@', '?', '#']), "{target:?}");
                assert_eq!(path::normalise(&target.path), Ok(path::Normal::AsIs), "{target:?}");
            }
            async { Ok::<_, Infallible>(Response::new(String::new())) }
        });
        let serving = connection::builder1(&limits).serve_connection(TokioIo::new(server), service);
        let asking = async {
            // It may have hung up.
            let _ = client.write_all(octets).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        };
        let _ = tokio::join!(serving, asking);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpus() {
        crate::replay::replay("gateway_heads", heads);
    }
}
