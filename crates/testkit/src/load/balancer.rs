//! A load balancer, as deployments have one before several processes of a role.
//!
//! In: the addresses of the processes. Out: one address. Always: a connection goes to the next process in turn
//! that takes it; what happens on it afterwards is between its two ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running balancer; its connections end with it.
pub struct Balancer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Begins to balance over `host:port`s.
    ///
    /// # Panics
    /// When there is no free port.
    #[allow(clippy::expect_used, reason = "a test cannot go on without it")]
    #[allow(clippy::disallowed_methods, reason = "an actor is outside of the product")]
    pub async fn start(backends: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let task = tokio::spawn(accept(listener, backends.into()));
        Self { address, task }
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, backends: Arc<[String]>) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let (backends, next) = (Arc::clone(&backends), Arc::clone(&next));
                open.spawn(async move { carry(client, &backends, &next).await });
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, backends: &[String], next: &AtomicUsize) {
    for _ in 0..backends.len() {
        let turn = next.fetch_add(1, Ordering::Relaxed) % backends.len();
        if let Ok(mut server) = TcpStream::connect(&backends[turn]).await {
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            // An end that is cut off is what these tests are about.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_goes_to_the_next_process_that_takes_it() {
        let dead = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let balancer = Balancer::start(vec![dead, alive.local_addr().unwrap().to_string()]).await;
        for _ in 0..3 {
            let mut client = TcpStream::connect(balancer.address).await.unwrap();
            let (mut server, _) = alive.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut server, b"x")
                .await
                .unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'x');
        }
    }
}
