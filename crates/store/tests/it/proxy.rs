//! A way to the server that can be held up and cut.
//!
//! In: connections. Out: the same bytes, later, or never. Always: what was held up goes on in its order.

use carillon_chassis::tasks::Tasks;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// How the way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Bytes wait, in both directions.
    HeldUp,
    /// Requests go through, answers wait.
    AnswersHeldUp,
    /// Connections end, and new ones at once.
    Cut,
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    way: watch::Sender<Way>,
    tasks: Tasks,
}

impl Proxy {
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (way, seen) = watch::channel(Way::Open);
        let (tasks, server) = (Tasks::new(), server.to_owned());
        let pipes = tasks.clone();
        tasks.spawn("proxy", async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *seen.borrow() == Way::Cut {
                    continue;
                }
                let (from, to) = client.into_split();
                let (back, forth) = TcpStream::connect(&server).await.unwrap().into_split();
                pipes.spawn("requests", pipe(from, forth, seen.clone(), &[Way::HeldUp]));
                let held_up = &[Way::HeldUp, Way::AnswersHeldUp];
                pipes.spawn("answers", pipe(back, to, seen.clone(), held_up));
            }
        });
        Self { address, way, tasks }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Way::Cut);
        self.tasks.shutdown().cancel();
    }
}

async fn pipe(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    held_up: &'static [Way],
) {
    let mut cut = way.clone();
    let carry = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            if way.wait_for(|way| !held_up.contains(way)).await.is_err()
                || to.write_all(&buffer[..bytes]).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = carry => {}
        _ = cut.wait_for(|way| *way == Way::Cut) => {}
    }
}
