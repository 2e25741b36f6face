//! The gateway alone, with one backend and no Kubernetes: what `cargo xtask bench-gateway` measures.
//!
//! `gateway LISTEN ENDPOINT...`, each as ADDR:PORT.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use arc_swap::ArcSwap;
use kernel::allocator::Allocator;
use proxy::http::{
    Gateway, Limits, Listeners, Settings,
    host::Host,
    table::{Backend, Path, Routes, Table},
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ALLOCATOR.hurry();
    let addresses = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let [listen, endpoints @ ..] = &addresses[..] else { return Err("gateway LISTEN ENDPOINT...".into()) };
    let backend = Backend { name: "bench".to_owned(), endpoints: endpoints.to_vec(), ..Backend::default() };
    let mut table = Table::default();
    let rules = [(Path::Prefix("/".to_owned()), Arc::new(backend))];
    table.routes.set(&Host::parse("bench.local")?, Some(Arc::new(Routes::new(rules, None))));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
    let settings = Settings { proxy_protocol_from: Vec::new(), access_log: false, threads, limits: Limits::default() };
    let listeners = Listeners { http: vec![TcpListener::bind(listen)?], https: Vec::new() };
    let _gateway = Gateway::start(listeners, &Arc::new(ArcSwap::from_pointee(table)), settings)?;
    loop {
        thread::park();
    }
}
