//! HTTP serving: a listener and routes become connections.
//!
//! In: a bound listener and a role's routes. Out: answered requests and upgraded connections.
//! Always: a peer that sends its headers too slowly or too large is dropped; a panic in one request ends
//! that connection only; on shutdown open requests are answered and idle connections closed.

mod head_timer;
mod starting;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

pub use axum::Router as Routes;
use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::ServiceExt;
use tracing::{debug, warn};

use self::head_timer::HeadTimer;
pub use self::starting::starting;
use crate::{backoff::Backoff, tasks::Tasks};

/// Bounds of a listener.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Largest request head in bytes; more is answered with 431.
    pub header_bytes: usize,
    /// How long a new peer may take to send its first request head.
    pub header_timeout: Duration,
    /// How long a kept-alive connection may take until its next request head is complete.
    pub idle_timeout: Duration,
    /// Most connections at once; further ones wait in the listen queue.
    pub connections: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        // 8 KiB is hyper's least read buffer; 19,000 leaves room below a limit of 20,000 files.
        // 75 s is longer than the 60 s after which common clients and proxies give an idle connection up.
        Self {
            header_bytes: 8 * 1024,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            connections: 19_000,
        }
    }
}

/// The peer's address, in every request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Serves until the group is shut down; the connections are tasks of the group.
pub async fn serve(listener: TcpListener, routes: Router, tasks: &Tasks, options: ServeOptions) {
    let permits = Arc::new(Semaphore::new(options.connections));
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    let options = Arc::new(options);
    let shutdown = tasks.shutdown().clone();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                backoff.reset();
                let connection =
                    connection(stream, peer, routes.clone(), tasks.clone(), Arc::clone(&options));
                tasks.spawn("http connection", async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "accept failed, waiting");
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    tasks: Tasks,
    options: Arc<ServeOptions>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no TCP_NODELAY");
    }
    let timer = HeadTimer::new(options.idle_timeout.saturating_sub(options.header_timeout));
    let served = Arc::clone(&timer.served);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        served.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Peer(peer));
        routes.clone().oneshot(request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(timer)
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.header_bytes);
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let shutdown = tasks.shutdown().clone();
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%peer, %error, "connection ended");
    }
}
