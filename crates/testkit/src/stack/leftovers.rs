//! What a deployment leaves on servers that others go on using: its topics and its keyspace, taken away.
//!
//! In: addresses and names. Out: nothing of that name. Always: a few frames of each protocol written by hand,
//! because the product deletes nothing and so no crate of it can; what fails is told, and fails no test.

use std::{io, time::Duration};

use carillon_fixtures::{Cassandra, Description};
use carillon_schemas::topics::{Layout, Topics};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long either server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Kafka's number of `DeleteTopics`.
const DELETE_TOPICS: i16 = 20;
/// Longest answer that is read.
const ANSWER: usize = 64 * 1024;

/// Takes topics and keyspace away; gives what could not be.
pub(super) async fn remove(servers: &Description, topics: &Topics, keyspace: &str) -> Vec<String> {
    let kafka = timeout(PATIENCE, delete_topics(&servers.kafka.plaintext, topics));
    let cassandra = timeout(PATIENCE, drop_keyspace(&servers.cassandra, keyspace));
    let (kafka, cassandra) = tokio::join!(kafka, cassandra);
    let trouble = |what: &str, outcome: Result<io::Result<()>, _>| match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{what}: {error}")),
        Err(_) => Some(format!("{what}: no answer")),
    };
    let both = [trouble("topics", kafka), trouble("keyspace", cassandra)];
    both.into_iter().flatten().collect()
}

/// `DeleteTopics` version 1: a correlation id, a client id, the names, a deadline.
async fn delete_topics(brokers: &str, topics: &Topics) -> io::Result<()> {
    let names: Vec<_> = topics
        .all(&Layout::SINGLE)
        .into_iter()
        .map(|spec| spec.name)
        .collect();
    let mut body = Vec::new();
    body.extend(DELETE_TOPICS.to_be_bytes());
    body.extend(1_i16.to_be_bytes());
    body.extend(7_i32.to_be_bytes());
    text(&mut body, "testkit");
    body.extend((names.len() as i32).to_be_bytes());
    names.iter().for_each(|name| text(&mut body, name));
    body.extend(10_000_i32.to_be_bytes());
    let mut stream = TcpStream::connect(brokers.split(',').next().unwrap_or_default()).await?;
    stream.write_all(&(body.len() as u32).to_be_bytes()).await?;
    stream.write_all(&body).await?;
    let length = stream.read_u32().await? as usize;
    let mut answer = vec![0; length.min(ANSWER)];
    stream.read_exact(&mut answer).await.map(drop)
}

async fn drop_keyspace(server: &Cassandra, keyspace: &str) -> io::Result<()> {
    const STARTUP: u8 = 0x01;
    const QUERY: u8 = 0x07;
    const AUTHENTICATE: u8 = 0x03;
    const AUTH_RESPONSE: u8 = 0x0F;
    let mut stream = TcpStream::connect(&server.address).await?;
    let mut options = 1_u16.to_be_bytes().to_vec();
    text(&mut options, "CQL_VERSION");
    text(&mut options, "3.0.0");
    if exchange(&mut stream, STARTUP, &options).await? == AUTHENTICATE {
        let token = format!("\0{}\0{}", server.user, server.password);
        let mut body = (token.len() as u32).to_be_bytes().to_vec();
        body.extend(token.as_bytes());
        exchange(&mut stream, AUTH_RESPONSE, &body).await?;
    }
    let query = format!("DROP KEYSPACE IF EXISTS {keyspace}");
    let mut body = (query.len() as u32).to_be_bytes().to_vec();
    body.extend(query.as_bytes());
    // Consistency ONE, no flags.
    body.extend([0, 1, 0]);
    exchange(&mut stream, QUERY, &body).await.map(drop)
}

/// One request and its answer's opcode, in version 4 of the native protocol.
async fn exchange(stream: &mut TcpStream, opcode: u8, body: &[u8]) -> io::Result<u8> {
    const ERROR: u8 = 0x00;
    let mut frame = vec![4, 0, 0, 0, opcode];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    stream.write_all(&frame).await?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [.., answered, a, b, c, d] = head;
    let mut answer = vec![0; (u32::from_be_bytes([a, b, c, d]) as usize).min(ANSWER)];
    stream.read_exact(&mut answer).await?;
    if answered == ERROR {
        return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
    }
    Ok(answered)
}

/// A text with its length in two bytes, as both protocols write it.
fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text.as_bytes());
}
