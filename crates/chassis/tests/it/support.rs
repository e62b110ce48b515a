//! A server on port 0 and a peer that writes bytes.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use carillon_chassis::{
    http::{ServeOptions, serve},
    tasks::Tasks,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Serves routes; the group ends the server.
pub(crate) async fn start(routes: Router, options: ServeOptions) -> (SocketAddr, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let serving = tasks.clone();
    tasks.spawn(
        "http",
        async move { serve(listener, routes, &serving, options).await },
    );
    (address, tasks)
}

/// Sends bytes on a connection of their own and reads until the server closes it.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_all(&mut stream).await
}

/// Reads until the server closes the connection.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset after the answer counts as an end as well.
    let _ = tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("the server closes in time");
    String::from_utf8(answer).unwrap()
}

/// A request that asks the server to close afterwards.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}
