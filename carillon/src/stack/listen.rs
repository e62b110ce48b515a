//! Ports: taken before any work begins, refused in words that help.
//!
//! In: `host:port`. Out: a bound listener. Always: a port in use is named with what to do about it.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use anyhow::{Context, Result, anyhow};
use carillon_chassis::{
    http::{self, Routes, ServeOptions},
    tasks::Tasks,
};
use carillon_schemas::problem::{Problem, ProblemCode};
use tokio::net::TcpListener;

use crate::output::Usage;

/// How long the last answers of a start may take before the port opens.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_millis(500);

/// The first address of a `host:port`; port 0 takes a free one.
pub(crate) fn resolve(flag: &str, text: &str) -> Result<SocketAddr> {
    let usage = || Usage(format!("{flag} {text} is no host:port such as 127.0.0.1:8080"));
    let mut addresses = text.to_socket_addrs().map_err(|_| usage())?;
    Ok(addresses.next().ok_or_else(usage)?)
}

/// Takes the port.
pub(crate) async fn bind(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| explain_listen(flag, address, &error))?;
    let bound = listener
        .local_addr()
        .context("cannot read the port that was taken")?;
    Ok((listener, bound))
}

/// Serves routes until the group that it gives is closed.
pub(crate) fn serve(listener: TcpListener, routes: Routes) -> Tasks {
    let tasks = Tasks::new();
    let group = tasks.clone();
    tasks.spawn("http", async move {
        http::serve(listener, routes, &group, ServeOptions::default()).await
    });
    tasks
}

/// A port that is taken and not open yet: who knocks is told to come back in a moment.
pub(crate) struct Gate {
    listener: TcpListener,
    starting: Tasks,
}

impl Gate {
    /// Takes the port and answers with 503.
    pub(crate) async fn close(flag: &str, address: SocketAddr) -> Result<(Self, SocketAddr)> {
        let (listener, address) = bind(flag, address).await?;
        let listener = listener.into_std().context("cannot keep the port")?;
        let second = listener.try_clone().context("cannot keep the port")?;
        let problem = Problem::new(
            ProblemCode::Unavailable,
            "this server is starting: try again in a moment",
        );
        let problem = serde_json::to_string(&problem)?;
        let starting = serve(TcpListener::from_std(second)?, http::starting(problem));
        let listener = TcpListener::from_std(listener)?;
        Ok((Self { listener, starting }, address))
    }

    /// Opens it: from now on these routes answer.
    pub(crate) async fn open(self, routes: Routes) -> Tasks {
        self.starting.close(LAST_ANSWERS).await;
        serve(self.listener, routes)
    }
}

/// Why a port could not be taken, and what to do.
pub(crate) fn explain_listen(flag: &str, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "port {port} on {ip} is in use, perhaps by another carillon: stop what uses it (`ss -ltnp 'sport = :{port}'` \
             shows it), or choose another with {flag} {ip}:PORT",
            port = address.port(),
            ip = address.ip(),
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow!(
                "port {} needs more rights: choose one above 1023 with {flag}",
                address.port()
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!(
                "{} is no address of this machine: choose one with {flag}",
                address.ip()
            )
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    }
}
